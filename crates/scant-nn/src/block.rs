//! Layers that several networks share.

mod channel_gate;
mod conv;
mod conv_activation_norm;
mod conv_mixer;
mod conv_norm;
mod convolution;
mod double_conv;
mod drop_path;
mod encoder;
mod gate;
mod layer_norm;
mod linear;
mod multi_scale_gate;
mod norm_constants;
mod transposed_convolution;
mod up_conv;

pub use channel_gate::ChannelGate;
pub use conv::Conv;
pub use conv_activation_norm::{Activation, ConvActivationNorm};
pub use conv_mixer::{ConvMixer, MixerResidual, MixerShape};
pub use convolution::{Conv2d, Conv3d, ConvShape};
pub use double_conv::DoubleConv;
pub use drop_path::DropPath;
pub use encoder::Encoder;
pub use gate::AttentionGate;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use multi_scale_gate::MultiScaleGate;
pub use norm_constants::NormConstants;
pub use transposed_convolution::{ConvTranspose2d, ConvTranspose3d, ConvTransposeShape};
pub use up_conv::UpConv;
