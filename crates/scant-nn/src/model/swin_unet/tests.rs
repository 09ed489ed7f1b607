use burn::module::{ModuleMapper, Param};
use burn::tensor::{Distribution, TensorData};

use super::*;
use crate::Model;
use crate::model::{ModelConfig, UNetConfig};
use crate::weights::{self, HostTensor, WeightError};

/// A module with tensors whose values are given by path: for tests of the parts.
pub(super) fn filled<M: Module>(module: M, value: impl Fn(&str) -> Vec<f32>) -> M {
    struct Fill<F>(Vec<String>, F);
    impl<F: Fn(&str) -> Vec<f32>> ModuleMapper for Fill<F> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let values = (self.1)(&self.0.join("."));
            param.map(|old| Tensor::from_data(TensorData::new(values, old.dims()), &old.device()))
        }
    }
    module.map(&mut Fill(Vec::new(), value))
}

/// A module with random values.
pub(super) fn random<M: Module>(module: M) -> M {
    struct Random;
    impl ModuleMapper for Random {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| old.random_like(Distribution::Uniform(-0.5, 0.5)))
        }
    }
    module.map(&mut Random)
}

pub(super) fn values<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.to_data().iter::<f32>().collect()
}

/// A tensor whose values count up from 0.
pub(super) fn counted<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let data: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
    Tensor::from_data(TensorData::new(data, shape), &Device::flex())
}

/// Three stages, small.
pub(super) fn small() -> SwinUnetConfig {
    SwinUnetConfig {
        embed_dim: 4,
        depths: vec![2, 1, 2],
        heads: vec![1, 2, 4],
        window: 2,
        patch: 2,
        mlp_ratio: 2,
        output_channels: 3,
        ..SwinUnetConfig::default()
    }
}

fn built(config: &SwinUnetConfig, device: &Device) -> Model {
    ModelConfig::SwinUnet(config.clone()).init(device, 7).unwrap()
}

