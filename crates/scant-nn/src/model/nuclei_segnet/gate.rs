//! The attention on a skip connection of NucleiSegNet.

use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use scant_kernels::upsample_bilinear2d;

use super::conv_relu_norm;
use crate::block::{Conv, ConvActivationNorm};

/// Additive attention with a weight for every channel, steered by the map of the level below
/// (`attention_gt`).
///
/// `φ = ReLU(conv3x3(ReLU(conv1x1(g))))`, `θ = ReLU(conv3x3(x))`,
/// `ψ = sigmoid(BN(ReLU(conv1x1(θ + up(φ)))))`, output `x ψ`.
#[derive(Module, Debug)]
pub(super) struct SkipGate {
    gating: Conv,
    phi: Conv,
    theta: Conv,
    psi: ConvActivationNorm,
}

impl SkipGate {
    /// For skips of `channels` channels and maps of `below` channels; all zero.
    pub(super) fn new(below: usize, channels: usize, device: &Device) -> Self {
        let hidden = channels / 2;
        Self {
            gating: Conv::new(below, channels, 1, device),
            phi: Conv::new(channels, hidden, 3, device),
            theta: Conv::new(channels, hidden, 3, device),
            psi: conv_relu_norm(hidden, channels, 1, device),
        }
    }

    /// # Shapes
    /// - below: `[B, below, H / 2, W / 2]`
    /// - skip, output: `[B, channels, H, W]`
    pub(super) fn forward(&self, below: Tensor<4>, skip: Tensor<4>) -> Tensor<4> {
        let [_, _, rows, columns] = skip.dims();
        let gating = relu(self.gating.forward(below));
        let phi = relu(self.phi.forward(gating)); // [B, channels / 2, H / 2, W / 2]
        let phi = upsample_bilinear2d(phi, [rows, columns], false);
        let theta = relu(self.theta.forward(skip.clone())); // [B, channels / 2, H, W]
        // The reference has a ReLU around the sum; neither summand is negative.
        skip * sigmoid(self.psi.forward(theta + phi))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleMapper, Param};

    use super::*;

    /// Kernels 1, everything else as it was.
    struct Ones;

    impl ModuleMapper for Ones {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D == 4 { param.map(|old| old.ones_like()) } else { param }
        }
    }

    #[test]
    fn the_map_below_steers_the_skip() {
        let device = Device::flex();
        let gate = SkipGate::new(1, 2, &device).map(&mut Ones);
        let below = Tensor::<4>::full([1, 1, 1, 1], 0.5, &device);
        let skip = Tensor::<1>::from_floats([0.1, -0.3, 0.2, 0.1, 0.2, 0.0, -0.1, 0.3], &device);
        let y = gate.forward(below, skip.clone().reshape([1, 2, 2, 2]));
        // φ: two channels of 0.5 at the one pixel below, 1. θ: all eight values, 0.5.
        let psi = 1.0 / (1.0 + (-1.5_f32 / (1.0_f32 + 1e-3).sqrt()).exp());
        let far = (y.reshape([8]) - skip * psi).abs().max().into_scalar::<f32>();
        assert!(far < 1e-6, "{far}");
    }
}
