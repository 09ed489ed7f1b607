//! Architectures, by name.
//!
//! To add one: a file with a module that implements the `Network` trait (`network.rs`) and either
//! `PlanarNetwork` or `VolumeNetwork`, and one line in the table at the end of this file. The
//! contract tests (`tests/contract.rs`) then ask it what they ask of every network.

mod attention_unet;
mod flops;
mod network;
mod transunet;
mod unet;
mod unet_config;

use std::ops::RangeInclusive;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use attention_unet::AttentionUNet;
pub use flops::Flops;
pub use network::Shapes;
pub use transunet::{TransUNet, TransUNetConfig};
pub use unet::UNet;
pub use unet_config::UNetConfig;

use crate::SegOutput;
use crate::weights::{self, Initial};
use network::{Network, PlanarNetwork, Sizes, VolumeNetwork};

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
        allowed: String,
        /// The value given.
        got: String,
    },
    /// There is no such architecture.
    #[error("there is no network \"{0}\"; `scant models` lists what there is")]
    Unknown(String),
    /// Tensors that tell the sizes of the network are missing.
    #[error("the tensors are not those of {model}: none tells its sizes; is it another network?")]
    Foreign {
        /// Architecture.
        model: &'static str,
    },
}

/// Checks that a size is in its range.
fn check(
    model: &'static str,
    field: &'static str,
    got: usize,
    allowed: RangeInclusive<usize>,
) -> Result<(), ModelError> {
    if allowed.contains(&got) {
        return Ok(());
    }
    let allowed = format!("{} to {}", allowed.start(), allowed.end());
    Err(ModelError::Config { model, field, allowed, got: got.to_string() })
}

/// What `scant models` says about an architecture.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInfo {
    /// Name in recipes.
    pub name: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// 2 for images, 3 for volumes.
    pub dimensions: usize,
    /// Trainable parameters of the published configuration.
    pub parameters: u64,
    /// Size of the image or volume that `flops` are counted on.
    pub flops_size: Vec<usize>,
    /// Floating-point operations of a forward pass of that configuration, see
    /// [`ModelConfig::flops`].
    pub flops: u64,
    /// Constraints on the input.
    pub input: &'static str,
    /// Taps of the published configuration.
    pub taps: Vec<String>,
    /// The published configuration.
    pub default: ModelConfig,
}

/// Builds the enums of all architectures, and what asks the chosen one, from one table.
macro_rules! architectures {
    (@kind planar $planar:expr, $volume:expr) => { $planar };
    (@kind volume $planar:expr, $volume:expr) => { $volume };
    ($($variant:ident $kind:ident $name:literal $config:ty;)*) => {
        /// Which network, and how large.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        pub enum ModelConfig {
            $(
                #[doc = concat!("`", $name, "`, see [`struct@", stringify!($variant), "`].")]
                #[serde(rename = $name)]
                $variant($config),
            )*
        }

        /// A network of any architecture.
        #[derive(Module, Debug)]
        #[allow(clippy::large_enum_variant)] // one at a time, and moved seldom
        pub enum Model {
            $(
                #[doc = concat!("See [`struct@", stringify!($variant), "`].")]
                $variant($variant),
            )*
        }

        /// Names of all architectures, in the order of `scant models`.
        pub const NAMES: &[&str] = &[$($name),*];

        impl ModelConfig {
            /// The published configuration of an architecture.
            ///
            /// # Errors
            /// When there is none of this name.
            pub fn published(name: &str) -> Result<Self, ModelError> {
                match name {
                    $($name => Ok(Self::$variant(<$config>::default())),)*
                    other => Err(ModelError::Unknown(other.to_owned())),
                }
            }

            /// The configuration of the network that tensors belong to.
            ///
            /// # Errors
            /// When there is no architecture of this name, or a tensor that tells its sizes is
            /// missing.
            pub fn deduce(name: &str, shapes: &Shapes) -> Result<Self, ModelError> {
                match name {
                    $($name => {
                        let config = <$variant as Network>::deduce(shapes).map(Self::$variant);
                        config.ok_or(ModelError::Foreign { model: $name })
                    })*
                    other => Err(ModelError::Unknown(other.to_owned())),
                }
            }

            /// Name in recipes.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            /// Trainable parameters of the published configuration, where it comes from, and what
            /// its input may be.
            fn facts(&self) -> (u64, &'static str, &'static str) {
                match self {
                    $(Self::$variant(_) => {
                        use $variant as N;
                        (N::PARAMETERS, N::PAPER, N::INPUT)
                    })*
                }
            }

            /// 2 for images, 3 for volumes.
            #[must_use]
            pub fn dimensions(&self) -> usize {
                match self {
                    $(Self::$variant(_) => architectures!(@kind $kind 2, 3),)*
                }
            }

            fn sizes(&self) -> &dyn Sizes {
                match self {
                    $(Self::$variant(c) => c,)*
                }
            }

            fn sizes_mut(&mut self) -> &mut dyn Sizes {
                match self {
                    $(Self::$variant(c) => c,)*
                }
            }

            /// Checks the sizes.
            ///
            /// # Errors
            /// When one is outside what the architecture allows.
            pub fn validate(&self) -> Result<(), ModelError> {
                match self {
                    $(Self::$variant(c) => <$variant as Network>::validate($name, c),)*
                }
            }

            /// Builds the network with all parameters zero.
            fn build(&self, device: &Device) -> Model {
                match self {
                    $(Self::$variant(c) => Model::$variant(<$variant as Network>::new(c, device)),)*
                }
            }
        }

        impl Model {
            /// # Shapes
            /// - image: `[batch, input channels, rows, columns]`, any size
            /// - logits: `[batch, logit channels, rows, columns]`
            ///
            /// # Panics
            /// When the image has another number of channels than the network, or the network is one
            /// of volumes.
            #[must_use]
            pub fn forward(&self, image: Tensor<4>) -> SegOutput {
                match self {
                    $(Self::$variant(m) => architectures!(@kind $kind
                        PlanarNetwork::forward(m, image),
                        panic!("{} takes volumes, not images", $name)
                    ),)*
                }
            }

            /// # Shapes
            /// - volume: `[batch, input channels, depth, rows, columns]`, any size
            /// - logits: `[batch, logit channels, depth, rows, columns]`
            ///
            /// # Panics
            /// When the volume has another number of channels than the network, or the network is one
            /// of images.
            #[must_use]
            pub fn forward_volume(&self, volume: Tensor<5>) -> SegOutput<5> {
                match self {
                    $(Self::$variant(m) => architectures!(@kind $kind
                        panic!("{} takes images, not volumes", $name),
                        VolumeNetwork::forward(m, volume)
                    ),)*
                }
            }

            /// The official name of a parameter from its path in this module.
            #[must_use]
            pub fn official_name(&self, path: &str) -> Option<String> {
                match self {
                    $(Self::$variant(m) => m.official_name(path),)*
                }
            }

            /// How the parameter of an official name starts.
            pub(crate) fn initial(&self, name: &str, shape: &[usize]) -> Initial {
                match self {
                    $(Self::$variant(m) => Network::initial(m, name, shape),)*
                }
            }
        }
    };
}

