//! Layers that several networks share.

mod conv;
mod conv_norm;
mod convolution;
mod convolution_kind;
mod double_conv;
mod encoder;
mod gate;
mod instance_norm;
mod layer_norm;
mod linear;
mod transposed_convolution;
mod up_conv;

pub use conv::Conv;
pub use convolution::{Conv2d, Conv3d, ConvShape};
pub use convolution_kind::{Convolution, TransposedConvolution};
pub use double_conv::DoubleConv;
pub use encoder::Encoder;
pub use gate::AttentionGate;
pub use instance_norm::InstanceNorm;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use transposed_convolution::{ConvTranspose2d, ConvTranspose3d, ConvTransposeShape};
pub use up_conv::UpConv;
