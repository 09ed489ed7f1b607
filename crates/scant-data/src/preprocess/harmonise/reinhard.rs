//! Reinhard et al., *Color Transfer between Images*, IEEE Computer Graphics and Applications 21(5),
//! 2001: each channel of a colour space gets the mean and the standard deviation of the target
//! (equations 10 and 11).
//!
//! Deviations: the space is CIE L\*a\*b\* instead of the paper's logarithmic one, as is usual for
//! histology (StainTools, torchstain); several base images give the mean of their means and of their
//! deviations; images of one brightness stay as they are; a channel without spread is only shifted.

use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

use super::lab;

/// A deviation below this, in units of L (0 to 100), is none.
const NO_SPREAD: f64 = 1e-3;

/// Mean and standard deviation of L, a and b.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabMoments {
    /// Means. `f32`, so that writing them as decimals and reading them again changes nothing.
    pub mean: [f32; 3],
    /// Standard deviations over pixels.
    pub deviation: [f32; 3],
}

impl LabMoments {
    pub(super) fn mean(of: &[Self]) -> Option<Self> {
        let n = of.len() as f64;
        let mean = |pick: &dyn Fn(&Self) -> f32| {
            (of.iter().map(|m| f64::from(pick(m))).sum::<f64>() / n) as f32
        };
        (!of.is_empty()).then(|| Self {
            mean: [0, 1, 2].map(|c| mean(&|m| m.mean[c])),
            deviation: [0, 1, 2].map(|c| mean(&|m| m.deviation[c])),
        })
    }
}

/// The moments of an image; none where it has one brightness.
pub(super) fn fit(pixels: &Array3<f32>) -> Option<LabMoments> {
    let (mean, deviation) = moments(&converted(pixels))?;
    Some(LabMoments { mean: mean.map(|v| v as f32), deviation: deviation.map(|v| v as f32) })
}

/// Gives an image other moments; false where it has one brightness.
pub(super) fn apply(like: &LabMoments, pixels: &mut Array3<f32>) -> bool {
    let colours = converted(pixels);
    let Some((mean, deviation)) = moments(&colours) else { return false };
    let scale = [0, 1, 2].map(|c| {
        if deviation[c] < NO_SPREAD { 1.0 } else { f64::from(like.deviation[c]) / deviation[c] }
    });
    let columns = pixels.dim().2;
    for (i, colour) in colours.iter().enumerate() {
        let moved = [0, 1, 2].map(|c| (colour[c] - mean[c]) * scale[c] + f64::from(like.mean[c]));
        for (channel, v) in lab::to_rgb(moved).into_iter().enumerate() {
            pixels[[channel, i / columns, i % columns]] = v as f32;
        }
    }
    true
}

fn converted(pixels: &Array3<f32>) -> Vec<[f64; 3]> {
    let line = |channel| pixels.index_axis(Axis(0), channel).into_iter().map(|v| f64::from(*v));
    line(0).zip(line(1)).zip(line(2)).map(|((r, g), b)| lab::from_rgb([r, g, b])).collect()
}

fn moments(colours: &[[f64; 3]]) -> Option<([f64; 3], [f64; 3])> {
    let n = colours.len() as f64;
    let mean = [0, 1, 2].map(|c| colours.iter().map(|v| v[c]).sum::<f64>() / n);
    let deviation = [0, 1, 2]
        .map(|c| (colours.iter().map(|v| (v[c] - mean[c]).powi(2)).sum::<f64>() / n).sqrt());
    (deviation[0] >= NO_SPREAD).then_some((mean, deviation))
}
