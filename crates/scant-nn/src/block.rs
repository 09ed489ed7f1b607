//! Layers that several networks share.

mod double_conv;
mod encoder;
mod gate;
mod up_conv;

pub use double_conv::DoubleConv;
pub use encoder::Encoder;
pub use gate::AttentionGate;
pub use up_conv::UpConv;

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::Device;

/// A 3x3 convolution that keeps the size, with bias.
pub(crate) fn conv3x3(input: usize, output: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([input, output], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(device)
}

/// A 1x1 convolution with bias.
pub(crate) fn conv1x1(input: usize, output: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([input, output], [1, 1]).init(device)
}
