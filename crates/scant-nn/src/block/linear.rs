//! A matrix product on the last axis.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, module};

use super::convolution::zero_bias;

/// `x W^T + b`. Parameters are named and laid out as in PyTorch's `Linear`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[output, input]`
    weight: Param<Tensor<2>>,
    /// `[output]`
    bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// From `input` to `output` values, with bias; all zero, values are set by
    /// [`crate::weights::initialise`].
    #[must_use]
    pub fn new(input: usize, output: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init([output, input], device),
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
    /// - x: `[..., input]`
    /// - output: `[..., output]`
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        // One matrix of all rows: else burn chooses by their number whether it makes one, and a
        // recorded pass could not be run on another batch.
        let (weight, mut dims) = (self.weight.val(), x.dims());
        let rows = dims[..D - 1].iter().product();
        let y = module::linear(x.reshape([rows, dims[D - 1]]), weight.clone().transpose(), bias);
        dims[D - 1] = weight.dims()[0];
        y.reshape(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_weight_are_outputs() {
        let device = Device::flex();
        let mut linear = Linear::new(3, 2, &device);
        let weight = Tensor::from_floats([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]], &device);
        linear.weight = Param::from_tensor(weight);
        linear.bias = Some(Param::from_tensor(Tensor::from_floats([10.0, 20.0], &device)));
        let x = Tensor::<2>::from_floats([[1.0, 1.0, 1.0], [0.0, 2.0, 4.0]], &device);
        let values = |y: Tensor<3>| y.to_data().iter::<f32>().collect::<Vec<_>>();
        let y = linear.forward(x.clone().unsqueeze::<3>());
        assert_eq!(y.dims(), [1, 2, 2]);
        assert_eq!(values(y), [16.0, 19.5, 26.0, 20.0]);
        let y = linear.without_bias().forward(x.unsqueeze::<3>());
        assert_eq!(values(y), [6.0, -0.5, 16.0, 0.0]);
    }
}
