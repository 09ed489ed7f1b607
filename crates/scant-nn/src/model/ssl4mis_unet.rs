//! The small U-Net that semi-supervised methods of the field compare themselves on.
//!
//! Paper: Ronneberger et al. 2015, arXiv:1505.04597. Reference: HiLab-git/SSL4MIS
//! `code/networks/unet.py`, `UNet` (borrowed there from HiLab-git/PyMIC), checked by
//! `tests/parity.rs`.
//!
//! Legend: B batch · C channels · H, W pixels at this stage · w width · d depth · K logits.
//!
//! Unlike [`super::unet`]: a quarter of the width, LeakyReLU 0.01, dropout inside the stages of the
//! encoder, up-sampling by a 1x1 convolution and bilinear interpolation with corners aligned (the
//! reference says `bilinear: False` in its parameters, but never passes it on), and a 3x3 head.
//! Weights start as PyTorch's defaults; the reference sets none of this network.
//!
//! # Deviations
//! Width, depth and dropout are free, and inputs whose sides do not divide by `2^d` are padded by their
//! edge and the logits cropped.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use scant_kernels::{max_pool2d, upsample_bilinear2d};
use serde::{Deserialize, Serialize};

use super::network::{Network, PlanarNetwork, Shapes, Sizes};
use super::unet_config::tap_names;
use super::{ModelError, check, check_dropout};
use crate::block::{Conv, DropoutDoubleConv, official_field};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::Initial;
use crate::{SegOutput, Tap};

/// Sizes of [`Ssl4misUNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ssl4misUNetConfig {
    /// Channels of the first stage; doubled at every level. The published network uses 16.
    pub width: usize,
    /// How often the image is halved. The published network uses 4.
    pub depth: usize,
    /// Probability that a value is dropped inside a stage of the encoder, from full resolution to the
    /// bottleneck; where there are more stages, the last value holds for them. `[0.0]` drops nothing.
    pub dropout: Vec<f64>,
    /// Image channels.
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    pub output_channels: usize,
}

impl Default for Ssl4misUNetConfig {
    fn default() -> Self {
        let dropout = vec![0.05, 0.1, 0.2, 0.3, 0.5];
        Self { width: 16, depth: 4, dropout, input_channels: 1, output_channels: 4 }
    }
}

impl Ssl4misUNetConfig {
    /// Channels of stage `level`, 0 being full resolution.
    fn channels(&self, level: usize) -> usize {
        self.width << level
    }

    /// Probability that a value is dropped in stage `level` of the encoder.
    fn dropout(&self, level: usize) -> f64 {
        self.dropout.get(level).or(self.dropout.last()).copied().unwrap_or(0.0)
    }
}

impl Sizes for Ssl4misUNetConfig {
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
pub struct Ssl4misUNet {
    /// Stages 0..=d; the last is the bottleneck.
    encoder: Vec<DropoutDoubleConv>,
    /// 1x1, halving the channels of the map from below. Deepest first.
    reduce: Vec<Conv>,
    /// Deepest first.
    decoder: Vec<DropoutDoubleConv>,
    head: Conv,
    depth: usize,
}

impl Network for Ssl4misUNet {
    type Config = Ssl4misUNetConfig;

    const PAPER: &'static str =
        "Ronneberger et al. 2015, arXiv:1505.04597; small, with dropout, as HiLab-git/SSL4MIS";
    const PARAMETERS: u64 = 1_813_764;
    const INPUT: &'static str = "any size (padded inside to a multiple of 2^depth), any channels";

    fn validate(model: &'static str, config: &Ssl4misUNetConfig) -> Result<(), ModelError> {
        check(model, "width", config.width, 2..=1024)?;
        check(model, "depth", config.depth, 1..=7)?;
        check(model, "number of dropout values", config.dropout.len(), 1..=8)?;
        for probability in &config.dropout {
            check_dropout(model, *probability)?;
        }
        Ok(())
    }

    fn new(config: &Ssl4misUNetConfig, device: &Device) -> Self {
        let c = |level| config.channels(level);
        let levels = || (0..config.depth).rev();
        let stage = |level: usize| {
            let input = if level == 0 { config.input_channels } else { c(level - 1) };
            DropoutDoubleConv::new(input, c(level), config.dropout(level), device)
        };
        let mirrored = |l| DropoutDoubleConv::new(2 * c(l), c(l), 0.0, device);
        Self {
            encoder: (0..=config.depth).map(stage).collect(),
            reduce: levels().map(|l| Conv::new(c(l + 1), c(l), 1, device)).collect(),
            decoder: levels().map(mirrored).collect(),
            head: Conv::new(c(0), config.output_channels, 3, device),
            depth: config.depth,
        }
    }

    fn deduce(shapes: &Shapes) -> Option<Ssl4misUNetConfig> {
        let first = shapes.get("encoder.in_conv.conv_conv.0.weight")?;
        let stage = |i: &usize| format!("encoder.down{i}.maxpool_conv.1.conv_conv.0.weight");
        Some(Ssl4misUNetConfig {
            width: *first.first()?,
            depth: (1..).take_while(|i| shapes.contains_key(&stage(i))).count(),
            input_channels: *first.get(1)?,
            output_channels: *shapes.get("decoder.out_conv.weight")?.first()?,
            ..Ssl4misUNetConfig::default()
        })
    }

