//! V-Net as the semi-supervised methods for volumes use it.
//!
//! Paper: Milletari et al. 2016, arXiv:1606.04797. Reference: HiLab-git/SSL4MIS
//! `code/networks/vnet.py`, `VNet`, with the arguments of its `net_factory_3d` (batch norm, dropout);
//! the same code is that of UA-MT, DTC and their successors. Checked by `tests/parity.rs`.
//!
//! Legend: B batch · C channels · D, H, W voxels at this stage · w width · d depth · K logits.
//!
//! Stage `i` of either path is min(i, 3) times conv3³ → norm → ReLU. A convolution of kernel and stride
//! two leads down, a transposed one up, each with norm and ReLU; the skip is added to what comes up.
//! Weights start as PyTorch's defaults; the reference has its own rule commented out.
//!
//! # Deviations
//! - From the paper, as in the reference: kernels of 3 instead of 5 voxels, no residual connections
//!   within a stage, ReLU for PReLU, skips are added and not joined, channel dropout (0.5) behind the
//!   bottleneck and behind the last stage.
//! - From the reference: width, depth and dropout are free, and inputs whose sides do not divide by
//!   `2^d` are padded by their edge and the logits cropped. Taps of a stage with dropout are behind it,
//!   as the features that the reference's `encoder` returns.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::network::{Network, Shapes, Sizes, VolumeNetwork};
use super::unet_config::tap_names;
use super::{ModelError, check, check_dropout};
use crate::block::{
    ChannelDropout, Conv3d, ConvShape, NormConv3d, NormConvTranspose3d, NormKind,
    official_norm_conv3d,
};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::Initial;
use crate::{SegOutput, Tap};

/// How the reference counts its blocks.
const ORDINALS: [&str; 15] = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen",
];

/// Sizes of [`VNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VNetConfig {
    /// Channels of the first stage; doubled at every level. The published network uses 16.
    pub width: usize,
    /// How often the volume is halved. The published network uses 4.
    pub depth: usize,
    /// Behind every convolution but the last: `"batch"` (the published one), `"group"` (the width
    /// must divide by 16), `"instance"` or `"none"`.
    pub norm: NormKind,
    /// Probability that a channel of the bottleneck, or of the last stage, is dropped while training.
    /// The published network uses 0.5.
    pub dropout: f64,
    /// Channels of the volume.
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    pub output_channels: usize,
}

impl Default for VNetConfig {
    fn default() -> Self {
        let (norm, dropout) = (NormKind::Batch, 0.5);
        Self { width: 16, depth: 4, norm, dropout, input_channels: 1, output_channels: 2 }
    }
}

impl Sizes for VNetConfig {
    fn channels(&self) -> [usize; 2] {
        [self.input_channels, self.output_channels]
    }

    fn set_channels(&mut self, [input, output]: [usize; 2]) {
        self.input_channels = input;
        self.output_channels = output;
    }

    fn tap_names(&self) -> Vec<String> {
        tap_names(self.depth)
    }
}

/// See the module header.
#[derive(Module, Debug)]
pub struct VNet {
    /// The stages on the way down, the bottleneck at d, and those on the way up.
    blocks: Vec<Vec<NormConv3d>>,
    /// Behind stage i.
    down: Vec<NormConv3d>,
    /// Deepest first.
    up: Vec<NormConvTranspose3d>,
    dropout: ChannelDropout,
    head: Conv3d,
    depth: usize,
    normed: bool,
}

impl Network for VNet {
    type Config = VNetConfig;

    const PAPER: &'static str = "Milletari et al. 2016, arXiv:1606.04797; as HiLab-git/SSL4MIS";
    const PARAMETERS: u64 = 9_448_866;
    const INPUT: &'static str = "any size (padded inside to a multiple of 2^depth), any channels";

    fn validate(model: &'static str, config: &VNetConfig) -> Result<(), ModelError> {
        check(model, "width", config.width, 2..=1024)?;
        check(model, "depth", config.depth, 1..=ORDINALS.len() / 2)?;
        if config.norm == NormKind::Group && !config.width.is_multiple_of(NormKind::GROUPS) {
            return Err(ModelError::Config {
                model,
                field: "width",
                allowed: format!("a multiple of {} with a group norm", NormKind::GROUPS),
                got: config.width.to_string(),
            });
        }
        check_dropout(model, config.dropout)?;
        Ok(())
    }

    fn new(config: &VNetConfig, device: &Device) -> Self {
        let (depth, norm) = (config.depth, config.norm);
        let c = |level: usize| config.width << level;
        let block = |index: usize| -> Vec<NormConv3d> {
            let level = if index > depth { 2 * depth - index } else { index };
            let input = if index == 0 { config.input_channels } else { c(level) };
            let layer = |i: usize| {
                NormConv3d::same(if i == 0 { input } else { c(level) }, c(level), norm, device)
            };
            (0..(level + 1).min(3)).map(layer).collect()
        };
        let down = |l: usize| NormConv3d::halving(c(l), c(l + 1), norm, device);
        let up = |l: usize| NormConvTranspose3d::doubling(c(l + 1), c(l), norm, device);
        let head = ConvShape::new(c(0), config.output_channels, [1; 3]);
        Self {
            blocks: (0..=2 * depth).map(block).collect(),
            down: (0..depth).map(down).collect(),
            up: (0..depth).rev().map(up).collect(),
            dropout: ChannelDropout::new(config.dropout),
            head: Conv3d::new(head, device),
            depth,
            normed: norm != NormKind::None,
        }
    }

