//! nnU-Net's networks: a U-Net of instance norms and leaky ReLUs, of images or volumes, with a plain or
//! a residual encoder.
//!
//! Papers: Isensee et al. 2021, Nature Methods 18:203-211 (plain); Isensee et al. 2024,
//! arXiv:2404.09556 (residual encoder, presets M, L and XL). Reference:
//! MIC-DKFZ/dynamic-network-architectures 0.4.4, `PlainConvUNet` and `ResidualEncoderUNet`, with the
//! arguments that the planner of MIC-DKFZ/nnUNet v2 gives: instance norm (ε 1e-5), leaky ReLU (0.01),
//! convolutions with bias and strides in place of pooling, transposed convolutions on the way up, deep
//! supervision. Outputs, deep supervision and gradients are checked by `tests/parity.rs`, with fixtures
//! that `bench/peers/parity_fixture.py` writes.
//!
//! The default is the plan for images of 512 x 512 (8 stages), or for volumes of 128 x 128 x 128 (6
//! stages; 4 pixels remain at the bottom of either).
//!
//! Initial values as the reference draws them: kernels normal with variance 2 / (1 + 0.01²) / fan-in,
//! biases 0, scales 1; the last scale of every residual block 0, so that it starts as its shortcut.
//!
//! Legend: B batch · C channels · S sides of the image · fᵢ features, sᵢ sides of stage i · K logits.
//!
//! # Deviations
//! - Images whose sides do not divide by the strides are padded by their edge and the logits cropped; the
//!   reference fails. Images so small that one pixel remains at the bottom run too, see
//!   [`InstanceNorm`](crate::block::InstanceNorm).
//! - Not built: dropout, bottleneck blocks, stochastic depth, squeeze and excitation, average or maximum
//!   pooling in the encoder, activation before norm. The planner uses none of them.

mod config;
mod stage;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

pub use config::NnUNetConfig;

use super::ModelError;
use super::network::{Network, PlanarNetwork, Shapes, VolumeNetwork};
use crate::block::{
    Conv2d, Conv3d, ConvShape, ConvTransposeShape, Convolution, TransposedConvolution,
};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::Initial;
use crate::{SegOutput, Tap};
use stage::{ConvBlock, SLOPE, Stage, stacked};

/// `PlainConvUNet` of images. See the module header.
pub type NnUNet = PlannedUNet<Conv2d, 2, 4, false>;
/// `ResidualEncoderUNet` of images. See the module header.
pub type NnUNetResEnc = PlannedUNet<Conv2d, 2, 4, true>;
/// `PlainConvUNet` of volumes. See the module header.
pub type NnUNet3d = PlannedUNet<Conv3d, 3, 5, false>;
/// `ResidualEncoderUNet` of volumes. See the module header.
pub type NnUNetResEnc3d = PlannedUNet<Conv3d, 3, 5, true>;

/// The U-Net that an nnU-Net plan describes. See the module header.
#[derive(Module, Debug)]
pub struct PlannedUNet<C: Convolution<D, R>, const D: usize, const R: usize, const RESIDUAL: bool> {
    /// Before the first stage of a residual encoder.
    stem: Option<ConvBlock<C, D, R>>,
    /// The last is the bottleneck.
    stages: Vec<Stage<C, D, R>>,
    /// Deepest first.
    transpconvs: Vec<C::Transposed>,
    /// Deepest first.
    decoder: Vec<Vec<ConvBlock<C, D, R>>>,
    /// Deepest first; the last gives the logits, the others those of deep supervision.
    seg_layers: Vec<C>,
    deep_supervision: bool,
    #[module(skip)]
    multiple: [usize; D],
}

