//! Test-time augmentation: symmetric copies of the input whose predictions are averaged.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Which copies are predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tta {
    /// The image alone.
    #[default]
    None,
    /// The image and its three mirror images.
    Flips,
    /// All eight symmetries of the square.
    FlipsRot90,
}

/// One symmetry: an optional transposition after optional flips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Symmetry {
    rows: bool,
    columns: bool,
    transpose: bool,
}

impl Tta {
    /// Name as printed in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Flips => "flips",
            Self::FlipsRot90 => "flips-rot90",
        }
    }

    /// The copies, the image itself first.
    pub(crate) fn symmetries(self) -> Vec<Symmetry> {
        let flags: &[bool] = if self == Self::None { &[false] } else { &[false, true] };
        let transposed: &[bool] = if self == Self::FlipsRot90 { &[false, true] } else { &[false] };
        let mut all = Vec::new();
        for &transpose in transposed {
            for &rows in flags {
                for &columns in flags {
                    all.push(Symmetry { rows, columns, transpose });
                }
            }
        }
        all
    }
}

impl Symmetry {
    /// # Shapes
    /// `[B, C, H, W]` to `[B, C, H, W]`, or `[B, C, W, H]` when transposed.
    pub(crate) fn apply(self, x: Tensor<4>) -> Tensor<4> {
        let x = flip(x, self.rows, self.columns);
        if self.transpose { x.swap_dims(2, 3) } else { x }
    }

    /// The way back.
    pub(crate) fn undo(self, x: Tensor<4>) -> Tensor<4> {
        let x = if self.transpose { x.swap_dims(2, 3) } else { x };
        flip(x, self.rows, self.columns)
    }
}

fn flip(x: Tensor<4>, rows: bool, columns: bool) -> Tensor<4> {
    match (rows, columns) {
        (false, false) => x,
        (true, false) => x.flip([2]),
        (false, true) => x.flip([3]),
        (true, true) => x.flip([2, 3]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn every_symmetry_is_different_and_undone() {
        let device = Device::flex();
        let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 3, 4]), &device);
        let mut seen = Vec::new();
        for s in Tta::FlipsRot90.symmetries() {
            let y = s.apply(x.clone());
            assert_eq!(s.undo(y.clone()).to_data(), x.to_data());
            let key = (y.dims(), y.to_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>());
            assert!(!seen.contains(&key));
            seen.push(key);
        }
        assert_eq!(seen.len(), 8);
        assert_eq!(Tta::Flips.symmetries().len(), 4);
        assert_eq!(Tta::None.symmetries().len(), 1);
    }
}
