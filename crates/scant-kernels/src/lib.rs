//! Fast CPU operators, registered as burn extensions for the Flex device.
//!
//! Flex computes the weight gradient of a convolution as a convolution whose kernel is as large as
//! the image, which took more than half of a training step. The operators here replace it where it
//! hurts; tensors of any other device go to burn's own operators.

mod batch_norm;
mod conv;
mod conv_norm;
mod convolution;
mod device;
mod gate;
mod im2col;
mod losses;
mod moments;
mod pooling;
mod resample;

pub use batch_norm::batch_norm;
pub use conv::conv2d_same;
pub use conv_norm::{
    BatchStatistics, ConvInput, ConvNorm, NormActivation, conv_norm, conv_norm_infer, conv_norm_twice,
};
pub use convolution::{
    ConvOptions, ConvTransposeOptions, conv_transpose2d, conv_transpose3d, conv2d, conv3d,
};
pub use device::{DeviceError, DeviceName, fall_through, on_cpu};
pub use gate::attention_gate;
pub use losses::{PixelSums, Terms, segmentation_sums};
pub use moments::{Tap, masked_sums, tap};
pub use pooling::{avg_pool2d, avg_pool3d, max_pool2d, max_pool3d};
pub use resample::{
    upsample_bilinear2d, upsample_nearest2d, upsample_nearest3d, upsample_trilinear3d,
};
pub use scant_compute::bf16::Precision;
