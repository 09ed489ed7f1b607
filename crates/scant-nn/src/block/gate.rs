//! The additive attention gate.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{DType, Device, Tensor};

use super::Conv;
use super::conv_norm::{move_statistics, normalise, parts, values_per_channel};

/// Additive attention on a skip connection (Oktay et al. 2018, arXiv:1804.03999, eq. 1-2; layer
/// layout of LeeJunHyun/Image_Segmentation `Attention_block`).
///
/// `psi = sigmoid(BN(conv1x1(ReLU(BN(conv1x1(g)) + BN(conv1x1(x))))))`, output `x * psi`.
///
/// # Deviations
/// As in the reference code the gating signal is the already up-sampled decoder map, of the skip's
/// own size, where the paper resamples on a coarser grid.
#[derive(Module, Debug)]
pub struct AttentionGate {
    gating: Conv,
    gating_norm: BatchNorm,
    skip: Conv,
    skip_norm: BatchNorm,
    psi: Conv,
    psi_norm: BatchNorm,
}

impl AttentionGate {
    /// A gate for maps of `channels` channels with `hidden` channels inside.
    #[must_use]
    pub fn new(channels: usize, hidden: usize, device: &Device) -> Self {
        Self {
            gating: Conv::new(channels, hidden, 1, device),
            gating_norm: BatchNormConfig::new(hidden).init(device),
            skip: Conv::new(channels, hidden, 1, device),
            skip_norm: BatchNormConfig::new(hidden).init(device),
            psi: Conv::new(hidden, 1, 1, device),
            psi_norm: BatchNormConfig::new(1).init(device),
        }
    }

    /// # Shapes
    /// - gating, skip: `[batch, channels, rows, columns]`
    /// - output: `[batch, channels, rows, columns]`
    #[must_use]
    pub fn forward(&self, gating: Tensor<4>, skip: Tensor<4>) -> Tensor<4> {
        let layers = [
            (&self.gating, &self.gating_norm),
            (&self.skip, &self.skip_norm),
            (&self.psi, &self.psi_norm),
        ];
        let epsilon = self.psi_norm.epsilon;
        let training = gating.device().is_autodiff()
            && layers.iter().all(|(_, n)| n.training.is_enabled() && n.epsilon == epsilon);
        if training && scant_kernels::on_cpu(&skip.device()) && skip.dtype() == DType::F32 {
            let (count, parts) = (values_per_channel(&skip), layers.map(|(c, n)| parts(c, n)));
            let (y, statistics) = scant_kernels::attention_gate(gating, skip, parts, epsilon);
            for ((_, norm), statistics) in layers.iter().zip(statistics) {
                move_statistics(norm, statistics, count);
            }
            return y;
        }
        let g = normalise(&self.gating_norm, self.gating.forward(gating));
        let x = normalise(&self.skip_norm, self.skip.forward(skip.clone()));
        let psi = sigmoid(normalise(&self.psi_norm, self.psi.forward(relu(g + x)))); // [B, 1, H, W]
        skip * psi
    }

    /// Official name of a part, e.g. `gating` → `W_g.0`.
    pub(crate) fn official(part: &str) -> Option<&'static str> {
        Some(match part {
            "gating" => "W_g.0",
            "gating_norm" => "W_g.1",
            "skip" => "W_x.0",
            "skip_norm" => "W_x.1",
            "psi" => "psi.0",
            "psi_norm" => "psi.1",
            _ => return None,
        })
    }
}
