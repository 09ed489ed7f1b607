//! Architectures, by name.
//!
//! To add one: a file with a module that implements the `Network` trait (`network.rs`) and either
//! `PlanarNetwork` or `VolumeNetwork`, and one line in the table at the end of this file. The
//! contract tests (`tests/contract.rs`) then ask it what they ask of every network.

mod attention_unet;
mod attention_unet_roy;
mod cmu_net;
mod cmu_net_config;
mod cmu_net_roy;
mod error;
mod flops;
mod network;
mod nnunet;
mod nuclei_segnet;
mod ssl4mis_unet;
mod stage_config;
mod stages;
mod swin_unet;
mod transunet;
mod unet;
mod unet3d;
mod unet_config;
mod vnet;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use attention_unet::AttentionUNet;
pub use attention_unet_roy::AttentionUNetRoy;
pub use cmu_net::CmuNet;
pub use cmu_net_config::CmuNetConfig;
pub use cmu_net_roy::CmuNetRoy;
pub use error::ModelError;
pub use flops::Flops;
pub use network::Shapes;
pub use nnunet::{NnUNet, NnUNet3d, NnUNetConfig, NnUNetResEnc, NnUNetResEnc3d};
pub use nuclei_segnet::NucleiSegNet;
pub use ssl4mis_unet::{Ssl4misUNet, Ssl4misUNetConfig};
pub use stage_config::{AttentionUNetRoyConfig, NucleiSegNetConfig};
pub use stages::Stages;
pub use swin_unet::{SwinUnet, SwinUnetConfig, from_swin_checkpoint};
pub use transunet::{TransUNet, TransUNetConfig};
pub use unet::UNet;
pub use unet_config::UNetConfig;
pub use unet3d::{UNet3d, UNet3dConfig};
pub use vnet::{VNet, VNetConfig};

use crate::SegOutput;
use crate::weights::{self, Initial, KerasTensor, Mapped, Weights};
use error::{check, check_dropout};
use network::{Network, PlanarNetwork, Sizes, VolumeNetwork};

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
                #[doc = concat!("`", $name, "`, see [`type@", stringify!($variant), "`].")]
                #[serde(rename = $name)]
                $variant($config),
            )*
        }

        /// A network of any architecture.
        #[derive(Module, Debug)]
        #[allow(clippy::large_enum_variant)] // one at a time, and moved seldom
        pub enum Model {
            $(
                #[doc = concat!("See [`type@", stringify!($variant), "`].")]
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

            /// The configuration of the network that tensors in the order and layout of Keras belong
            /// to, see [`weights::from_keras`](crate::weights::from_keras).
            ///
            /// # Errors
            /// When there is no architecture of this name, or these are not its tensors.
            pub fn deduce_keras(name: &str, shapes: &[Vec<usize>]) -> Result<Self, ModelError> {
                match name {
                    $($name => {
                        let config = <$variant as Network>::deduce_keras(shapes);
                        config.map(Self::$variant).ok_or(ModelError::Foreign { model: $name })
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
                check(self.name(), "input_channels", self.input_channels(), 1..=64)?;
                check(self.name(), "output_channels", self.output_channels(), 1..=255)?;
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
                        {
                            let _ = (m, image);
                            panic!("{} takes volumes, not images", $name)
                        }
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
                        {
                            let _ = (m, volume);
                            panic!("{} takes images, not volumes", $name)
                        },
                        VolumeNetwork::forward(m, volume)
                    ),)*
                }
            }

            /// 2 for images, 3 for volumes.
            #[must_use]
            pub fn dimensions(&self) -> usize {
                match self {
                    $(Self::$variant(_) => architectures!(@kind $kind 2, 3),)*
                }
            }

            /// The official name of a parameter from its path in this module.
            #[must_use]
            pub fn official_name(&self, path: &str) -> Option<String> {
                match self {
                    $(Self::$variant(m) => m.official_name(path),)*
                }
            }

            /// All parameters and running statistics in the order of Keras' `model.weights`; `None`
            /// where the reference is not written in Keras.
            #[must_use]
            pub fn keras_order(&self) -> Option<Vec<KerasTensor>> {
                match self {
                    $(Self::$variant(m) => m.keras_order(),)*
                }
            }

            /// Ends of names of the reference's buffers that have no place in this module.
            fn buffers(&self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant(_) => <$variant as Network>::BUFFERS,)*
                }
            }

            /// Brings tensors of a file to the names and shapes of this network, as the loaders of
            /// its reference do: pre-trained encoders go to their places, position embeddings and
            /// bias tables are resized.
            #[must_use]
            pub fn adopt(&self, tensors: &Weights) -> Mapped {
                let shapes = weights::shapes(self);
                let mut mapped = match self {
                    $(Self::$variant(_) => <$variant as Network>::adopt(tensors, &shapes),)*
                };
                mapped.unused.retain(|name| {
                    !self.is_buffer(name)
                        && !self.alias(name).is_some_and(|one| shapes.contains_key(&one))
                });
                mapped
            }

            /// The official name of the tensor that another one repeats.
            pub(crate) fn alias(&self, name: &str) -> Option<String> {
                match self {
                    $(Self::$variant(m) => m.alias(name),)*
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

    /// Builds the network with all parameters zero, for weights that follow.
    ///
    /// # Errors
    /// When a size is outside what the architecture allows.
    pub fn zeros(&self, device: &Device) -> Result<Model, ModelError> {
        self.validate()?;
        Ok(self.build(device))
    }

    /// Builds the network and fills it with the weights that `seed` stands for.
    ///
    /// # Errors
    /// When a size is outside what the architecture allows.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Model, ModelError> {
        Ok(weights::initialise(self.zeros(device)?, seed))
    }
}

impl Model {
    /// Whether files of the reference hold a tensor of this name that is no parameter and no running
    /// statistic, and is made anew here.
    #[must_use]
    pub fn is_buffer(&self, name: &str) -> bool {
        name.ends_with("num_batches_tracked") || self.buffers().iter().any(|b| name.ends_with(b))
    }

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
            flops: default.flops(&flops_size).forward,
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
    AttentionUNetRoy planar "attention-unet-roy" AttentionUNetRoyConfig;
    CmuNet planar "cmu-net" CmuNetConfig;
    CmuNetRoy planar "cmu-net-roy" CmuNetConfig;
    NucleiSegNet planar "nucleisegnet" NucleiSegNetConfig;
    SwinUnet planar "swin-unet" SwinUnetConfig;
    Ssl4misUNet planar "ssl4mis-unet" Ssl4misUNetConfig;
    VNet volume "vnet" VNetConfig;
    UNet3d volume "unet3d" UNet3dConfig;
    NnUNet planar "nnunet" NnUNetConfig<2, false>;
    NnUNetResEnc planar "nnunet-resenc" NnUNetConfig<2, true>;
    NnUNet3d volume "nnunet-3d" NnUNetConfig<3, false>;
    NnUNetResEnc3d volume "nnunet-resenc-3d" NnUNetConfig<3, true>;
    TransUNet planar "transunet" TransUNetConfig;
}
