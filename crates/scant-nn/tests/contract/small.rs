//! Every architecture, small enough to be asked in a moment.

use scant_nn::ModelConfig;
use scant_nn::block::NormKind;
use scant_nn::model::{
    AttentionUNetRoyConfig, CmuNetConfig, NnUNetConfig, NucleiSegNetConfig, Ssl4misUNetConfig,
    SwinUnetConfig, TransUNetConfig, UNet3dConfig, UNetConfig, VNetConfig,
};

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
    let swin_unet = SwinUnetConfig {
        embed_dim: 4,
        depths: vec![2, 2, 1],
        heads: vec![1, 2, 4],
        window: 3,
        patch: 2,
        mlp_ratio: 2,
        input_channels: input,
        output_channels: output,
        ..SwinUnetConfig::default()
    };
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
    let mut all = vec![
        ModelConfig::UNet(unet.clone()),
        ModelConfig::AttentionUNet(unet),
        ModelConfig::AttentionUNetRoy(roy),
        ModelConfig::CmuNet(cmu.clone()),
        ModelConfig::CmuNetRoy(cmu),
        ModelConfig::NucleiSegNet(nuclei),
        ModelConfig::SwinUnet(swin_unet),
        ModelConfig::TransUNet(transunet),
    ];
    let (input_channels, output_channels) = (input, output);
    all.push(ModelConfig::Ssl4misUNet(Ssl4misUNetConfig {
        width: 4,
        depth: 2,
        input_channels,
        output_channels,
        ..Ssl4misUNetConfig::default()
    }));
    let norms =
        [(NormKind::Batch, 4), (NormKind::Group, 16), (NormKind::Instance, 4), (NormKind::None, 4)];
    all.extend(norms.map(|(norm, width)| {
        let (depth, dropout) = (2, VNetConfig::default().dropout);
        let sizes = VNetConfig { width, depth, norm, dropout, input_channels, output_channels };
        ModelConfig::VNet(sizes)
    }));
    all.push(ModelConfig::UNet3d(UNet3dConfig {
        width: 4,
        depth: 2,
        input_channels,
        output_channels,
        ..UNet3dConfig::default()
    }));
    all.push(ModelConfig::NnUNet(nnunet(input, output)));
    all.push(ModelConfig::NnUNetResEnc(nnunet(input, output)));
    all.push(ModelConfig::NnUNet3d(nnunet(input, output)));
    all.push(ModelConfig::NnUNetResEnc3d(nnunet(input, output)));
    all
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
        ModelConfig::VNet(VNetConfig { norm: NormKind::Instance, .. }) | ModelConfig::UNet3d(_) => {
            &[BIAS]
        }
        ModelConfig::NnUNet(_) | ModelConfig::NnUNet3d(_) => &[BIAS],
        // The last scale of a residual block starts at zero, and hides what is before it.
        ModelConfig::NnUNetResEnc(_) | ModelConfig::NnUNetResEnc3d(_) => &[
            BIAS,
            "conv1.conv.weight",
            "conv1.norm.weight",
            "conv1.norm.bias",
            "conv2.conv.weight",
        ],
        // The same is added to the scores of all keys, which a softmax does not see.
        ModelConfig::TransUNet(_) => &["attn.key.bias"],
        _ => &[],
    }
}
