//! Layers that several networks share.

mod attention;
mod conv;
mod conv_norm;
mod conv_norm_relu;
mod convolution;
mod double_conv;
mod encoder;
mod gate;
mod group_norm;
mod layer_norm;
mod linear;
mod std_conv;
mod transposed_convolution;
mod up_conv;

pub use attention::SelfAttention;
pub use conv::Conv;
pub use conv_norm_relu::ConvNormRelu;
pub use convolution::{Conv2d, Conv3d, ConvShape};
pub use double_conv::DoubleConv;
pub use encoder::Encoder;
pub use gate::AttentionGate;
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use std_conv::StdConv;
pub use transposed_convolution::{ConvTranspose2d, ConvTranspose3d, ConvTransposeShape};
pub use up_conv::UpConv;
