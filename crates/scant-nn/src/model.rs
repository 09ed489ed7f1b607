//! Architectures, by name.

mod attention_unet;
mod flops;
mod recorded_flops;
mod unet;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use attention_unet::AttentionUNet;
pub use flops::Flops;
pub use unet::UNet;

use crate::SegOutput;
use crate::weights;

/// Why a network cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    /// A size outside what the architecture allows.
    #[error("{model}: {field} must be {allowed}, got {got}")]
    Config {
        /// Architecture.
        model: &'static str,
        /// Field of the configuration.
        field: &'static str,
        /// Allowed values, in words.
        allowed: &'static str,
        /// The value given.
        got: usize,
    },
}

/// Sizes shared by the encoder-decoder networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNetConfig {
    /// Channels of the first stage; doubled at every level. The published networks use 64.
    #[serde(default = "default_width")]
    pub width: usize,
    /// How often the image is halved. The published networks use 4.
    #[serde(default = "default_depth")]
    pub depth: usize,
    /// Image channels.
    #[serde(default = "default_input")]
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    #[serde(default = "default_output")]
    pub output_channels: usize,
}

fn default_width() -> usize {
    64
}
fn default_depth() -> usize {
    4
}
fn default_input() -> usize {
    3
}
fn default_output() -> usize {
    1
}

impl Default for UNetConfig {
    fn default() -> Self {
        Self { width: 64, depth: 4, input_channels: 3, output_channels: 1 }
    }
}

impl UNetConfig {
    /// Checks the sizes for the architecture called `model`.
    fn validate(&self, model: &'static str) -> Result<(), ModelError> {
        let check = |field, got: usize, ok: bool, allowed| {
            if ok { Ok(()) } else { Err(ModelError::Config { model, field, allowed, got }) }
        };
        check("width", self.width, (2..=1024).contains(&self.width), "2 to 1024")?;
        check("depth", self.depth, (1..=7).contains(&self.depth), "1 to 7")?;
        let (i, o) = (self.input_channels, self.output_channels);
        check("input_channels", i, (1..=64).contains(&i), "1 to 64")?;
        check("output_channels", o, (1..=255).contains(&o), "1 to 255")
    }

    /// Channels of stage `level`, 0 being full resolution.
    fn channels(&self, level: usize) -> usize {
        self.width << level
    }

    /// Tap names in order: enc1..encN, bottleneck, decN..dec1.
    #[must_use]
    pub fn tap_names(&self) -> Vec<String> {
        let encoder = (1..=self.depth).map(|i| format!("enc{i}"));
        let decoder = (1..=self.depth).rev().map(|i| format!("dec{i}"));
        encoder.chain(["bottleneck".to_owned()]).chain(decoder).collect()
    }
}

/// Which network, and how large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// U-Net with batch norm (LeeJunHyun/Image_Segmentation `U_Net`).
    #[serde(rename = "unet")]
    UNet(UNetConfig),
    /// Attention U-Net with additive gates (`AttU_Net` of the same).
    #[serde(rename = "attention-unet")]
    AttentionUNet(UNetConfig),
}

/// What `scant models` says about an architecture.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInfo {
    /// Name in recipes.
    pub name: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Trainable parameters of the published configuration, 3 channels to 1 logit.
    pub parameters: u64,
    /// Floating-point operations of a forward pass of that configuration at 256 x 256, see
    /// [`ModelConfig::flops`].
    pub flops_256: u64,
    /// Constraints on the input.
    pub input: &'static str,
    /// Taps of the published configuration.
    pub taps: Vec<String>,
}

/// Every architecture of this build.
#[must_use]
pub fn catalogue() -> Vec<ModelInfo> {
    let taps = UNetConfig::default().tap_names();
    let input = "any size (padded inside to a multiple of 2^depth), any channels";
    let flops_256 = |config: ModelConfig| config.flops([256, 256]).forward;
    vec![
        ModelInfo {
            name: "unet",
            paper: "Ronneberger et al. 2015, arXiv:1505.04597; with batch norm as LeeJunHyun/Image_Segmentation",
            parameters: 34_527_041,
            flops_256: flops_256(ModelConfig::UNet(UNetConfig::default())),
            input,
            taps: taps.clone(),
        },
        ModelInfo {
            name: "attention-unet",
            paper: "Oktay et al. 2018, arXiv:1804.03999; additive gates as LeeJunHyun/Image_Segmentation",
            parameters: 34_878_573,
            flops_256: flops_256(ModelConfig::AttentionUNet(UNetConfig::default())),
            input,
            taps,
        },
    ]
}

impl ModelConfig {
    /// Name in recipes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UNet(_) => "unet",
            Self::AttentionUNet(_) => "attention-unet",
        }
    }

    fn sizes(&self) -> &UNetConfig {
        match self {
            Self::UNet(c) | Self::AttentionUNet(c) => c,
        }
    }

    /// The same network for other data.
    #[must_use]
    pub fn with_channels(mut self, input: usize, output: usize) -> Self {
        match &mut self {
            Self::UNet(c) | Self::AttentionUNet(c) => {
                c.input_channels = input;
                c.output_channels = output;
            }
        }
        self
    }

    /// Image channels.
    #[must_use]
    pub fn input_channels(&self) -> usize {
        self.sizes().input_channels
    }

    /// Logit channels.
    #[must_use]
    pub fn output_channels(&self) -> usize {
        self.sizes().output_channels
    }

    /// Names of the taps, in order.
    #[must_use]
    pub fn tap_names(&self) -> Vec<String> {
        self.sizes().tap_names()
    }

    /// Builds the network and fills it with the weights that `seed` stands for.
    ///
    /// # Errors
    /// When a size is outside what the architecture allows.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Model, ModelError> {
        Ok(weights::initialise(self.build(device)?, seed))
    }

    /// Builds the network with weights of zero.
    fn build(&self, device: &Device) -> Result<Model, ModelError> {
        Ok(match self {
            Self::UNet(c) => {
                c.validate("unet")?;
                Model::UNet(UNet::new(c, device))
            }
            Self::AttentionUNet(c) => {
                c.validate("attention-unet")?;
                Model::AttentionUNet(AttentionUNet::new(c, device))
            }
        })
    }
}

/// A network of any architecture.
#[derive(Module, Debug)]
pub enum Model {
    /// See [`UNet`].
    UNet(UNet),
    /// See [`AttentionUNet`].
    AttentionUNet(AttentionUNet),
}

impl Model {
    /// # Shapes
    /// - image: `[batch, input channels, rows, columns]`, any size
    /// - logits: `[batch, logit channels, rows, columns]`
    ///
    /// # Panics
    /// When the image has another number of channels than the network.
    #[must_use]
    pub fn forward(&self, image: Tensor<4>) -> SegOutput {
        match self {
            Self::UNet(m) => m.forward(image),
            Self::AttentionUNet(m) => m.forward(image),
        }
    }

    /// The official (PyTorch) name of a parameter from its path in this module.
    #[must_use]
    pub fn official_name(&self, path: &str) -> Option<String> {
        match self {
            Self::UNet(m) => m.official_name(path),
            Self::AttentionUNet(m) => m.official_name(path),
        }
    }

    /// Trainable parameters.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        weights::count_trainable(self)
    }
}
