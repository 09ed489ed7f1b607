//! Sizes of the networks that are a U-Net with something added.

use serde::{Deserialize, Serialize};

use super::network::{Shapes, Sizes};
use super::{ModelError, check};

/// Sizes shared by the encoder-decoder networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNetConfig {
    /// Channels of the first stage; doubled at every level. The published networks use 64.
    pub width: usize,
    /// How often the image is halved. The published networks use 4.
    pub depth: usize,
    /// Image channels.
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    pub output_channels: usize,
}

impl Default for UNetConfig {
    fn default() -> Self {
        Self { width: 64, depth: 4, input_channels: 3, output_channels: 1 }
    }
}

impl UNetConfig {
    /// Checks the sizes for the architecture called `model`.
    pub(super) fn validate(&self, model: &'static str) -> Result<(), ModelError> {
        check(model, "width", self.width, 2..=1024)?;
        check(model, "depth", self.depth, 1..=7)?;
        Ok(())
    }

    /// Channels of stage `level`, 0 being full resolution.
    pub(super) fn channels(&self, level: usize) -> usize {
        self.width << level
    }

    /// Reads the sizes off the tensors of a network of LeeJunHyun's naming.
    pub(super) fn deduce(shapes: &Shapes) -> Option<Self> {
        let first = shapes.get("Conv1.conv.0.weight")?;
        let stages = (1..).take_while(|i| shapes.contains_key(&format!("Conv{i}.conv.0.weight")));
        Some(Self {
            width: *first.first()?,
            depth: stages.count().checked_sub(1)?,
            input_channels: *first.get(1)?,
            output_channels: *shapes.get("Conv_1x1.weight")?.first()?,
        })
    }
}

impl Sizes for UNetConfig {
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

/// enc1..encN, bottleneck, decN..dec1 of a network with `depth` levels above its bottleneck.
pub(super) fn tap_names(depth: usize) -> Vec<String> {
    let encoder = (1..=depth).map(|i| format!("enc{i}"));
    let decoder = (1..=depth).rev().map(|i| format!("dec{i}"));
    encoder.chain(["bottleneck".to_owned()]).chain(decoder).collect()
}
