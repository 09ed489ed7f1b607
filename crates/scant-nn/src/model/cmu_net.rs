//! CMU-Net: a U-Net with a ConvMixer at its bottom and multi-scale attention on its skips.
//!
//! Paper: Tang et al. 2023, arXiv:2210.13012. Reference: FengheTan9/CMU-Net
//! `src/network/CMUNet.py`, `CMUNet`, checked by `tests/parity.rs`.
//!
//! Legend: B batch · C channels · H, W pixels at this stage · w width · d depth · K logits.
//!
//! # Initial values
//! The reference has none of its own, so PyTorch's defaults: kernels and biases of convolutions
//! uniform within 1 / sqrt(fan-in).
//!
//! # Deviations
//! From the reference: width, depth and input size are free (see [`super::unet`]), and with them the
//! channels of the ConvMixer.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::network::{Network, PlanarNetwork, Shapes};
use super::{CmuNetConfig, ModelError, unet};
use crate::block::{
    Activation, Conv, ConvMixer, DoubleConv, Encoder, MixerResidual, MixerShape, MultiScaleGate,
    NormConstants, UpConv, official_field,
};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::Initial;
use crate::{SegOutput, Tap};

/// Whose CMU-Net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// The published network.
    Tang,
    /// See [`super::cmu_net_roy`].
    Roy,
}

/// See the module header.
#[derive(Module, Debug)]
pub struct CmuNet {
    /// Stages 0..=d.
    encoder: Encoder,
    /// Behind the last stage.
    mixer: ConvMixer,
    /// Deepest first.
    up: Vec<UpConv>,
    /// Deepest first.
    gates: Vec<MultiScaleGate>,
    /// Deepest first.
    decoder: Vec<DoubleConv>,
    head: Conv,
    #[module(skip)]
    config: CmuNetConfig,
}

impl CmuNet {
    /// Builds the network with all parameters zero.
    pub(super) fn flavoured(config: &CmuNetConfig, flavour: Flavour, device: &Device) -> Self {
        let c = |level| config.channels(level);
        let channels: Vec<usize> = (0..=config.depth).map(c).collect();
        let levels = || (0..config.depth).rev();
        let (norm, activation, residual) = match flavour {
            Flavour::Tang => (NormConstants::PYTORCH, Activation::Gelu, MixerResidual::Depthwise),
            Flavour::Roy => (NormConstants::KERAS, Activation::Relu, MixerResidual::Layer),
        };
        let mixer = MixerShape {
            channels: c(config.depth),
            depth: config.mixer_depth,
            kernel: config.mixer_kernel,
            activation,
            residual,
            norm,
        };
        let gate = |channels| match flavour {
            Flavour::Tang => MultiScaleGate::new(channels, device),
            Flavour::Roy => MultiScaleGate::with_shared_norm(channels, norm, device),
        };
        let joined = |l| DoubleConv::with_norm(2 * c(l), c(l), norm, device);
        Self {
            encoder: Encoder::with_norm(config.input_channels, &channels, norm, device),
            mixer: ConvMixer::new(mixer, device),
            up: levels().map(|l| UpConv::with_norm(c(l + 1), c(l), norm, device)).collect(),
            gates: levels().map(|l| gate(c(l))).collect(),
            decoder: levels().map(joined).collect(),
            head: Conv::new(c(0), config.output_channels, 1, device),
            config: config.clone(),
        }
    }

    /// The sizes it was built with.
    pub(super) fn config(&self) -> &CmuNetConfig {
        &self.config
    }
}

impl Network for CmuNet {
    type Config = CmuNetConfig;

    const PAPER: &'static str =
        "Tang et al. 2023, arXiv:2210.13012; ConvMixer and multi-scale gates as FengheTan9/CMU-Net";
    const PARAMETERS: u64 = 49_932_353;
    const INPUT: &'static str = "any size (padded inside to a multiple of 2^depth), any channels";

    fn validate(model: &'static str, config: &CmuNetConfig) -> Result<(), ModelError> {
        config.validate(model)
    }

    fn new(config: &CmuNetConfig, device: &Device) -> Self {
        Self::flavoured(config, Flavour::Tang, device)
    }

    fn deduce(shapes: &Shapes) -> Option<CmuNetConfig> {
        // A norm for every branch of a gate tells this network from its sister.
        shapes.get("msag1.pointwiseConv.1.weight")?;
        CmuNetConfig::deduce(shapes)
    }

