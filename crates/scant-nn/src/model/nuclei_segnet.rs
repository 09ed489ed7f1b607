//! NucleiSegNet: residual blocks with separable convolutions, a decoder with attention.
//!
//! Paper: Lal et al. 2021, doi:10.1016/j.compbiomed.2020.104075. Reference: shyamfec/NucleiSegNet
//! `model.py` and, the same graph, AyushRoy2001/Exchangeable-feature-disentanglement `nusegnet.py`,
//! both in Keras, checked by `tests/parity.rs`.
//!
//! Legend: B batch · C channels · H, W pixels at this stage · w width · d depth · K logits.
//!
//! Activations come before batch norms everywhere.
//!
//! # Names
//! The reference has none. Here they are, with `encoder.0` at full resolution and decoder, gates and
//! up-sampling from the deepest, always `{..}.conv.{weight,bias}` and
//! `{..}.norm.{weight,bias,running_mean,running_var}` of:
//! `encoder.{i}.{first,pointwise,third,last}` (and `encoder.{i}.depthwise.weight`),
//! `bottleneck.{0,1,2}`, `gates.{i}.psi`, `decoder.{i}.{0,1}`; without norm
//! `gates.{i}.{gating,phi,theta}`, `up.{i}`, `head`.
//!
//! Both references list their tensors in the same order, see [`crate::weights::from_keras`]; the head
//! is called `OUT` in the latter and has a number in the former.
//!
//! # Initial values
//! As the reference: kernels normal by Glorot, cut at two deviations, biases 0.1; those of separable
//! convolutions, ψ and the head uniform by Glorot, biases of ψ and the head 0; offsets of norms 0.01
//! in the encoder, else 0.
//!
//! # Deviations
//! - Width, depth and input size are free (see [`super::unet`]); the network ends with logits, the
//!   reference with their sigmoid.
//! - The running variance is moved by the unbiased variance of a batch, as in PyTorch.

mod gate;
mod residual;

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use scant_kernels::max_pool2d;

use self::gate::SkipGate;
use self::residual::RobustResidual;
use super::network::{Network, PlanarNetwork, Shapes};
use super::{ModelError, NucleiSegNetConfig};
use crate::block::{
    Activation, Conv, ConvActivationNorm, ConvShape, ConvTranspose2d, ConvTransposeShape,
    NormConstants, official_field,
};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::Initial;
use crate::weights::keras::{self, KerasOrder, KerasTensor};
use crate::{SegOutput, Tap};

/// Of all its batch norms.
const NORM: NormConstants = NormConstants { epsilon: 1e-3, momentum: 0.5 };

/// Padded convolution → ReLU → batch norm.
fn conv_relu_norm(
    input: usize,
    output: usize,
    kernel: usize,
    device: &Device,
) -> ConvActivationNorm {
    let shape = ConvShape::new(input, output, [kernel; 2]).padded();
    ConvActivationNorm::new(shape, Activation::Relu, NORM, device)
}

/// See the module header.
#[derive(Module, Debug)]
pub struct NucleiSegNet {
    encoder: Vec<RobustResidual>,
    bottleneck: Vec<ConvActivationNorm>,
    /// Deepest first.
    gates: Vec<SkipGate>,
    /// Deepest first.
    up: Vec<ConvTranspose2d>,
    /// Deepest first.
    decoder: Vec<Vec<ConvActivationNorm>>,
    head: Conv,
}

impl Network for NucleiSegNet {
    type Config = NucleiSegNetConfig;

    const PAPER: &'static str =
        "Lal et al. 2021, doi:10.1016/j.compbiomed.2020.104075; as shyamfec/NucleiSegNet";
    const PARAMETERS: u64 = 12_395_713;
    const INPUT: &'static str = "any size (padded inside to a multiple of 2^depth), any channels";

    fn validate(model: &'static str, config: &NucleiSegNetConfig) -> Result<(), ModelError> {
        config.validate(model)
    }

