//! Pixels with a meaning: intensity, not class.

use ndarray::{Array3, ArrayD, ArrayView3, Ix3};
use serde::{Deserialize, Serialize};

use crate::Geometry;

/// How samples were stored in the file an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelType {
    /// One bit per sample.
    U1,
    /// Eight bits per sample.
    U8,
    /// Sixteen bits per sample.
    U16,
    /// Thirty-two bit floating point.
    F32,
}

/// An intensity image.
///
/// # Shapes
/// `pixels` is `[channels, rows, columns]` for planar images and
/// `[channels, slices, rows, columns]` for volumes. Integer formats are scaled to `[0, 1]` by the
/// largest value their type can hold; floating-point formats are kept as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Channel-first samples.
    pub pixels: ArrayD<f32>,
    /// Placement of the grid.
    pub geometry: Geometry,
    /// Sample type in the file.
    pub stored: PixelType,
}

impl Image {
    /// A planar image without known spacing.
    #[must_use]
    pub fn planar(pixels: Array3<f32>, stored: PixelType) -> Self {
        Self { pixels: pixels.into_dyn(), geometry: Geometry::unknown(), stored }
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.pixels.shape()[0]
    }

    /// Grid size in array order, without the channel axis.
    #[must_use]
    pub fn spatial_shape(&self) -> &[usize] {
        &self.pixels.shape()[1..]
    }

    /// The pixels as `[channels, rows, columns]`, or `None` for a volume.
    #[must_use]
    pub fn as_planar(&self) -> Option<ArrayView3<'_, f32>> {
        self.pixels.view().into_dimensionality::<Ix3>().ok()
    }
}
