//! U-Net with batch norm and nearest-neighbour up-sampling.
//!
//! Paper: Ronneberger et al. 2015, arXiv:1505.04597. Reference: LeeJunHyun/Image_Segmentation
//! `network.py`, `U_Net`, checked by `tests/parity.rs`.
//!
//! Legend: B batch · C channels · H, W pixels at this stage · w width · d depth · K logits.
//!
//! # Deviations
//! - From the 2015 paper, as in the reference: padded convolutions, batch norm, up-sampling by
//!   repetition and a convolution in place of a transposed convolution.
//! - From the reference: width and depth are free, and inputs whose sides do not divide by `2^d`
//!   are padded by their edge and the logits cropped.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::network::{Network, PlanarNetwork, Shapes};
use super::{ModelError, UNetConfig};
use crate::block::{AttentionGate, Conv, DoubleConv, Encoder, UpConv, official_field};
use crate::resample::{crop, pad_to_multiple};
use crate::{SegOutput, Tap};

/// See the module header.
#[derive(Module, Debug)]
pub struct UNet {
    /// Stages 0..=d; the last is the bottleneck.
    encoder: Encoder,
    /// Deepest first.
    up: Vec<UpConv>,
    /// Deepest first.
    decoder: Vec<DoubleConv>,
    head: Conv,
    depth: usize,
}

impl Network for UNet {
    type Config = UNetConfig;

    const PAPER: &'static str = "Ronneberger et al. 2015, arXiv:1505.04597; with batch norm as LeeJunHyun/Image_Segmentation";
    const PARAMETERS: u64 = 34_527_041;
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
            decoder: levels().map(|l| DoubleConv::new(2 * c(l), c(l), device)).collect(),
            head: Conv::new(c(0), config.output_channels, 1, device),
            depth: config.depth,
        }
    }

    fn deduce(shapes: &Shapes) -> Option<UNetConfig> {
        UNetConfig::deduce(shapes)
    }

    fn official_name(&self, path: &str) -> Option<String> {
        official_name(path, self.depth)
    }
}

impl PlanarNetwork for UNet {
    /// # Shapes
    /// - image: `[B, C, H, W]`, any H and W
    /// - logits: `[B, K, H, W]` — *not* probabilities
    /// - taps: enc1..encd `[B, w 2^i, H / 2^i, W / 2^i]`, bottleneck, decd..dec1
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        let (image, padding) = pad_to_multiple(image, &[1 << self.depth; 2]);
        let mut taps = self.encoder.forward(image);
        let mut x = taps[self.depth].features.clone(); // [B, w 2^d, H / 2^d, W / 2^d]
        for (i, (up, stage)) in self.up.iter().zip(&self.decoder).enumerate() {
            let level = self.depth - 1 - i;
            let skip = taps[level].features.clone();
            x = stage.forward_joined(skip, up.forward(x)); // [B, w 2^level, ..]
            let tap = Tap::new(format!("dec{}", level + 1), x);
            x = tap.features.clone();
            taps.push(tap);
        }
        let logits = crop(self.head.forward(x), &padding); // [B, K, H, W]
        SegOutput { logits, taps, aux: Vec::new(), padding }
    }
}

/// Names of the reference for the parts a U-Net and its gated sister share.
pub(super) fn official_name(path: &str, depth: usize) -> Option<String> {
    let parts: Vec<&str> = path.split('.').collect();
    let (first, index, part, field) = match parts[..] {
        ["head", field] => return Some(format!("Conv_1x1.{field}")),
        ["encoder", "stages", index, part, field] => ("encoder", index, part, field),
        [first, index, part, field] => (first, index, part, field),
        _ => return None,
    };
    let index: usize = index.parse().ok()?;
    let field = official_field(field);
    // The reference counts stages from 1, and decoder stages by the encoder stage they mirror.
    let (prefix, part) = match first {
        "encoder" => (format!("Conv{}", index + 1), DoubleConv::official(part)?),
        "up" => (format!("Up{}", depth + 1 - index), UpConv::official(part)?),
        "decoder" => (format!("Up_conv{}", depth + 1 - index), DoubleConv::official(part)?),
        "gates" => (format!("Att{}", depth + 1 - index), AttentionGate::official(part)?),
        _ => return None,
    };
    Some(format!("{prefix}.{part}.{field}"))
}
