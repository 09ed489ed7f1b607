//! An attention gate with a weight for every channel.

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};

use super::conv_norm::normalise;
use super::{Conv, NormConstants};

/// The additive gate of the Attention U-Net, with as many maps of weights as there are channels
/// (`attention_gate` of AyushRoy2001/Exchangeable-feature-disentanglement `attnunet.py`).
///
/// `psi = sigmoid(conv1x1(ReLU(BN(conv1x1(g)) + BN(conv1x1(x)))))`, output `x * psi`.
/// [`AttentionGate`](super::AttentionGate) has a single map, half the channels inside, and a norm
/// before the sigmoid.
#[derive(Module, Debug)]
pub struct ChannelGate {
    gating: Conv,
    gating_norm: BatchNorm,
    skip: Conv,
    skip_norm: BatchNorm,
    psi: Conv,
}

impl ChannelGate {
    /// A gate for maps of `channels` channels, steered by a map of `gating` channels.
    #[must_use]
    pub fn new(gating: usize, channels: usize, norm: NormConstants, device: &Device) -> Self {
        Self {
            gating: Conv::new(gating, channels, 1, device),
            gating_norm: norm.norm(channels, device),
            skip: Conv::new(channels, channels, 1, device),
            skip_norm: norm.norm(channels, device),
            psi: Conv::new(channels, channels, 1, device),
        }
    }

    /// # Shapes
    /// - gating: `[B, gating, H, W]`
    /// - skip, output: `[B, channels, H, W]`
    #[must_use]
    pub fn forward(&self, gating: Tensor<4>, skip: Tensor<4>) -> Tensor<4> {
        let g = normalise(&self.gating_norm, self.gating.forward(gating));
        let x = normalise(&self.skip_norm, self.skip.forward(skip.clone()));
        skip * sigmoid(self.psi.forward(relu(g + x)))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleMapper, Param};

    use super::*;

    struct Ones;

    impl ModuleMapper for Ones {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D == 4 { param.map(|old| old.ones_like()) } else { param }
        }
    }

    #[test]
    fn every_channel_has_its_own_weight() {
        let device = Device::flex();
        let exact = NormConstants { epsilon: 1e-12, momentum: 0.1 };
        let mut gate = ChannelGate::new(1, 2, exact, &device).map(&mut Ones);
        // The second channel's map is shut by a scale and an offset before the ReLU.
        gate.gating_norm.beta = Param::from_tensor(Tensor::from_floats([0.0, -100.0], &device));
        let mut psi = gate.psi.parameters().0.to_data().iter::<f32>().collect::<Vec<_>>();
        psi[1] = 5.0; // from the shut channel, whatever the weight
        psi[2] = -1.0; // from the open channel to the second
        gate.psi
            .set_weight(Tensor::<1>::from_floats(psi.as_slice(), &device).reshape([2, 2, 1, 1]));
        let skip = Tensor::<1>::from_floats([2.0, 3.0], &device).reshape([1, 2, 1, 1]);
        let gating = Tensor::full([1, 1, 1, 1], -4.0, &device);
        let y: Vec<f32> = gate.forward(gating, skip).to_data().iter::<f32>().collect();
        // ReLU(-4 + 2 + 3) = 1 and 0: weights sigmoid(1) and sigmoid(-1).
        let sigmoid = 1.0 / (1.0 + (-1.0_f32).exp());
        let want = [2.0 * sigmoid, 3.0 * (1.0 - sigmoid)];
        assert!(y.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{y:?} is not {want:?}");
    }
}
