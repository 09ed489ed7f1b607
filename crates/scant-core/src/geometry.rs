//! Where the pixels are in the world.

use serde::{Deserialize, Serialize};

/// Physical placement of a pixel grid.
///
/// Axes are in *array order*: `[row, column]` for planar images, `[slice, row, column]` for
/// volumes. A planar photograph or ultrasound export usually has no known spacing: then
/// `spacing_mm` is `None` and every distance is reported in pixels, never silently as millimetres.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Distance between pixel centres along each array axis, in millimetres.
    pub spacing_mm: Option<Vec<f64>>,
    /// World position of the first pixel's centre, in millimetres.
    pub origin_mm: Option<Vec<f64>>,
    /// Direction cosines, row-major, one row per array axis.
    pub direction: Option<Vec<f64>>,
}

impl Geometry {
    /// A grid whose place in the world is unknown.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// A planar grid with known pixel size.
    #[must_use]
    pub fn planar_mm(row_mm: f64, column_mm: f64) -> Self {
        Self { spacing_mm: Some(vec![row_mm, column_mm]), origin_mm: None, direction: None }
    }

    /// `"mm"` when the spacing is known, `"px"` otherwise.
    #[must_use]
    pub fn distance_unit(&self) -> &'static str {
        if self.spacing_mm.is_some() { "mm" } else { "px" }
    }
}