fn noise(shape: [usize; 4], device: &Device) -> Tensor<4> {
    device.seed(3);
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

#[test]
fn a_grey_image_is_repeated() {
    let device = Device::flex();
    let (grey, coloured) = (SwinUnetConfig { input_channels: 1, ..small() }, small());
    let image = noise([2, 1, 16, 24], &device);
    let of_grey = built(&grey, &device).forward(image.clone()).logits;
    let of_three = built(&coloured, &device).forward(image.repeat_dim(1, 3)).logits;
    assert_eq!(of_grey.dims(), [2, 3, 16, 24]);
    assert_eq!(values(&of_grey), values(&of_three), "the same weights, by the same names");
    // A file cannot tell them apart; the data do.
    let shapes: Shapes = weights::export(&built(&grey, &device))
        .into_iter()
        .map(|(name, t)| (name, t.shape))
        .collect();
    let deduced = ModelConfig::deduce("swin-unet", &shapes).unwrap();
    assert_eq!(deduced, ModelConfig::SwinUnet(coloured));
    assert_eq!(deduced.with_channels(1, 3), ModelConfig::SwinUnet(grey));
}

#[test]
fn taps_are_images_of_every_stage() {
    let device = Device::flex();
    // 16 x 20 pixels are 8 x 10 patches. Of the widths from there, 16 is the first that windows
    // of 2 divide at all three stages.
    let out = built(&small(), &device).forward(noise([2, 3, 16, 20], &device));
    assert_eq!((out.logits.dims(), out.padding), ([2, 3, 16, 20], vec![0, 12]));
    let taps: Vec<(&str, [usize; 4])> =
        out.taps.iter().map(|t| (t.name.as_str(), t.features.dims())).collect();
    let wanted = [
        ("enc1", [2, 4, 8, 16]),
        ("enc2", [2, 8, 4, 8]),
        ("bottleneck", [2, 16, 2, 4]),
        ("dec2", [2, 8, 4, 8]),
        ("dec1", [2, 4, 8, 16]),
    ];
    assert_eq!(taps, wanted);
}

#[test]
fn branches_are_dropped_in_training_only() {
    let device = Device::flex().autodiff();
    let config = SwinUnetConfig { drop_path: 0.9, ..small() };
    let image = noise([2, 3, 16, 16], &device);
    let twice = |model: &Model| {
        [1, 2].map(|seed| {
            device.seed(seed);
            values(&model.forward(image.clone()).logits)
        })
    };
    let [a, b] = twice(&built(&config, &device));
    assert_ne!(a, b);
    let [a, b] = twice(&weights::set_training(built(&config, &device), false));
    assert_eq!(a, b);
    let [c, d] = twice(&built(&SwinUnetConfig { drop_path: 0.0, ..config }, &device));
    assert_eq!((&a, &a), (&c, &d), "without dropping, training is evaluation");
}

#[test]
fn buffers_of_the_reference_are_ignored_and_only_those() {
    let device = Device::flex();
    let model = || built(&small(), &device);
    let mut tensors = weights::export(&model());
    let buffer = HostTensor { shape: vec![1], data: vec![0.0] };
    tensors.insert("layers.0.blocks.1.attn_mask".into(), buffer.clone());
    let index = "layers_up.1.blocks.0.attn.relative_position_index";
    tensors.insert(index.into(), buffer.clone());
    assert!(weights::import(model(), &tensors).is_ok());
    tensors.insert("layers.0.blocks.1.attn_max".into(), buffer.clone());
    let unexpected = WeightError::Unexpected("layers.0.blocks.1.attn_max".into());
    assert_eq!(weights::import(model(), &tensors).unwrap_err(), unexpected);
    // Other networks have no such buffers.
    let sizes = UNetConfig { width: 2, depth: 1, ..UNetConfig::default() };
    let unet = ModelConfig::UNet(sizes).init(&device, 0).unwrap();
    assert!(!unet.is_buffer(index) && unet.is_buffer("Conv1.conv.1.num_batches_tracked"));
}

#[test]
fn names_are_those_of_the_reference() {
    let model = built(&small(), &Device::flex());
    let names: Vec<String> = weights::export(&model).into_keys().collect();
    for name in [
        "patch_embed.proj.weight",
        "layers.0.blocks.1.attn.relative_position_bias_table",
        "layers.1.downsample.reduction.weight",
        "norm.weight",
        "layers_up.0.expand.weight",
        "layers_up.1.upsample.norm.bias",
        "layers_up.2.blocks.1.mlp.fc2.bias",
        "concat_back_dim.1.weight",
        "concat_back_dim.2.bias",
        "norm_up.bias",
        "up.expand.weight",
        "output.weight",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} is not among {names:?}");
    }
    let absent =
        ["layers.2.downsample", "layers_up.2.upsample", "layers_up.3", "concat_back_dim.0"];
    assert!(!names.iter().any(|n| absent.iter().any(|a| n.starts_with(a))), "{names:?}");
}

#[test]
fn weights_start_as_in_the_reference() {
    let start =
        weights::export(&built(&SwinUnetConfig { embed_dim: 32, ..small() }, &Device::flex()));
    let deviation = |name: &str| {
        let data = &start[name].data;
        (data.iter().map(|v| f64::from(v * v)).sum::<f64>() / data.len() as f64).sqrt()
    };
    for name in ["layers.1.blocks.0.attn.qkv.weight", "up.expand.weight"] {
        assert!((deviation(name) - 0.02).abs() < 0.002, "{name}: {}", deviation(name));
    }
    assert!(deviation("layers.0.blocks.0.attn.relative_position_bias_table") > 0.005);
    assert!(start["layers.0.blocks.0.mlp.fc1.bias"].data.iter().all(|v| *v == 0.0));
    assert!(start["norm_up.weight"].data.iter().all(|v| *v == 1.0));
    // Uniform up to 1 / sqrt(3 * 2 * 2).
    for name in ["patch_embed.proj.weight", "patch_embed.proj.bias"] {
        let most = start[name].data.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(most > 0.2 && most <= 12.0_f32.powf(-0.5), "{name}: {most}");
    }
}

/// Nothing is computed there, so that a forward pass that looks at values could not be recorded.
#[test]
fn a_forward_pass_can_be_recorded() {
    let device = Device::capture();
    let mut size = [0; 4];
    let recorded = device.capture_scope(|scope| {
        let model = SwinUnet::new(&small(), &device);
        size = model.forward(Tensor::zeros([1, 3, 20, 16], &device)).logits.dims();
        scope.complete([], [])
    });
    assert!(recorded.is_ok() && size == [1, 3, 20, 16]);
}
