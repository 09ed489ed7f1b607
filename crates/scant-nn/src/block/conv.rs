//! A convolution that keeps the image size.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use scant_kernels::{ConvOptions, conv2d};

use super::convolution::zero_bias;

/// Square convolution of odd size, stride one, zero padding. Parameters are named as in PyTorch's
/// `Conv2d`.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[output, input, k, k]`
    weight: Param<Tensor<4>>,
    /// `[output]`
    bias: Option<Param<Tensor<1>>>,
}

impl Conv {
    /// From `input` to `output` channels, with bias; values are set by
    /// [`crate::weights::initialise`].
    #[must_use]
    pub fn new(input: usize, output: usize, kernel: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init([output, input, kernel, kernel], device),
            bias: zero_bias(true, output, device),
        }
    }

    /// The same without bias.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, H, W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let [_, _, rows, columns] = weight.dims();
        let options = ConvOptions { padding: [rows / 2, columns / 2], ..ConvOptions::default() };
        conv2d(x, weight, self.bias.as_ref().map(Param::val), options)
    }

    /// Weight `[output, input, k, k]` and bias `[output]`, zeros where there is none.
    pub(super) fn parameters(&self) -> (Tensor<4>, Tensor<1>) {
        let weight = self.weight.val();
        let zeros = || Tensor::zeros([weight.dims()[0]], &weight.device());
        let bias = self.bias.as_ref().map_or_else(zeros, Param::val);
        (weight, bias)
    }

    #[cfg(test)]
    pub(super) fn set_weight(&mut self, weight: Tensor<4>) {
        self.weight = Param::from_tensor(weight);
    }
}
