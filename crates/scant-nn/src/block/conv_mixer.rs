//! ConvMixer: mixing of places by depthwise convolutions, of channels by pointwise ones.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Activation, ConvActivationNorm, ConvShape, NormConstants};

/// How a [`ConvMixer`] is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixerShape {
    /// Channels.
    pub channels: usize,
    /// Layers.
    pub depth: usize,
    /// Side of the depthwise kernels, odd.
    pub kernel: usize,
    /// After each convolution.
    pub activation: Activation,
    /// Where the residual connection is.
    pub residual: MixerResidual,
    /// Of the batch norm after each activation.
    pub norm: NormConstants,
}

/// What the residual connection of a layer goes around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MixerResidual {
    /// The depthwise half, as published.
    Depthwise,
    /// The whole layer.
    Layer,
}

/// Depthwise and pointwise convolution, each with activation and batch norm behind it.
#[derive(Module, Debug)]
struct MixerLayer {
    depthwise: ConvActivationNorm,
    pointwise: ConvActivationNorm,
}

/// Layers of ConvMixer (Trockman and Kolter 2022, arXiv:2201.09792), here on feature maps.
///
/// With σ activation and norm: `y = σ(depthwise(x)) + x`, `x' = σ(pointwise(y))`; or, with the
/// residual around the layer, `x' = σ(pointwise(σ(depthwise(x)))) + x`.
#[derive(Module, Debug)]
pub struct ConvMixer {
    layers: Vec<MixerLayer>,
    #[module(skip)]
    residual: MixerResidual,
}

impl ConvMixer {
    /// All weights zero; values are set by [`crate::weights::initialise`].
    #[must_use]
    pub fn new(shape: MixerShape, device: &Device) -> Self {
        let MixerShape { channels, depth, kernel, activation, residual, norm } = shape;
        let conv = |shape| ConvActivationNorm::new(shape, activation, norm, device);
        let square = |side| ConvShape::new(channels, channels, [side; 2]).padded();
        let layer = |_| MixerLayer {
            depthwise: conv(square(kernel).grouped(channels)),
            pointwise: conv(square(1)),
        };
        Self { layers: (0..depth).map(layer).collect(), residual }
    }

    /// # Shapes
    /// - x, output: `[B, channels, H, W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(x, |x, layer| {
            let places = layer.depthwise.forward(x.clone());
            match self.residual {
                MixerResidual::Depthwise => layer.pointwise.forward(places + x),
                MixerResidual::Layer => layer.pointwise.forward(places) + x,
            }
        })
    }

    /// Official name, below `block.{layer}`, of a part of a layer, e.g. `depthwise`, `conv` →
    /// `0.fn.0`.
    pub(crate) fn official(half: &str, part: &str) -> Option<&'static str> {
        Some(match (half, part) {
            ("depthwise", "conv") => "0.fn.0",
            ("depthwise", "norm") => "0.fn.2",
            ("pointwise", "conv") => "1",
            ("pointwise", "norm") => "3",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleMapper, Param};

    use super::*;

    /// Kernels, scales and running variances 1, everything else 0.
    struct Ones;

    impl ModuleMapper for Ones {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D == 4 { param.map(|old| old.ones_like()) } else { param }
        }
    }

    fn forward(residual: MixerResidual, depth: usize) -> Vec<f32> {
        let device = Device::flex();
        let shape = MixerShape {
            channels: 2,
            depth,
            kernel: 3,
            activation: Activation::Relu,
            residual,
            norm: NormConstants { epsilon: 1e-12, momentum: 0.1 },
        };
        let mixer = ConvMixer::new(shape, &device).map(&mut Ones);
        let x = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 0.0, 0.0, 10.0], &device);
        mixer.forward(x.reshape([1, 2, 1, 3])).to_data().iter::<f32>().collect()
    }

    #[test]
    fn one_layer_by_hand() {
        // Sums of neighbours: 3 6 5 and 0 10 10.
        // Around the depthwise half: 4 8 8 and 0 10 20, then both channels get the sum.
        assert_eq!(forward(MixerResidual::Depthwise, 1), [4.0, 18.0, 28.0, 4.0, 18.0, 28.0]);
        // Around the layer: both channels 3 16 15, then the input.
        assert_eq!(forward(MixerResidual::Layer, 1), [4.0, 18.0, 18.0, 3.0, 16.0, 25.0]);
    }

    #[test]
    fn no_layer_changes_nothing() {
        assert_eq!(forward(MixerResidual::Layer, 0), [1.0, 2.0, 3.0, 0.0, 0.0, 10.0]);
    }
}
