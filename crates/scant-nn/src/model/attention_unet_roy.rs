//! The Attention U-Net of the authors of the feature discrepancy loss.
//!
//! Papers: Oktay et al. 2018, arXiv:1804.03999; Roy et al., "Is Exchangeability better than
//! I.I.D to handle Data Distribution Shifts while Pooling Data for Data-scarce Medical image
//! segmentation?", MIDL 2026. Reference: AyushRoy2001/Exchangeable-feature-disentanglement
//! `attnunet.py`, `AttnUnet`, in Keras. Output, taps and gradients agree with it under Keras 3.15, as
//! `tests/parity.rs` finds where it is given a fixture of it.
//!
//! Legend: B batch · C channels · H, W pixels at this stage · w width · d depth · K logits.
//!
//! Against [`AttentionUNet`](super::AttentionUNet): one level less; bilinear up-sampling without a
//! convolution; gates with a weight for every channel; up-sampled maps come before skips in the
//! concatenation; batch norms with Keras' constants.
//!
//! # Taps
//! The reference looks at the encoder behind its pooling, and enlarges these maps by two when it
//! compares them with the mask. So `enc1`.. here are the *pooled* maps, enlarged to the size of their
//! stage; nothing else in the network reads them.
//!
//! # Names
//! The reference has none. Here they are those of LeeJunHyun/Image_Segmentation `AttU_Net`:
//! `Conv{1..}.conv.{0,1,3,4}` (the last is the bottleneck), `Att{..2}.{W_g,W_x}.{0,1}`,
//! `Att{..2}.psi.0`, `Up_conv{..2}.conv.{0,1,3,4}`, `Conv_1x1`.
//!
//! # Initial values
//! As Keras: kernels of 3x3 convolutions normal by He, cut at two deviations; of 1x1 convolutions
//! uniform by Glorot; biases 0.
//!
//! # Deviations
//! - Width, depth and input size are free (see [`super::unet`]); the network ends with logits, the
//!   reference with their sigmoid.
//! - The running variance is moved by the unbiased variance of a batch, as in PyTorch.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use scant_kernels::{max_pool2d, upsample_bilinear2d};

use super::network::{Network, PlanarNetwork, Shapes};
use super::{AttentionUNetRoyConfig, ModelError, UNetConfig, unet};
use crate::block::{ChannelGate, Conv, DoubleConv, NormConstants};
use crate::resample::{crop, pad_to_multiple};
use crate::weights::Initial;
use crate::weights::keras::{self, KerasOrder, KerasTensor};
use crate::{SegOutput, Tap};

/// See the module header.
#[derive(Module, Debug)]
pub struct AttentionUNetRoy {
    /// Stages 0..=d; the last is the bottleneck.
    encoder: Vec<DoubleConv>,
    /// Deepest first.
    gates: Vec<ChannelGate>,
    /// Deepest first.
    decoder: Vec<DoubleConv>,
    head: Conv,
    depth: usize,
}

impl Network for AttentionUNetRoy {
    type Config = AttentionUNetRoyConfig;

    const PAPER: &'static str = "Oktay et al. 2018, arXiv:1804.03999; with a gate per channel as AyushRoy2001/Exchangeable-feature-disentanglement";
    const PARAMETERS: u64 = 8_135_745;
    const INPUT: &'static str = "any size (padded inside to a multiple of 2^depth), any channels";

    fn validate(model: &'static str, config: &AttentionUNetRoyConfig) -> Result<(), ModelError> {
        config.validate(model)
    }

    fn new(config: &AttentionUNetRoyConfig, device: &Device) -> Self {
        let c = |level| config.channels(level);
        let norm = NormConstants::KERAS;
        let inputs = std::iter::once(config.input_channels).chain((0..config.depth).map(c));
        let stage = |(level, input)| DoubleConv::with_norm(input, c(level), norm, device);
        let levels = || (0..config.depth).rev();
        let gate = |level| ChannelGate::new(c(level + 1), c(level), norm, device);
        let joined = |level| DoubleConv::with_norm(3 * c(level), c(level), norm, device);
        Self {
            encoder: inputs.enumerate().map(stage).collect(),
            gates: levels().map(gate).collect(),
            decoder: levels().map(joined).collect(),
            head: Conv::new(c(0), config.output_channels, 1, device),
            depth: config.depth,
        }
    }

    fn deduce(shapes: &Shapes) -> Option<AttentionUNetRoyConfig> {
        UNetConfig::deduce(shapes).map(Into::into)
    }

    fn official_name(&self, path: &str) -> Option<String> {
        unet::official_name(path, self.depth)
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        match *shape {
            [output, input, 1, 1] => Initial::glorot_uniform(input, output),
            [_, input, rows, columns] => Initial::he_cut(input * rows * columns),
            _ => Initial::usual(name, shape),
        }
    }

    fn keras_order(&self) -> Option<Vec<KerasTensor>> {
        Some(keras_order(self.depth))
    }

    fn deduce_keras(shapes: &[Vec<usize>]) -> Option<AttentionUNetRoyConfig> {
        // 12 tensors in each stage and 14 in each gate: 12 (d + 1) + 26 d + 2.
        let depth = shapes.len().checked_sub(14)? / 38;
        Self::deduce(&keras::named_shapes(&keras_order(depth), shapes)?)
    }
}

