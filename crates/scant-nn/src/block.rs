//! Layers that several networks share.

mod conv;
mod conv_norm;
mod convolution;
mod double_conv;
mod drop_path;
mod encoder;
mod gate;
mod layer_norm;
mod linear;
mod transposed_convolution;
mod up_conv;

pub use conv::Conv;
pub use convolution::{Conv2d, Conv3d, ConvShape};
pub use double_conv::DoubleConv;
pub use drop_path::DropPath;
pub use encoder::Encoder;
pub use gate::AttentionGate;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use transposed_convolution::{ConvTranspose2d, ConvTranspose3d, ConvTransposeShape};
pub use up_conv::UpConv;
