//! Two 3x3 convolutions, each followed by batch norm and ReLU: the stage of a U-Net.

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::tensor::{Device, Tensor};
use scant_kernels::ConvInput;

use super::conv_norm::conv_norm_relu;
use super::{Conv, NormConstants};

/// conv3x3 → batch norm → ReLU, twice (`conv_block` of LeeJunHyun/Image_Segmentation).
#[derive(Module, Debug)]
pub struct DoubleConv {
    conv1: Conv,
    norm1: BatchNorm,
    conv2: Conv,
    norm2: BatchNorm,
}

impl DoubleConv {
    /// A stage from `input` to `output` channels.
    #[must_use]
    pub fn new(input: usize, output: usize, device: &Device) -> Self {
        Self::with_norm(input, output, NormConstants::PYTORCH, device)
    }

    /// The same with batch norms of other constants.
    #[must_use]
    pub fn with_norm(input: usize, output: usize, norm: NormConstants, device: &Device) -> Self {
        Self {
            conv1: Conv::new(input, output, 3, device),
            norm1: norm.norm(output, device),
            conv2: Conv::new(output, output, 3, device),
            norm2: norm.norm(output, device),
        }
    }

    /// # Shapes
    /// - x: `[batch, input, rows, columns]`
    /// - output: `[batch, output, rows, columns]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.stage(ConvInput::Plain(x))
    }

    /// [`forward`](Self::forward) of the concatenated channels of a skip connection and the map from
    /// below.
    ///
    /// # Shapes
    /// - skip, below: `[batch, channels, rows, columns]`, together `input` channels
    /// - output: `[batch, output, rows, columns]`
    #[must_use]
    pub fn forward_joined(&self, skip: Tensor<4>, below: Tensor<4>) -> Tensor<4> {
        self.stage(ConvInput::Joined(skip, below))
    }

    fn stage(&self, x: ConvInput) -> Tensor<4> {
        conv_norm_relu(x, [(&self.conv1, &self.norm1), (&self.conv2, &self.norm2)])
    }

    /// Official name of a parameter below this block's `conv` sequence, e.g. `conv1` → `0`.
    pub(crate) fn official(part: &str) -> Option<&'static str> {
        Some(match part {
            "conv1" => "conv.0",
            "norm1" => "conv.1",
            "conv2" => "conv.3",
            "norm2" => "conv.4",
            _ => return None,
        })
    }
}