impl PlanarNetwork for AttentionUNetRoy {
    /// # Shapes
    /// - image: `[B, C, H, W]`, any H and W
    /// - logits: `[B, K, H, W]` — *not* probabilities
    /// - taps: enc1..encd `[B, w 2^i, H / 2^i, W / 2^i]`, bottleneck, decd..dec1
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        let (image, padding) = pad_to_multiple(image, &[1 << self.depth; 2]);
        let mut taps: Vec<Tap> = Vec::with_capacity(2 * self.depth + 1);
        let mut skips: Vec<Tensor<4>> = Vec::with_capacity(self.depth);
        let mut x = image;
        for (level, stage) in self.encoder.iter().enumerate() {
            x = stage.forward(x); // [B, w 2^level, ..]
            if level == self.depth {
                x = Tap::on(&mut taps, "bottleneck", x);
            } else {
                skips.push(x.clone());
                x = max_pool2d(x, [2, 2], [2, 2], [0, 0]);
                taps.push(Tap::new(format!("enc{}", level + 1), doubled(x.clone())));
            }
        }
        let stages = self.gates.iter().zip(&self.decoder).zip(skips.into_iter().rev());
        for (i, ((gate, stage), skip)) in stages.enumerate() {
            let below = doubled(x); // [B, w 2^(level + 1), ..]
            let skip = gate.forward(below.clone(), skip); // [B, w 2^level, ..]
            // The map from below comes first.
            x = stage.forward_joined(below, skip);
            x = Tap::on(&mut taps, format!("dec{}", self.depth - i), x);
        }
        let logits = crop(self.head.forward(x), &padding); // [B, K, H, W]
        SegOutput { logits, taps, aux: Vec::new(), padding }
    }
}

/// Keras' `UpSampling2D` by two, bilinear.
fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [_, _, rows, columns] = x.dims();
    upsample_bilinear2d(x, [2 * rows, 2 * columns], false)
}

/// See [`Network::keras_order`]. Keras lists the parts of a layer as its author assigned them:
/// convolutions before norms, and the gate of a decoder stage behind its convolutions.
fn keras_order(depth: usize) -> Vec<KerasTensor> {
    let mut order = KerasOrder::default();
    let stage = |order: &mut KerasOrder, name: String, conv: usize, norm: usize| {
        order.conv(conv, &format!("{name}.conv.0"));
        order.conv(conv + 1, &format!("{name}.conv.3"));
        order.norm(norm, &format!("{name}.conv.1"));
        order.norm(norm + 1, &format!("{name}.conv.4"));
    };
    let encoder = 2 * (depth + 1);
    for i in 0..=depth {
        stage(&mut order, format!("Conv{}", i + 1), 2 * i, 2 * i);
    }
    for i in 0..depth {
        let (conv, norm) = (encoder + 5 * i, encoder + 4 * i);
        stage(&mut order, format!("Up_conv{}", depth + 1 - i), conv, norm);
        let gate = format!("Att{}", depth + 1 - i);
        for (k, part) in ["W_g.0", "W_x.0", "psi.0"].iter().enumerate() {
            order.conv(conv + 2 + k, &format!("{gate}.{part}"));
        }
        for (k, part) in ["W_g.1", "W_x.1"].iter().enumerate() {
            order.norm(norm + 2 + k, &format!("{gate}.{part}"));
        }
    }
    order.conv_called("OUT", "Conv_1x1");
    order.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Model, ModelConfig};

    #[test]
    fn the_encoder_is_tapped_behind_its_pooling() {
        let config = AttentionUNetRoyConfig { width: 4, depth: 1, ..Default::default() };
        let model = ModelConfig::AttentionUNetRoy(config).init(&Device::flex(), 2).unwrap();
        let Model::AttentionUNetRoy(net) = model else { panic!("another network") };
        let image = Tensor::arange(0..48, &Device::flex()).float().reshape([1, 3, 4, 4]) / 48.0;
        let stage: Vec<f32> = net.encoder[0].forward(image.clone()).to_data().iter().collect();
        let tap: Vec<f32> = net.forward(image).taps[0].features.to_data().iter().collect();
        assert!(tap.iter().any(|v| *v > 0.0));
        for channel in 0..4 {
            let at = |row: usize, column: usize| 16 * channel + 4 * row + column;
            let pooled = |row: usize, column: usize| {
                let (row, column) = (2 * row, 2 * column);
                let square =
                    [(row, column), (row, column + 1), (row + 1, column), (row + 1, column + 1)];
                square.map(|(r, c)| stage[at(r, c)]).into_iter().fold(f32::MIN, f32::max)
            };
            // Half-pixel positions: a corner is the pooled corner, its neighbour a quarter further.
            assert!((tap[at(0, 0)] - pooled(0, 0)).abs() < 1e-6);
            assert!((tap[at(3, 0)] - pooled(1, 0)).abs() < 1e-6);
            let quarter = 0.75 * pooled(0, 0) + 0.25 * pooled(0, 1);
            assert!((tap[at(0, 1)] - quarter).abs() < 1e-6);
        }
    }
}
