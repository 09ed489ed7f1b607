//! Swin-Unet: a U-shaped network of attention in shifted windows.
//!
//! Paper: Cao et al. 2021, arXiv:2105.05537; its blocks are those of the Swin transformer, Liu et al.
//! 2021, arXiv:2103.14030. Reference: HuCaoFighting/Swin-Unet
//! `networks/swin_transformer_unet_skip_expand_decoder_sys.py`, `SwinTransformerSys`, checked by
//! `tests/parity.rs`.
//!
//! Legend: B batch · H, W tokens of a map at this stage · C channels of its tokens · S stages, the
//! bottleneck included · p side of a patch in pixels · M windows of N tokens · h heads · K logits.
//! Tokens are kept as maps `[B, H, W, C]`.
//!
//! Weights: names are those of `SwinTransformerSys`. Files saved by its wrapper have a prefix
//! `swin_unet.`, after `DataParallel` `module.swin_unet.`; [`from_swin_checkpoint`] takes it off, and
//! fits the weights of a Swin classifier into both halves of the network. Buffers of the reference
//! (`relative_position_index`, `attn_mask`) follow from the sizes; they are made anew for every input
//! and ignored in files. The start is that of the reference: linear layers and bias tables normal with
//! deviation 0.02, drawn again beyond 2; the two convolutions as PyTorch does; published results start
//! from a classifier.
//!
//! Taps: `enc1`..`enc(S-1)` after the blocks of an encoder stage, before patch merging; `bottleneck`
//! after the last stage and its norm; `dec(S-1)`..`dec1` after the blocks of a decoder stage, before
//! patch expanding. `enc(i)` and `dec(i)` are `[B, C, rows / (p 2^(i-1)), columns / (p 2^(i-1))]` with
//! C = `embed_dim` 2^(i-1); there is none at full resolution.
//!
//! # Deviations
//! - As in the reference code, and other than in the paper's figure: skip connections start before the
//!   blocks of a stage, and the bottleneck has two blocks.
//! - All sizes are free. The last expanding goes up by the side of a patch, where the reference always
//!   goes up by four.
//! - Any image: its end is padded by its edge until windows divide every map, and the logits are
//!   cropped; with the published sizes to a multiple of 224 pixels, with `window = 8` of 256 or a
//!   smaller power of two. Where a map is no larger than a window, the window shrinks to it as in the
//!   reference; its bias is then the middle of the table, where the reference has a smaller table made
//!   for one image size.
//! - Grey images are repeated to three channels, by the network where the reference has a wrapper. A
//!   file therefore cannot tell networks of one and of three channels apart.

mod attention;
mod block;
mod checkpoint;
mod config;
mod patch_embed;
mod patch_expanding;
mod patch_merging;
mod relative_position;
mod window;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

pub use checkpoint::from_swin_checkpoint;
pub use config::SwinUnetConfig;

use super::ModelError;
use super::network::{Network, PlanarNetwork, Shapes};
use crate::block::{LayerNorm, Linear};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::{Initial, Mapped, Weights};
use crate::{SegOutput, Tap};
use block::{EPSILON, SwinBlock};
use patch_embed::PatchEmbed;
use patch_expanding::{FinalExpand, Output, PatchExpand};
use patch_merging::PatchMerging;
use window::Windows;

/// A stage of the encoder; the last is the bottleneck and merges nothing.
#[derive(Module, Debug)]
struct EncoderStage {
    blocks: Vec<SwinBlock>,
    downsample: Option<PatchMerging>,
}

/// A stage of the decoder; the last expands nothing.
#[derive(Module, Debug)]
struct DecoderStage {
    concat: Linear,
    blocks: Vec<SwinBlock>,
    upsample: Option<PatchExpand>,
}

/// See the module header.
#[derive(Module, Debug)]
pub struct SwinUnet {
    patch_embed: PatchEmbed,
    /// Largest maps first.
    layers: Vec<EncoderStage>,
    norm: LayerNorm,
    first_expand: PatchExpand,
    /// Deepest first.
    layers_up: Vec<DecoderStage>,
    norm_up: LayerNorm,
    up: FinalExpand,
    output: Output,
    #[module(skip)]
    config: SwinUnetConfig,
}

impl Network for SwinUnet {
    type Config = SwinUnetConfig;

