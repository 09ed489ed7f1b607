//! Nearest-neighbour up-sampling by two and a convolution.

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::tensor::{Device, Tensor};
use scant_kernels::ConvInput;

use super::conv_norm::conv_norm_relu;
use super::{Conv, NormConstants};

/// nearest x2 → conv3x3 → batch norm → ReLU (`up_conv` of LeeJunHyun/Image_Segmentation).
#[derive(Module, Debug)]
pub struct UpConv {
    conv: Conv,
    norm: BatchNorm,
}

impl UpConv {
    /// From `input` to `output` channels.
    #[must_use]
    pub fn new(input: usize, output: usize, device: &Device) -> Self {
        Self::with_norm(input, output, NormConstants::PYTORCH, device)
    }

    /// The same with a batch norm of other constants.
    #[must_use]
    pub fn with_norm(input: usize, output: usize, norm: NormConstants, device: &Device) -> Self {
        Self { conv: Conv::new(input, output, 3, device), norm: norm.norm(output, device) }
    }

    /// # Shapes
    /// - x: `[batch, input, rows, columns]`
    /// - output: `[batch, output, 2 rows, 2 columns]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv_norm_relu(ConvInput::Doubled(x), [(&self.conv, &self.norm)])
    }

    /// Official name of a part, e.g. `conv` → `up.1`.
    pub(crate) fn official(part: &str) -> Option<&'static str> {
        Some(match part {
            "conv" => "up.1",
            "norm" => "up.2",
            _ => return None,
        })
    }
}
