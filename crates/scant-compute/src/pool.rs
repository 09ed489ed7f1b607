//! Max and average pooling over two or three axes, with gradients.
//!
//! Values are rows of `[planes, depth, height, width]`, a plane being one channel of one image; two
//! dimensions are a depth of one. Work is cut along the rows that are written, each of which is
//! computed from its inputs alone, so results do not depend on the number of threads.

mod average;
mod max;
pub(crate) mod pairs;

use std::ops::Range;

use rayon::prelude::*;

use crate::simd::{Kernel, Simd, dispatch};

pub use average::{average, average_gradient};
pub use max::{MAX_WINDOW, max, max_gradient, max_values};

/// Values one task writes at least: enough that starting it costs nothing.
const TASK: usize = 16 * 1024;

/// Where the windows of a pooling lie, axes in the order depth, height, width.
///
/// Partial windows at the far end are dropped (`ceil_mode=False` in PyTorch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    size: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
}

impl Windows {
    /// Windows of `kernel` every `stride` over planes of `size` with `padding` on both ends.
    ///
    /// # Panics
    /// When a kernel or stride is zero, the padding exceeds half the kernel, or a kernel is larger
    /// than the padded plane.
    #[must_use]
    pub fn new(
        size: [usize; 3],
        kernel: [usize; 3],
        stride: [usize; 3],
        padding: [usize; 3],
    ) -> Self {
        for axis in 0..3 {
            let (n, k, p) = (size[axis], kernel[axis], padding[axis]);
            assert!(k > 0 && stride[axis] > 0, "kernel and stride must not be zero");
            assert!(p <= k / 2, "the padding {p} exceeds half of the kernel {k}");
            assert!(n > 0 && n + 2 * p >= k, "the kernel {k} exceeds the padded size {n} + 2·{p}");
        }
        Self { size, kernel, stride, padding }
    }

    /// Size of a plane of the input.
    #[must_use]
    pub fn input(&self) -> [usize; 3] {
        self.size
    }

    /// Size of a plane of the output, `(size + 2 padding - kernel) / stride + 1` per axis.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        let side = |axis: usize| {
            (self.size[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1
        };
        [side(0), side(1), side(2)]
    }

    /// Cells of a window.
    #[must_use]
    pub fn volume(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Taps of window `o` that lie inside the plane.
    fn taps(&self, axis: usize, o: usize) -> Range<usize> {
        let start = o * self.stride[axis];
        let first = self.padding[axis].saturating_sub(start);
        let last = (self.size[axis] + self.padding[axis] - start).min(self.kernel[axis]);
        first..last
    }

    /// Windows whose `tap` lies inside the plane.
    fn windows_of_tap(&self, axis: usize, tap: usize) -> Range<usize> {
        let (padding, stride) = (self.padding[axis], self.stride[axis]);
        let first = padding.saturating_sub(tap).div_ceil(stride);
        let last = match (self.size[axis] + padding).checked_sub(tap + 1) {
            Some(room) => (room / stride + 1).min(self.output()[axis]),
            None => 0,
        };
        first..last.max(first)
    }

    /// Windows that hold position `i` of the plane.
    fn windows_over(&self, axis: usize, i: usize) -> Range<usize> {
        let (at, stride) = (i + self.padding[axis], self.stride[axis]);
        let first = if at >= self.kernel[axis] { (at - self.kernel[axis]) / stride + 1 } else { 0 };
        let last = (at / stride + 1).min(self.output()[axis]);
        first..last.max(first)
    }

    /// Tap under which window `o` sees position `i`.
    fn tap(&self, axis: usize, o: usize, i: usize) -> usize {
        i + self.padding[axis] - o * self.stride[axis]
    }

    /// Whether the width is cut into pairs: kernel two, stride two, no padding.
    fn in_pairs(&self) -> bool {
        (self.kernel[2], self.stride[2], self.padding[2]) == (2, 2, 0)
    }

    /// Planes in a tensor of `len` values.
    fn planes(&self, len: usize) -> usize {
        let plane: usize = self.size.iter().product();
        assert_eq!(len % plane, 0, "{len} values are not planes of {:?}", self.size);
        len / plane
    }
}

/// A row of a tensor of planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) plane: usize,
    pub(crate) depth: usize,
    pub(crate) height: usize,
}

impl Row {
    /// Row number `row` of planes of `size`.
    #[inline(always)]
    pub(crate) fn at(row: usize, size: [usize; 3]) -> Self {
        let (slice, height) = (row / size[1], row % size[1]);
        Self { plane: slice / size[0], depth: slice % size[0], height }
    }

    /// Its values.
    #[inline(always)]
    pub(crate) fn of<T>(self, values: &[T], size: [usize; 3]) -> &[T] {
        let row = (self.plane * size[0] + self.depth) * size[1] + self.height;
        &values[row * size[2]..(row + 1) * size[2]]
    }
}

/// How many rows of `width` make a task.
pub(crate) fn rows_per_task(width: usize) -> usize {
    TASK.div_ceil(width.max(1))
}

/// Computes rows of a result from what it holds.
///
/// `fill` must be `#[inline(always)]`, and so must what it calls: only then are its loops compiled
/// for the instruction set in use. (A closure given to [`vectorise`](crate::simd::vectorise) is
/// inlined only while it is small.)
pub(crate) trait Rows: Sync {
    /// Overwrites `rows`, the first of which is row number `first`.
    fn fill(&self, first: usize, rows: &mut [f32]);
}

/// Fills all rows of `width` values, in parallel.
pub(crate) fn fill_rows(values: &mut [f32], width: usize, rows: &impl Rows) {
    let count = rows_per_task(width);
    let parts = values.par_chunks_mut(count * width).enumerate();
    parts.for_each(|(i, part)| dispatch(Fill { rows, first: i * count, part }));
}

struct Fill<'a, R> {
    rows: &'a R,
    first: usize,
    part: &'a mut [f32],
}

impl<R: Rows> Kernel for Fill<'_, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        self.rows.fill(self.first, self.part);
    }
}

#[cfg(test)]
mod tests;
