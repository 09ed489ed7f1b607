//! What every architecture must answer.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::ModelError;
use crate::SegOutput;
use crate::weights::{self, Initial, KerasTensor, Mapped, Weights};

/// Sizes of a set of tensors, by official name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// The free sizes of an architecture: what a recipe's `[model]` may say, and what comes from the data.
pub(crate) trait Sizes {
    /// Image channels and logit channels.
    fn channels(&self) -> [usize; 2];

    /// Sets image channels and logit channels.
    fn set_channels(&mut self, channels: [usize; 2]);

    /// Learns the size of the images it will be trained on; for the few networks whose parameters
    /// depend on it.
    fn fit(&mut self, size: &[usize]) {
        let _ = size;
    }

    /// Tap names in order: enc1..encN, bottleneck, decN..dec1; levels the network does not have are
    /// left out.
    fn tap_names(&self) -> Vec<String>;
}

/// One architecture. Implemented by its module.
pub(crate) trait Network: Module {
    /// Its free sizes; their default is the published configuration.
    type Config: Sizes + Default;

    /// Where it comes from.
    const PAPER: &'static str;
    /// Trainable parameters of the default configuration: the published one, with 3 (volumes: 1)
    /// channels, and 1 logit where the architecture is not published with weights for more.
    const PARAMETERS: u64;
    /// What the input may be.
    const INPUT: &'static str;
    /// Ends of the names of buffers of the reference that are made anew here and ignored in files,
    /// besides PyTorch's counters `num_batches_tracked`.
    const BUFFERS: &'static [&'static str] = &[];

    /// Checks the sizes but the channels; `model` is the name in recipes, for the message.
    fn validate(model: &'static str, config: &Self::Config) -> Result<(), ModelError>;

    /// Builds the network with all parameters zero. The sizes are valid.
    fn new(config: &Self::Config, device: &Device) -> Self;

    /// The sizes of the network that `shapes`, by official names, are the tensors of; `None` when a
    /// tensor that tells is missing.
    fn deduce(shapes: &Shapes) -> Option<Self::Config>;

    /// The official name of a parameter or running statistic from its path in this module.
    fn official_name(&self, path: &str) -> Option<String>;

    /// All parameters and running statistics in the order of Keras' `model.weights`, where the
    /// reference is written in Keras.
    fn keras_order(&self) -> Option<Vec<KerasTensor>> {
        None
    }

    /// As [`deduce`](Self::deduce), from the sizes in that order.
    fn deduce_keras(shapes: &[Vec<usize>]) -> Option<Self::Config> {
        let _ = shapes;
        None
    }

    /// Brings tensors of a file to the names and shapes of a network whose tensors have the shapes
    /// `network`, as the reference's loaders do.
    fn adopt(tensors: &Weights, network: &Shapes) -> Mapped {
        weights::by_name(tensors, network)
    }

    /// The official name of the tensor that the tensor `name` of an official checkpoint repeats, where
    /// the reference registers a module under several names.
    fn alias(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// How the parameter of an official name starts.
    fn initial(&self, name: &str, shape: &[usize]) -> Initial {
        Initial::usual(name, shape)
    }
}

/// A network of images.
pub(crate) trait PlanarNetwork: Network {
    /// # Shapes
    /// - image: `[batch, input channels, rows, columns]`, any size
    /// - logits: `[batch, logit channels, rows, columns]`
    fn forward(&self, image: Tensor<4>) -> SegOutput;
}

/// A network of volumes.
pub(crate) trait VolumeNetwork: Network {
    /// # Shapes
    /// - volume: `[batch, input channels, depth, rows, columns]`, any size
    /// - logits: `[batch, logit channels, depth, rows, columns]`
    fn forward(&self, volume: Tensor<5>) -> SegOutput<5>;
}
