//! 3-D U-Net as the semi-supervised methods for volumes use it.
//!
//! Paper: Çiçek et al. 2016, arXiv:1606.06650. Reference: HiLab-git/SSL4MIS
//! `code/networks/unet_3D.py`, `unet_3D`, and the blocks in `utils.py` there (borrowed from
//! ozan-oktay/Attention-Gated-Networks), with the arguments of its `net_factory_3d`; checked against
//! it on generated weights.
//!
//! Legend: B batch · C channels · D, H, W voxels at this stage · w width · d depth · K logits.
//!
//! A stage is twice conv3³ → instance norm without parameters → ReLU. (The reference calls the norm
//! `is_batchnorm`, but builds `InstanceNorm3d`.) Max pooling leads down, trilinear interpolation up;
//! skip and map from below are joined. Weights start normal with variance 2 / fan-in, biases as
//! PyTorch's default; those before a norm have no effect.
//!
//! # Deviations
//! - From the paper, as in the reference: padded convolutions, a quarter of the width with channels
//!   doubled between the stages, interpolation in place of a transposed convolution, dropout (0.3)
//!   behind the bottleneck and behind the last stage.
//! - From the reference: width, depth and dropout are free, and inputs whose sides do not divide by
//!   `2^d` are padded by their edge and the logits cropped. Taps of a stage with dropout are behind it.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};
use scant_kernels::{max_pool3d, upsample_trilinear3d};
use serde::{Deserialize, Serialize};

use super::network::{Network, Shapes, Sizes, VolumeNetwork};
use super::unet_config::tap_names;
use super::{ModelError, check, check_dropout};
use crate::block::{Conv3d, ConvShape, NormConv3d, NormKind, official_norm_conv3d};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::Initial;
use crate::{SegOutput, Tap};

/// Sizes of [`UNet3d`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNet3dConfig {
    /// Channels of the first stage; doubled at every level. The published network uses 16.
    pub width: usize,
    /// How often the volume is halved. The published network uses 4.
    pub depth: usize,
    /// Probability that a value of the bottleneck, or of the last stage, is dropped while training.
    /// The published network uses 0.3.
    pub dropout: f64,
    /// Channels of the volume.
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    pub output_channels: usize,
}

impl Default for UNet3dConfig {
    fn default() -> Self {
        Self { width: 16, depth: 4, dropout: 0.3, input_channels: 1, output_channels: 2 }
    }
}

impl Sizes for UNet3dConfig {
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

/// conv3³ → instance norm → ReLU, twice (`UnetConv3` of the reference).
#[derive(Module, Debug)]
struct Stage {
    conv1: NormConv3d,
    conv2: NormConv3d,
}

impl Stage {
    fn new(input: usize, output: usize, device: &Device) -> Self {
        Self {
            conv1: NormConv3d::same(input, output, NormKind::Instance, device),
            conv2: NormConv3d::same(output, output, NormKind::Instance, device),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.conv2.forward(self.conv1.forward(x))
    }
}

/// See the module header.
#[derive(Module, Debug)]
pub struct UNet3d {
    /// Stages 0..=d; the last is the bottleneck.
    encoder: Vec<Stage>,
    /// Deepest first.
    decoder: Vec<Stage>,
    dropout: Dropout,
    head: Conv3d,
    depth: usize,
}

impl Network for UNet3d {
    type Config = UNet3dConfig;

    const PAPER: &'static str =
        "Cicek et al. 2016, arXiv:1606.06650; with instance norm as HiLab-git/SSL4MIS";
    const PARAMETERS: u64 = 5_884_050;
    const INPUT: &'static str = "any size (padded inside to a multiple of 2^depth), any channels";

    fn validate(model: &'static str, config: &UNet3dConfig) -> Result<(), ModelError> {
        check(model, "width", config.width, 2..=1024)?;
        check(model, "depth", config.depth, 1..=7)?;
        check_dropout(model, config.dropout)?;
        Ok(())
    }

    fn new(config: &UNet3dConfig, device: &Device) -> Self {
        let c = |level: usize| config.width << level;
        let stage = |level: usize| {
            let input = if level == 0 { config.input_channels } else { c(level - 1) };
            Stage::new(input, c(level), device)
        };
        let mirrored = |l: usize| Stage::new(c(l) + c(l + 1), c(l), device);
        let head = ConvShape::new(c(0), config.output_channels, [1; 3]);
        Self {
            encoder: (0..=config.depth).map(stage).collect(),
            decoder: (0..config.depth).rev().map(mirrored).collect(),
            dropout: DropoutConfig::new(config.dropout).init(),
            head: Conv3d::new(head, device),
            depth: config.depth,
        }
    }