    const PAPER: &'static str =
        "Cao et al. 2021, arXiv:2105.05537; Swin blocks: Liu et al. 2021, arXiv:2103.14030";
    const PARAMETERS: u64 = 27_168_900;
    const INPUT: &'static str = "any size (padded inside until windows divide every map: to a multiple of 224 with windows of 7), any channels (grey is repeated to 3)";
    const BUFFERS: &'static [&'static str] = &["relative_position_index", "attn_mask"];

    fn validate(model: &'static str, config: &SwinUnetConfig) -> Result<(), ModelError> {
        config.validate(model)
    }

    fn new(config: &SwinUnetConfig, device: &Device) -> Self {
        let channels = |level| config.channels_at(level);
        let deepest = config.stages() - 1;
        let down = |level: usize| EncoderStage {
            blocks: SwinBlock::stage(config, level, device),
            downsample: (level < deepest).then(|| PatchMerging::new(channels(level), device)),
        };
        let up = |level: usize| DecoderStage {
            concat: Linear::new(2 * channels(level), channels(level), device),
            blocks: SwinBlock::stage(config, level, device),
            upsample: (level > 0).then(|| PatchExpand::new(channels(level), device)),
        };
        Self {
            patch_embed: PatchEmbed::new(config, device),
            layers: (0..=deepest).map(down).collect(),
            norm: LayerNorm::new(channels(deepest), EPSILON, device),
            first_expand: PatchExpand::new(channels(deepest), device),
            layers_up: (0..deepest).rev().map(up).collect(),
            norm_up: LayerNorm::new(channels(0), EPSILON, device),
            up: FinalExpand::new(channels(0), config.patch, device),
            output: Output::new(channels(0), config.output_channels, device),
            config: config.clone(),
        }
    }

    fn deduce(shapes: &Shapes) -> Option<SwinUnetConfig> {
        SwinUnetConfig::deduce(shapes)
    }

    fn adopt(tensors: &Weights, network: &Shapes) -> Mapped {
        from_swin_checkpoint(tensors, network)
    }

    fn official_name(&self, path: &str) -> Option<String> {
        // The reference counts decoder stages from the bottleneck, whose stage only expands.
        let (first, rest) = path.split_once('.')?;
        match first {
            "first_expand" => Some(format!("layers_up.0.{rest}")),
            "layers_up" => {
                let (index, rest) = rest.split_once('.')?;
                let index = index.parse::<usize>().ok()? + 1;
                Some(match rest.strip_prefix("concat.") {
                    Some(field) => format!("concat_back_dim.{index}.{field}"),
                    None => format!("layers_up.{index}.{rest}"),
                })
            }
            _ => Some(path.to_owned()),
        }
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        let patch = self.config.patch_inputs() * self.config.patch.pow(2);
        match shape.len() {
            _ if name.starts_with("patch_embed.proj.") => Initial::pytorch(patch),
            4 => Initial::pytorch(shape[1]),
            2 => Initial::TruncatedNormal(0.02, 2.0),
            _ => Initial::usual(name, shape),
        }
    }
}

impl PlanarNetwork for SwinUnet {
    /// # Shapes
    /// - image: `[B, C, rows, columns]`, any size; grey ones also for a network of three channels
    /// - logits: `[B, K, rows, columns]` — *not* probabilities
    /// - taps: see the module header
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        let (config, device) = (&self.config, image.device());
        let [_, _, rows, columns] = image.dims();
        let size = config.padded([rows, columns]);
        let (image, padding) = pad_to_multiple(image, &size);
        let windows: Vec<Windows> = (0..config.stages())
            .map(|level| Windows::new(config.map_at(size, level), config.window, &device))
            .collect();
        let mut taps = Vec::new();
        let mut skips = Vec::new();
        let mut x = self.patch_embed.forward(image); // [B, H, W, embed_dim]
        for (level, (stage, windows)) in self.layers.iter().zip(&windows).enumerate() {
            let skip = x.clone();
            x = stage.blocks.iter().fold(x, |x, block| block.forward(x, windows));
            if let Some(downsample) = &stage.downsample {
                x = downsample.forward(tapped(&mut taps, format!("enc{}", level + 1), x));
                skips.push(skip);
            }
        }
        x = tapped(&mut taps, "bottleneck".to_owned(), self.norm.forward(x));
        x = self.first_expand.forward(x);
        for (stage, (level, skip)) in self.layers_up.iter().zip(skips.into_iter().enumerate().rev())
        {
            x = stage.concat.forward(Tensor::cat(vec![x, skip], 3)); // [B, H, W, C]
            x = stage.blocks.iter().fold(x, |x, block| block.forward(x, &windows[level]));
            x = tapped(&mut taps, format!("dec{}", level + 1), x);
            if let Some(upsample) = &stage.upsample {
                x = upsample.forward(x);
            }
        }
        let logits = self.up.forward(self.norm_up.forward(x), &self.output);
        SegOutput { logits: crop(logits, &padding), taps, aux: Vec::new(), padding }
    }
}

/// Taps a map of tokens as the image that it is; the copies of axes in another order share their
/// values.
///
/// # Shapes
/// - x, output: `[B, H, W, C]`; the tap is `[B, C, H, W]`
fn tapped(taps: &mut Vec<Tap>, name: String, x: Tensor<4>) -> Tensor<4> {
    Tap::on(taps, name, x.permute([0, 3, 1, 2])).permute([0, 2, 3, 1])
}

#[cfg(test)]
mod tests;