    fn deduce(shapes: &Shapes) -> Option<VNetConfig> {
        let first = shapes.get("block_one.conv.0.weight")?;
        let down = |name: &&&str| shapes.contains_key(&format!("block_{name}_dw.conv.0.weight"));
        let has = |name: &str| shapes.contains_key(name);
        let norm = if has("block_one.conv.1.running_mean") {
            NormKind::Batch
        } else if has("block_one.conv.1.weight") {
            NormKind::Group
        } else if has("block_two.conv.3.weight") {
            // A norm without parameters stands between the convolutions.
            NormKind::Instance
        } else {
            NormKind::None
        };
        Some(VNetConfig {
            width: *first.first()?,
            depth: ORDINALS.iter().take_while(down).count(),
            norm,
            input_channels: *first.get(1)?,
            output_channels: *shapes.get("out_conv.weight")?.first()?,
            ..VNetConfig::default()
        })
    }

    fn official_name(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('.').collect();
        let ordinal = |index: &str, add: usize| -> Option<&str> {
            ORDINALS.get(index.parse::<usize>().ok()? + add).copied()
        };
        let (block, layer) = match &parts[..] {
            ["head", field] => return Some(format!("out_conv.{field}")),
            ["blocks", index, layer, rest @ ..] => {
                let step = if self.normed { 3 } else { 2 }; // conv, norm, ReLU
                let first = step * layer.parse::<usize>().ok()?;
                (ordinal(index, 0)?.to_owned(), official_norm_conv3d(rest, first)?)
            }
            ["down", index, rest @ ..] => {
                (format!("{}_dw", ordinal(index, 0)?), official_norm_conv3d(rest, 0)?)
            }
            ["up", index, rest @ ..] => {
                (format!("{}_up", ordinal(index, self.depth)?), official_norm_conv3d(rest, 0)?)
            }
            _ => return None,
        };
        Some(format!("block_{block}.conv.{layer}"))
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        Initial::pytorch_layer(name, shape)
    }
}

impl VNet {
    /// # Shapes
    /// - volume: `[B, C, D, H, W]`, sides divisible by `2^d`
    /// - taps: enc1..encd, bottleneck
    /// - the bottleneck again, for the decoder: `[B, w 2^d, D / 2^d, H / 2^d, W / 2^d]`
    pub(crate) fn encode(&self, volume: Tensor<5>) -> (Vec<Tap<5>>, Tensor<5>) {
        let mut taps = Vec::with_capacity(2 * self.depth + 1);
        let mut x = volume;
        for (level, name) in tap_names(self.depth).into_iter().take(self.depth + 1).enumerate() {
            if let Some(down) = level.checked_sub(1) {
                x = self.down[down].forward(x);
            }
            x = self.block(level, x);
            if level == self.depth {
                x = self.dropout.forward(x);
            }
            x = Tap::on(&mut taps, name, x); // [B, w 2^level, ..]
        }
        (taps, x)
    }

    /// # Shapes
    /// - skips: enc1..encd as [`encode`](Self::encode) gives them
    /// - below: the bottleneck
    /// - taps: decd..dec1
    /// - what the head reads: `[B, w, D, H, W]`
    pub(crate) fn decode(&self, skips: &[Tensor<5>], below: Tensor<5>) -> (Vec<Tap<5>>, Tensor<5>) {
        let mut taps = Vec::with_capacity(self.depth);
        let mut x = below;
        for (up, (level, skip)) in self.up.iter().zip(skips.iter().enumerate().rev()) {
            x = up.forward(x) + skip.clone();
            x = self.block(2 * self.depth - level, x);
            if level == 0 {
                x = self.dropout.forward(x);
            }
            x = Tap::on(&mut taps, format!("dec{}", level + 1), x); // [B, w 2^level, ..]
        }
        (taps, x)
    }

    fn block(&self, index: usize, x: Tensor<5>) -> Tensor<5> {
        self.blocks[index].iter().fold(x, |x, layer| layer.forward(x))
    }
}