impl<C: Convolution<D, R>, const D: usize, const R: usize, const RESIDUAL: bool> Network
    for PlannedUNet<C, D, R, RESIDUAL>
{
    type Config = NnUNetConfig<D, RESIDUAL>;

    const PAPER: &'static str = match RESIDUAL {
        false => "Isensee et al. 2021, Nature Methods 18:203-211; nnU-Net v2, PlainConvUNet",
        true => "Isensee et al. 2024, arXiv:2404.09556; nnU-Net v2, ResidualEncoderUNet",
    };
    const PARAMETERS: u64 = match (D, RESIDUAL) {
        (2, false) => 46_323_111,
        (2, true) => 140_015_591,
        (_, false) => 31_194_789,
        (_, true) => 102_348_965,
    };
    const INPUT: &'static str =
        "any size (padded inside to a multiple of the strides), any channels";

    fn validate(model: &'static str, config: &Self::Config) -> Result<(), ModelError> {
        config.validate(model)
    }

    fn new(config: &Self::Config, device: &Device) -> Self {
        let NnUNetConfig { features, kernels, strides, encoder_blocks, decoder_blocks, .. } =
            config;
        let stem = ConvShape::new(config.input_channels, features[0], kernels[0]).padded();
        let into = |stage: usize| match stage.checked_sub(1) {
            Some(above) => features[above],
            None if RESIDUAL => features[0],
            None => config.input_channels,
        };
        let stage = |s: usize| {
            let build = if RESIDUAL { Stage::residual } else { Stage::plain };
            build(encoder_blocks[s], [into(s), features[s]], kernels[s], strides[s], device)
        };
        let up = |s: usize| {
            let mut shape = ConvTransposeShape::new(features[s + 1], features[s], strides[s + 1]);
            shape.options.stride = strides[s + 1];
            C::Transposed::new(shape, device)
        };
        let head =
            |s: usize| C::new(ConvShape::new(features[s], config.output_channels, [1; D]), device);
        let levels = || (0..features.len() - 1).rev();
        let decoder = levels().zip(decoder_blocks).map(|(s, &blocks)| {
            stacked(blocks, [2 * features[s], features[s]], kernels[s], [1; D], device)
        });
        Self {
            stem: RESIDUAL.then(|| ConvBlock::new(stem, device)),
            stages: (0..features.len()).map(stage).collect(),
            transpconvs: levels().map(up).collect(),
            decoder: decoder.collect(),
            seg_layers: levels().map(head).collect(),
            deep_supervision: config.deep_supervision,
            multiple: config.multiple(),
        }
    }

    fn deduce(shapes: &Shapes) -> Option<Self::Config> {
        NnUNetConfig::deduce(shapes)
    }

    fn official_name(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('.').collect();
        Some(match parts[..] {
            ["stem", part, field] => format!("encoder.stem.convs.0.{part}.{field}"),
            ["stages", stage, ref below @ ..] => {
                let below = self.stages.get(stage.parse::<usize>().ok()?)?.official_name(below)?;
                format!("encoder.stages.{stage}.{below}")
            }
            ["decoder", stage, block, part, field] => {
                format!("decoder.stages.{stage}.convs.{block}.{part}.{field}")
            }
            [list @ ("transpconvs" | "seg_layers"), stage, field] => {
                format!("decoder.{list}.{stage}.{field}")
            }
            _ => return None,
        })
    }

    /// The reference registers every block twice, and its decoder holds the encoder.
    fn alias(&self, name: &str) -> Option<String> {
        let own = match name.strip_prefix("decoder.encoder.") {
            Some(rest) => format!("encoder.{rest}"),
            None => name.to_owned(),
        };
        let own = own.replace(".all_modules.0.", ".conv.").replace(".all_modules.1.", ".norm.");
        (own != name).then_some(own)
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        if RESIDUAL && name.ends_with(".conv2.norm.weight") {
            return Initial::Constant(0.0);
        }
        match shape {
            [_, rest @ ..] if !rest.is_empty() => {
                let fan_in: usize = rest.iter().product();
                Initial::Normal((2.0 / (1.0 + SLOPE * SLOPE) / fan_in as f64).sqrt())
            }
            _ => Initial::usual(name, shape),
        }
    }
}

impl<C: Convolution<D, R>, const D: usize, const R: usize, const RESIDUAL: bool>
    PlannedUNet<C, D, R, RESIDUAL>
{
    /// # Shapes
    /// - image: `[B, C, S]`, any S
    /// - logits: `[B, K, S]` — *not* probabilities
    /// - taps: enc1.., bottleneck, ..dec1 `[B, fᵢ, sᵢ]`
    /// - aux: `[B, K, sᵢ]`, deepest first, full resolution left out
    fn pass(&self, image: Tensor<R>) -> SegOutput<R> {
        let (mut x, padding) = pad_to_multiple(image, &self.multiple);
        let mut taps = Vec::with_capacity(2 * self.stages.len());
        if let Some(stem) = &self.stem {
            x = stem.forward(x);
        }
        let depth = self.decoder.len();
        for (level, stage) in self.stages.iter().enumerate() {
            let last = level == depth;
            let name = if last { "bottleneck".into() } else { format!("enc{}", level + 1) };
            x = Tap::on(&mut taps, name, stage.forward(x));
        }
        let mut logits = Vec::with_capacity(depth);
        let decoder = self.transpconvs.iter().zip(&self.decoder).zip(&self.seg_layers);
        for (level, ((up, stage), head)) in (0..depth).rev().zip(decoder) {
            let skip = taps[level].features.clone();
            let joined = Tensor::cat(vec![up.forward(x), skip], 1); // [B, 2 f, s]
            let map = stage.iter().fold(joined, |x, block| block.forward(x));
            x = Tap::on(&mut taps, format!("dec{}", level + 1), map);
            if self.deep_supervision || level == 0 {
                logits.push(head.forward(x.clone()));
            }
        }
        let full = logits.pop().expect("there are at least two stages");
        SegOutput { logits: crop(full, &padding), taps, aux: logits, padding }
    }
}

impl<const RESIDUAL: bool> PlanarNetwork for PlannedUNet<Conv2d, 2, 4, RESIDUAL> {
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        self.pass(image)
    }
}

impl<const RESIDUAL: bool> VolumeNetwork for PlannedUNet<Conv3d, 3, 5, RESIDUAL> {
    fn forward(&self, volume: Tensor<5>) -> SegOutput<5> {
        self.pass(volume)
    }
}

#[cfg(test)]
mod tests;
