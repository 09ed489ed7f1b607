//! The decoder, in the paper's words the cascaded upsampler.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use scant_kernels::{ConvInput, upsample_bilinear2d};

use super::config::TransUNetConfig;
use crate::Tap;
use crate::block::ConvNormRelu;

/// Twice the size, joined with a skip connection, two convolutions.
#[derive(Module, Debug)]
struct Stage {
    conv1: ConvNormRelu,
    conv2: ConvNormRelu,
}

impl Stage {
    /// # Shapes
    /// - x: `[B, C, H, W]`
    /// - skip: `[B, S, 2 H, 2 W]`
    /// - output: `[B, output, 2 H, 2 W]`
    fn forward(&self, x: Tensor<4>, skip: Option<Tensor<4>>) -> Tensor<4> {
        let [_, _, rows, columns] = x.dims();
        let x = upsample_bilinear2d(x, [2 * rows, 2 * columns], true);
        let input = match skip {
            Some(skip) => ConvInput::Joined(x, skip),
            None => ConvInput::Plain(x),
        };
        self.conv1.then(&self.conv2, input)
    }
}

/// See the module header.
#[derive(Module, Debug)]
pub(super) struct Decoder {
    conv_more: ConvNormRelu,
    /// Deepest first.
    blocks: Vec<Stage>,
    skips: usize,
}

impl Decoder {
    pub(super) fn new(config: &TransUNetConfig, device: &Device) -> Self {
        let skips = config.skip_channels();
        let stage = |i: usize| {
            let skip = if i < config.skips { skips[i] } else { 0 };
            let output = config.decoder_channels[i];
            Stage {
                conv1: ConvNormRelu::new(config.stage_input(i) + skip, output, device),
                conv2: ConvNormRelu::new(output, output, device),
            }
        };
        Self {
            conv_more: ConvNormRelu::new(config.hidden, config.head_channels, device),
            blocks: (0..config.decoder_channels.len()).map(stage).collect(),
            skips: config.skips,
        }
    }

    /// Taps its stages as dec4..dec1.
    ///
    /// # Shapes
    /// - encoded: `[B, hidden, H / 16, W / 16]`
    /// - skips: deepest first, at H / 8, H / 4, H / 2
    /// - output: `[B, channels of the last stage, H, W]`
    pub(super) fn forward(
        &self,
        encoded: Tensor<4>,
        skips: [Tensor<4>; 3],
        taps: &mut Vec<Tap>,
    ) -> Tensor<4> {
        let mut x = self.conv_more.forward(encoded);
        let mut skips = skips.into_iter().take(self.skips);
        for (i, stage) in self.blocks.iter().enumerate() {
            let name = format!("dec{}", self.blocks.len() - i);
            x = Tap::on(taps, name, stage.forward(x, skips.next()));
        }
        x
    }
}
