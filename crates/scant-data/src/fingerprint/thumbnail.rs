//! A small high-pass picture that two images can be compared by.

use ndarray::{Array2, ArrayView2, s};

/// Side of the thumbnail in pixels.
const SIDE: usize = 64;
/// Side of a block.
const BLOCK: usize = 16;
/// How far a block may have moved.
const REACH: isize = 4;
/// Standard deviation of the Gaussian whose result is taken off.
const SIGMA: f32 = 4.0;
/// A block with less contrast than this share of the whole is plain.
const TEXTURED: f32 = 0.25;
/// Fewer textured blocks say nothing.
const FEWEST_BLOCKS: usize = 4;
/// Contrast (of samples in `[0, 1]`) below which the whole thumbnail is plain.
const PLAIN: f32 = 1e-4;

/// Difference hash and high-pass thumbnail.
#[derive(Debug, Clone)]
pub(super) struct Thumbnail {
    /// Bit `8 r + c`: pixel `c + 1` of row `r` is brighter than pixel `c`.
    pub(super) hash: u64,
    /// High-pass thumbnail, scaled to the full range of its type to save memory.
    detail: Array2<i8>,
    plain: bool,
}

impl Thumbnail {
    /// Of a grey image `[rows, columns]`.
    pub(super) fn of(grey: &Array2<f32>) -> Self {
        let small = shrink(grey.view(), SIDE, SIDE);
        let coarse = shrink(small.view(), 8, 9);
        let mut hash = 0;
        for (bit, (r, c)) in (0..8).flat_map(|r| (0..8).map(move |c| (r, c))).enumerate() {
            if coarse[[r, c + 1]] > coarse[[r, c]] {
                hash |= 1 << bit;
            }
        }
        let detail = &small - &blur(&small);
        let largest = detail.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        // Not-a-number fails the comparison and counts as plain.
        let textured = deviation(detail.view()) >= PLAIN;
        let plain = !textured || !largest.is_finite();
        let scale = if plain { 0.0 } else { 127.0 / largest };
        Self { hash, detail: detail.mapv(|v| (v * scale).round() as i8), plain }
    }

    /// Normalised correlation of the whole thumbnails.
    pub(super) fn correlation(&self, other: &Self) -> f32 {
        if self.plain || other.plain {
            return 0.0;
        }
        correlation(self.detail.view(), other.detail.view())
    }

    /// Median over the textured blocks of `self` of their best correlation in `other`.
    pub(super) fn local_agreement(&self, other: &Self) -> Option<f32> {
        if self.plain || other.plain {
            return None;
        }
        let all = [spread(self.detail.view()), spread(other.detail.view())];
        let mut best: Vec<f32> = Vec::new();
        for (row, column) in
            (0..SIDE).step_by(BLOCK).flat_map(|r| (0..SIDE).step_by(BLOCK).map(move |c| (r, c)))
        {
            let here = block(&self.detail, row, column);
            let there = block(&other.detail, row, column);
            if spread(here) < TEXTURED * all[0] && spread(there) < TEXTURED * all[1] {
                continue;
            }
            let mut top = -1.0f32;
            for dr in -REACH..=REACH {
                for dc in -REACH..=REACH {
                    let moved = |at: usize, by: isize| {
                        at.checked_add_signed(by).filter(|at| at + BLOCK <= SIDE)
                    };
                    if let (Some(r), Some(c)) = (moved(row, dr), moved(column, dc)) {
                        top = top.max(correlation(here, block(&other.detail, r, c)));
                    }
                }
            }
            best.push(top);
        }
        if best.len() < FEWEST_BLOCKS {
            return None;
        }
        best.sort_by(f32::total_cmp);
        let middle = best.len() / 2;
        Some(if best.len() % 2 == 1 {
            best[middle]
        } else {
            (best[middle - 1] + best[middle]) / 2.0
        })
    }
}

fn block(detail: &Array2<i8>, row: usize, column: usize) -> ArrayView2<'_, i8> {
    detail.slice(s![row..row + BLOCK, column..column + BLOCK])
}

/// Standard deviation of integer samples.
fn spread(values: ArrayView2<'_, i8>) -> f32 {
    let n = values.len() as f32;
    let (mut sum, mut squares) = (0i32, 0i32);
    for &v in values {
        sum += i32::from(v);
        squares += i32::from(v) * i32::from(v);
    }
    (squares as f32 / n - (sum as f32 / n).powi(2)).max(0.0).sqrt()
}

