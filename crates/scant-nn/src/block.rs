//! Layers that several networks share.

mod channel_dropout;
mod conv;
mod conv_norm;
mod convolution;
mod double_conv;
mod dropout_double_conv;
mod encoder;
mod gate;
mod layer_norm;
mod linear;
mod norm;
mod norm_conv3d;
mod transposed_convolution;
mod up_conv;

pub use channel_dropout::ChannelDropout;
pub use conv::Conv;
pub use convolution::{Conv2d, Conv3d, ConvShape};
pub use double_conv::DoubleConv;
pub use dropout_double_conv::DropoutDoubleConv;
pub use encoder::Encoder;
pub use gate::AttentionGate;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use norm::{Norm, NormKind};
pub(crate) use norm_conv3d::official as official_norm_conv3d;
pub use norm_conv3d::{NormConv3d, NormConvTranspose3d};
pub use transposed_convolution::{ConvTranspose2d, ConvTranspose3d, ConvTransposeShape};
pub use up_conv::UpConv;
