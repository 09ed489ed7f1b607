//! A convolution that keeps the image size.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use scant_kernels::{ConvOptions, conv2d};

/// Square convolution of odd size, stride one, zero padding, with bias. Parameters are named as in
/// PyTorch's `Conv2d`.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[output, input, k, k]`
    weight: Param<Tensor<4>>,
    /// `[output]`
    bias: Param<Tensor<1>>,
}

impl Conv {
    /// From `input` to `output` channels; values are set by [`crate::weights::initialise`].
    #[must_use]
    pub fn new(input: usize, output: usize, kernel: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init([output, input, kernel, kernel], device),
            bias: Initializer::Zeros.init([output], device),
        }
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, H, W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let [_, _, rows, columns] = weight.dims();
        let options = ConvOptions { padding: [rows / 2, columns / 2], ..ConvOptions::default() };
        conv2d(x, weight, Some(self.bias.val()), options)
    }

    /// Weight `[output, input, k, k]` and bias `[output]`.
    pub(super) fn parameters(&self) -> (Tensor<4>, Tensor<1>) {
        (self.weight.val(), self.bias.val())
    }

    #[cfg(test)]
    pub(super) fn set_weight(&mut self, weight: Tensor<4>) {
        self.weight = Param::from_tensor(weight);
    }
}