impl VolumeNetwork for VNet {
    /// # Shapes
    /// - volume: `[B, C, D, H, W]`, any D, H and W
    /// - logits: `[B, K, D, H, W]` — *not* probabilities
    /// - taps: enc1..encd `[B, w 2^i, D / 2^i, H / 2^i, W / 2^i]`, bottleneck, decd..dec1
    fn forward(&self, volume: Tensor<5>) -> SegOutput<5> {
        let (volume, padding) = pad_to_multiple(volume, &[1 << self.depth; 3]);
        let (mut taps, bottleneck) = self.encode(volume);
        let skips: Vec<_> = taps[..self.depth].iter().map(|t| t.features.clone()).collect();
        let (way_up, x) = self.decode(&skips, bottleneck);
        taps.extend(way_up);
        let logits = crop(self.head.forward(x), &padding); // [B, K, D, H, W]
        SegOutput { logits, taps, aux: Vec::new(), padding }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::weights;

    fn built(config: &VNetConfig, device: &Device) -> VNet {
        let model = crate::ModelConfig::VNet(config.clone()).init(device, 1);
        let Ok(crate::Model::VNet(net)) = model else { panic!("of this kind") };
        net
    }

    fn small() -> VNetConfig {
        VNetConfig { width: 4, depth: 2, ..VNetConfig::default() }
    }

    #[test]
    fn stages_have_the_convolutions_and_names_of_the_reference() {
        let config = VNetConfig { width: 2, depth: 4, ..VNetConfig::default() };
        let net = built(&config, &Device::flex());
        let counts: Vec<usize> = net.blocks.iter().map(Vec::len).collect();
        assert_eq!(counts, [1, 2, 3, 3, 3, 3, 3, 2, 1]);
        let name = |path: &str| net.official_name(path).unwrap();
        assert_eq!(name("blocks.4.2.norm.batch.beta"), "block_five.conv.7.bias");
        assert_eq!(name("down.3.conv.weight"), "block_four_dw.conv.0.weight");
        assert_eq!(name("up.0.norm.batch.gamma"), "block_five_up.conv.1.weight");
        assert_eq!(name("head.bias"), "out_conv.bias");
        let net = built(&VNetConfig { norm: NormKind::None, ..config }, &Device::flex());
        let name = net.official_name("blocks.4.2.conv.bias").unwrap();
        assert_eq!(name, "block_five.conv.4.bias", "a ReLU alone stands between the convolutions");
    }

    /// Whole channels of the bottleneck and of the last stage, and nothing in evaluation.
    #[test]
    fn channels_are_dropped_behind_the_bottleneck_and_the_last_stage() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let noise = Distribution::Uniform(-1.0, 1.0);
        let volume = Tensor::<5>::random([2, 1, 8, 8, 8], noise, &device);
        let zeros = |net: &VNet| -> Vec<(String, bool)> {
            let taps = net.forward(volume.clone()).taps;
            let dropped = |t: &Tensor<5>| {
                let values: Vec<f32> = t.to_data().iter::<f32>().collect();
                let voxels = t.dims()[2..].iter().product();
                values.chunks_exact(voxels).any(|channel| channel.iter().all(|v| *v == 0.0))
            };
            taps.iter().map(|t| (t.name.clone(), dropped(&t.features))).collect()
        };
        let of = |names: &[&str]| -> Vec<(String, bool)> {
            tap_names(2).into_iter().map(|n| (n.clone(), names.contains(&n.as_str()))).collect()
        };
        let config = VNetConfig { dropout: 0.9, ..small() };
        let net = built(&config, &device);
        assert_eq!(zeros(&net), of(&["bottleneck", "dec1"]));
        assert_eq!(zeros(&built(&VNetConfig { dropout: 0.0, ..config }, &device)), of(&[]));
    }

    #[test]
    fn weights_start_as_those_of_pytorch() {
        let model = crate::ModelConfig::VNet(small()).init(&Device::flex(), 1).unwrap();
        let all = weights::export(&model);
        let largest = |name: &str| -> f64 {
            all[name].data.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())))
        };
        // 8 channels of 27 voxels; a transposed one counts what it leads to, 8 channels of 8 voxels.
        for (layer, fan_in) in [("block_two.conv.3", 216.0_f64), ("block_three_up.conv.0", 64.0)] {
            let bound = 1.0 / fan_in.sqrt();
            for field in ["weight", "bias"] {
                let found = largest(&format!("{layer}.{field}"));
                assert!(found <= bound && found > 0.5 * bound, "{layer}.{field}: {found}");
            }
        }
        assert!(all["block_two.conv.4.weight"].data.iter().all(|v| *v == 1.0));
        assert!(all["block_two.conv.4.bias"].data.iter().all(|v| *v == 0.0));
    }

    #[test]
    fn groups_must_divide_the_width() {
        let config = VNetConfig { width: 8, norm: NormKind::Group, ..VNetConfig::default() };
        let error = VNet::validate("vnet", &config).unwrap_err().to_string();
        assert!(
            error.contains("width must be a multiple of 16 with a group norm, got 8"),
            "{error}"
        );
        assert!(VNet::validate("vnet", &VNetConfig { width: 32, ..config }).is_ok());
        for dropout in [1.0, -0.1, f64::NAN] {
            let config = VNetConfig { dropout, ..VNetConfig::default() };
            let error = VNet::validate("vnet", &config).unwrap_err().to_string();
            assert!(error.contains("dropout must be at least 0 and less than 1"), "{error}");
        }
    }
}
