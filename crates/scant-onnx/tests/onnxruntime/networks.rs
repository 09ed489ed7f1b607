//! Whole networks with random weights.

use burn::tensor::{Device, Tensor, TensorData};
use scant_nn::capture::Outputs;
use scant_nn::model::catalogue;
use scant_nn::{Model, ModelConfig, SegOutput, weights};
use scant_onnx::{Batch, BatchSize, Options, export};

use crate::bench::{Bench, noise};
use crate::small::small;

fn outputs<const D: usize>(output: SegOutput<D>, all: bool) -> Vec<(String, TensorData)> {
    let mut named = vec![("logits".to_owned(), output.logits.to_data())];
    if all {
        let aux = output.aux.iter().enumerate();
        named.extend(aux.map(|(i, logits)| (format!("aux{}", i + 1), logits.to_data())));
        named.extend(output.taps.iter().map(|tap| (tap.name.clone(), tap.features.to_data())));
    }
    named
}

fn run(model: &Model, shape: &[usize], all: bool) -> (TensorData, Vec<(String, TensorData)>) {
    let (x, device) = (noise(shape), Device::flex());
    let expected = match model.dimensions() {
        2 => outputs(model.forward(Tensor::from_data(x.clone(), &device)), all),
        _ => outputs(model.forward_volume(Tensor::from_data(x.clone(), &device)), all),
    };
    (x, expected)
}

/// No weight, norm or statistic at a value that hides a mistake.
fn random(config: &ModelConfig) -> Model {
    let fresh = || config.init(&Device::flex(), 3).expect("the sizes are allowed");
    let mut all = weights::export(&fresh());
    for (name, tensor) in &mut all {
        let noise = noise(&tensor.shape);
        for (value, noise) in tensor.data.iter_mut().zip(noise.iter::<f32>()) {
            *value += if weights::is_statistic(name) { 0.3 * noise.abs() } else { 0.1 * noise };
        }
    }
    let model = weights::import(fresh(), &all).expect("the weights are its own");
    weights::set_training(model, false)
}

/// Exports a network and has it run on batches of these sizes.
fn add(
    bench: &mut Bench,
    name: &str,
    config: &ModelConfig,
    size: &[usize],
    batches: &[usize],
    all: bool,
) {
    let model = random(config);
    let options = Options { outputs: Outputs { aux: all, taps: all }, ..Options::default() };
    let file = export(&model, config.input_channels(), size, &options)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(file.batch, Batch::Dynamic, "{name}");
    let runs: Vec<_> = batches
        .iter()
        .map(|&b| run(&model, &[&[b, config.input_channels()], size].concat(), all))
        .collect();
    bench.file(name, &file, &runs);
}

/// Of every architecture, small, logits, auxiliary logits and taps; sides that it pads and sides that
/// it does not; any batch.
#[test]
#[ignore = "needs ONNX Runtime: SCANT_PYTHON or SCANT_INSTALL=1"]
fn networks() {
    let mut bench = Bench::new();
    for (i, config) in small(3, 2).iter().enumerate() {
        let sizes: [&[usize]; 2] = match config.dimensions() {
            2 => [&[24, 40], &[19, 30]],
            _ => [&[8, 16, 16], &[7, 12, 9]],
        };
        for size in sizes {
            let text: Vec<String> = size.iter().map(ToString::to_string).collect();
            let name = format!("{}-{i}-{}", config.name(), text.join("x"));
            add(&mut bench, &name, config, size, &[1, 2, 5], true);
        }
    }
    let config = &small(3, 2)[0];
    let model = random(config);
    let options = Options { batch: BatchSize::Fixed(2), ..Options::default() };
    let file = export(&model, 3, &[16, 16], &options).unwrap();
    assert_eq!(file.batch, Batch::Fixed { images: 2, reason: None });
    bench.file("of-two", &file, &[run(&model, &[2, 3, 16, 16], false)]);
    bench.compare();
}

#[test]
#[ignore = "needs ONNX Runtime: SCANT_PYTHON or SCANT_INSTALL=1"]
#[should_panic(expected = "another-weight: ")]
fn another_weight_is_noticed() {
    let config = &small(1, 1)[0];
    let mut all = weights::export(&random(config));
    let file = export(&random(config), 1, &[8, 8], &Options::default()).unwrap();
    all.get_mut("Conv1.conv.3.weight").unwrap().data[7] += 0.2;
    let other = weights::import(config.init(&Device::flex(), 3).unwrap(), &all).unwrap();
    let mut bench = Bench::new();
    bench.file("another-weight", &file, &[run(&other, &[2, 1, 8, 8], false)]);
    bench.compare();
}

/// Of every architecture in its published size, the logits. (Deep stages that are normalised over a few
/// pixels multiply rounding, and differ by more.)
#[test]
#[ignore = "needs ONNX Runtime as above, 8 GB of memory and some minutes"]
fn published() {
    for info in catalogue() {
        let mut bench = Bench::new();
        let size: &[usize] = match (info.name, info.dimensions) {
            ("swin-unet", _) => &[224, 224],
            ("nnunet" | "nnunet-resenc", _) => &[256, 256],
            (_, 2) => &[128, 128],
            _ => &[32, 32, 32],
        };
        let config = info.default.for_size(size);
        add(&mut bench, info.name, &config, size, &[1], false);
        bench.compare();
    }
}
