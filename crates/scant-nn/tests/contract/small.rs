//! Every architecture, small enough to be asked in a moment.

use scant_nn::ModelConfig;
use scant_nn::model::{TransUNetConfig, UNetConfig};

/// One or more configurations of every architecture.
pub(crate) fn small(input: usize, output: usize) -> Vec<ModelConfig> {
    let unet = UNetConfig { width: 4, depth: 2, input_channels: input, output_channels: output };
    let transunet = TransUNetConfig {
        hidden: 128,
        heads: 2,
        layers: 2,
        mlp: 16,
        units: [1, 2, 1],
        width: 32,
        head_channels: 8,
        decoder_channels: [8, 6, 4, 4],
        grid: [2, 2],
        input_channels: input,
        output_channels: output,
        ..TransUNetConfig::default()
    };
    vec![
        ModelConfig::UNet(unet.clone()),
        ModelConfig::AttentionUNet(unet),
        ModelConfig::TransUNet(transunet),
    ]
}

/// Ends of paths of parameters that have no gradient in evaluation mode, with the reason.
pub(crate) fn without_gradient(config: &ModelConfig) -> &'static [&'static str] {
    match config {
        // The same is added to the scores of all keys, which a softmax does not see.
        ModelConfig::TransUNet(_) => &["attn.key.bias"],
        _ => &[],
    }
}
