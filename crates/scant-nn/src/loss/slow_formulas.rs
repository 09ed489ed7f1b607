//! The discrepancy losses a second time, in `f64` loops straight from the definitions, and the
//! cases tests share. Nothing here uses tensors to compute.

use burn::tensor::{Device, Tensor, TensorData};

use super::feature_discrepancy::FdForm;
use super::{Features, ForegroundMask};

/// Features `[B, C, N]` and regions `[B, R, N]` as plain numbers.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) b: usize,
    pub(super) c: usize,
    pub(super) r: usize,
    pub(super) size: [usize; 2],
    pub(super) features: Vec<f64>,
    pub(super) mask: Vec<f64>,
    /// `[B, R]`
    pub(super) drawn: Vec<f64>,
}

/// Pairs (foreground image, background image) whose squared distances are summed in one row.
pub(super) type Row = Vec<(usize, usize)>;

/// What [`Case::value`] finds.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlowValue {
    pub(super) value: f64,
    /// Rows that contributed.
    pub(super) count: usize,
    /// Smallest squared distance (or squared total activation) that was met: the logarithm
    /// amplifies rounding by its inverse root.
    pub(super) closest: f64,
}

impl Case {
    /// The case of the golden values.
    pub(super) fn golden() -> Self {
        Self {
            b: 2,
            c: 2,
            r: 1,
            size: [2, 2],
            features: vec![
                1.0, 2.0, 0.0, 3.0, 0.5, 0.0, 1.0, 0.25, 0.0, 1.0, 2.0, 0.0, 1.0, 1.0, 0.5, 2.0,
            ],
            mask: vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0],
            drawn: vec![1.0, 1.0],
        }
    }

    /// Any case; features are multiples of 1/64 in `[-1, 3)`, about two fifths of the pixels are in
    /// a region, and one region in eight is not drawn.
    pub(super) fn random([b, c, r]: [usize; 3], size: [usize; 2], seed: u64) -> Self {
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (state >> 33) % below
        };
        let n = size[0] * size[1];
        Self {
            b,
            c,
            r,
            size,
            features: (0..b * c * n).map(|_| draw(256) as f64 / 64.0 - 1.0).collect(),
            mask: (0..b * r * n).map(|_| f64::from(u8::from(draw(5) < 2))).collect(),
            drawn: (0..b * r).map(|_| f64::from(u8::from(draw(8) > 0))).collect(),
        }
    }

    /// Tensors on the automatic-differentiation device; the features are leaves.
    pub(super) fn tensors(&self) -> (Features, ForegroundMask) {
        let device = Device::flex().autodiff();
        let [h, w] = self.size;
        let float = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let features = TensorData::new(float(&self.features), [self.b, self.c, h, w]);
        let mask = TensorData::new(float(&self.mask), [self.b, self.r, h, w]);
        let drawn = TensorData::new(float(&self.drawn), [self.b, self.r]);
        let features = Tensor::<4>::from_data(features, &device).require_grad();
        let mask = ForegroundMask {
            mask: Tensor::from_data(mask, &device),
            drawn: Tensor::from_data(drawn, &device),
        };
        (Features(features), mask)
    }

    /// The same case with other features.
    pub(super) fn with_features(&self, features: &[f64]) -> Self {
        Self { features: features.to_vec(), ..self.clone() }
    }

    /// Every image with itself.
    pub(super) fn own_rows(&self) -> Vec<Row> {
        (0..self.b).map(|i| vec![(i, i)]).collect()
    }

    /// `F_g` and `B_g` of an image and region, or nothing when the image is skipped.
    pub(super) fn region(&self, form: FdForm, i: usize, r: usize) -> Option<[Vec<f64>; 2]> {
        let n = self.size[0] * self.size[1];
        let m = &self.mask[(i * self.r + r) * n..][..n];
        let area: f64 = m.iter().sum();
        let empty = area == 0.0 || area == n as f64;
        if self.drawn[i * self.r + r] == 0.0 || (means(form) && empty) {
            return None;
        }
        let (mut fg, mut bg) = (vec![0.0; self.c], vec![0.0; self.c]);
        for k in 0..self.c {
            for (p, &m) in m.iter().enumerate() {
                let f = self.features[(i * self.c + k) * n + p];
                let (inside, outside) = match form {
                    FdForm::PaperSum | FdForm::ScalarNormalised => (f * m, f * (1.0 - m)),
                    FdForm::PixelMean => (f * m / n as f64, f * (1.0 - m) / n as f64),
                    FdForm::RegionMean | FdForm::Relative | FdForm::Prototype => {
                        (f * m / area, f * (1.0 - m) / (n as f64 - area))
                    }
                    FdForm::ReleasedCode => (m * f / n as f64, m * (1.0 - f) / n as f64),
                };
                fg[k] += inside;
                bg[k] += outside;
            }
        }
        Some([fg, bg])
    }

    /// The loss over rows of pairs.
    pub(super) fn value(&self, form: FdForm, rows: &[Row], squared: bool, eps: f64) -> SlowValue {
        let minus_log = |d2: f64| if squared { -(d2 + eps).ln() } else { -(d2 + eps).sqrt().ln() };
        let mut contributed = vec![false; rows.len()];
        let mut closest = f64::INFINITY;
        let mut regions = Vec::new();
        for r in 0..self.r {
            let mut per_row = Vec::new();
            let mut over_rows = vec![0.0; self.c];
            'rows: for (at, row) in rows.iter().enumerate() {
                let mut d2 = 0.0;
                let mut by_channel = vec![0.0; self.c];
                for &(i, j) in row {
                    let (Some([fg, _]), Some([_, bg])) =
                        (self.region(form, i, r), self.region(form, j, r))
                    else {
                        continue 'rows;
                    };
                    let difference: Vec<f64> = (0..self.c).map(|k| fg[k] - bg[k]).collect();
                    for k in 0..self.c {
                        by_channel[k] += difference[k].powi(2);
                    }
                    d2 += if form == FdForm::ScalarNormalised {
                        let total: f64 = (0..self.c).map(|k| fg[k] + bg[k]).sum();
                        closest = closest.min(total * total);
                        difference.iter().sum::<f64>().powi(2) / (total * total + eps)
                    } else {
                        let size = if form == FdForm::Relative {
                            fg.iter().chain(&bg).map(|v| v * v).sum::<f64>() + eps
                        } else {
                            1.0
                        };
                        difference.iter().map(|d| d * d).sum::<f64>() / size
                    };
                }
                if form != FdForm::ReleasedCode {
                    closest = closest.min(d2);
                }
                contributed[at] = true;
                per_row.push(minus_log(d2));
                for k in 0..self.c {
                    over_rows[k] += by_channel[k];
                }
            }
            if per_row.is_empty() {
                continue;
            }
            regions.push(if form == FdForm::ReleasedCode {
                closest = over_rows.iter().copied().fold(closest, f64::min);
                mean(&over_rows.iter().map(|&n2| minus_log(n2)).collect::<Vec<_>>())
            } else {
                mean(&per_row)
            });
        }
        let count = contributed.iter().filter(|&&c| c).count();
        let value = if regions.is_empty() { 0.0 } else { mean(&regions) };
        SlowValue { value, count, closest }
    }
}

