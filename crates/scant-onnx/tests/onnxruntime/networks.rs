//! Whole networks with random weights.

use burn::tensor::{Device, Tensor, TensorData};
use scant_nn::capture::Outputs;
use scant_nn::model::UNetConfig;
use scant_nn::{Model, ModelConfig, weights};
use scant_onnx::{Batch, BatchSize, Options, export};

use crate::bench::{Bench, noise};

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
    weights::import(fresh(), &all).expect("the weights are its own")
}

fn run(model: &Model, shape: [usize; 4], taps: bool) -> (TensorData, Vec<(String, TensorData)>) {
    let x = Tensor::<4>::from_data(noise(&shape), &Device::flex());
    let output = model.forward(x.clone());
    let mut expected = vec![("logits".to_owned(), output.logits.to_data())];
    if taps {
        expected.extend(output.taps.iter().map(|tap| (tap.name.clone(), tap.features.to_data())));
    }
    (x.to_data(), expected)
}

#[test]
#[ignore = "needs ONNX Runtime: SCANT_PYTHON or SCANT_INSTALL=1"]
fn networks() {
    let mut bench = Bench::new();
    let sizes = UNetConfig { width: 4, depth: 3, input_channels: 3, output_channels: 2 };
    let configs = [ModelConfig::UNet(sizes.clone()), ModelConfig::AttentionUNet(sizes)];
    for config in configs {
        let model = random(&config);
        // Sides that the network pads, and sides that it does not.
        for size in [[24, 40], [19, 30]] {
            let outputs = Outputs { aux: true, taps: true };
            let options = Options { outputs, ..Options::default() };
            let file = export(&model, 3, size, &options).unwrap();
            assert_eq!(file.batch, Batch::Dynamic);
            let runs = [1, 2, 5].map(|batch| run(&model, [batch, 3, size[0], size[1]], true));
            bench.file(&format!("{}-{}x{}", config.name(), size[0], size[1]), &file, &runs);
        }
        let options = Options { batch: BatchSize::Fixed(2), ..Options::default() };
        let file = export(&model, 3, [16, 16], &options).unwrap();
        assert_eq!(file.batch, Batch::Fixed { images: 2, reason: None });
        bench.file(
            &format!("{}-of-two", config.name()),
            &file,
            &[run(&model, [2, 3, 16, 16], false)],
        );
    }
    bench.compare();
}

#[test]
#[ignore = "needs ONNX Runtime: SCANT_PYTHON or SCANT_INSTALL=1"]
#[should_panic(expected = "another-weight: ")]
fn another_weight_is_noticed() {
    let sizes = UNetConfig { width: 2, depth: 1, input_channels: 1, output_channels: 1 };
    let config = ModelConfig::UNet(sizes);
    let mut all = weights::export(&random(&config));
    let file = export(&random(&config), 1, [8, 8], &Options::default()).unwrap();
    all.get_mut("Conv1.conv.3.weight").unwrap().data[7] += 0.2;
    let other = weights::import(config.init(&Device::flex(), 3).unwrap(), &all).unwrap();
    let mut bench = Bench::new();
    bench.file("another-weight", &file, &[run(&other, [2, 1, 8, 8], false)]);
    bench.compare();
}
