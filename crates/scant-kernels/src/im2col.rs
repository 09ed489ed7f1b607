//! Convolutions of one image as matrix products over bands of rows.
//!
//! Legend: Ci, Co input and output channels · H, W rows and columns · k kernel side (odd) ·
//! K = Ci k k · n pixels of a band.

use gemm::Parallelism;
use rayon::prelude::*;

/// Bytes a band's column matrix may take: about half of a core's second-level cache.
const BAND_BYTES: usize = 1 << 19;

/// Sizes of a stride-one convolution that keeps the image size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) kernel: usize,
}

impl Sizes {
    pub(crate) fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// K
    fn taps(&self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    fn band_rows(&self) -> usize {
        (BAND_BYTES / (4 * self.taps() * self.columns)).clamp(1, self.rows)
    }

    /// First row and number of rows of every band.
    fn bands(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, step) = (self.rows, self.band_rows());
        (0..rows).step_by(step).map(move |r| (r, step.min(rows - r)))
    }
}

/// `y = w * x + bias` for one image.
///
/// # Shapes
/// `x` `[Ci, H, W]`, `weight` `[Co, Ci, k, k]`, `y` `[Co, H, W]`
pub(crate) fn forward(
    s: Sizes,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    parallelism: Parallelism,
) {
    if let Some(bias) = bias {
        for (plane, &b) in y.chunks_exact_mut(s.pixels()).zip(bias) {
            plane.fill(b);
        }
    }
    let (taps, pixels) = (s.taps(), s.pixels());
    let mut columns = Vec::new();
    for (first, count) in s.bands() {
        let (start, n) = (first * s.columns, count * s.columns);
        let band = gather(s, x, first, count, &mut columns, parallelism);
        product(
            Product {
                m: s.outputs,
                n,
                k: taps,
                left: Matrix { values: weight, offset: 0, row: taps, column: 1 },
                right: band,
                add: bias.is_some(),
            },
            y,
            Target { offset: start, row: pixels },
            parallelism,
        );
    }
}

/// Adds the gradient of the weights of one image to `dw`.
///
/// # Shapes
/// `x` `[Ci, H, W]`, `dy` `[Co, H, W]`, `dw` `[Co, Ci, k, k]`
pub(crate) fn weight_gradient(
    s: Sizes,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    parallelism: Parallelism,
) {
    let (taps, pixels) = (s.taps(), s.pixels());
    let mut columns = Vec::new();
    for (first, count) in s.bands() {
        let (start, n) = (first * s.columns, count * s.columns);
        let band = gather(s, x, first, count, &mut columns, parallelism);
        product(
            Product {
                m: s.outputs,
                n: taps,
                k: n,
                left: Matrix { values: dy, offset: start, row: pixels, column: 1 },
                right: Matrix { row: band.column, column: band.row, ..band },
                add: true,
            },
            dw,
            Target { offset: 0, row: taps },
            parallelism,
        );
    }
}

/// The kernel of the input gradient: channels swapped and both axes reversed, so that the gradient is
/// itself a convolution that keeps the size.
pub(crate) fn reversed(weight: &[f32], outputs: usize, inputs: usize, kernel: usize) -> Vec<f32> {
    let area = kernel * kernel;
    let mut out = vec![0.0; weight.len()];
    for o in 0..outputs {
        for i in 0..inputs {
            for t in 0..area {
                out[(i * outputs + o) * area + area - 1 - t] = weight[(o * inputs + i) * area + t];
            }
        }
    }
    out
}

/// The column matrix `[K, n]` of a band: row (c, ky, kx) is channel c moved by the offset of that tap,
/// zero outside the image. A 1x1 kernel needs no copy.
fn gather<'a>(
    s: Sizes,
    x: &'a [f32],
    first: usize,
    count: usize,
    columns: &'a mut Vec<f32>,
    parallelism: Parallelism,
) -> Matrix<'a> {
    let n = count * s.columns;
    if s.kernel == 1 {
        return Matrix { values: x, offset: first * s.columns, row: s.pixels(), column: 1 };
    }
    columns.resize(s.taps() * n, 0.0);
    let fill = |(tap, out): (usize, &mut [f32])| fill_tap(s, x, first, tap, out);
    if matches!(parallelism, Parallelism::None) {
        columns.chunks_exact_mut(n).enumerate().for_each(fill);
    } else {
        columns.par_chunks_exact_mut(n).enumerate().for_each(fill);
    }
    Matrix { values: columns, offset: 0, row: n, column: 1 }
}

fn fill_tap(s: Sizes, x: &[f32], first: usize, tap: usize, out: &mut [f32]) {
    let (k, pad, w) = (s.kernel, s.kernel / 2, s.columns);
    let (channel, dy, dx) = (tap / (k * k), tap / k % k, tap % k);
    let plane = &x[channel * s.pixels()..(channel + 1) * s.pixels()];
    // Columns of the output row for which the input column is inside the image.
    let left = pad.saturating_sub(dx).min(w);
    let right = (w + pad).saturating_sub(dx).min(w).max(left);
    for (i, line) in out.chunks_exact_mut(w).enumerate() {
        let row = first + i + dy;
        if row < pad || row - pad >= s.rows {
            line.fill(0.0);
            continue;
        }
        let source = &plane[(row - pad) * w..(row - pad + 1) * w];
        line[..left].fill(0.0);
        line[right..].fill(0.0);
        if right > left {
            let from = left + dx - pad;
            line[left..right].copy_from_slice(&source[from..from + right - left]);
        }
    }
}

/// A strided view.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    offset: usize,
    row: usize,
    column: usize,
}

impl Matrix<'_> {
    /// One past the last element that a view of this size touches.
    fn end(&self, rows: usize, columns: usize) -> usize {
        self.offset + (rows - 1) * self.row + (columns - 1) * self.column + 1
    }
}

/// Where a product goes; columns lie next to each other.
#[derive(Clone, Copy)]
struct Target {
    offset: usize,
    row: usize,
}

/// `left [m, k] x right [k, n]`, added to the target or replacing it.
struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    left: Matrix<'a>,
    right: Matrix<'a>,
    add: bool,
}

/// The only unsafe code of this file: `gemm` takes raw pointers and strides.
#[allow(unsafe_code)]
fn product(p: Product<'_>, out: &mut [f32], target: Target, parallelism: Parallelism) {
    let Product { m, n, k, left, right, add } = p;
    assert!(m > 0 && n > 0 && k > 0, "a convolution has at least one channel and one pixel");
    assert!(left.end(m, k) <= left.values.len(), "left matrix reaches past its slice");
    assert!(right.end(k, n) <= right.values.len(), "right matrix reaches past its slice");
    assert!(target.offset + (m - 1) * target.row + n <= out.len(), "result reaches past its slice");
    assert!(m == 1 || target.row >= n, "rows of the result would overlap");
    let stride = |v: usize| isize::try_from(v).expect("strides fit in an isize");
    // SAFETY: the assertions above show that every element gemm reads (m x k, k x n) and writes
    // (m x n) lies inside its slice; `out` is borrowed mutably, so it overlaps neither input, and its
    // rows do not overlap each other.
    unsafe {
        gemm::gemm::<f32>(
            m,
            n,
            k,
            out.as_mut_ptr().add(target.offset),
            1,
            stride(target.row),
            add,
            left.values.as_ptr().add(left.offset),
            stride(left.column),
            stride(left.row),
            right.values.as_ptr().add(right.offset),
            stride(right.column),
            stride(right.row),
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
