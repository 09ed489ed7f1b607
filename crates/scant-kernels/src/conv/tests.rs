//! Against a literal sum in f64, forward and all gradients, over random shapes.

use burn::tensor::Device;
use proptest::prelude::*;

use super::*;

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        z ^= z << 13;
        z ^= z >> 7;
        z ^= z << 17;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

struct Case {
    batch: usize,
    s: Sizes,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(batch: usize, s: Sizes, seed: u64) -> Self {
        Self {
            batch,
            s,
            x: noise(seed, batch * s.inputs * s.pixels()),
            weight: noise(seed + 1, s.outputs * s.inputs * s.kernel * s.kernel),
            bias: noise(seed + 2, s.outputs),
            dy: noise(seed + 3, batch * s.outputs * s.pixels()),
        }
    }

    /// Output, and gradients of input, weight and bias of `sum(output * dy)`, by their definition.
    #[allow(clippy::needless_range_loop)] // the sum as it is written on paper
    fn literal(&self) -> [Vec<f64>; 4] {
        let Sizes { inputs, outputs, rows, columns, kernel } = self.s;
        let pad = kernel / 2;
        let (mut y, mut dx) = (vec![0.0; self.dy.len()], vec![0.0; self.x.len()]);
        let (mut dw, mut db) = (vec![0.0; self.weight.len()], vec![0.0; outputs]);
        for b in 0..self.batch {
            for o in 0..outputs {
                for r in 0..rows {
                    for c in 0..columns {
                        let at = ((b * outputs + o) * rows + r) * columns + c;
                        let dy = f64::from(self.dy[at]);
                        y[at] += f64::from(self.bias[o]);
                        db[o] += dy;
                        for i in 0..inputs {
                            for ky in 0..kernel {
                                for kx in 0..kernel {
                                    let (Some(ir), Some(ic)) =
                                        ((r + ky).checked_sub(pad), (c + kx).checked_sub(pad))
                                    else {
                                        continue;
                                    };
                                    if ir >= rows || ic >= columns {
                                        continue;
                                    }
                                    let xi = ((b * inputs + i) * rows + ir) * columns + ic;
                                    let wi = ((o * inputs + i) * kernel + ky) * kernel + kx;
                                    let (x, w) =
                                        (f64::from(self.x[xi]), f64::from(self.weight[wi]));
                                    y[at] += x * w;
                                    dx[xi] += dy * w;
                                    dw[wi] += dy * x;
                                }
                            }
                        }
                    }
                }
            }
        }
        [y, dx, dw, db]
    }

    fn computed(&self) -> [Vec<f32>; 4] {
        let Sizes { inputs, outputs, rows, columns, kernel } = self.s;
        let device = Device::flex().autodiff();
        let make = |v: &[f32], d: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(v.to_vec(), d), &device)
        };
        let x = make(&self.x, [self.batch, inputs, rows, columns]).require_grad();
        let w = make(&self.weight, [outputs, inputs, kernel, kernel]).require_grad();
        let bias = TensorData::new(self.bias.clone(), [outputs]);
        let bias = Tensor::<1>::from_data(bias, &device).require_grad();
        let y = conv2d_same(x.clone(), w.clone(), bias.clone());
        let dy = make(&self.dy, [self.batch, outputs, rows, columns]);
        let grads = (y.clone() * dy).sum().backward();
        let host = |d: TensorData| d.iter::<f32>().collect::<Vec<f32>>();
        [
            host(y.to_data()),
            host(x.grad(&grads).unwrap().to_data()),
            host(w.grad(&grads).unwrap().to_data()),
            host(bias.grad(&grads).unwrap().to_data()),
        ]
    }

    fn check(&self) {
        let names = ["output", "input gradient", "weight gradient", "bias gradient"];
        for ((name, got), expected) in names.iter().zip(self.computed()).zip(self.literal()) {
            let norm = expected.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-9);
            let squares = got.iter().zip(&expected).map(|(g, e)| (f64::from(*g) - e).powi(2));
            let error = squares.sum::<f64>().sqrt() / norm;
            assert!(error <= 1e-5, "{name} of {:?}, batch {}: {error:e}", self.s, self.batch);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn everything_agrees_with_the_literal_sum(
        batch in 1..4_usize, inputs in 1..9_usize, outputs in 1..9_usize,
        rows in 1..12_usize, columns in 1..12_usize, half in 0..3_usize, seed in 1..1000_u64,
    ) {
        let s = Sizes { inputs, outputs, rows, columns, kernel: 2 * half + 1 };
        Case::new(batch, s, seed).check();
    }
}

#[test]
fn several_bands_and_a_short_last_one_agree_as_well() {
    // 64 channels of 3x3 and 100 columns make bands of two rows; 23 rows leave a last band of one.
    let s = Sizes { inputs: 64, outputs: 5, rows: 23, columns: 100, kernel: 3 };
    for batch in [1, 2, 3] {
        Case::new(batch, s, 9).check();
    }
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let s = Sizes { inputs: 17, outputs: 9, rows: 33, columns: 40, kernel: 3 };
    for batch in [1, 5] {
        let case = Case::new(batch, s, 4);
        let first = case.computed();
        for _ in 0..3 {
            assert_eq!(case.computed(), first);
        }
    }
}

#[test]
fn plane_sums_keep_their_precision() {
    let values = vec![0.1_f32; 1 << 20];
    let exact = f64::from(0.1_f32) * f64::from(1 << 20);
    assert!((plane_sum(&values) / exact - 1.0).abs() < 3e-6);
    assert_eq!(plane_sum(&[1.0, 2.0, 3.0]), 6.0);
}
