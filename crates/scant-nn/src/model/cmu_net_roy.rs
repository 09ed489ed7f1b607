//! CMU-Net as the authors of the feature discrepancy loss rebuilt it.
//!
//! Papers: Tang et al. 2023, arXiv:2210.13012; Roy et al., "Is Exchangeability better than
//! I.I.D to handle Data Distribution Shifts while Pooling Data for Data-scarce Medical image
//! segmentation?", MIDL 2026. Reference: AyushRoy2001/Exchangeable-feature-disentanglement
//! `cmunet.py`, `CMUNet`, in Keras. Output, taps and gradients agree with it under Keras 3.15, as
//! `tests/parity.rs` finds where it is given a fixture of it.
//!
//! Against [`CmuNet`]: the three branches of a gate share one batch norm and its vote has none; the
//! ConvMixer has ReLU in place of GELU and its residual connection goes around the whole layer;
//! batch norms have Keras' constants.
//!
//! # Names
//! The reference has none. Here they are those of FengheTan9/CMU-Net; the shared norm of a gate is
//! `msag{i}.norm`.
//!
//! # Initial values
//! As Keras: kernels uniform by Glorot, biases 0.
//!
//! # Deviations
//! - Width, depth and input size are free; the network ends with logits, the reference with their
//!   sigmoid.
//! - The running variance is moved by the unbiased variance of a batch, as in PyTorch.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::cmu_net::Flavour;
use super::network::{Network, PlanarNetwork, Shapes};
use super::{CmuNet, CmuNetConfig, ModelError};
use crate::SegOutput;
use crate::weights::Initial;
use crate::weights::keras::{self, KerasOrder, KerasTensor};

/// See the module header.
#[derive(Module, Debug)]
pub struct CmuNetRoy {
    net: CmuNet,
}

impl Network for CmuNetRoy {
    type Config = CmuNetConfig;

    const PAPER: &'static str = "Tang et al. 2023, arXiv:2210.13012; as rebuilt in AyushRoy2001/Exchangeable-feature-disentanglement";
    const PARAMETERS: u64 = 49_926_593;
    const INPUT: &'static str = CmuNet::INPUT;

    fn validate(model: &'static str, config: &CmuNetConfig) -> Result<(), ModelError> {
        config.validate(model)
    }

    fn new(config: &CmuNetConfig, device: &Device) -> Self {
        Self { net: CmuNet::flavoured(config, Flavour::Roy, device) }
    }

    fn deduce(shapes: &Shapes) -> Option<CmuNetConfig> {
        shapes.get("msag1.norm.weight")?;
        CmuNetConfig::deduce(shapes)
    }

    fn official_name(&self, path: &str) -> Option<String> {
        self.net.official_name(path.strip_prefix("net.")?)
    }

    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        match *shape {
            [output, input, rows, columns] => {
                let field = rows * columns;
                Initial::glorot_uniform(input * field, output * field)
            }
            _ => Initial::usual(name, shape),
        }
    }

    fn keras_order(&self) -> Option<Vec<KerasTensor>> {
        let config = self.net.config();
        Some(keras_order(config.depth, config.mixer_depth))
    }

    fn deduce_keras(shapes: &[Vec<usize>]) -> Option<CmuNetConfig> {
        // Depthwise kernels have one input channel; so may have the very first kernel.
        let depthwise = |shape: &&Vec<usize>| shape.len() == 4 && shape[2] == 1;
        let mixer_depth = shapes.iter().skip(1).filter(depthwise).count();
        // 42 tensors per level, 12 in a layer of the mixer, 12 at the bottom and 2 at the end.
        let depth = shapes.len().checked_sub(12 * mixer_depth + 14)? / 42;
        Self::deduce(&keras::named_shapes(&keras_order(depth, mixer_depth), shapes)?)
    }
}

impl PlanarNetwork for CmuNetRoy {
    /// As [`CmuNet`].
    fn forward(&self, image: Tensor<4>) -> SegOutput {
        self.net.forward(image)
    }
}

/// See [`Network::keras_order`]. Keras lists the layers by their distance from the output: the gate
/// of a skip beside the up-sampling that it is joined with. All gates were made before the decoder,
/// which their numbers show.
fn keras_order(depth: usize, mixer_depth: usize) -> Vec<KerasTensor> {
    let mut order = KerasOrder::default();
    let stage = |order: &mut KerasOrder, name: String, conv: usize, norm: usize| {
        order.conv(conv, &format!("{name}.conv.0"));
        order.norm(norm, &format!("{name}.conv.1"));
        order.conv(conv + 1, &format!("{name}.conv.3"));
        order.norm(norm + 1, &format!("{name}.conv.4"));
    };
    for i in 0..=depth {
        stage(&mut order, format!("Conv{}", i + 1), 2 * i, 2 * i);
    }
    let mixer = 2 * (depth + 1);
    for i in 0..mixer_depth {
        let (layer, number) = (format!("ConvMixer.block.{i}"), mixer + 2 * i);
        order.conv(number, &format!("{layer}.0.fn.0"));
        order.norm(number, &format!("{layer}.0.fn.2"));
        order.conv(number + 1, &format!("{layer}.1"));
        order.norm(number + 1, &format!("{layer}.3"));
    }
    let gates = mixer + 2 * mixer_depth;
    for i in 0..depth {
        let gate = format!("msag{}", depth - i);
        let (conv, norm) = (gates + 4 * i, gates + i);
        order.conv(conv, &format!("{gate}.pointwiseConv.0"));
        order.conv(conv + 1, &format!("{gate}.ordinaryConv.0"));
        order.conv(conv + 2, &format!("{gate}.dilationConv.0"));
        order.norm(norm, &format!("{gate}.norm"));
        order.conv(conv + 3, &format!("{gate}.voteConv.0"));
        let (conv, norm) = (gates + 4 * depth + 3 * i, gates + depth + 3 * i);
        let level = depth + 1 - i;
        order.conv(conv, &format!("Up{level}.up.1"));
        order.norm(norm, &format!("Up{level}.up.2"));
        stage(&mut order, format!("Up_conv{level}"), conv + 1, norm + 1);
    }
    order.conv_called("OUT", "Conv_1x1");
    order.finish()
}