fn deviation(values: ArrayView2<'_, f32>) -> f32 {
    let n = values.len() as f32;
    let mean = values.sum() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt()
}

/// Pearson correlation; 0 where one side is constant.
fn correlation(a: ArrayView2<'_, i8>, b: ArrayView2<'_, i8>) -> f32 {
    let (mut sa, mut sb, mut aa, mut bb, mut ab) = (0i64, 0i64, 0i64, 0i64, 0i64);
    for (ra, rb) in a.rows().into_iter().zip(b.rows()) {
        // One row of at most 64 products of bytes fits 32 bits.
        let (mut r0, mut r1, mut r2, mut r3, mut r4) = (0i32, 0i32, 0i32, 0i32, 0i32);
        for (&x, &y) in ra.iter().zip(rb) {
            let (x, y) = (i32::from(x), i32::from(y));
            r0 += x;
            r1 += y;
            r2 += x * x;
            r3 += y * y;
            r4 += x * y;
        }
        sa += i64::from(r0);
        sb += i64::from(r1);
        aa += i64::from(r2);
        bb += i64::from(r3);
        ab += i64::from(r4);
    }
    let n = a.len() as i64;
    let (va, vb) = (n * aa - sa * sa, n * bb - sb * sb);
    if va <= 0 || vb <= 0 {
        return 0.0;
    }
    ((n * ab - sa * sb) as f64 / ((va as f64).sqrt() * (vb as f64).sqrt())) as f32
}

/// Area-averaging resize: every target pixel is the mean of the source area it covers, pixels on the
/// border counted by the covered share.
fn shrink(image: ArrayView2<'_, f32>, rows: usize, columns: usize) -> Array2<f32> {
    let across = shrink_rows(image.t(), columns);
    shrink_rows(across.t(), rows)
}

fn shrink_rows(image: ArrayView2<'_, f32>, rows: usize) -> Array2<f32> {
    let (from, columns) = image.dim();
    let mut out = Array2::zeros((rows, columns));
    let step = from as f64 / rows as f64;
    for (r, mut line) in out.rows_mut().into_iter().enumerate() {
        let (start, end) = (r as f64 * step, (r + 1) as f64 * step);
        let last = (end.ceil() as usize).min(from);
        for source in start.floor() as usize..last {
            let covered = (end.min((source + 1) as f64) - start.max(source as f64)) / step;
            line.scaled_add(covered as f32, &image.row(source));
        }
    }
    out
}

/// Gaussian blur; the border is continued by its last pixel.
fn blur(image: &Array2<f32>) -> Array2<f32> {
    let radius = (4.0 * SIGMA) as isize;
    let weights: Vec<f32> =
        (-radius..=radius).map(|d| (-(d * d) as f32 / (2.0 * SIGMA * SIGMA)).exp()).collect();
    let total: f32 = weights.iter().sum();
    let rows = |image: ArrayView2<'_, f32>| {
        let last = image.dim().0 as isize - 1;
        let mut out = Array2::zeros(image.dim());
        for (r, mut line) in out.rows_mut().into_iter().enumerate() {
            for (d, weight) in (-radius..=radius).zip(&weights) {
                let source = (r as isize + d).clamp(0, last) as usize;
                line.scaled_add(weight / total, &image.row(source));
            }
        }
        out
    };
    let down = rows(image.view());
    rows(down.t()).t().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_averages_areas_with_shares() {
        let image = ndarray::arr2(&[[1.0, 2.0, 6.0]]);
        let out = shrink(image.view(), 1, 2);
        // 1.5 pixels each: (1 + 2/2) / 1.5 and (2/2 + 6) / 1.5.
        assert!((out[[0, 0]] - 4.0 / 3.0).abs() < 1e-6 && (out[[0, 1]] - 14.0 / 3.0).abs() < 1e-6);
        let large = shrink(image.view(), 2, 6);
        assert_eq!(large.row(1).to_vec(), [1.0, 1.0, 2.0, 2.0, 6.0, 6.0]);
    }

    #[test]
    fn blurring_keeps_a_constant() {
        let blurred = blur(&Array2::from_elem((64, 64), 0.3));
        assert!(blurred.iter().all(|v| (v - 0.3).abs() < 1e-5));
    }
}
