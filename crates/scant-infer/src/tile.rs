//! Covering a large image with overlapping tiles.

use serde::{Deserialize, Serialize};

/// Sliding-window settings, in pixels of the network grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TileOptions {
    /// Rows and columns of a tile.
    pub size: [usize; 2],
    /// Share of a tile that overlaps its neighbour, in `[0, 0.9]`.
    pub overlap: f64,
}

impl Default for TileOptions {
    fn default() -> Self {
        Self { size: [512, 512], overlap: 0.5 }
    }
}

impl TileOptions {
    /// Top-left corners of tiles that cover `shape`; the last of each axis is moved back so that no
    /// tile leaves the image.
    pub(crate) fn corners(&self, shape: [usize; 2]) -> Vec<[usize; 2]> {
        let axis = |i: usize| starts(shape[i], self.size[i], self.overlap);
        let columns = axis(1);
        axis(0).into_iter().flat_map(|r| columns.iter().map(move |&c| [r, c])).collect()
    }

    /// Weight of each pixel of a tile of the given size: a Gaussian with a standard deviation of an
    /// eighth of the side (nnU-Net's choice), so that borders with little context count least.
    pub(crate) fn weights(size: [usize; 2]) -> Vec<f32> {
        let profile = |n: usize| -> Vec<f64> {
            let (centre, sigma) = ((n as f64 - 1.0) / 2.0, n as f64 / 8.0);
            (0..n).map(|i| (-0.5 * ((i as f64 - centre) / sigma).powi(2)).exp().max(1e-4)).collect()
        };
        let (rows, columns) = (profile(size[0]), profile(size[1]));
        rows.iter().flat_map(|r| columns.iter().map(move |c| (r * c) as f32)).collect()
    }
}

fn starts(length: usize, tile: usize, overlap: f64) -> Vec<usize> {
    if length <= tile {
        return vec![0];
    }
    let step = ((tile as f64 * (1.0 - overlap.clamp(0.0, 0.9))) as usize).max(1);
    let count = (length - tile).div_ceil(step) + 1;
    (0..count).map(|i| (i * step).min(length - tile)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_everything_and_stay_inside() {
        for length in [1, 7, 16, 17, 31, 100] {
            for overlap in [0.0, 0.25, 0.5, 0.9] {
                let starts = starts(length, 16, overlap);
                let mut covered = vec![false; length];
                for &s in &starts {
                    assert!(s + 16 <= length || (s == 0 && length < 16));
                    covered[s..(s + 16).min(length)].fill(true);
                }
                assert!(covered.iter().all(|&c| c), "{length} {overlap}");
            }
        }
    }

    #[test]
    fn weights_are_symmetric_positive_and_highest_inside() {
        let w = TileOptions::weights([5, 8]);
        assert!(w.iter().all(|&v| v > 0.0));
        assert_eq!(w[0], w[39]);
        assert!(w[2 * 8 + 3] > w[0]);
    }
}
