//! Distances between the boundaries of two masks.
//!
//! A boundary is the set of mask pixels that a binary erosion of connectivity 1 removes, as in
//! MONAI and MedPy; pixels outside the image count as background, so a mask cut by the image edge
//! has a boundary there. Distances run between pixel centres and are exact.

mod boundary;
mod crop;
mod edt;

use ndarray::{Array3, ArrayViewD};

use crate::{MetricError, stats};

pub use crop::image_diagonal;

/// Which of the two customary definitions of HD95.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hd95Mode {
    /// The larger of the two directed percentiles (MONAI, MetricsReloaded).
    MaxOfDirected,
    /// The percentile of both directions thrown together (MedPy).
    Pooled,
}

/// Distances from every boundary pixel of one mask to the nearest boundary pixel of the other, in
/// both directions, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct SurfaceDistances {
    forward: Vec<f64>,
    backward: Vec<f64>,
}

impl SurfaceDistances {
    /// Measures `class` in two arrays of class ids of equal shape with 1, 2 or 3 axes.
    ///
    /// `spacing` holds the distance between pixel centres along each axis, in the order the axes
    /// are stored; `None` measures in pixels. The result is `None` when either mask is empty: what
    /// a distance is then is for an [`crate::EmptyPolicy`] to say. A volume of one slice is a
    /// volume, so all its mask pixels are boundary; drop the axis to measure it as an image.
    ///
    /// # Errors
    /// When shapes differ, have another rank or no pixels, or the spacing does not fit.
    pub fn of_class(
        prediction: &ArrayViewD<'_, u8>,
        truth: &ArrayViewD<'_, u8>,
        spacing: Option<&[f64]>,
        class: u8,
    ) -> Result<Option<Self>, MetricError> {
        let Some(pair) = crop::MaskPair::of_class(prediction, truth, spacing, class)? else {
            return Ok(None);
        };
        let a = boundary::of(&pair.prediction, pair.axes);
        let b = boundary::of(&pair.truth, pair.axes);
        let mut forward = directed(&a, &b, pair.spacing);
        let mut backward = directed(&b, &a, pair.spacing);
        forward.sort_by(f64::total_cmp);
        backward.sort_by(f64::total_cmp);
        Ok(Some(Self { forward, backward }))
    }

    /// Distances from the prediction's boundary to the truth's, ascending, never empty.
    #[must_use]
    pub fn forward(&self) -> &[f64] {
        &self.forward
    }

    /// Distances from the truth's boundary to the prediction's, ascending, never empty.
    #[must_use]
    pub fn backward(&self) -> &[f64] {
        &self.backward
    }

    /// Hausdorff distance: the largest distance in either direction (Hausdorff 1914; Huttenlocher
    /// et al. 1993, eq. 1).
    #[must_use]
    pub fn hd(&self) -> f64 {
        self.percentile(100.0, Hd95Mode::MaxOfDirected)
    }

    /// 95th percentile Hausdorff distance.
    #[must_use]
    pub fn hd95(&self, mode: Hd95Mode) -> f64 {
        self.percentile(95.0, mode)
    }

    /// Hausdorff distance at any percentile in `[0, 100]`, interpolated as `numpy.percentile` does
    /// by default.
    #[must_use]
    pub fn percentile(&self, percent: f64, mode: Hd95Mode) -> f64 {
        match mode {
            Hd95Mode::MaxOfDirected => stats::percentile(&self.forward, percent)
                .max(stats::percentile(&self.backward, percent)),
            Hd95Mode::Pooled => {
                let mut pooled = [self.forward.as_slice(), &self.backward].concat();
                pooled.sort_by(f64::total_cmp);
                stats::percentile(&pooled, percent)
            }
        }
    }

    /// Average surface distance from prediction to truth only (MedPy `asd`, MONAI
    /// `symmetric=False`).
    #[must_use]
    pub fn asd(&self) -> f64 {
        self.forward.iter().sum::<f64>() / self.forward.len() as f64
    }

    /// Average symmetric surface distance: the mean of both directions pooled (MedPy 0.5 `assd`,
    /// MONAI `symmetric=True`).
    #[must_use]
    pub fn assd(&self) -> f64 {
        let sum = self.forward.iter().sum::<f64>() + self.backward.iter().sum::<f64>();
        sum / (self.forward.len() + self.backward.len()) as f64
    }

    /// Mean average surface distance: the mean of the two directed means (MetricsReloaded `masd`).
    #[must_use]
    pub fn masd(&self) -> f64 {
        let backward = self.backward.iter().sum::<f64>() / self.backward.len() as f64;
        f64::midpoint(self.asd(), backward)
    }

    /// Normalised surface distance: the share of boundary pixels of both masks that lie within
    /// `tolerance` of the other boundary (MONAI `SurfaceDiceMetric` without subvoxels).
    #[must_use]
    pub fn nsd(&self, tolerance: f64) -> f64 {
        let within = |d: &[f64]| d.partition_point(|&x| x <= tolerance);
        let near = within(&self.forward) + within(&self.backward);
        near as f64 / (self.forward.len() + self.backward.len()) as f64
    }
}

/// Distance of every pixel of `from` to the nearest pixel of `to`; neither is empty.
fn directed(from: &Array3<bool>, to: &Array3<bool>, spacing: [f64; 3]) -> Vec<f64> {
    let squared = edt::squared_distance_to(to, spacing);
    from.iter().zip(&squared).filter(|(on, _)| **on).map(|(_, d)| d.sqrt()).collect()
}

#[cfg(test)]
mod tests;
