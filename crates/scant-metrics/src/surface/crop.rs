//! Two masks on the smallest common grid that holds both.

use ndarray::{Array3, ArrayView3, ArrayViewD, Axis, Ix3, s};

use crate::MetricError;

/// Two masks of one class, cropped to the bounding box of their union, as rank 3.
///
/// No margin is needed: beyond the box there is only background, which is also what the boundary
/// assumes beyond the grid, and every boundary pixel lies inside.
#[derive(Debug)]
pub(super) struct MaskPair {
    pub(super) prediction: Array3<bool>,
    pub(super) truth: Array3<bool>,
    /// Spacing of the three axes; 1 along the added ones.
    pub(super) spacing: [f64; 3],
    /// Axes of the arrays before leading axes of length one were added.
    pub(super) axes: usize,
}

impl MaskPair {
    /// `None` when either mask is empty.
    pub(super) fn of_class(
        prediction: &ArrayViewD<'_, u8>,
        truth: &ArrayViewD<'_, u8>,
        spacing: Option<&[f64]>,
        class: u8,
    ) -> Result<Option<Self>, MetricError> {
        check(prediction.shape(), truth.shape(), spacing)?;
        let axes = truth.ndim();
        let prediction = as_volume(prediction)?;
        let truth = as_volume(truth)?;
        let (Some(a), Some(b)) = (Span::of(&prediction, class), Span::of(&truth, class)) else {
            return Ok(None);
        };
        let [z, y, x] = a.union(&b).ranges();
        let cut = |view: &ArrayView3<'_, u8>| {
            view.slice(s![z.clone(), y.clone(), x.clone()]).mapv(|id| id == class)
        };
        let mut padded = [1.0; 3];
        if let Some(spacing) = spacing {
            padded[3 - axes..].copy_from_slice(spacing);
        }
        let (prediction, truth) = (cut(&prediction), cut(&truth));
        Ok(Some(Self { prediction, truth, spacing: padded, axes }))
    }
}

/// Checks everything that can be wrong with a pair of arrays and their spacing.
pub(crate) fn check(
    prediction: &[usize],
    truth: &[usize],
    spacing: Option<&[f64]>,
) -> Result<(), MetricError> {
    if prediction != truth {
        return Err(MetricError::ShapeMismatch {
            prediction: prediction.to_vec(),
            truth: truth.to_vec(),
        });
    }
    if !(1..=3).contains(&truth.len()) {
        return Err(MetricError::Rank { shape: truth.to_vec() });
    }
    if truth.contains(&0) {
        return Err(MetricError::NoPixels { shape: truth.to_vec() });
    }
    match spacing {
        Some(s) if s.len() != truth.len() || s.iter().any(|&v| !v.is_finite() || v <= 0.0) => {
            Err(MetricError::Spacing { spacing: s.to_vec(), axes: truth.len() })
        }
        _ => Ok(()),
    }
}

/// Length of the diagonal of an image of this shape, edge to edge: `sqrt(sum((n_i * s_i)^2))`.
///
/// Longer than the distance of any two pixel centres, so that standing in for the distance of a
/// missed object it is worse than every measured one, even on an image of one pixel. `None` counts
/// in pixels. Shape and spacing must have the same length.
#[must_use]
pub fn image_diagonal(shape: &[usize], spacing: Option<&[f64]>) -> f64 {
    let side = |i: usize, n: usize| n as f64 * spacing.map_or(1.0, |s| s[i]);
    shape.iter().enumerate().map(|(i, &n)| side(i, n).powi(2)).sum::<f64>().sqrt()
}

/// Adds leading axes of length one.
fn as_volume<'a>(view: &ArrayViewD<'a, u8>) -> Result<ArrayView3<'a, u8>, MetricError> {
    let mut view = view.clone();
    while view.ndim() < 3 {
        view = view.insert_axis(Axis(0));
    }
    let shape = view.shape().to_vec();
    view.into_dimensionality::<Ix3>().map_err(|_| MetricError::Rank { shape })
}

/// First and last index of a class along each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    low: [usize; 3],
    high: [usize; 3],
}

impl Span {
    fn of(ids: &ArrayView3<'_, u8>, class: u8) -> Option<Self> {
        let mut span = Self { low: [usize::MAX; 3], high: [0; 3] };
        for (z, plane) in ids.outer_iter().enumerate() {
            for (y, row) in plane.outer_iter().enumerate() {
                let Some(first) = row.iter().position(|&id| id == class) else { continue };
                let from_end = row.iter().rev().position(|&id| id == class).unwrap_or(0);
                span.include([z, y, first]);
                span.include([z, y, row.len() - 1 - from_end]);
            }
        }
        (span.low[0] != usize::MAX).then_some(span)
    }

    fn include(&mut self, at: [usize; 3]) {
        for (axis, i) in at.into_iter().enumerate() {
            self.low[axis] = self.low[axis].min(i);
            self.high[axis] = self.high[axis].max(i);
        }
    }

    fn union(mut self, other: &Self) -> Self {
        self.include(other.low);
        self.include(other.high);
        self
    }

    fn ranges(self) -> [std::ops::RangeInclusive<usize>; 3] {
        std::array::from_fn(|i| self.low[i]..=self.high[i])
    }
}
