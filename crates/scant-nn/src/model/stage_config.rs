//! Sizes of encoder-decoder networks whose published width and depth are not those of the U-Net.

use serde::{Deserialize, Serialize};

use super::network::Sizes;
use super::{ModelError, UNetConfig};

/// A struct of the sizes of [`UNetConfig`] with a default of its own.
macro_rules! stage_config {
    ($(#[$doc:meta])* $name:ident, width $width:literal, depth $depth:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            #[doc = concat!("Channels of the first stage; doubled at every level. Published with ", $width, ".")]
            pub width: usize,
            #[doc = concat!("How often the image is halved. Published with ", $depth, ".")]
            pub depth: usize,
            /// Image channels.
            pub input_channels: usize,
            /// Logit channels: 1 for a single foreground class, else one per class with the
            /// background.
            pub output_channels: usize,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { width: $width, depth: $depth, input_channels: 3, output_channels: 1 }
            }
        }

        impl $name {
            /// Checks the sizes for the architecture called `model`.
            pub(super) fn validate(&self, model: &'static str) -> Result<(), ModelError> {
                self.unet().validate(model)
            }

            /// Channels of stage `level`, 0 being full resolution.
            pub(super) fn channels(&self, level: usize) -> usize {
                self.unet().channels(level)
            }

            fn unet(&self) -> UNetConfig {
                let Self { width, depth, input_channels, output_channels } = *self;
                UNetConfig { width, depth, input_channels, output_channels }
            }
        }

        impl From<UNetConfig> for $name {
            fn from(sizes: UNetConfig) -> Self {
                let UNetConfig { width, depth, input_channels, output_channels } = sizes;
                Self { width, depth, input_channels, output_channels }
            }
        }

        impl Sizes for $name {
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
    };
}

stage_config!(
    /// Sizes of [`AttentionUNetRoy`](super::AttentionUNetRoy).
    AttentionUNetRoyConfig, width 64, depth 3
);
stage_config!(
    /// Sizes of [`NucleiSegNet`](super::NucleiSegNet).
    NucleiSegNetConfig, width 32, depth 4
);