    fn official_name(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('.').collect();
        let (stage, part, field) = match parts[..] {
            ["head", field] => return Some(format!("decoder.out_conv.{field}")),
            ["reduce", i, field] => {
                let i: usize = i.parse().ok()?;
                return Some(format!("decoder.up{}.conv1x1.{field}", i + 1));
            }
            ["encoder", "0", part, field] => ("encoder.in_conv".to_owned(), part, field),
            ["encoder", i, part, field] => (format!("encoder.down{i}.maxpool_conv.1"), part, field),
            ["decoder", i, part, field] => {
                let i: usize = i.parse().ok()?;
                (format!("decoder.up{}.conv", i + 1), part, field)
            }
            _ => return None,
        };
        let part = DropoutDoubleConv::official(part)?;
        Some(format!("{stage}.conv_conv.{part}.{}", official_field(field)))
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        Initial::pytorch_layer(name, shape)
    }
}

impl Ssl4misUNet {
    /// # Shapes
    /// - image: `[B, C, H, W]`, sides divisible by `2^d`
    /// - taps: enc1..encd, bottleneck
    /// - the bottleneck again, for the decoder: `[B, w 2^d, H / 2^d, W / 2^d]`
    pub(crate) fn encode(&self, image: Tensor<4>) -> (Vec<Tap>, Tensor<4>) {
        let mut taps = Vec::with_capacity(2 * self.depth + 1);
        let mut x = image;
        for (level, (stage, name)) in self.encoder.iter().zip(tap_names(self.depth)).enumerate() {
            if level > 0 {
                x = max_pool2d(x, [2, 2], [2, 2], [0, 0]);
            }
            x = Tap::on(&mut taps, name, stage.forward(x)); // [B, w 2^level, ..]
        }
        (taps, x)
    }

    /// # Shapes
    /// - skips: enc1..encd as [`encode`](Self::encode) gives them
    /// - below: the bottleneck
    /// - taps: decd..dec1
    /// - what the head reads: `[B, w, H, W]`
    pub(crate) fn decode(&self, skips: &[Tensor<4>], below: Tensor<4>) -> (Vec<Tap>, Tensor<4>) {
        let mut taps = Vec::with_capacity(self.depth);
        let mut x = below;
        let stages = self.reduce.iter().zip(&self.decoder);
        for ((reduce, stage), (level, skip)) in stages.zip(skips.iter().enumerate().rev()) {
            let [_, _, rows, columns] = skip.dims();
            let up = upsample_bilinear2d(reduce.forward(x), [rows, columns], true);
            let map = stage.forward_joined(skip.clone(), up); // [B, w 2^level, ..]
            x = Tap::on(&mut taps, format!("dec{}", level + 1), map);
        }
        (taps, x)
    }
}

impl PlanarNetwork for Ssl4misUNet {
    /// # Shapes
    /// - image: `[B, C, H, W]`, any H and W
    /// - logits: `[B, K, H, W]` — *not* probabilities
    /// - taps: enc1..encd `[B, w 2^i, H / 2^i, W / 2^i]`, bottleneck, decd..dec1
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        let (image, padding) = pad_to_multiple(image, &[1 << self.depth; 2]);
        let (mut taps, bottleneck) = self.encode(image);
        let skips: Vec<_> = taps[..self.depth].iter().map(|t| t.features.clone()).collect();
        let (way_up, x) = self.decode(&skips, bottleneck);
        taps.extend(way_up);
        let logits = crop(self.head.forward(x), &padding); // [B, K, H, W]
        SegOutput { logits, taps, aux: Vec::new(), padding }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn the_last_dropout_holds_for_deeper_stages() {
        let config = Ssl4misUNetConfig { depth: 6, ..Ssl4misUNetConfig::default() };
        let all: Vec<f64> = (0..=6).map(|level| config.dropout(level)).collect();
        assert_eq!(all, [0.05, 0.1, 0.2, 0.3, 0.5, 0.5, 0.5]);
        let config = Ssl4misUNetConfig { dropout: vec![0.0], ..config };
        assert!((0..=6).all(|level| config.dropout(level) == 0.0));
    }

    #[test]
    fn dropout_must_leave_something() {
        let refused = |dropout: Vec<f64>| {
            let config = Ssl4misUNetConfig { dropout, ..Ssl4misUNetConfig::default() };
            Ssl4misUNet::validate("ssl4mis-unet", &config).unwrap_err().to_string()
        };
        assert!(
            refused(vec![0.1, 1.0]).contains("dropout must be at least 0 and less than 1, got 1")
        );
        assert!(refused(vec![]).contains("number of dropout values must be 1 to 8, got 0"));
    }

    /// Training draws anew every time, in the encoder only; evaluation draws nothing.
    #[test]
    fn dropout_is_that_of_the_encoder_while_training() {
        let device = Device::flex().autodiff();
        let config = Ssl4misUNetConfig { width: 4, depth: 2, ..Ssl4misUNetConfig::default() };
        let noise = |shape: [usize; 4]| {
            device.seed(3);
            Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
        };
        let (image, values) = (noise([2, 1, 8, 8]), |t: &Tensor<4>| -> Vec<f32> {
            t.to_data().iter::<f32>().collect()
        });
        let built = |config: &Ssl4misUNetConfig| {
            let model = crate::ModelConfig::Ssl4misUNet(config.clone()).init(&device, 1);
            let Ok(crate::Model::Ssl4misUNet(net)) = model else { panic!("of this kind") };
            net
        };
        let net = built(&config);
        let encoded = |net: &Ssl4misUNet| values(&net.encode(image.clone()).1);
        assert_ne!(encoded(&net), encoded(&net));
        let skips = [noise([2, 4, 8, 8]), noise([2, 8, 4, 4])];
        let below = noise([2, 16, 2, 2]);
        let decoded = || values(&net.decode(&skips, below.clone()).1);
        assert_eq!(decoded(), decoded());
        let none = built(&Ssl4misUNetConfig { dropout: vec![0.0], ..config });
        assert_eq!(encoded(&none), encoded(&none));
        let frozen = net.freeze();
        assert_eq!(encoded(&frozen), encoded(&frozen));
    }
}
