//! Tensors to tensors: network blocks, models, losses and weight name maps.
//!
//! Nothing here reads a file or knows what an image is called. A model returns [`SegOutput`]: logits
//! with every intermediate by name, so that a loss can ask for a layer without knowing the network.
//!
//! Devices are chosen at run time: a [`Device`] travels with every tensor, and
//! `Device::flex().autodiff()` records gradients.

pub mod block;
pub mod capture;
pub mod heads;
pub mod loss;
pub mod model;
mod output;
mod resample;
pub mod source_norm;
pub mod weights;

pub use burn::tensor::Device;
pub use model::{Model, ModelConfig, ModelError};
pub use output::{SegOutput, Tap};
pub use scant_kernels::{DeviceError, DeviceName, Precision, Watch, on_cpu, with_precision};
