use burn::module::{Module, ModuleVisitor, Param};

use super::*;
use crate::{ModelConfig, weights};

fn small() -> TransUNetConfig {
    TransUNetConfig {
        hidden: 128,
        heads: 2,
        layers: 2,
        mlp: 16,
        units: [1, 2, 1],
        width: 32,
        head_channels: 8,
        decoder_channels: [8, 6, 4, 4],
        skips: 3,
        grid: [2, 2],
        ..TransUNetConfig::default()
    }
}

fn random(dims: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::random(dims, burn::tensor::Distribution::Uniform(-1.0, 1.0), device)
}

#[test]
fn paths_become_the_names_of_the_reference() {
    let names = [
        (
            "transformer.embeddings.position_embeddings",
            "transformer.embeddings.position_embeddings",
        ),
        (
            "transformer.embeddings.hybrid_model.root.gn.weight",
            "transformer.embeddings.hybrid_model.root.gn.weight",
        ),
        (
            "transformer.embeddings.hybrid_model.body.1.units.0.gn_proj.bias",
            "transformer.embeddings.hybrid_model.body.block2.unit1.gn_proj.bias",
        ),
        (
            "transformer.encoder.layer.11.attn.query.weight",
            "transformer.encoder.layer.11.attn.query.weight",
        ),
        ("decoder.conv_more.conv.weight", "decoder.conv_more.0.weight"),
        ("decoder.blocks.3.conv2.norm.gamma", "decoder.blocks.3.conv2.1.weight"),
        ("decoder.blocks.0.conv1.norm.running_var", "decoder.blocks.0.conv1.1.running_var"),
        ("head.bias", "segmentation_head.0.bias"),
    ];
    for (path, name) in names {
        assert_eq!(official_name(path).as_deref(), Some(name));
    }
    assert_eq!(official_name("elsewhere.weight"), None);
}

/// Grey is repeated, so it has the parameters of colour; other numbers have their own.
#[test]
fn a_grey_image_is_a_colour_image_of_three_equal_channels() {
    let device = Device::flex();
    let parameters = |channels| {
        let config = ModelConfig::TransUNet(small()).with_channels(channels, 1);
        config.zeros(&device).unwrap().parameters()
    };
    assert_eq!(parameters(1), parameters(3));
    assert_eq!(parameters(4), parameters(3) + 32 * 49);
    let init =
        |channels| ModelConfig::TransUNet(small()).with_channels(channels, 1).init(&device, 3);
    let (grey, colour) = (init(1).unwrap(), init(3).unwrap());
    let image = random([1, 1, 20, 32], &device);
    let one = grey.forward(image.clone()).logits;
    let three = colour.forward(Tensor::cat(vec![image; 3], 1)).logits;
    assert_eq!(one.to_data(), three.to_data());
}