    fn deduce(shapes: &Shapes) -> Option<UNet3dConfig> {
        let first = shapes.get("conv1.conv1.0.weight")?;
        let stage = |i: &usize| shapes.contains_key(&format!("conv{i}.conv1.0.weight"));
        Some(UNet3dConfig {
            width: *first.first()?,
            depth: (1..).take_while(stage).count(),
            input_channels: *first.get(1)?,
            output_channels: *shapes.get("final.weight")?.first()?,
            ..UNet3dConfig::default()
        })
    }

    fn official_name(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('.').collect();
        let (first, index, part, rest) = match &parts[..] {
            ["head", field] => return Some(format!("final.{field}")),
            [first, index, part, rest @ ..] => (*first, index.parse::<usize>().ok()?, part, rest),
            _ => return None,
        };
        let stage = match first {
            "encoder" if index == self.depth => "center".to_owned(),
            "encoder" => format!("conv{}", index + 1),
            "decoder" => format!("up_concat{}.conv", self.depth - index),
            _ => return None,
        };
        Some(format!("{stage}.{part}.{}", official_norm_conv3d(rest, 0)?))
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        match shape {
            [_, rest @ ..] if !rest.is_empty() => Initial::he(rest.iter().product()),
            _ => Initial::pytorch_layer(name, shape),
        }
    }
}

impl UNet3d {
    /// # Shapes
    /// - volume: `[B, C, D, H, W]`, sides divisible by `2^d`
    /// - taps: enc1..encd, bottleneck
    /// - the bottleneck again, for the decoder: `[B, w 2^d, D / 2^d, H / 2^d, W / 2^d]`
    pub(crate) fn encode(&self, volume: Tensor<5>) -> (Vec<Tap<5>>, Tensor<5>) {
        let mut taps = Vec::with_capacity(2 * self.depth + 1);
        let mut x = volume;
        for (level, (stage, name)) in self.encoder.iter().zip(tap_names(self.depth)).enumerate() {
            if level > 0 {
                x = max_pool3d(x, [2; 3], [2; 3], [0; 3]);
            }
            x = stage.forward(x);
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
        for (stage, (level, skip)) in self.decoder.iter().zip(skips.iter().enumerate().rev()) {
            let [_, _, depth, rows, columns] = skip.dims();
            let up = upsample_trilinear3d(x, [depth, rows, columns], false);
            x = stage.forward(Tensor::cat(vec![skip.clone(), up], 1));
            if level == 0 {
                x = self.dropout.forward(x);
            }
            x = Tap::on(&mut taps, format!("dec{}", level + 1), x); // [B, w 2^level, ..]
        }
        (taps, x)
    }
}

impl VolumeNetwork for UNet3d {
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

    fn built(dropout: f64, device: &Device) -> UNet3d {
        let config = UNet3dConfig { width: 4, depth: 2, dropout, ..UNet3dConfig::default() };
        let model = crate::ModelConfig::UNet3d(config).init(device, 1);
        let Ok(crate::Model::UNet3d(net)) = model else { panic!("of this kind") };
        net
    }

    #[test]
    fn names_are_those_of_the_reference() {
        let net = built(0.3, &Device::flex());
        let name = |path: &str| net.official_name(path).unwrap();
        assert_eq!(name("encoder.0.conv1.conv.weight"), "conv1.conv1.0.weight");
        assert_eq!(name("encoder.2.conv2.conv.bias"), "center.conv2.0.bias");
        assert_eq!(name("decoder.0.conv1.conv.weight"), "up_concat2.conv.conv1.0.weight");
        assert_eq!(name("head.weight"), "final.weight");
    }

    /// Of the bottleneck and the last stage more than the half below zero is zero.
    #[test]
    fn values_are_dropped_behind_the_bottleneck_and_the_last_stage() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let noise = Distribution::Uniform(-1.0, 1.0);
        let volume = Tensor::<5>::random([1, 1, 16, 16, 16], noise, &device);
        let zeros = |net: &UNet3d| -> Vec<f64> {
            let taps = net.forward(volume.clone()).taps;
            let part = |t: &Tensor<5>| {
                let values: Vec<f32> = t.to_data().iter::<f32>().collect();
                values.iter().filter(|v| **v == 0.0).count() as f64 / values.len() as f64
            };
            taps.iter().map(|t| part(&t.features)).collect()
        };
        let (some, none) = (zeros(&built(0.9, &device)), zeros(&built(0.0, &device)));
        // enc1, enc2, bottleneck, dec2, dec1
        for (at, (some, none)) in some.iter().zip(&none).enumerate() {
            assert!((0.2..0.8).contains(none), "{at}: {none}");
            assert_eq!(*some > 0.9, at == 2 || at == 4, "{at}: {some}");
        }
    }
}
