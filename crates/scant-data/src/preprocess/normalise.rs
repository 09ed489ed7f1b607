//! Intensity scales.

use ndarray::{Array3, Axis};

use super::Normalise;

/// A spread below this share of the largest magnitude is rounding, not signal.
const CONSTANT_SHARE: f32 = 1e-6;

impl Normalise {
    /// Scales in place.
    ///
    /// # Shapes
    /// `[C, H, W]`, finite samples.
    pub(super) fn apply(self, pixels: &mut Array3<f32>) {
        match self {
            Self::None => {}
            Self::ZScore => {
                for mut channel in pixels.axis_iter_mut(Axis(0)) {
                    let (lo, hi) = extent(channel.iter());
                    let (mean, deviation) = moments(channel.iter(), channel.len());
                    if is_constant(lo, hi) || deviation == 0.0 {
                        channel.fill(0.0);
                    } else {
                        channel.mapv_inplace(|v| ((f64::from(v) - mean) / deviation) as f32);
                    }
                }
            }
            Self::Percentile => {
                let mut sorted: Vec<f32> = pixels.iter().copied().collect();
                let (lo, hi) = (percentile(&mut sorted, 0.01), percentile(&mut sorted, 0.99));
                stretch(pixels, lo, hi);
            }
            Self::MinMax => {
                let (lo, hi) = extent(pixels.iter());
                stretch(pixels, lo, hi);
            }
        }
    }
}

/// `lo..hi` becomes `0..1`, clipped; no spread becomes 0.
fn stretch(pixels: &mut Array3<f32>, lo: f32, hi: f32) {
    if is_constant(lo, hi) {
        pixels.fill(0.0);
    } else {
        let (lo, range) = (f64::from(lo), f64::from(hi) - f64::from(lo));
        pixels.mapv_inplace(|v| (((f64::from(v) - lo) / range) as f32).clamp(0.0, 1.0));
    }
}

fn is_constant(lo: f32, hi: f32) -> bool {
    // Halved so that the spread of extreme floating-point images cannot overflow.
    hi / 2.0 - lo / 2.0 <= CONSTANT_SHARE * (hi.abs().max(lo.abs()) / 2.0)
}

fn extent<'a>(values: impl Iterator<Item = &'a f32>) -> (f32, f32) {
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), &v| (lo.min(v), hi.max(v)))
}

/// Mean and population standard deviation, in two passes and f64.
fn moments<'a>(values: impl Iterator<Item = &'a f32> + Clone, count: usize) -> (f64, f64) {
    let mean = values.clone().map(|&v| f64::from(v)).sum::<f64>() / count as f64;
    let variance = values.map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count as f64;
    (mean, variance.sqrt())
}

/// Linear interpolation between order statistics, NumPy's default. Reorders `values`.
pub(super) fn percentile(values: &mut [f32], share: f64) -> f32 {
    let at = share * (values.len() - 1) as f64;
    let (below, fraction) = (at.floor() as usize, at.fract());
    let (_, &mut lower, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let upper = above.iter().copied().fold(f32::INFINITY, f32::min);
    if fraction == 0.0 || above.is_empty() {
        lower
    } else {
        (f64::from(lower) + fraction * (f64::from(upper) - f64::from(lower))) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([9, 1, 4, 7, 2], [1, 99]) == [1.04, 8.92]
        let mut values = [9.0, 1.0, 4.0, 7.0, 2.0];
        assert!((percentile(&mut values, 0.01) - 1.04).abs() < 1e-6);
        assert!((percentile(&mut values, 0.99) - 8.92).abs() < 1e-6);
        assert_eq!(percentile(&mut [3.0], 0.99), 3.0);
    }
}