    fn new(config: &NucleiSegNetConfig, device: &Device) -> Self {
        let c = |level| config.channels(level);
        let inputs = std::iter::once(config.input_channels).chain((0..config.depth - 1).map(c));
        let stage = |(level, input)| RobustResidual::new(input, c(level), device);
        let levels = || (0..config.depth).rev();
        let double = |input, output| {
            let first = conv_relu_norm(input, output, 3, device);
            vec![first, conv_relu_norm(output, output, 3, device)]
        };
        let mut bottleneck = double(c(config.depth - 1), c(config.depth));
        bottleneck.push(conv_relu_norm(c(config.depth), c(config.depth), 3, device));
        let up = |l| ConvTranspose2d::new(ConvTransposeShape::doubling(c(l + 1), c(l)), device);
        Self {
            encoder: inputs.enumerate().map(stage).collect(),
            bottleneck,
            gates: levels().map(|l| SkipGate::new(c(l + 1), c(l), device)).collect(),
            up: levels().map(up).collect(),
            decoder: levels().map(|l| double(2 * c(l), c(l))).collect(),
            head: Conv::new(c(0), config.output_channels, 1, device),
        }
    }

    fn deduce(shapes: &Shapes) -> Option<NucleiSegNetConfig> {
        let first = shapes.get("encoder.0.first.conv.weight")?;
        let stage = |i: &usize| shapes.contains_key(&format!("encoder.{i}.first.conv.weight"));
        Some(NucleiSegNetConfig {
            width: *first.first()?,
            depth: (0..).take_while(stage).count(),
            input_channels: *first.get(1)?,
            output_channels: *shapes.get("head.weight")?.first()?,
        })
    }

    fn official_name(&self, path: &str) -> Option<String> {
        let (layer, field) = path.rsplit_once('.')?;
        Some(format!("{layer}.{}", official_field(field)))
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        let uniform = ["depthwise", "pointwise.conv", "psi.conv", "head"];
        let (layer, field) = name.rsplit_once('.').unwrap_or((name, ""));
        match *shape {
            // Keras takes the channels of a depthwise kernel for its inputs, each with one output.
            [channels, 1, rows, columns] if layer.ends_with("depthwise") => {
                Initial::glorot_uniform(channels * rows * columns, rows * columns)
            }
            [output, input, rows, columns] => {
                let fans = (input * rows * columns, output * rows * columns);
                let uniform = uniform.iter().any(|part| layer.ends_with(part));
                let by = if uniform { Initial::glorot_uniform } else { Initial::glorot_cut };
                by(fans.0, fans.1)
            }
            _ if field != "bias" => Initial::usual(name, shape),
            _ if layer.ends_with("norm") && layer.starts_with("encoder") => Initial::Constant(0.01),
            _ if layer.ends_with("norm") => Initial::Constant(0.0),
            _ if layer.ends_with("psi.conv") || layer == "head" => Initial::Constant(0.0),
            _ => Initial::Constant(0.1),
        }
    }

    fn keras_order(&self) -> Option<Vec<KerasTensor>> {
        Some(keras_order(self.encoder.len()))
    }

    fn deduce_keras(shapes: &[Vec<usize>]) -> Option<NucleiSegNetConfig> {
        // 51 tensors per level, 18 at the bottom and 2 at the end.
        let depth = shapes.len().checked_sub(20)? / 51;
        Self::deduce(&keras::named_shapes(&keras_order(depth), shapes)?)
    }
}

impl PlanarNetwork for NucleiSegNet {
    /// # Shapes
    /// - image: `[B, C, H, W]`, any H and W
    /// - logits: `[B, K, H, W]` — *not* probabilities
    /// - taps: enc1..encd `[B, w 2^i, H / 2^i, W / 2^i]`, bottleneck, decd..dec1
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        let depth = self.encoder.len();
        let (image, padding) = pad_to_multiple(image, &[1 << depth; 2]);
        let mut taps: Vec<Tap> = Vec::with_capacity(2 * depth + 1);
        let mut x = image;
        for (level, stage) in self.encoder.iter().enumerate() {
            x = stage.forward(x); // [B, w 2^level, ..]
            x = Tap::on(&mut taps, format!("enc{}", level + 1), x);
            x = max_pool2d(x, [2, 2], [2, 2], [0, 0]);
        }
        x = through(&self.bottleneck, x); // [B, w 2^d, H / 2^d, W / 2^d]
        x = Tap::on(&mut taps, "bottleneck", x);
        let stages = self.gates.iter().zip(&self.up).zip(&self.decoder);
        for (i, ((gate, up), stage)) in stages.enumerate() {
            let level = depth - 1 - i;
            let skip = gate.forward(x.clone(), taps[level].features.clone()); // [B, w 2^level, ..]
            let below = relu(up.forward(x)); // [B, w 2^level, ..]
            x = through(stage, Tensor::cat(vec![below, skip], 1));
            x = Tap::on(&mut taps, format!("dec{}", level + 1), x);
        }
        let logits = crop(self.head.forward(x), &padding); // [B, K, H, W]
        SegOutput { logits, taps, aux: Vec::new(), padding }
    }
}

