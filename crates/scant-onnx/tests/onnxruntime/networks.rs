//! Whole networks with random weights.

use burn::tensor::{Device, Tensor, TensorData};
use scant_nn::capture::Outputs;
use scant_nn::model::UNetConfig;
use scant_nn::{Model, ModelConfig};
use scant_onnx::{Batch, BatchSize, Options, export};

use crate::bench::{Bench, noise};

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
        let model = config.init(&Device::flex(), 3).unwrap();
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
