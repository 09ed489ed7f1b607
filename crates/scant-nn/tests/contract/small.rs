//! Every architecture, small enough to be asked in a moment.

use scant_nn::ModelConfig;
use scant_nn::model::{AttentionUNetRoyConfig, CmuNetConfig, NucleiSegNetConfig, UNetConfig};

/// One or more configurations of every architecture.
pub(crate) fn small(input: usize, output: usize) -> Vec<ModelConfig> {
    let unet = UNetConfig { width: 4, depth: 2, input_channels: input, output_channels: output };
    let cmu = CmuNetConfig {
        width: 4,
        depth: 2,
        mixer_depth: 2,
        mixer_kernel: 5,
        input_channels: input,
        output_channels: output,
    };
    let roy = AttentionUNetRoyConfig {
        width: 4,
        depth: 2,
        input_channels: input,
        output_channels: output,
    };
    let nuclei =
        NucleiSegNetConfig { width: 4, depth: 2, input_channels: input, output_channels: output };
    vec![
        ModelConfig::UNet(unet.clone()),
        ModelConfig::AttentionUNet(unet),
        ModelConfig::AttentionUNetRoy(roy),
        ModelConfig::CmuNet(cmu.clone()),
        ModelConfig::CmuNetRoy(cmu),
        ModelConfig::NucleiSegNet(nuclei),
    ]
}

/// Ends of paths of parameters that have no gradient in evaluation mode, with the reason.
pub(crate) fn without_gradient(_config: &ModelConfig) -> &'static [&'static str] {
    &[]
}
