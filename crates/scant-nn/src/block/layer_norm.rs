//! Normalisation of every token.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, module};

/// Layer norm over the last axis (Ba et al. 2016, arXiv:1607.06450). Parameters are named as in
/// PyTorch's `LayerNorm`.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[size]`
    weight: Param<Tensor<1>>,
    /// `[size]`
    bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// Of `size` values each; all zero, values are set by [`crate::weights::initialise`].
    #[must_use]
    pub fn new(size: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init([size], device),
            bias: Initializer::Zeros.init([size], device),
            epsilon,
        }
    }

    /// # Shapes
    /// - x, output: `[..., size]`
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        module::layer_norm(x, self.weight.val(), Some(self.bias.val()), self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_normalised_by_itself() {
        let device = Device::flex();
        let mut norm = LayerNorm::new(2, 1e-5, &device);
        norm.weight = Param::from_tensor(Tensor::from_floats([1.0, 2.0], &device));
        norm.bias = Param::from_tensor(Tensor::from_floats([0.0, 1.0], &device));
        // Two values are always one deviation from their mean; the variance is the biased one.
        let x = Tensor::<2>::from_floats([[3.0, 7.0], [50.0, -50.0]], &device);
        let y: Vec<f32> = norm.forward(x).to_data().iter::<f32>().collect();
        let want = [-1.0, 3.0, 1.0, -1.0];
        assert!(y.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4), "{y:?}");
        let same = norm.forward(Tensor::<2>::ones([1, 2], &device));
        let same: Vec<f32> = same.to_data().iter::<f32>().collect();
        assert_eq!(same, [0.0, 1.0], "epsilon keeps equal values finite");
    }
}