fn means(form: FdForm) -> bool {
    matches!(form, FdForm::RegionMean | FdForm::Relative | FdForm::Prototype)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Gradient by central differences.
pub(super) fn central_differences(f: impl Fn(&[f64]) -> f64, at: &[f64]) -> Vec<f64> {
    let step = 1e-5;
    let mut x = at.to_vec();
    (0..x.len())
        .map(|i| {
            x[i] = at[i] + step;
            let up = f(&x);
            x[i] = at[i] - step;
            let down = f(&x);
            x[i] = at[i];
            (up - down) / (2.0 * step)
        })
        .collect()
}

/// Value and gradient with respect to `leaf`.
pub(super) fn value_and_gradient(value: &Tensor<1>, leaf: &Tensor<4>) -> (f64, Vec<f64>) {
    let gradients = value.backward();
    let gradient: Vec<f32> = match leaf.grad(&gradients) {
        Some(gradient) => gradient.into_data().try_to_vec().unwrap(),
        // A constant has no path to the leaf: its gradient is zero.
        None => vec![0.0; leaf.dims().iter().product()],
    };
    let value = f64::from(value.clone().into_scalar::<f32>());
    (value, gradient.into_iter().map(f64::from).collect())
}

/// Fails where two lists differ by more than `tolerance`, relative to the larger of 1 and the
/// value.
#[track_caller]
pub(super) fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        let close = (g - e).abs() <= tolerance * e.abs().max(1.0);
        assert!(close, "at {i}: got {g}, expected {e}\n got {got:?}\n expected {expected:?}");
    }
}
