//! A convolution, an activation and a batch norm, in this order.

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::tensor::activation::{gelu, relu};
use burn::tensor::{Device, Tensor};

use super::conv_norm::normalise;
use super::{Conv2d, ConvShape, NormConstants};

/// A function of each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x Φ(x), by the error function and not by an approximation (Hendrycks and Gimpel 2016,
    /// arXiv:1606.08415).
    Gelu,
}

impl Activation {
    /// # Shapes
    /// - x, output: `[...]`
    #[must_use]
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => relu(x),
            Self::Gelu => gelu(x),
        }
    }
}

/// Convolution → activation → batch norm: the norm comes last, where most networks have it before
/// the activation.
#[derive(Module, Debug)]
pub struct ConvActivationNorm {
    conv: Conv2d,
    norm: BatchNorm,
    #[module(skip)]
    activation: Activation,
}

impl ConvActivationNorm {
    /// All weights zero; values are set by [`crate::weights::initialise`].
    #[must_use]
    pub fn new(
        shape: ConvShape<2>,
        activation: Activation,
        norm: NormConstants,
        device: &Device,
    ) -> Self {
        let channels = shape.output;
        Self { conv: Conv2d::new(shape, device), norm: norm.norm(channels, device), activation }
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, ...]`, the size as [`Conv2d`] gives it
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        normalise(&self.norm, self.activation.forward(self.conv.forward(x)))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleMapper, Param};

    use super::*;

    /// Sets every tensor, running statistics too, to one value.
    struct Fill(f32);

    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| old.full_like(self.0))
        }
    }

    /// Weight, bias, scale, offset, running mean and variance are all 2: `2 (act(2 x + 2) - 2) /
    /// sqrt(2 + 2) + 2`, which is the activation itself.
    fn of_twos(activation: Activation, x: [f32; 2]) -> Vec<f32> {
        let device = Device::flex();
        let constants = NormConstants { epsilon: 2.0, momentum: 0.5 };
        let layer =
            ConvActivationNorm::new(ConvShape::new(1, 1, [1, 1]), activation, constants, &device);
        let x = Tensor::<1>::from_floats(x, &device).reshape([1, 1, 1, 2]);
        layer.map(&mut Fill(2.0)).forward(x).to_data().iter::<f32>().collect()
    }

    #[test]
    fn the_norm_comes_after_the_activation() {
        assert_eq!(of_twos(Activation::Relu, [-2.0, 0.5]), [0.0, 3.0]);
    }

    #[test]
    fn gelu_is_the_exact_one() {
        // 1 Φ(1) and -1 Φ(-1); the approximation by tanh gives 0.841192 and -0.158808.
        let got = of_twos(Activation::Gelu, [-0.5, -1.5]);
        let want = [0.841_344_8, -0.158_655_25];
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
    }

    #[test]
    fn training_normalises_what_the_activation_gave() {
        let device = Device::flex().autodiff();
        let constants = NormConstants { epsilon: 1e-12, momentum: 0.5 };
        let shape = ConvShape::new(1, 1, [1, 1]);
        let mut layer = ConvActivationNorm::new(shape, Activation::Relu, constants, &device);
        layer.conv = layer.conv.map(&mut Fill(1.0));
        // 1 is added by the bias: ReLU gives 0, 0, 2, 2 of mean 1 and deviation 1.
        let x = Tensor::<1>::from_floats([-4.0, -1.0, 1.0, 1.0], &device).reshape([1, 1, 2, 2]);
        let y: Vec<f32> = layer.forward(x).to_data().iter::<f32>().collect();
        assert!(y.iter().zip([-1.0, -1.0, 1.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{y:?}");
        let mean: f32 = layer.norm.running_mean.value_sync().into_scalar();
        assert!((mean - 0.5).abs() < 1e-6, "{mean}");
    }
}
