//! Every operator and a training step on the device that `SCANT_DEVICE` names, against the same on the
//! CPU by the loops of `scant-compute`: outputs, gradients and running statistics.
//!
//! Without the variable the device is the CPU, made to take burn's operators as a GPU does.
//! `SCANT_DEVICE_TOLERANCE` replaces the largest norm-wise relative error, 1e-4, for devices that
//! multiply in reduced precision. Each error is printed: `--nocapture` shows a table.

#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "device/network.rs"]
mod network;
#[path = "device/operators.rs"]
mod operators;

use burn::tensor::{Device, Int, Tensor, TensorData};
use scant_nn::DeviceName;

const TOLERANCE: f64 = 1e-4;

/// Holds what `compute` gives on the named device, by name, against the same on the CPU.
#[allow(clippy::print_stdout)] // the table
fn compare(what: &str, compute: impl Fn(&Device) -> Vec<(&'static str, Vec<f32>)>) {
    let name = std::env::var("SCANT_DEVICE").unwrap_or_else(|_| "cpu".into());
    let name: DeviceName = name.parse().unwrap_or_else(|e| panic!("SCANT_DEVICE: {e}"));
    let tolerance = std::env::var("SCANT_DEVICE_TOLERANCE").map_or(TOLERANCE, |text| {
        text.parse().unwrap_or_else(|e| panic!("SCANT_DEVICE_TOLERANCE = {text}: {e}"))
    });
    let device = name.open().unwrap_or_else(|e| panic!("SCANT_DEVICE: {e}")).autodiff();
    let want = compute(&Device::flex().autodiff());
    let got = match name {
        DeviceName::Cpu => scant_kernels::fall_through(|| compute(&device)),
        _ => compute(&device),
    };
    let mut wrong = Vec::new();
    for ((part, got), (_, want)) in got.iter().zip(&want) {
        assert_eq!(got.len(), want.len(), "{what}: {part}");
        assert!(want.iter().any(|v| *v != 0.0), "{what}: {part} is zero, which proves nothing");
        let squares = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        let norm = squares(&mut want.iter().map(|&w| f64::from(w)));
        let pairs = got.iter().zip(want);
        let error = squares(&mut pairs.map(|(&g, &w)| f64::from(g) - f64::from(w))) / norm;
        println!("| {name} | {what} | {part} | {error:.1e} |");
        if error.is_nan() || error > tolerance {
            wrong.push(format!("{part}: {error:.1e}"));
        }
    }
    assert!(wrong.is_empty(), "{what} on {name} differs by more than {tolerance:e}: {wrong:?}");
}

/// Reproducible noise in -1..1.
fn noise<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        z ^= z << 13;
        z ^= z >> 7;
        z ^= z << 17;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let values: Vec<f32> = std::iter::repeat_with(next).take(shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Class ids below `classes`, spread without an order that a shape could follow.
fn ids<const D: usize>(classes: usize, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    let count = shape.iter().product::<usize>();
    let values: Vec<i32> = (0..count).map(|i| ((i * i + 3 * i) / 7 % classes) as i32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.into_data().iter::<f32>().collect()
}