impl ModelConfig {
    /// The same network for other data.
    #[must_use]
    pub fn with_channels(mut self, input: usize, output: usize) -> Self {
        self.sizes_mut().set_channels([input, output]);
        self
    }

    /// The same network for images (or volumes) of this size. Only networks whose parameters depend
    /// on it change; all take other sizes too.
    #[must_use]
    pub fn for_size(mut self, size: &[usize]) -> Self {
        self.sizes_mut().fit(size);
        self
    }

    /// Image channels.
    #[must_use]
    pub fn input_channels(&self) -> usize {
        self.sizes().channels()[0]
    }

    /// Logit channels.
    #[must_use]
    pub fn output_channels(&self) -> usize {
        self.sizes().channels()[1]
    }

    /// Names of the taps, in order.
    #[must_use]
    pub fn tap_names(&self) -> Vec<String> {
        self.sizes().tap_names()
    }

    /// Trainable parameters of this network. Nothing is allocated for them.
    ///
    /// # Panics
    /// When a size is outside what the architecture allows.
    #[must_use]
    pub fn count_parameters(&self) -> u64 {
        self.validate().unwrap_or_else(|e| panic!("{e}"));
        let device = Device::capture();
        let mut count = 0;
        let captured = device.capture_scope(|scope| {
            count = self.build(&device).parameters();
            scope.complete([], [])
        });
        captured.expect("a scope of its own without inputs or outputs");
        count
    }

    /// Builds the network and fills it with the weights that `seed` stands for.
    ///
    /// # Errors
    /// When a size is outside what the architecture allows.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Model, ModelError> {
        self.validate()?;
        Ok(weights::initialise(self.build(device), seed))
    }
}

impl Model {
    /// Trainable parameters.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        weights::count_trainable(self)
    }
}

/// Every architecture of this build.
#[must_use]
pub fn catalogue() -> Vec<ModelInfo> {
    let info = |name: &&str| {
        let default = ModelConfig::published(name).expect("the name is from the same table");
        let (parameters, paper, input) = default.facts();
        let flops_size = if default.dimensions() == 2 { vec![256; 2] } else { vec![64; 3] };
        ModelInfo {
            name: default.name(),
            paper,
            dimensions: default.dimensions(),
            parameters,
            flops: default.flops([256, 256]).forward,
            flops_size,
            input,
            taps: default.tap_names(),
            default,
        }
    };
    NAMES.iter().map(info).collect()
}

architectures! {
    UNet planar "unet" UNetConfig;
    AttentionUNet planar "attention-unet" UNetConfig;
    TransUNet planar "transunet" TransUNetConfig;
}
