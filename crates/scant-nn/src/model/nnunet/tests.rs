use burn::tensor::Distribution;

use super::*;
use crate::weights::{self, WeightError, Weights};
use crate::{Model, ModelConfig};

/// Anisotropic, with a stage that only gets narrower and one that keeps its channels.
fn plain() -> NnUNetConfig<3, false> {
    NnUNetConfig {
        features: vec![3, 4, 4],
        kernels: vec![[1, 3, 3], [3, 3, 3], [3, 1, 3]],
        strides: vec![[1, 1, 1], [1, 2, 2], [2, 2, 1]],
        encoder_blocks: vec![1, 2, 1],
        decoder_blocks: vec![1, 2],
        deep_supervision: true,
        input_channels: 2,
        output_channels: 3,
    }
}

fn residual() -> NnUNetConfig<2, true> {
    NnUNetConfig {
        features: vec![4, 4, 6, 8],
        kernels: vec![[3, 3]; 4],
        strides: vec![[1, 1], [2, 2], [1, 1], [1, 2]],
        encoder_blocks: vec![1, 2, 1, 1],
        decoder_blocks: vec![1, 1, 2],
        deep_supervision: true,
        input_channels: 1,
        output_channels: 2,
    }
}

fn volume(device: &Device, sides: [usize; 3]) -> Tensor<5> {
    let [d, h, w] = sides;
    device.seed(3);
    Tensor::random([2, 2, d, h, w], Distribution::Uniform(-1.0, 1.0), device)
}

fn values<const R: usize>(t: &Tensor<R>) -> Vec<f32> {
    t.to_data().iter::<f32>().collect()
}

#[test]
fn every_stage_of_the_decoder_has_logits_where_they_are_asked_for() {
    let device = Device::flex();
    let config = ModelConfig::NnUNet3d(plain());
    let model = config.init(&device, 1).unwrap();
    let x = volume(&device, [4, 8, 8]);
    let supervised = model.forward_volume(x.clone());
    let sizes: Vec<[usize; 5]> = supervised.aux.iter().map(Tensor::dims).collect();
    assert_eq!(sizes, [[2, 3, 4, 4, 4]]);
    assert_eq!(supervised.tap_names(), ["enc1", "enc2", "bottleneck", "dec2", "dec1"]);
    let bottleneck = &supervised.taps[2].features;
    assert_eq!(bottleneck.dims(), [2, 4, 2, 2, 4]);

    let without = NnUNetConfig { deep_supervision: false, ..plain() };
    let other = ModelConfig::NnUNet3d(without).init(&device, 2).unwrap();
    let other = weights::import(other, &weights::export(&model)).unwrap();
    let alone = other.forward_volume(x);
    assert!(alone.aux.is_empty());
    assert_eq!(values(&alone.logits), values(&supervised.logits));
}

#[test]
fn other_sizes_are_those_of_the_padded_image() {
    let device = Device::flex();
    let model = ModelConfig::NnUNet3d(plain()).init(&device, 1).unwrap();
    let x = volume(&device, [3, 7, 6]);
    let out = model.forward_volume(x.clone());
    assert_eq!(out.padding, [1, 1, 0]);
    let (padded, padding) = pad_to_multiple(x, &[2, 4, 2]);
    let whole = model.forward_volume(padded);
    assert_eq!(values(&out.logits), values(&crop(whole.logits, &padding)));
}

#[test]
fn names_are_those_of_the_reference() {
    let names = |config: ModelConfig| -> Vec<String> {
        weights::export(&config.init(&Device::flex(), 0).unwrap()).into_keys().collect()
    };
    let plain = names(ModelConfig::NnUNet3d(plain()));
    for name in [
        "encoder.stages.1.0.convs.1.conv.weight",
        "encoder.stages.0.0.convs.0.norm.bias",
        "decoder.stages.1.convs.1.norm.weight",
        "decoder.transpconvs.0.bias",
        "decoder.seg_layers.1.weight",
    ] {
        assert!(plain.iter().any(|n| n == name), "{name} is not in {plain:?}");
    }
    assert_eq!(plain.len(), 7 * 4 + 2 * 2 + 2 * 2);
    let residual = names(ModelConfig::NnUNetResEnc(residual()));
    for name in [
        "encoder.stem.convs.0.conv.bias",
        "encoder.stages.1.blocks.1.conv2.norm.weight",
        // Of the same size, and behind the mean of windows.
        "encoder.stages.2.blocks.0.skip.0.conv.weight",
        "encoder.stages.3.blocks.0.skip.1.norm.bias",
    ] {
        assert!(residual.iter().any(|n| n == name), "{name} is not in {residual:?}");
    }
    assert!(!residual.iter().any(|n| n.contains("stages.1.blocks.0.skip")), "mean alone");
    assert!(!residual.iter().any(|n| n.ends_with("skip.1.conv.bias")), "{residual:?}");
}

