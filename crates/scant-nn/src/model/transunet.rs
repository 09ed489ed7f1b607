//! TransUNet: a ResNet and a Vision Transformer one after the other as the encoder of a U-Net.
//!
//! Paper: Chen et al. 2021, arXiv:2102.04306. Reference: Beckschen/TransUNet
//! `networks/vit_seg_modeling.py` and `vit_seg_modeling_resnet_skip.py`, R50-ViT-B/16, checked by
//! `tests/parity.rs`. It is published with weights from ImageNet-21k in its encoder, which
//! [`weights::vit_npz`](crate::weights::vit_npz) reads.
//!
//! Legend: B batch · C channels · H, W pixels, a multiple of 16 · w width of the ResNet · K logits.
//!
//! Initial values are the reference's: linear layers and convolutions as PyTorch's default, the two
//! layers of an MLP by Glorot and Bengio with biases of deviation 1e-6, position embeddings 0.
//!
//! # Deviations
//! - Sizes are free, also those that are constants in the reference.
//! - Images of any size: padded by their edge to a multiple of 16, the logits cropped. Where that
//!   gives another grid of tokens than the configured one, the position embeddings are resized
//!   bilinearly, corners on corners. The reference takes the one size it was built for.
//! - Images that are not square: the reference computes their sides from the first.
//! - One channel is repeated to three as in the reference; other numbers, for which it has no rule, get a
//!   first convolution of as many inputs.

mod config;
mod decoder;
mod resnet;
mod transformer;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::ModelError;
use super::network::{Network, PlanarNetwork, Shapes};
use crate::SegOutput;
use crate::block::{Conv, ConvNormRelu};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::Initial;
use config::STRIDE;
use decoder::Decoder;
use transformer::Transformer;

pub use config::TransUNetConfig;

/// See the module header.
#[derive(Module, Debug)]
pub struct TransUNet {
    transformer: Transformer,
    decoder: Decoder,
    head: Conv,
    #[module(skip)]
    config: TransUNetConfig,
}

impl Network for TransUNet {
    type Config = TransUNetConfig;

    const PAPER: &'static str = "Chen et al. 2021, arXiv:2102.04306, R50-ViT-B/16";
    const PARAMETERS: u64 = 105_277_081;
    const INPUT: &'static str =
        "any size (padded inside to a multiple of 16), any channels (1 is repeated to 3)";

    fn validate(model: &'static str, config: &TransUNetConfig) -> Result<(), ModelError> {
        config.validate(model)
    }

    fn new(config: &TransUNetConfig, device: &Device) -> Self {
        let [.., last] = config.decoder_channels;
        Self {
            transformer: Transformer::new(config, device),
            decoder: Decoder::new(config, device),
            head: Conv::new(last, config.output_channels, 3, device),
            config: config.clone(),
        }
    }

    fn deduce(shapes: &Shapes) -> Option<TransUNetConfig> {
        TransUNetConfig::deduce(shapes)
    }

    fn official_name(&self, path: &str) -> Option<String> {
        official_name(path)
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        initial(&self.config, name, shape)
    }
}

impl PlanarNetwork for TransUNet {
    /// # Shapes
    /// - image: `[B, C, H, W]`, any H and W; where C is 3, one channel will do and is repeated
    /// - logits: `[B, K, H, W]` — *not* probabilities
    /// - taps: enc2 `[B, w, H / 2, W / 2]`, enc3 `[B, 4 w, H / 4, W / 4]`, enc4 `[B, 8 w, H / 8, W / 8]`,
    ///   bottleneck `[B, hidden, H / 16, W / 16]`, dec4 at H / 8 .. dec1 at H
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        let grey = image.dims()[1] == 1 && self.config.root_channels() == 3;
        let image = if grey { image.repeat_dim(1, 3) } else { image };
        let (image, padding) = pad_to_multiple(image, &[STRIDE; 2]);
        let mut taps = Vec::new();
        let (encoded, skips) = self.transformer.forward(image, &mut taps);
        let x = self.decoder.forward(encoded, skips, &mut taps);
        let logits = crop(self.head.forward(x), &padding); // [B, K, H, W]
        SegOutput { logits, taps, aux: Vec::new(), padding }
    }
}

/// Fields are called as in the reference but for its numbered sequences.
fn official_name(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts[..] {
        [
            "transformer",
            "embeddings",
            "hybrid_model",
            "body",
            stage,
            "units",
            unit,
            layer,
            field,
        ] => {
            // Counted from 1.
            let [stage, unit] = [stage, unit].map(|i| i.parse::<usize>().ok().map(|i| i + 1));
            let body = "transformer.embeddings.hybrid_model.body";
            Some(format!("{body}.block{}.unit{}.{layer}.{field}", stage?, unit?))
        }
        ["transformer", ..] => Some(path.to_owned()),
        ["decoder", ref sequence @ .., part, field] => {
            let sequence = sequence.join(".");
            Some(format!("decoder.{sequence}.{}", ConvNormRelu::official(part, field)?))
        }
        ["head", field] => Some(format!("segmentation_head.0.{field}")),
        _ => None,
    }
}

/// See the module header.
fn initial(config: &TransUNetConfig, name: &str, shape: &[usize]) -> Initial {
    let weight = name.ends_with(".weight");
    let fan_in = shape.iter().skip(1).product();
    let [.., last] = config.decoder_channels;
    match name {
        "transformer.embeddings.position_embeddings" => Initial::Constant(0.0),
        "transformer.embeddings.patch_embeddings.bias" => Initial::pytorch(16 * config.width),
        "segmentation_head.0.bias" => Initial::pytorch(9 * last),
        _ if name.contains(".ffn.") && weight => Initial::glorot_uniform(fan_in, shape[0]),
        _ if name.contains(".ffn.") => Initial::Normal(1e-6),
        _ if name.contains(".attn.") && !weight => Initial::pytorch(config.hidden),
        _ if shape.len() > 1 => Initial::pytorch(fan_in),
        _ => Initial::usual(name, shape), // norms
    }
}

#[cfg(test)]
mod tests;
