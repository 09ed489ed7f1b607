//! The encoder stage of NucleiSegNet.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::conv_relu_norm;
use crate::block::{Conv2d, ConvActivationNorm, ConvShape};

/// Three convolutions, the second of them separable, whose result joins the input on its way into a
/// fourth (`robust_residual_block`). ReLU and batch norm follow each; the separable one has them
/// behind its pointwise half only.
#[derive(Module, Debug)]
pub(super) struct RobustResidual {
    first: ConvActivationNorm,
    depthwise: Conv2d,
    pointwise: ConvActivationNorm,
    third: ConvActivationNorm,
    last: ConvActivationNorm,
}

impl RobustResidual {
    /// From `input` to `output` channels; all zero.
    pub(super) fn new(input: usize, output: usize, device: &Device) -> Self {
        let conv = |input, kernel| conv_relu_norm(input, output, kernel, device);
        let depthwise = ConvShape::new(output, output, [3, 3]).padded().grouped(output);
        Self {
            first: conv(input, 3),
            depthwise: Conv2d::new(depthwise.without_bias(), device),
            pointwise: conv(output, 1),
            third: conv(output, 3),
            last: conv(input + output, 3),
        }
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, H, W]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.first.forward(x.clone());
        let y = self.pointwise.forward(self.depthwise.forward(y));
        let y = self.third.forward(y);
        self.last.forward(Tensor::cat(vec![x, y], 1))
    }
}