/// A grid of 2 x 2 stands for its interpolation on a grid of 3 x 3, in the whole network.
#[test]
fn positions_are_resized_for_other_sizes() {
    let device = Device::flex();
    let image = random([1, 3, 33, 48], &device); // 3 x 3 tokens
    let forward = |grid: [usize; 2], positions: &[f32]| {
        let config = ModelConfig::TransUNet(TransUNetConfig { grid, ..small() });
        let mut all = weights::export(&config.init(&device, 4).unwrap());
        let embeddings = all.get_mut("transformer.embeddings.position_embeddings").unwrap();
        // Another pattern than one value for all channels, which the layer norms would take out.
        for (i, value) in embeddings.data.iter_mut().enumerate() {
            *value = positions[i / 128] * [1.0, 0.0, -0.5][i % 128 % 3];
        }
        let model = weights::import(config.init(&device, 4).unwrap(), &all).unwrap();
        model.forward(image.clone()).taps[3].features.clone()
    };
    let far = |a: Tensor<4>, b: Tensor<4>| (a - b).abs().max().into_scalar::<f32>();
    let nine = forward([3, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let four = forward([2, 2], &[0.0, 2.0, 6.0, 8.0]);
    let equal = forward([3, 3], &[4.0; 9]);
    assert!(far(nine.clone(), four) < 1e-4);
    assert!(far(nine, equal) > 0.1);
}

/// Dropout moves the result while training and not in evaluation.
#[test]
fn dropout_is_for_training() {
    let device = Device::flex().autodiff();
    let config = ModelConfig::TransUNet(TransUNetConfig { dropout: 0.5, ..small() });
    let model = config.init(&device, 4).unwrap();
    let image = random([2, 3, 32, 32], &device);
    let bottleneck = |model: &crate::Model| model.forward(image.clone()).taps[3].features.to_data();
    assert_ne!(bottleneck(&model), bottleneck(&model));
    let model = weights::set_training(model, false);
    assert_eq!(bottleneck(&model), bottleneck(&model));
}

#[test]
fn sizes_are_read_off_the_tensors() {
    for config in [small(), TransUNetConfig { skips: 1, grid: [3, 3], ..small() }] {
        let exported = weights::export(
            &ModelConfig::TransUNet(config.clone()).init(&Device::flex(), 0).unwrap(),
        );
        let mut shapes: Shapes = exported.into_iter().map(|(name, t)| (name, t.shape)).collect();
        assert_eq!(TransUNetConfig::deduce(&shapes), Some(config));
        let positions = shapes.get_mut("transformer.embeddings.position_embeddings").unwrap();
        positions[1] = 8;
        assert_eq!(TransUNetConfig::deduce(&shapes), None, "8 tokens may be 2 x 4 or 1 x 8");
    }
}

#[test]
fn initial_values_are_those_of_the_reference() {
    let config = TransUNetConfig::default();
    let of = |name: &str, shape: &[usize]| initial(&config, name, shape);
    let attention = "transformer.encoder.layer.0.attn.query";
    assert_eq!(of(&format!("{attention}.weight"), &[768, 768]), Initial::pytorch(768));
    assert_eq!(of(&format!("{attention}.bias"), &[768]), Initial::pytorch(768));
    let mlp = "transformer.encoder.layer.0.ffn.fc1";
    assert_eq!(of(&format!("{mlp}.weight"), &[3072, 768]), Initial::glorot_uniform(768, 3072));
    assert_eq!(of(&format!("{mlp}.bias"), &[3072]), Initial::Normal(1e-6));
    let norm = "transformer.encoder.layer.0.ffn_norm";
    assert_eq!(of(&format!("{norm}.weight"), &[768]), Initial::Constant(1.0));
    assert_eq!(of(&format!("{norm}.bias"), &[768]), Initial::Constant(0.0));
    let embeddings = "transformer.embeddings";
    assert_eq!(
        of(&format!("{embeddings}.position_embeddings"), &[1, 196, 768]),
        Initial::Constant(0.0)
    );
    let patches = format!("{embeddings}.patch_embeddings");
    assert_eq!(of(&format!("{patches}.weight"), &[768, 1024, 1, 1]), Initial::pytorch(1024));
    assert_eq!(of(&format!("{patches}.bias"), &[768]), Initial::pytorch(1024));
    let root = format!("{embeddings}.hybrid_model.root");
    assert_eq!(of(&format!("{root}.conv.weight"), &[64, 3, 7, 7]), Initial::pytorch(147));
    assert_eq!(of(&format!("{root}.gn.weight"), &[64]), Initial::Constant(1.0));
    assert_eq!(of("decoder.conv_more.1.running_var", &[512]), Initial::Constant(1.0));
    assert_eq!(of("segmentation_head.0.bias", &[9]), Initial::pytorch(144));
}

/// The one image size where a stage has a single pixel and the transformer a single token.
#[test]
fn a_training_step_of_the_smallest_image_is_finite() {
    struct Finite<'a>(&'a burn::tensor::Gradients, usize);
    impl ModuleVisitor for Finite<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.0) {
                assert!(gradient.sum().into_scalar::<f32>().is_finite());
                self.1 += 1;
            }
        }
    }
    let device = Device::flex().autodiff();
    let model = ModelConfig::TransUNet(small()).init(&device, 2).unwrap();
    let out = model.forward(random([2, 3, 16, 16], &device));
    let gradients = (out.logits.clone() * out.logits).sum().backward();
    let mut finite = Finite(&gradients, 0);
    model.visit(&mut finite);
    assert!(finite.1 > 50);
}
