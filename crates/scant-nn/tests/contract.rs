//! The same questions to every architecture.

#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "contract/small.rs"]
mod small;

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Gradients, Tensor};
use scant_nn::model::{ModelConfig, ModelError, NAMES, catalogue};
use scant_nn::weights::{self, WeightError};
use scant_nn::{Model, SegOutput};
use small::small;

/// A forward pass of images or volumes, with what the questions need of it.
struct Outcome {
    logits: Vec<usize>,
    values: Vec<f32>,
    /// Name and sizes.
    taps: Vec<(String, Vec<usize>)>,
    aux: Vec<Vec<usize>>,
    padding: Vec<usize>,
    /// The sum of the squared logits, auxiliary ones included.
    sum: Tensor<1>,
}

impl Outcome {
    fn of<const D: usize>(out: SegOutput<D>) -> Self {
        let squares = |t: &Tensor<D>| (t.clone() * t.clone()).sum();
        Self {
            logits: out.logits.dims().to_vec(),
            values: out.logits.to_data().iter::<f32>().collect(),
            taps: out.taps.iter().map(|t| (t.name.clone(), t.features.dims().to_vec())).collect(),
            aux: out.aux.iter().map(|t| t.dims().to_vec()).collect(),
            padding: out.padding,
            sum: out.aux.iter().fold(squares(&out.logits), |sum, t| sum + squares(t)),
        }
    }
}

/// Noise of the given batch and size through a network; volumes get `size` as rows and columns and
/// the first of it as depth.
fn forward(model: &Model, config: &ModelConfig, batch: usize, size: [usize; 2]) -> Outcome {
    let device = weights::device(model);
    let noise = Distribution::Uniform(-1.0, 1.0);
    let (channels, [rows, columns]) = (config.input_channels(), size);
    device.seed(11);
    match config.dimensions() {
        2 => Outcome::of(model.forward(Tensor::random(
            [batch, channels, rows, columns],
            noise,
            &device,
        ))),
        _ => Outcome::of(model.forward_volume(Tensor::random(
            [batch, channels, rows, rows, columns],
            noise,
            &device,
        ))),
    }
}

fn sizes(config: &ModelConfig, [rows, columns]: [usize; 2]) -> Vec<usize> {
    if config.dimensions() == 2 { vec![rows, columns] } else { vec![rows, rows, columns] }
}

#[test]
fn every_architecture_is_asked() {
    let asked: BTreeSet<&str> = small(1, 1).iter().map(ModelConfig::name).collect();
    assert_eq!(asked, NAMES.iter().copied().collect());
}

