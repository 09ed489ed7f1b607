//! Networks of volumes learn from real ones: three passes over a few hippocampi lower the loss.
//!
//! `cargo test --release -p scant-nn --test learn_volumes -- --ignored --nocapture` prints a table.
//! Data: `msd-hippocampus` in the folder named by `SCANT_DATA` (default `../shared/data` beside the
//! project).
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // helpers of tests

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use nifti::{IntoNdArray, NiftiObject, ReaderOptions};
use scant_nn::loss::segmentation::{SegmentationLossConfig, segmentation_loss};
use scant_nn::loss::{Logits, Target};
use scant_nn::model::catalogue;
use scant_nn::{Model, weights};

const SIZE: [usize; 3] = [32, 48, 32];
const VOLUMES: usize = 8;
const EPOCHS: usize = 3;

fn folder() -> PathBuf {
    let data = std::env::var_os("SCANT_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    data.join("msd-hippocampus")
}

/// The middle of a volume, cut or filled with 0 to [`SIZE`].
fn read(path: &Path) -> Vec<f32> {
    let volume = ReaderOptions::new().read_file(path).unwrap().into_volume();
    let array = volume.into_ndarray::<f32>().unwrap();
    let start = |axis: usize| (array.shape()[axis] as isize - SIZE[axis] as isize) / 2;
    let at = |index: [usize; 3]| {
        let place: Option<Vec<usize>> =
            (0..3).map(|axis| usize::try_from(start(axis) + index[axis] as isize).ok()).collect();
        place.and_then(|p| array.get(p.as_slice())).copied().unwrap_or(0.0)
    };
    let axes = (0..SIZE[0]).flat_map(|i| (0..SIZE[1]).map(move |j| (i, j)));
    axes.flat_map(|(i, j)| (0..SIZE[2]).map(move |k| [i, j, k])).map(at).collect()
}

struct Case {
    volume: Tensor<5>,
    target: Target,
}

fn cases(device: &Device) -> Vec<Case> {
    let mut names: Vec<_> = std::fs::read_dir(folder().join("images"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    let [d, h, w] = SIZE;
    let case = |name: &std::ffi::OsString| {
        let mut values = read(&folder().join("images").join(name));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        values.iter_mut().for_each(|v| *v = (*v - mean) / variance.sqrt().max(1e-6));
        let labels = read(&folder().join("masks").join(name));
        let labels: Vec<i32> = labels.into_iter().map(|v| v as i32).collect();
        assert!(labels.contains(&1) && labels.contains(&2), "{name:?} shows both structures");
        Case {
            volume: Tensor::from_data(TensorData::new(values, [1, 1, d, h, w]), device),
            target: Target {
                classes: Tensor::<3, Int>::from_data(
                    TensorData::new(labels, [1, d * h, w]),
                    device,
                ),
                annotated: Tensor::ones([1, 3], device),
            },
        }
    };
    names.iter().take(VOLUMES).map(case).collect()
}

/// Plain gradient descent.
struct Descend<'a>(&'a Gradients, f64);

impl ModuleMapper for Descend<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|p| {
            let Some(g) = p.grad(self.0) else { return p };
            let required = p.is_require_grad();
            Tensor::from_inner(p.inner() - g * self.1).set_require_grad(required)
        })
    }
}

fn step(model: Model, case: &Case, config: &SegmentationLossConfig) -> (Model, f64) {
    let logits = model.forward_volume(case.volume.clone()).logits;
    let [b, k, d, h, w] = logits.dims();
    let logits = Logits(logits.reshape([b, k, d * h, w]));
    let loss = segmentation_loss(&logits, &case.target, config).total;
    let value = f64::from(loss.clone().into_scalar::<f32>());
    let gradients = loss.backward();
    (model.map(&mut Descend(&gradients, 0.02)), value)
}

#[test]
#[ignore = "trains for minutes"]
fn three_epochs_lower_the_loss_of_every_network_of_volumes() {
    if !folder().is_dir() {
        eprintln!("skipped: {} is absent (set SCANT_DATA)", folder().display());
        return;
    }
    let device = Device::flex().autodiff();
    let cases = cases(&device);
    let config = SegmentationLossConfig { dice: 1.0, bce: 0.0, ce: 1.0, ..Default::default() };
    println!("| network | epoch 1 | epoch 2 | epoch 3 | s per step |");
    println!("|---|---|---|---|---|");
    let volumes = catalogue().into_iter().filter(|info| info.dimensions == 3);
    for info in volumes {
        let network = info.default.with_channels(1, 3);
        let mut model = network.init(&device, 1).unwrap();
        let start = Instant::now();
        let mut losses = Vec::new();
        for epoch in 0..EPOCHS {
            let mut sum = 0.0;
            for (i, case) in cases.iter().enumerate() {
                weights::device(&model).seed((epoch * VOLUMES + i) as u64);
                let (next, loss) = step(model, case, &config);
                model = next;
                sum += loss;
            }
            losses.push(sum / cases.len() as f64);
        }
        let seconds = start.elapsed().as_secs_f64() / (EPOCHS * VOLUMES) as f64;
        let text: Vec<String> = losses.iter().map(|l| format!("{l:.3}")).collect();
        println!("| {} | {} | {seconds:.2} |", info.name, text.join(" | "));
        assert!(losses[2] < losses[0], "{}: {losses:?}", info.name);
    }
}