/// All tensors of the reference's `state_dict`, the repeated ones too.
fn with_aliases(weights: &Weights) -> Weights {
    let mut all = weights.clone();
    for (name, tensor) in weights {
        let twin = name.replace(".conv.", ".all_modules.0.").replace(".norm.", ".all_modules.1.");
        for name in [name, &twin] {
            all.insert(name.clone(), tensor.clone());
            if let Some(rest) = name.strip_prefix("encoder.") {
                all.insert(format!("decoder.encoder.{rest}"), tensor.clone());
            }
        }
    }
    all
}

#[test]
fn repeated_tensors_are_accepted_where_they_are_equal() {
    let device = Device::flex();
    let build = |seed| ModelConfig::NnUNetResEnc(residual()).init(&device, seed).unwrap();
    let own = weights::export(&build(1));
    let mut all = with_aliases(&own);
    assert!(all.len() > 3 * own.len());
    let model: Model = weights::import(build(2), &all).unwrap();
    assert_eq!(weights::export(&model), own);

    let twin = "decoder.encoder.stages.0.blocks.0.conv1.all_modules.0.weight";
    all.get_mut(twin).unwrap().data[0] += 1.0;
    let error = weights::import(build(2), &all).unwrap_err();
    let original = "encoder.stages.0.blocks.0.conv1.conv.weight".to_owned();
    assert_eq!(error, WeightError::Differs { name: twin.to_owned(), original });
    assert!(error.to_string().contains(twin), "{error}");

    let mut foreign = own;
    let tensor = foreign.values().next().unwrap().clone();
    foreign.insert("decoder.encoder.stages.9.0.convs.0.conv.weight".into(), tensor);
    assert!(matches!(weights::import(build(2), &foreign), Err(WeightError::Unexpected(_))));
}

#[test]
fn residual_blocks_start_as_their_shortcut() {
    let device = Device::flex();
    let weights = weights::export(&ModelConfig::NnUNetResEnc(residual()).init(&device, 1).unwrap());
    let all = |name: &str, value: f32| weights[name].data.iter().all(|v| *v == value);
    assert!(all("encoder.stages.1.blocks.1.conv2.norm.weight", 0.0));
    assert!(all("encoder.stages.1.blocks.1.conv1.norm.weight", 1.0));
    assert!(all("encoder.stages.3.blocks.0.skip.1.norm.weight", 1.0));
    assert!(all("decoder.seg_layers.0.bias", 0.0));
    let kernel = &weights["encoder.stages.3.blocks.0.conv2.conv.weight"].data; // 8 x 8 x 3 x 3
    let spread = (kernel.iter().map(|v| v * v).sum::<f32>() / kernel.len() as f32).sqrt();
    assert!((spread - (2.0_f32 / 72.0).sqrt()).abs() < 0.02, "{spread}");
}

/// The reference refuses to normalise a map of one pixel.
#[test]
fn one_pixel_at_the_bottom_is_enough() {
    let device = Device::flex().autodiff();
    let model = ModelConfig::NnUNet3d(plain()).init(&device, 1).unwrap();
    let out = model.forward_volume(volume(&device, [2, 4, 2]));
    assert_eq!(out.taps[2].features.dims(), [2, 4, 1, 1, 1]);
    let _ = out.logits.clone().square().sum().backward();
    assert!(values(&out.logits).iter().all(|v| v.is_finite()));
}