#[test]
fn any_size_channels_and_classes_give_logits_of_the_size_of_the_input() {
    let device = Device::flex();
    for (input, output, size) in
        [(1, 1, [16, 16]), (3, 1, [17, 23]), (1, 4, [5, 40]), (5, 2, [1, 1])]
    {
        for config in small(input, output) {
            let name = config.name();
            let model = weights::set_training(config.init(&device, 1).unwrap(), false);
            let out = forward(&model, &config, 2, size);
            let wanted = sizes(&config, size);
            assert_eq!(out.logits, [&[2, output], wanted.as_slice()].concat(), "{name}");
            assert!(out.values.iter().all(|v| v.is_finite()), "{name}");
            let names: Vec<String> = out.taps.iter().map(|t| t.0.clone()).collect();
            assert_eq!(names, config.tap_names(), "{name}");
            // A level has the same size on the way down and on the way up, where it has both.
            let at = |name: &str| out.taps.iter().find(|t| t.0 == name).map(|t| t.1[2..].to_vec());
            let mut levels = 0;
            for level in 1..=out.taps.len() {
                let both = (at(&format!("enc{level}")), at(&format!("dec{level}")));
                let (Some(down), Some(up)) = both else { continue };
                assert_eq!(down, up, "{name}: level {level}");
                levels += 1;
            }
            assert!(levels > 0, "{name}: no level has both ways");
            assert_eq!(out.padding.len(), wanted.len(), "{name}");
            let padded: Vec<usize> = wanted.iter().zip(&out.padding).map(|(n, p)| n + p).collect();
            for (tap, dims) in &out.taps {
                assert_eq!(dims[0], 2, "{name}: {tap}");
                let fits = dims[2..].iter().zip(&padded).all(|(d, p)| p.is_multiple_of(*d));
                assert!(fits, "{name}: {tap} is {dims:?} of {padded:?}");
            }
            for dims in &out.aux {
                assert_eq!(dims[..2], [2, output], "{name}: auxiliary logits");
                let fits = dims[2..].iter().zip(&padded).all(|(d, p)| p.is_multiple_of(*d));
                assert!(fits, "{name}: auxiliary logits {dims:?} of {padded:?}");
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
    for config in small(2, 3) {
        // In evaluation mode, where a bias before a batch norm is not cancelled by it.
        let model = weights::set_training(config.init(&device, 1).unwrap(), false);
        // No stage is a single pixel, to which a norm of images or an attention gives no gradient.
        let gradients = forward(&model, &config, 2, [28, 36]).sum.backward();
        let mut seen = Reached(&gradients, vec![], BTreeSet::new(), BTreeSet::new());
        model.visit(&mut seen);
        let without: Vec<&String> = seen
            .3
            .iter()
            .filter(|path| !small::without_gradient(&config).iter().any(|w| path.ends_with(w)))
            .collect();
        assert!(without.is_empty(), "{}: no gradient at {without:?}", config.name());
        assert!(seen.2.len() > 10);
    }
}

#[test]
fn weights_survive_a_round_trip_and_evaluation_repeats_itself() {
    let device = Device::flex();
    for config in small(1, 1) {
        let name = config.name();
        let model = weights::set_training(config.init(&device, 5).unwrap(), false);
        let once = forward(&model, &config, 1, [20, 20]).values;
        assert_eq!(forward(&model, &config, 1, [20, 20]).values, once, "{name}");
        let exported = weights::export(&model);
        let again = weights::import(config.init(&device, 6).unwrap(), &exported).unwrap();
        assert_eq!(weights::export(&again), exported, "{name}");
        let again = weights::set_training(again, false);
        assert_eq!(forward(&again, &config, 1, [20, 20]).values, once, "{name}");
    }
}

#[test]
fn a_training_step_moves_the_running_statistics_that_are_exported() {
    let device = Device::flex().autodiff();
    for config in small(1, 1) {
        let model = config.init(&device, 5).unwrap();
        let before = weights::export(&model);
        let _ = forward(&model, &config, 2, [16, 16]);
        let after = weights::export(&model);
        for name in before.keys().filter(|n| weights::is_statistic(n)) {
            assert_ne!(before[name], after[name], "{}: {name}", config.name());
        }
        assert_eq!(weights::export(&model), after, "exporting changes nothing");
    }
}

#[test]
fn seeds_decide_the_weights() {
    let device = Device::flex();
    for config in small(1, 1) {
        let export = |seed| weights::export(&config.init(&device, seed).unwrap());
        assert_eq!(export(3), export(3), "{}", config.name());
        assert_ne!(export(3), export(4), "{}", config.name());
    }
}

/// Names are unique, none is lost, and they tell the sizes of the network.
#[test]
fn official_names_lead_back_to_the_configuration() {
    let device = Device::flex();
    for config in small(2, 3) {
        let name = config.name();
        let model = config.init(&device, 0).unwrap();
        let exported = weights::export(&model);
        let trainable: u64 = exported
            .iter()
            .filter(|(name, _)| !weights::is_statistic(name))
            .map(|(_, t)| t.data.len() as u64)
            .sum();
        assert_eq!(trainable, model.parameters(), "{name}: two parameters of one name, or of none");
        let shapes = exported.iter().map(|(name, t)| (name.clone(), t.shape.clone())).collect();
        assert_eq!(ModelConfig::deduce(name, &shapes).unwrap(), config, "{name}");
        let foreign = ModelConfig::deduce(name, &[("x".to_owned(), vec![1])].into());
        assert!(matches!(foreign, Err(ModelError::Foreign { .. })), "{name}");
    }
}

/// Counted on tensors that were never filled.
#[test]
fn the_published_configurations_have_the_published_number_of_parameters() {
    for info in catalogue() {
        let parameters = info.default.count_parameters();
        assert_eq!(parameters, info.parameters, "{}", info.name);
        let text = serde_json::to_string(&info.default).unwrap();
        assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), info.default, "{text}");
        let bare = format!(r#"{{"name": "{}"}}"#, info.name);
        assert_eq!(serde_json::from_str::<ModelConfig>(&bare).unwrap(), info.default, "{bare}");
        assert!(serde_json::from_str::<ModelConfig>(&bare.replace('}', r#", "x": 1}"#)).is_err());
    }
}

#[test]
fn foreign_weights_and_impossible_sizes_are_refused_by_name() {
    let device = Device::flex();
    for config in small(1, 1) {
        let build = || config.init(&device, 0).unwrap();
        let complete = weights::export(&build());
        let some = complete.keys().next().unwrap().clone();
        let mut lacking = complete.clone();
        lacking.remove(&some);
        assert!(matches!(
            weights::import(build(), &lacking),
            Err(WeightError::Missing { name, .. }) if name == some
        ));
        let mut other = complete.clone();
        other.get_mut(&some).unwrap().shape.push(1);
        assert!(matches!(weights::import(build(), &other), Err(WeightError::Shape { .. })));
        let mut more = complete;
        let tensor = more[&some].clone();
        more.insert("Conv9.weight".into(), tensor.clone());
        assert_eq!(
            weights::import(build(), &more).unwrap_err(),
            WeightError::Unexpected("Conv9.weight".into())
        );
        more.remove("Conv9.weight");
        more.insert("Conv1.conv.1.num_batches_tracked".into(), tensor);
        assert!(weights::import(build(), &more).is_ok(), "PyTorch's counters are ignored");
        let none = config.clone().with_channels(0, 1).init(&device, 0).unwrap_err();
        assert!(none.to_string().contains("input_channels must be"), "{none}");
        let none = config.clone().with_channels(1, 0).init(&device, 0).unwrap_err();
        assert!(none.to_string().contains("output_channels must be"), "{none}");
    }
}
