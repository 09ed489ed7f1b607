//! The same questions to every architecture.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Gradients, Tensor};
use scant_nn::model::{ModelConfig, ModelError, UNetConfig, catalogue};
use scant_nn::weights::{self, WeightError};

fn small(width: usize, depth: usize, input: usize, output: usize) -> Vec<ModelConfig> {
    let sizes = UNetConfig { width, depth, input_channels: input, output_channels: output };
    vec![ModelConfig::UNet(sizes.clone()), ModelConfig::AttentionUNet(sizes)]
}

fn image(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

#[test]
fn any_size_channels_and_classes_give_logits_of_the_size_of_the_input() {
    let device = Device::flex();
    for (input, output) in [(1, 1), (3, 1), (1, 4), (5, 2)] {
        for config in small(4, 2, input, output) {
            let model = config.init(&device, 1).unwrap();
            for (h, w) in [(16, 16), (17, 23), (5, 40), (1, 1)] {
                let out = model.forward(image([2, input, h, w], &device));
                assert_eq!(out.logits.dims(), [2, output, h, w], "{}", config.name());
                assert_eq!(out.tap_names(), config.tap_names());
                let (ph, pw) = (h.next_multiple_of(4), w.next_multiple_of(4));
                assert_eq!(out.padding, [ph - h, pw - w]);
                let sizes: Vec<[usize; 4]> = out.taps.iter().map(|t| t.features.dims()).collect();
                let at = |level: usize| [2, 4 << level, ph >> level, pw >> level];
                assert_eq!(sizes, [at(0), at(1), at(2), at(1), at(0)]);
            }
        }
    }
}

#[test]
fn a_gradient_reaches_every_parameter() {
    struct Reached<'a>(&'a Gradients, Vec<String>, BTreeSet<String>, BTreeSet<String>);
    impl ModuleVisitor for Reached<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.1.join(".");
            if weights::is_statistic(&path) {
                return;
            }
            let gradient = param.val().grad(self.0);
            if gradient.is_some_and(|g| g.abs().sum().into_scalar::<f32>() > 0.0) {
                self.2.insert(path);
            } else {
                self.3.insert(path);
            }
        }
    }
    let device = Device::flex().autodiff();
    for config in small(4, 2, 2, 3) {
        // In evaluation mode, where a bias before a batch norm is not cancelled by it.
        let model = weights::set_training(config.init(&device, 1).unwrap(), false);
        let out = model.forward(image([2, 2, 12, 16], &device)).logits;
        let gradients = (out.clone() * out).sum().backward();
        let mut seen = Reached(&gradients, vec![], BTreeSet::new(), BTreeSet::new());
        model.visit(&mut seen);
        assert!(seen.3.is_empty(), "{}: no gradient at {:?}", config.name(), seen.3);
        assert!(seen.2.len() > 10);
    }
}

#[test]
fn weights_survive_a_round_trip_and_evaluation_repeats_itself() {
    let device = Device::flex();
    for config in small(4, 2, 1, 1) {
        let model = weights::set_training(config.init(&device, 5).unwrap(), false);
        let x = image([1, 1, 20, 20], &device);
        let once = model.forward(x.clone()).logits.to_data();
        assert_eq!(model.forward(x.clone()).logits.to_data(), once);
        let exported = weights::export(&model);
        let again = weights::import(config.init(&device, 6).unwrap(), &exported).unwrap();
        assert_eq!(weights::export(&again), exported);
        assert_eq!(weights::set_training(again, false).forward(x).logits.to_data(), once);
    }
}

#[test]
fn a_training_step_moves_the_running_statistics_that_are_exported() {
    let device = Device::flex().autodiff();
    for config in small(4, 1, 1, 1) {
        let model = config.init(&device, 5).unwrap();
        let before = weights::export(&model);
        let _ = model.forward(image([2, 1, 8, 8], &device));
        let after = weights::export(&model);
        let name = "Conv1.conv.1.running_mean";
        assert_ne!(before[name], after[name], "{}", config.name());
        assert_eq!(weights::export(&model), after, "exporting changes nothing");
    }
}

#[test]
fn seeds_decide_the_weights_and_widths_the_count() {
    let device = Device::flex();
    for config in small(4, 2, 1, 1) {
        let export = |seed| weights::export(&config.init(&device, seed).unwrap());
        assert_eq!(export(3), export(3));
        assert_ne!(export(3), export(4));
    }
    for (info, config) in catalogue().iter().zip(small(64, 4, 3, 1)) {
        assert_eq!(info.name, config.name());
        assert_eq!(config.init(&device, 0).unwrap().parameters(), info.parameters, "{}", info.name);
    }
}

#[test]
fn foreign_weights_and_impossible_sizes_are_refused_by_name() {
    let device = Device::flex();
    let config = &small(4, 2, 1, 1)[0];
    let build = || config.init(&device, 0).unwrap();
    let mut lacking = weights::export(&build());
    lacking.remove("Conv_1x1.bias");
    assert!(matches!(
        weights::import(build(), &lacking),
        Err(WeightError::Missing { name, .. }) if name == "Conv_1x1.bias"
    ));
    let other = weights::export(&small(8, 2, 1, 1)[0].init(&device, 0).unwrap());
    assert!(matches!(weights::import(build(), &other), Err(WeightError::Shape { .. })));
    let mut more = weights::export(&build());
    more.insert("Conv9.weight".into(), more["Conv_1x1.bias"].clone());
    assert_eq!(
        weights::import(build(), &more).unwrap_err(),
        WeightError::Unexpected("Conv9.weight".into())
    );
    more.remove("Conv9.weight");
    more.insert("Conv1.conv.1.num_batches_tracked".into(), more["Conv_1x1.bias"].clone());
    assert!(weights::import(build(), &more).is_ok(), "PyTorch's counters are ignored");

    let error = small(4, 9, 1, 1)[1].init(&device, 0).unwrap_err();
    let ModelError::Config { field, got, .. } = &error;
    assert_eq!((*field, *got), ("depth", 9));
    assert!(error.to_string().contains("1 to 7"));
}
