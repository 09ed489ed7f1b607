//! The activations that follow a norm.

use burn::tensor::Tensor;
use burn::tensor::activation::{leaky_relu, relu};

/// Slope below zero: 0 is ReLU, 1 nothing, anything else LeakyReLU.
///
/// # Shapes
/// - x, output: `[...]`
#[must_use]
pub fn activate<const D: usize>(x: Tensor<D>, slope: f64) -> Tensor<D> {
    match slope {
        0.0 => relu(x),
        1.0 => x,
        slope => leaky_relu(x, slope),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_slope_is_that_below_zero() {
        let x = Tensor::<1>::from_floats([-2.0, 0.0, 3.0], &Device::flex());
        let values = |slope: f64| -> Vec<f32> {
            activate(x.clone(), slope).to_data().iter::<f32>().collect()
        };
        assert_eq!(values(0.0), [0.0, 0.0, 3.0]);
        assert_eq!(values(0.5), [-1.0, 0.0, 3.0]);
        assert_eq!(values(1.0), [-2.0, 0.0, 3.0]);
    }
}