/// One layer after the other.
fn through(layers: &[ConvActivationNorm], x: Tensor<4>) -> Tensor<4> {
    layers.iter().fold(x, |x, layer| layer.forward(x))
}

/// See [`Network::keras_order`]. Keras lists the layers by their distance from the output: of a gate
/// φ, whose map is still to be enlarged, before θ, which was made first.
fn keras_order(depth: usize) -> Vec<KerasTensor> {
    let mut order = KerasOrder::default();
    let layer = |order: &mut KerasOrder, name: String, conv: usize, norm: usize| {
        order.conv(conv, &format!("{name}.conv"));
        order.norm(norm, &format!("{name}.norm"));
    };
    for i in 0..depth {
        let (stage, conv, norm) = (format!("encoder.{i}"), 3 * i, 4 * i);
        layer(&mut order, format!("{stage}.first"), conv, norm);
        let (depthwise, pointwise) = (format!("{stage}.depthwise"), format!("{stage}.pointwise"));
        order.separable(i, &depthwise, &format!("{pointwise}.conv"));
        order.norm(norm + 1, &format!("{pointwise}.norm"));
        layer(&mut order, format!("{stage}.third"), conv + 1, norm + 2);
        layer(&mut order, format!("{stage}.last"), conv + 2, norm + 3);
    }
    for i in 0..3 {
        layer(&mut order, format!("bottleneck.{i}"), 3 * depth + i, 4 * depth + i);
    }
    for i in 0..depth {
        let (conv, norm) = (3 * (depth + 1) + 6 * i, 4 * depth + 3 + 3 * i);
        for (part, number) in [("gating", 0), ("phi", 2), ("theta", 1)] {
            order.conv(conv + number, &format!("gates.{i}.{part}"));
        }
        layer(&mut order, format!("gates.{i}.psi"), conv + 3, norm);
        order.transposed(i, &format!("up.{i}"));
        layer(&mut order, format!("decoder.{i}.0"), conv + 4, norm + 1);
        layer(&mut order, format!("decoder.{i}.1"), conv + 5, norm + 2);
    }
    order.conv_called("OUT", "head");
    order.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelConfig, weights};

    #[test]
    fn initial_values_are_those_of_the_reference() {
        let config =
            NucleiSegNetConfig { width: 8, depth: 2, input_channels: 3, output_channels: 1 };
        let model = ModelConfig::NucleiSegNet(config).init(&Device::flex(), 4).unwrap();
        let weights = weights::export(&model);
        let all = |name: &str, value: f32| {
            assert!(weights[name].data.iter().all(|v| *v == value), "{name}: {value}");
        };
        all("encoder.1.third.conv.bias", 0.1);
        all("encoder.1.pointwise.conv.bias", 0.1);
        all("encoder.1.pointwise.norm.bias", 0.01);
        all("encoder.1.pointwise.norm.weight", 1.0);
        all("encoder.1.pointwise.norm.running_var", 1.0);
        all("encoder.1.pointwise.norm.running_mean", 0.0);
        all("bottleneck.2.norm.bias", 0.0);
        all("gates.0.gating.bias", 0.1);
        all("gates.0.psi.conv.bias", 0.0);
        all("up.0.bias", 0.1);
        all("head.bias", 0.0);
        // Uniform by Glorot stays within sqrt(6 / fans), normal goes beyond that.
        let largest = |name: &str| weights[name].data.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        for (name, fans, uniform) in [
            ("encoder.1.depthwise.weight", 9 * (16 + 1), true),
            ("encoder.1.pointwise.conv.weight", 16 + 16, true),
            ("gates.1.psi.conv.weight", 4 + 8, true),
            ("head.weight", 8 + 1, true),
            ("encoder.1.first.conv.weight", 9 * (8 + 16), false),
            ("up.0.weight", 4 * (32 + 16), false),
        ] {
            let bound = (6.0 / fans as f32).sqrt();
            let largest = largest(name);
            assert_eq!(largest <= bound, uniform, "{name}: {largest}, bound {bound}");
            assert!(largest > 0.7 * bound && largest < 1.35 * bound, "{name}: {largest}, {bound}");
        }
    }
}
