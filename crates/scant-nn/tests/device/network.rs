//! Small networks: a training step, and a forward pass in evaluation mode.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use scant_nn::loss::segmentation::{SegmentationLossConfig, segmentation_loss};
use scant_nn::loss::{Logits, Target};
use scant_nn::model::{ModelConfig, UNetConfig};
use scant_nn::{Model, weights};

use super::{compare, ids, noise, values};

/// The gradients of all parameters, one after the other. Apart they would be compared badly: that of a
/// bias before a batch norm is zero but for rounding.
struct Collect<'a>(&'a Gradients, Vec<f32>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.0) {
            self.1.extend(values(gradient));
        }
    }
}

/// The running statistics of all batch norms, one after the other.
fn statistics(model: &Model) -> Vec<f32> {
    let weights = weights::export(model);
    let running = weights.into_iter().filter(|(name, _)| weights::is_statistic(name));
    running.flat_map(|(_, tensor)| tensor.data).collect()
}

fn networks(classes: usize) -> [ModelConfig; 2] {
    let sizes = UNetConfig { width: 4, depth: 2, input_channels: 3, output_channels: classes };
    [ModelConfig::UNet(sizes.clone()), ModelConfig::AttentionUNet(sizes)]
}

fn step(config: &ModelConfig, device: &Device) -> Vec<(&'static str, Vec<f32>)> {
    let channels = config.output_channels();
    let model = config.init(device, 5).unwrap();
    let logits = model.forward(noise(1, [2, 3, 18, 23], device)).logits;
    let target = Target {
        classes: ids(channels.max(2), [2, 18, 23], device),
        annotated: Tensor::ones([2, channels.max(2)], device),
    };
    let config = match channels {
        1 => SegmentationLossConfig::default(),
        _ => SegmentationLossConfig { bce: 0.0, ce: 1.0, ..Default::default() },
    };
    let loss = segmentation_loss(&Logits(logits.clone()), &target, &config).total;
    let gradients = loss.backward();
    let mut collected = Collect(&gradients, Vec::new());
    model.visit(&mut collected);
    vec![
        ("logits", values(logits)),
        ("loss", values(loss)),
        ("gradients", collected.1),
        ("running statistics", statistics(&model)),
    ]
}

#[test]
fn training_steps() {
    for config in networks(1).into_iter().chain(networks(3)) {
        let what = format!("step of {}, {} channel(s)", config.name(), config.output_channels());
        compare(&what, |device| step(&config, device));
    }
}

#[test]
fn forward_passes_in_evaluation_mode() {
    for config in networks(2) {
        compare(&format!("forward pass of {}", config.name()), |device| {
            let device = device.clone().inner();
            let model = weights::set_training(config.init(&device, 5).unwrap(), false);
            let output = model.forward(noise(1, [2, 3, 18, 23], &device));
            vec![("logits", values(output.logits))]
        });
    }
}
