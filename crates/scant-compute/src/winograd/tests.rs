//! Against a literal sum in f64, forward and both gradients, over random shapes.

use proptest::prelude::*;

use super::*;
use crate::testing::{noise, relative_error};

/// Output of `x` and gradients of `x` and the weights of `sum(output · dy)`, by their definition.
fn literal(s: Sizes, x: &[f32], weight: &[f32], bias: &[f32], dy: &[f32]) -> [Vec<f64>; 3] {
    let mut y = vec![0.0; dy.len()];
    let mut dx = vec![0.0; x.len()];
    let mut dw = vec![0.0; weight.len()];
    let Sizes { batch, inputs, outputs, rows, columns } = s;
    for b in 0..batch {
        for (o, &bias) in bias.iter().enumerate() {
            for r in 0..rows {
                for c in 0..columns {
                    let at = ((b * outputs + o) * rows + r) * columns + c;
                    y[at] += f64::from(bias);
                    for i in 0..inputs {
                        for k in 0..9 {
                            let (Some(ir), Some(ic)) =
                                ((r + k / 3).checked_sub(1), (c + k % 3).checked_sub(1))
                            else {
                                continue;
                            };
                            if ir >= rows || ic >= columns {
                                continue;
                            }
                            let xi = ((b * inputs + i) * rows + ir) * columns + ic;
                            let wi = (o * inputs + i) * 9 + k;
                            y[at] += f64::from(x[xi]) * f64::from(weight[wi]);
                            dx[xi] += f64::from(dy[at]) * f64::from(weight[wi]);
                            dw[wi] += f64::from(dy[at]) * f64::from(x[xi]);
                        }
                    }
                }
            }
        }
    }
    [y, dx, dw]
}

/// The promise is 1e-4; with the points used here it is much better.
const TOLERANCE: f64 = 1e-5;

fn check(s: Sizes, seed: u64) {
    let x = noise(seed, s.batch * s.inputs * s.area());
    let weight = noise(seed + 1, s.outputs * s.inputs * 9);
    let bias = noise(seed + 2, s.outputs);
    let dy = noise(seed + 3, s.batch * s.outputs * s.area());
    let want = literal(s, &x, &weight, &bias, &dy);
    let got = [
        forward(s, &x, &weight, Some(&bias)),
        input_gradient(s, &dy, &weight),
        weight_gradient(s, &x, &dy),
    ];
    for (name, (got, want)) in ["y", "dx", "dw"].iter().zip(got.iter().zip(&want)) {
        let error = relative_error(got, want);
        assert!(error <= TOLERANCE, "{name} of {s:?}: {error:e}");
    }
}

/// With points rounded to bfloat16: the error that eight bits leave after the transforms.
fn check_bf16(s: Sizes, seed: u64) {
    let x = noise(seed, s.batch * s.inputs * s.area());
    let weight = noise(seed + 1, s.outputs * s.inputs * 9);
    let dy = noise(seed + 3, s.batch * s.outputs * s.area());
    let want = literal(s, &x, &weight, &vec![0.0; s.outputs], &dy);
    let (image, gradient, half) = (Pixels::Plain(&x), Pixels::Plain(&dy), Precision::Bfloat16);
    let got = [
        forward_with_statistics(s, image, &weight, None, half).0,
        input_gradient_of(s, gradient, &weight, image, half).0,
        weight_gradient_of(s, image, gradient, half),
    ];
    for (name, (got, want)) in ["y", "dx", "dw"].iter().zip(got.iter().zip(&want)) {
        let error = relative_error(got, want);
        assert!((1e-4..=0.03).contains(&error), "{name} of {s:?}: {error:e}");
    }
}

#[test]
fn points_in_bfloat16() {
    check_bf16(Sizes { batch: 1, inputs: 3, outputs: 5, rows: 70, columns: 133 }, 1);
    check_bf16(Sizes { batch: 2, inputs: 17, outputs: 33, rows: 64, columns: 64 }, 2);
    check_bf16(Sizes { batch: 2, inputs: 130, outputs: 150, rows: 8, columns: 8 }, 5);
    check_bf16(Sizes { batch: 3, inputs: 7, outputs: 64, rows: 5, columns: 3 }, 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn equals_the_literal_sum(
        batch in 1_usize..4,
        inputs in 1_usize..20,
        outputs in 1_usize..20,
        rows in 1_usize..20,
        columns in 1_usize..24,
        seed in 0_u64..1000,
    ) {
        check(Sizes { batch, inputs, outputs, rows, columns }, seed);
    }
}

#[test]
fn wide_images_and_many_blocks() {
    check(Sizes { batch: 1, inputs: 3, outputs: 5, rows: 70, columns: 133 }, 1);
    check(Sizes { batch: 2, inputs: 17, outputs: 33, rows: 64, columns: 64 }, 2);
    check(Sizes { batch: 1, inputs: 70, outputs: 40, rows: 9, columns: 260 }, 3);
    check(Sizes { batch: 1, inputs: 40, outputs: 70, rows: 96, columns: 128 }, 4);
}

#[test]
fn deep_layers_and_single_pixels() {
    check(Sizes { batch: 2, inputs: 130, outputs: 150, rows: 8, columns: 8 }, 5);
    check(Sizes { batch: 1, inputs: 1, outputs: 1, rows: 1, columns: 1 }, 6);
    check(Sizes { batch: 5, inputs: 2, outputs: 64, rows: 1, columns: 3 }, 7);
}
