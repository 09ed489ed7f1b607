//! Histogram matching: the share of pixels below an intensity stays, the intensity becomes that of the
//! pooled base images at the same share. Gonzalez and Woods, *Digital Image Processing*, section 3.3.
//!
//! Compare `skimage.exposure.match_histograms`, channel by channel. Deviation: of equal pixels half
//! count as below (the middle of their step, where scikit-image takes its top), so that a flat image
//! becomes the median of the base images and not their brightest pixel.

use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

/// Points of a stored distribution, both ends included.
const POINTS: usize = 1025;
/// Pixels per channel that it is made of, over all images.
const MOST_PIXELS: usize = 1 << 22;

/// Distribution of intensities per channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Per channel, intensities at evenly spaced shares from 0 to 1. `f32`, so that writing them as
    /// decimals and reading them again changes nothing.
    pub channels: Vec<Vec<f32>>,
}

impl Quantiles {
    pub(super) fn are_of(&self, channels: usize) -> bool {
        self.channels.len() == channels && self.channels.iter().all(|line| line.len() >= 2)
    }
}

/// Pixels of base images.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    per_image: usize,
    channels: Vec<Vec<f32>>,
}

impl Samples {
    /// Room for as many images.
    pub(super) fn new(images: usize) -> Self {
        Self { per_image: (MOST_PIXELS / images.max(1)).max(1), channels: Vec::new() }
    }

    /// Takes every pixel of an image, or evenly spaced ones where all images together have too many.
    pub(super) fn add(&mut self, pixels: &Array3<f32>) {
        let step = (pixels.dim().1 * pixels.dim().2).div_ceil(self.per_image);
        self.channels.resize(pixels.dim().0, Vec::new());
        for (line, plane) in self.channels.iter_mut().zip(pixels.axis_iter(Axis(0))) {
            line.extend(plane.iter().step_by(step));
        }
    }

    pub(super) fn quantiles(self) -> Option<Quantiles> {
        let channels: Vec<Vec<f32>> = self
            .channels
            .into_iter()
            .map(|mut line| {
                line.sort_unstable_by(f32::total_cmp);
                (0..POINTS).map(|i| at(&line, i as f64 / (POINTS - 1) as f64)).collect()
            })
            .collect();
        (!channels.is_empty()).then_some(Quantiles { channels })
    }
}

/// Value at a share of an ascending line, by linear interpolation.
fn at(line: &[f32], share: f64) -> f32 {
    let place = share * (line.len() - 1) as f64;
    let (below, fraction) = (place.floor() as usize, place.fract());
    let (low, high) = (f64::from(line[below]), f64::from(line[(below + 1).min(line.len() - 1)]));
    (low + fraction * (high - low)) as f32
}

/// Gives each channel the stored distribution.
pub(super) fn apply(like: &Quantiles, pixels: &mut Array3<f32>) {
    for (mut plane, line) in pixels.axis_iter_mut(Axis(0)).zip(&like.channels) {
        let mut sorted: Vec<f32> = plane.iter().copied().collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let count = sorted.len() as f64;
        plane.mapv_inplace(|v| {
            let below = sorted.partition_point(|w| *w < v);
            let up_to = sorted.partition_point(|w| *w <= v);
            at(line, 0.5 * (below + up_to) as f64 / count)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_stay_and_intensities_become_those_of_the_pool() {
        let mut samples = Samples::new(2);
        samples.add(&Array3::from_shape_fn((1, 8, 8), |(_, r, c)| (r * 8 + c) as f32 / 128.0));
        samples
            .add(&Array3::from_shape_fn((1, 8, 8), |(_, r, c)| 0.5 + (r * 8 + c) as f32 / 128.0));
        let pool = samples.quantiles().unwrap();
        assert_eq!(pool.channels[0].len(), POINTS);
        assert_eq!((pool.channels[0][0], pool.channels[0][POINTS - 1]), (0.0, 0.5 + 63.0 / 128.0));
        // Squares of the pool itself: ranks are those of the pool, so its values come back.
        let mut image =
            Array3::from_shape_fn((1, 16, 8), |(_, r, c)| ((r * 8 + c) as f32 / 128.0).powi(2));
        apply(&pool, &mut image);
        for (i, v) in image.iter().enumerate() {
            assert!((v - i as f32 / 128.0).abs() < 1.0 / 128.0, "{i} {v}");
        }
        let mut flat = Array3::from_elem((1, 4, 4), 0.9);
        apply(&pool, &mut flat);
        assert!(flat.iter().all(|v| (v - 63.5 / 128.0).abs() < 1e-6), "{flat}");
    }
}
