//! The contracting path of a U-Net.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use scant_kernels::max_pool2d;

use super::{DoubleConv, NormConstants};
use crate::Tap;

/// [`DoubleConv`] stages with 2x2 max pooling between them.
#[derive(Module, Debug)]
pub struct Encoder {
    stages: Vec<DoubleConv>,
}

impl Encoder {
    /// Stages from `input` channels to `channels[0]`, `channels[0]` to `channels[1]`, ...
    #[must_use]
    pub fn new(input: usize, channels: &[usize], device: &Device) -> Self {
        Self::with_norm(input, channels, NormConstants::PYTORCH, device)
    }

    /// The same with batch norms of other constants.
    #[must_use]
    pub fn with_norm(
        input: usize,
        channels: &[usize],
        norm: NormConstants,
        device: &Device,
    ) -> Self {
        let inputs = std::iter::once(input).chain(channels.iter().copied());
        let stage = |(i, &o)| DoubleConv::with_norm(i, o, norm, device);
        Self { stages: inputs.zip(channels).map(stage).collect() }
    }

    /// # Shapes
    /// - image: `[B, input, H, W]`, sides divisible by 2^(stages - 1)
    /// - output: one tap per stage, `[B, channels[i], H / 2^i, W / 2^i]`, named `enc1`.. and
    ///   `bottleneck`
    #[must_use]
    pub fn forward(&self, image: Tensor<4>) -> Vec<Tap> {
        let mut taps: Vec<Tap> = Vec::with_capacity(2 * self.stages.len());
        for (level, stage) in self.stages.iter().enumerate() {
            let input = match taps.last() {
                None => image.clone(),
                Some(above) => max_pool2d(above.features.clone(), [2, 2], [2, 2], [0, 0]),
            };
            let last = level + 1 == self.stages.len();
            let name = if last { "bottleneck".into() } else { format!("enc{}", level + 1) };
            taps.push(Tap::new(name, stage.forward(input)));
        }
        taps
    }
}
