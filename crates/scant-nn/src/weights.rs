//! Parameters by name: initial values, export and import.
//!
//! Names are those of the official PyTorch `state_dict`, so that a saved file opens in Python with
//! `safetensors.torch.load_file` and official checkpoints map without a table at the caller.

mod adopt;
mod bicubic;
mod init;
pub(crate) mod keras;
mod mapped;
mod named;
mod statistics;
mod transfer;
pub mod vit_npz;

use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

pub use adopt::{one_logit, unwrapped};
pub use init::{Initial, initialise};
pub use keras::{KerasLayout, KerasTensor, from_keras, to_keras};
pub use mapped::Mapped;
pub use scant_core::{HostTensor, Weights};
pub use statistics::{Statistics, set_statistics, statistics};
pub use transfer::{Transfer, shapes, transfer};

pub(crate) use adopt::by_name;
pub(crate) use bicubic::resize_bicubic;
pub(crate) use init::seeded;

use crate::Model;
pub(crate) use named::{Named, PathMapper, PathVisitor};

/// Why weights do not fit a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WeightError {
    /// The file lacks a tensor.
    #[error(
        "the weights lack \"{name}\" of shape {shape:?}; they belong to another network or size"
    )]
    Missing {
        /// Official name.
        name: String,
        /// Shape the network needs.
        shape: Vec<usize>,
    },
    /// The file holds a tensor the network does not know.
    #[error("the weights hold \"{0}\", which this network does not have")]
    Unexpected(String),
    /// One tensor under two names, with two values.
    #[error(
        "\"{name}\" repeats \"{original}\" in this network, but the weights hold two different tensors; \
         the file is damaged or was edited"
    )]
    Differs {
        /// Official name of the repetition.
        name: String,
        /// Official name of what it repeats.
        original: String,
    },
    /// Same name, other shape.
    #[error("\"{name}\" has shape {got:?} in the weights but {expected:?} in the network")]
    Shape {
        /// Official name.
        name: String,
        /// Shape the network needs.
        expected: Vec<usize>,
        /// Shape in the file.
        got: Vec<usize>,
    },
    /// Keras' order was asked of a network without a reference in Keras.
    #[error(
        "the reference of this network is not written in Keras; its tensors go by name, not by order"
    )]
    NotKeras,
    /// Another number of tensors than the network has in Keras' order.
    #[error(
        "the weights are {got} tensors where the network has {expected}; they belong to another \
         network or size"
    )]
    Count {
        /// Tensors of the network.
        expected: usize,
        /// Tensors given.
        got: usize,
    },
}

/// Where the parameters of a network lie.
///
/// # Panics
/// Never: every network has parameters.
#[must_use]
pub fn device(model: &Model) -> Device {
    model.devices().into_iter().next().expect("a network has parameters")
}

/// Copies every parameter and running statistic to the host, by official name.
#[must_use]
pub fn export(model: &Model) -> Weights {
    // Running statistics are buffered per thread; `valid` is what settles them.
    let settled = model.valid();
    let mut weights = Weights::new();
    let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
        if let Some(name) = settled.official_name(path) {
            weights.insert(name, tensor.to_host());
        }
    });
    settled.visit(&mut visitor);
    weights
}

/// Replaces every parameter and running statistic by the tensor of the same official name.
/// Buffers of the reference ([`Model::is_buffer`]), such as PyTorch's `num_batches_tracked`, are ignored,
/// and so are second names of the same tensor, as long as their values are the same.
///
/// The network must be fresh from [`crate::ModelConfig::init`] or [`crate::ModelConfig::zeros`]: running statistics that a training
/// step has touched are buffered and would come back.
///
/// # Errors
/// When a tensor is missing, unknown, of another shape, or repeated with other values; the network is
/// then lost.
pub fn import(model: Model, weights: &Weights) -> Result<Model, WeightError> {
    let expected = shapes(&model);
    for (name, shape) in &expected {
        match weights.get(name) {
            None => {
                return Err(WeightError::Missing { name: name.clone(), shape: shape.clone() });
            }
            Some(t) if t.shape != *shape => {
                return Err(WeightError::Shape {
                    name: name.clone(),
                    expected: shape.clone(),
                    got: t.shape.clone(),
                });
            }
            Some(_) => {}
        }
    }
    for (name, tensor) in weights {
        if expected.contains_key(name) || model.is_buffer(name) {
            continue;
        }
        let original = model.alias(name).filter(|original| expected.contains_key(original));
        let original = original.ok_or_else(|| WeightError::Unexpected(name.clone()))?;
        if weights[&original] != *tensor {
            return Err(WeightError::Differs { name: name.clone(), original });
        }
    }
    let names = model.clone();
    let mut mapper = PathMapper::new(|path: &str| {
        names.official_name(path).and_then(|name| weights.get(&name)).cloned()
    });
    Ok(model.map(&mut mapper))
}

/// Switches batch statistics and other training behaviour, leaving gradients as they are.
#[must_use]
pub fn set_training(model: Model, training: bool) -> Model {
    struct Switch(bool);
    impl ModuleMapper for Switch {
        fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
            flag.with_value(self.0)
        }
    }
    model.map(&mut Switch(training))
}

/// Whether a path names a running statistic rather than a parameter.
#[must_use]
pub fn is_statistic(path: &str) -> bool {
    path.ends_with("running_mean") || path.ends_with("running_var")
}

/// Number of trainable values.
#[must_use]
pub fn count_trainable(model: &Model) -> u64 {
    let mut count = 0;
    let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
        if !is_statistic(path) {
            count += tensor.shape().iter().product::<usize>() as u64;
        }
    });
    model.visit(&mut visitor);
    count
}

/// A tensor of any rank from host values.
pub(crate) fn tensor_from<const D: usize>(host: &HostTensor, like: &Tensor<D>) -> Tensor<D> {
    Tensor::from_data(TensorData::new(host.data.clone(), host.shape.clone()), &like.device())
}
