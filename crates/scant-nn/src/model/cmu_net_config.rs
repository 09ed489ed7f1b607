//! Sizes of CMU-Net.

use serde::{Deserialize, Serialize};

use super::network::{Shapes, Sizes};
use super::{ModelError, UNetConfig, check};

/// Sizes of a U-Net with a ConvMixer at its bottom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CmuNetConfig {
    /// Channels of the first stage; doubled at every level. Published with 64.
    pub width: usize,
    /// How often the image is halved. Published with 4.
    pub depth: usize,
    /// Layers of the ConvMixer. Published with 7.
    pub mixer_depth: usize,
    /// Side of the ConvMixer's depthwise kernels, odd. Published with 7.
    pub mixer_kernel: usize,
    /// Image channels.
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    pub output_channels: usize,
}

impl Default for CmuNetConfig {
    fn default() -> Self {
        let UNetConfig { width, depth, input_channels, output_channels } = UNetConfig::default();
        Self { width, depth, mixer_depth: 7, mixer_kernel: 7, input_channels, output_channels }
    }
}

impl CmuNetConfig {
    /// Checks the sizes for the architecture called `model`.
    pub(super) fn validate(&self, model: &'static str) -> Result<(), ModelError> {
        self.unet().validate(model)?;
        check(model, "mixer_depth", self.mixer_depth, 1..=64)?;
        if self.mixer_kernel % 2 == 1 && self.mixer_kernel <= 31 {
            return Ok(());
        }
        Err(ModelError::Config {
            model,
            field: "mixer_kernel",
            allowed: "an odd number up to 31".into(),
            got: self.mixer_kernel.to_string(),
        })
    }

    /// Channels of stage `level`, 0 being full resolution.
    pub(super) fn channels(&self, level: usize) -> usize {
        self.unet().channels(level)
    }

    /// The U-Net around the mixer.
    fn unet(&self) -> UNetConfig {
        let Self { width, depth, input_channels, output_channels, .. } = *self;
        UNetConfig { width, depth, input_channels, output_channels }
    }

    /// Reads the sizes off the tensors of a network of FengheTan9's naming.
    pub(super) fn deduce(shapes: &Shapes) -> Option<Self> {
        let UNetConfig { width, depth, input_channels, output_channels } =
            UNetConfig::deduce(shapes)?;
        let layer = |i: &usize| shapes.contains_key(&format!("ConvMixer.block.{i}.1.weight"));
        let mixer_depth = (0..).take_while(layer).count();
        let mixer_kernel = *shapes.get("ConvMixer.block.0.0.fn.0.weight")?.last()?;
        Some(Self { width, depth, mixer_depth, mixer_kernel, input_channels, output_channels })
    }
}

impl Sizes for CmuNetConfig {
    fn channels(&self) -> [usize; 2] {
        [self.input_channels, self.output_channels]
    }

    fn set_channels(&mut self, [input, output]: [usize; 2]) {
        self.input_channels = input;
        self.output_channels = output;
    }

    fn tap_names(&self) -> Vec<String> {
        self.unet().tap_names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_without_a_middle_are_refused() {
        for (kernel, fits) in
            [(1, true), (7, true), (31, true), (0, false), (4, false), (33, false)]
        {
            let config = CmuNetConfig { mixer_kernel: kernel, ..Default::default() };
            assert_eq!(config.validate("cmu-net").is_ok(), fits, "{kernel}");
        }
        let none = CmuNetConfig { mixer_depth: 0, ..Default::default() };
        let error = none.validate("cmu-net").unwrap_err().to_string();
        assert_eq!(error, "cmu-net: mixer_depth must be 1 to 64, got 0");
    }
}
