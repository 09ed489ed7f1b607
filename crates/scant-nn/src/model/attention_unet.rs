//! Attention U-Net with additive gates on every skip connection.
//!
//! Paper: Oktay et al. 2018, arXiv:1804.03999. Reference: LeeJunHyun/Image_Segmentation
//! `network.py`, `AttU_Net`, checked by `tests/parity.rs`.
//!
//! Legend: B batch · C channels · H, W pixels at this stage · w width · d depth · K logits.
//!
//! # Deviations
//! - From the paper, as in the reference: planar; the gating signal is the up-sampled decoder map;
//!   every level is gated; no deep supervision.
//! - From the reference: width, depth and input size are free (see [`super::unet`]).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::network::{Network, PlanarNetwork, Shapes};
use super::{ModelError, UNetConfig, unet};
use crate::block::{AttentionGate, Conv, DoubleConv, Encoder, UpConv};
use crate::resample::{crop, pad_to_multiple};
use crate::{SegOutput, Tap};

/// See the module header.
#[derive(Module, Debug)]
pub struct AttentionUNet {
    /// Stages 0..=d; the last is the bottleneck.
    encoder: Encoder,
    /// Deepest first.
    up: Vec<UpConv>,
    /// Deepest first.
    gates: Vec<AttentionGate>,
    /// Deepest first.
    decoder: Vec<DoubleConv>,
    head: Conv,
    depth: usize,
}

impl Network for AttentionUNet {
    type Config = UNetConfig;

    const PAPER: &'static str =
        "Oktay et al. 2018, arXiv:1804.03999; additive gates as LeeJunHyun/Image_Segmentation";
    const PARAMETERS: u64 = 34_878_573;
    const INPUT: &'static str = "any size (padded inside to a multiple of 2^depth), any channels";

    fn validate(model: &'static str, config: &UNetConfig) -> Result<(), ModelError> {
        config.validate(model)
    }

    fn new(config: &UNetConfig, device: &Device) -> Self {
        let c = |level| config.channels(level);
        let channels: Vec<usize> = (0..=config.depth).map(c).collect();
        let levels = || (0..config.depth).rev();
        Self {
            encoder: Encoder::new(config.input_channels, &channels, device),
            up: levels().map(|l| UpConv::new(c(l + 1), c(l), device)).collect(),
            gates: levels().map(|l| AttentionGate::new(c(l), c(l) / 2, device)).collect(),
            decoder: levels().map(|l| DoubleConv::new(2 * c(l), c(l), device)).collect(),
            head: Conv::new(c(0), config.output_channels, 1, device),
            depth: config.depth,
        }
    }

    fn deduce(shapes: &Shapes) -> Option<UNetConfig> {
        UNetConfig::deduce(shapes)
    }

    fn official_name(&self, path: &str) -> Option<String> {
        unet::official_name(path, self.depth)
    }
}

impl PlanarNetwork for AttentionUNet {
    /// # Shapes
    /// - image: `[B, C, H, W]`, any H and W
    /// - logits: `[B, K, H, W]` — *not* probabilities
    /// - taps: enc1..encd `[B, w 2^i, H / 2^i, W / 2^i]`, bottleneck, decd..dec1
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        let (image, padding) = pad_to_multiple(image, &[1 << self.depth; 2]);
        let mut taps = self.encoder.forward(image);
        let mut x = taps[self.depth].features.clone(); // [B, w 2^d, H / 2^d, W / 2^d]
        let stages = self.up.iter().zip(&self.gates).zip(&self.decoder);
        for (i, ((up, gate), stage)) in stages.enumerate() {
            let level = self.depth - 1 - i;
            let below = up.forward(x); // [B, w 2^level, ..]
            let skip = gate.forward(below.clone(), taps[level].features.clone());
            x = stage.forward_joined(skip, below); // [B, w 2^level, ..]
            let tap = Tap::new(format!("dec{}", level + 1), x);
            x = tap.features.clone();
            taps.push(tap);
        }
        let logits = crop(self.head.forward(x), &padding); // [B, K, H, W]
        SegOutput { logits, taps, aux: Vec::new(), padding }
    }
}
