//! Operators on tensors with gradients of their own, registered as burn extensions.
//!
//! On the CPU (the Flex device, `f32`) they run the loops of `scant-compute`; on every other device, and
//! for every other type, burn's operators, with the same numbers up to rounding. [`on_cpu`] is the one
//! place where that is decided.
//!
//! What they are for: convolutions whose gradients cost about as much as the forward pass; chains of
//! convolution, batch norm and activation that keep what the backward pass needs and nothing else;
//! pooling, resampling, attention gates and losses that read and write each value once.
//!
//! [`with_precision`] lets convolutions multiply in bfloat16.

mod activation;
mod batch_norm;
mod conv_norm;
mod convolution;
mod device;
mod gate;
mod instance_norm;
mod losses;
mod moments;
mod pooling;
mod precision;
mod resample;
mod residual;

pub use activation::activate;
pub use batch_norm::batch_norm;
pub use conv_norm::{
    BatchStatistics, ConvInput, ConvNorm, NormActivation, conv_norm, conv_norm_infer,
    conv_norm_twice,
};
pub use convolution::{
    ConvOptions, ConvTransposeOptions, conv_transpose2d, conv_transpose3d, conv2d, conv3d,
};
pub use device::{DeviceError, DeviceName, fall_through, on_cpu};
pub use gate::attention_gate;
pub use instance_norm::instance_norm;
pub use losses::{PixelSums, Terms, segmentation_sums};
pub use moments::{Tap, Watch, masked_sums, tap};
pub use pooling::{avg_pool2d, avg_pool3d, max_pool2d, max_pool3d};
pub use precision::{precision, with_precision};
pub use resample::{
    upsample_bilinear2d, upsample_nearest2d, upsample_nearest3d, upsample_trilinear3d,
};
pub use residual::residual_sum;
pub use scant_compute::bf16::Precision;
