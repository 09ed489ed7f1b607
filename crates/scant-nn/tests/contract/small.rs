//! Every architecture, small enough to be asked in a moment.

use scant_nn::ModelConfig;
use scant_nn::model::{NnUNetConfig, UNetConfig};

/// One or more configurations of every architecture.
pub(crate) fn small(input: usize, output: usize) -> Vec<ModelConfig> {
    let unet = UNetConfig { width: 4, depth: 2, input_channels: input, output_channels: output };
    vec![
        ModelConfig::UNet(unet.clone()),
        ModelConfig::AttentionUNet(unet),
        ModelConfig::NnUNet(nnunet(input, output)),
        ModelConfig::NnUNetResEnc(nnunet(input, output)),
        ModelConfig::NnUNet3d(nnunet(input, output)),
        ModelConfig::NnUNetResEnc3d(nnunet(input, output)),
    ]
}

/// Three stages; the last one shrinks only the last axis.
fn nnunet<const D: usize, const RESIDUAL: bool>(
    input: usize,
    output: usize,
) -> NnUNetConfig<D, RESIDUAL> {
    let mut narrower = [1; D];
    narrower[D - 1] = 2;
    NnUNetConfig {
        features: vec![4, 6, 6],
        kernels: vec![[3; D], narrower.map(|n| 2 * n - 1), [3; D]],
        strides: vec![[1; D], [2; D], narrower],
        encoder_blocks: vec![1, 2, 1],
        decoder_blocks: vec![1, 2],
        deep_supervision: true,
        input_channels: input,
        output_channels: output,
    }
}

/// Ends of paths of parameters that have no gradient in evaluation mode, with the reason.
pub(crate) fn without_gradient(config: &ModelConfig) -> &'static [&'static str] {
    // An instance norm takes away what a bias before it adds.
    const BIAS: &str = "conv.bias";
    match config {
        ModelConfig::NnUNet(_) | ModelConfig::NnUNet3d(_) => &[BIAS],
        // The last scale of a residual block starts at zero, and hides what is before it.
        ModelConfig::NnUNetResEnc(_) | ModelConfig::NnUNetResEnc3d(_) => &[
            BIAS,
            "conv1.conv.weight",
            "conv1.norm.weight",
            "conv1.norm.bias",
            "conv2.conv.weight",
        ],
        _ => &[],
    }
}