    fn official_name(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["mixer", "layers", layer, half, part, field] => {
                let part = ConvMixer::official(half, part)?;
                Some(format!("ConvMixer.block.{layer}.{part}.{}", official_field(field)))
            }
            ["gates", index, ref part @ .., field] => {
                let index: usize = index.parse().ok()?;
                let part = self.gates.get(index)?.official(part)?;
                let stage = self.config.depth - index;
                Some(format!("msag{stage}.{part}.{}", official_field(field)))
            }
            _ => unet::official_name(path, self.config.depth),
        }
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        Initial::pytorch_layer(name, shape)
    }
}

impl PlanarNetwork for CmuNet {
    /// # Shapes
    /// - image: `[B, C, H, W]`, any H and W
    /// - logits: `[B, K, H, W]` — *not* probabilities
    /// - taps: enc1..encd `[B, w 2^i, H / 2^i, W / 2^i]`, bottleneck (behind the ConvMixer),
    ///   decd..dec1
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        let depth = self.config.depth;
        let (image, padding) = pad_to_multiple(image, &[1 << depth; 2]);
        let mut taps = self.encoder.forward(image);
        let deepest = taps.pop().expect("an encoder has stages").features;
        let mixed = self.mixer.forward(deepest); // [B, w 2^d, H / 2^d, W / 2^d]
        let mut x = Tap::on(&mut taps, "bottleneck", mixed);
        let stages = self.up.iter().zip(&self.gates).zip(&self.decoder);
        for (i, ((up, gate), stage)) in stages.enumerate() {
            let level = depth - 1 - i;
            let skip = gate.forward(taps[level].features.clone()); // [B, w 2^level, ..]
            x = stage.forward_joined(skip, up.forward(x)); // [B, w 2^level, ..]
            x = Tap::on(&mut taps, format!("dec{}", level + 1), x);
        }
        let logits = crop(self.head.forward(x), &padding); // [B, K, H, W]
        SegOutput { logits, taps, aux: Vec::new(), padding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Model, ModelConfig, weights};

    #[test]
    fn initial_values_are_those_of_pytorch() {
        let config = CmuNetConfig { width: 4, depth: 2, mixer_depth: 2, ..Default::default() };
        let model = ModelConfig::CmuNet(config).init(&Device::flex(), 1).unwrap();
        let weights = weights::export(&model);
        let largest = |name: &str| weights[name].data.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        for (layer, fan_in) in [
            ("Conv1.conv.0", 27),
            ("Up_conv3.conv.0", 9 * 16),
            ("ConvMixer.block.1.0.fn.0", 49),
            ("ConvMixer.block.1.1", 16),
            ("msag2.dilationConv.0", 9 * 8),
            ("msag2.voteConv.0", 3 * 8),
        ] {
            let bound = 1.0 / (fan_in as f32).sqrt();
            for field in ["weight", "bias"] {
                let largest = largest(&format!("{layer}.{field}"));
                let fits = (0.3 * bound..=bound).contains(&largest);
                assert!(fits, "{layer}.{field}: {largest}, bound {bound}");
            }
        }
        assert_eq!(weights["msag2.voteConv.1.weight"].data, [1.0; 8]);
        assert_eq!(weights["msag2.voteConv.1.bias"].data, [0.0; 8]);
    }

    /// Behind the ConvMixer, as the authors of the feature discrepancy loss tap it.
    #[test]
    fn the_bottleneck_is_tapped_behind_the_mixer() {
        let config = CmuNetConfig { width: 2, depth: 1, ..Default::default() };
        let model = ModelConfig::CmuNet(config).init(&Device::flex(), 2).unwrap();
        let Model::CmuNet(net) = model else { panic!("another network") };
        let image = Tensor::arange(0..48, &Device::flex()).float().reshape([1, 3, 4, 4]);
        let deepest = net.encoder.forward(image.clone()).remove(1).features;
        let mixed = net.mixer.forward(deepest.clone());
        assert_ne!(mixed.to_data(), deepest.to_data());
        let out = net.forward(image);
        assert_eq!((out.taps[1].name.as_str(), out.taps.len()), ("bottleneck", 3));
        assert_eq!(out.taps[1].features.to_data(), mixed.to_data());
    }
}
