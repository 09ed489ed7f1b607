//! Max pooling.

use rayon::prelude::*;

use super::{Row, Rows, Windows, fill_rows, pairs, rows_per_task};
use crate::simd::{Kernel, Simd, dispatch};

/// Most cells of a window: the cell that won is saved as one byte.
pub const MAX_WINDOW: usize = 256;

/// Largest value of each window, and which cell of the window it was: `max_pool2d` and `max_pool3d`
/// of PyTorch, whose 64-bit indices become one byte per output.
///
/// Padding never wins. Of equal values the first in scan order wins; NaN wins over any number, and
/// the last NaN over those before it.
///
/// # Shapes
/// - x: `[planes, D, H, W]`
/// - y, index: `[planes, d, h, w]` of [`Windows::output`]
///
/// # Panics
/// When the lengths do not fit or a window has more than [`MAX_WINDOW`] cells.
pub fn max(windows: &Windows, x: &[f32], y: &mut [f32], index: &mut [u8]) {
    let width = windows.output()[2];
    check(windows, x.len(), y.len(), index.len());
    let rows = rows_per_task(width);
    let parts = y.par_chunks_mut(rows * width).zip(index.par_chunks_mut(rows * width));
    parts.enumerate().for_each(|(task, (y, index))| {
        dispatch(WithCells { windows, x, first: task * rows, y, index });
    });
}

/// Some rows of [`max`].
struct WithCells<'a> {
    windows: &'a Windows,
    x: &'a [f32],
    first: usize,
    y: &'a mut [f32],
    index: &'a mut [u8],
}

impl Kernel for WithCells<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = self.windows.output()[2];
        let lines = self.y.chunks_exact_mut(width).zip(self.index.chunks_exact_mut(width));
        for (i, (y, index)) in lines.enumerate() {
            row(self.windows, self.x, self.first + i, y, index);
        }
    }
}

/// [`max`] for when no gradient is wanted: the cells that won are forgotten.
///
/// # Panics
/// As [`max`].
pub fn max_values(windows: &Windows, x: &[f32], y: &mut [f32]) {
    let width = windows.output()[2];
    check(windows, x.len(), y.len(), y.len());
    fill_rows(y, width, &Values { windows, x });
}

/// Rows of [`max_values`].
struct Values<'a> {
    windows: &'a Windows,
    x: &'a [f32],
}

impl Rows for Values<'_> {
    #[inline(always)]
    fn fill(&self, first: usize, y: &mut [f32]) {
        let &Self { windows, x } = self;
        let width = windows.output()[2];
        let mut index = vec![0; width];
        for (i, y) in y.chunks_exact_mut(width).enumerate() {
            row(windows, x, first + i, y, &mut index);
        }
    }
}

/// Row number `to` of the outputs.
#[inline(always)]
fn row(windows: &Windows, x: &[f32], to: usize, y: &mut [f32], index: &mut [u8]) {
    let to = Row::at(to, windows.output());
    let from = |down: usize, below: usize| {
        let (depth, height) = (to.depth * windows.stride[0], to.height * 2);
        Row { plane: to.plane, depth: depth + down, height: height + below }.of(x, windows.size)
    };
    let adjacent = windows.kernel == windows.stride && windows.padding == [0; 3];
    match windows.kernel {
        [1, 2, 2] if adjacent => pairs::largest([from(0, 0), from(0, 1)], y, index),
        [2, 2, 2] if adjacent => {
            pairs::largest([from(0, 0), from(0, 1), from(1, 0), from(1, 1)], y, index);
        }
        _ => any_row(windows, x, to, y, index),
    }
}

fn check(windows: &Windows, x: usize, y: usize, index: usize) {
    let outputs: usize = windows.output().iter().product();
    assert_eq!(windows.planes(x) * outputs, y, "the output has another size");
    assert_eq!(y, index, "one index per output is needed");
    assert!(windows.volume() <= MAX_WINDOW, "windows have at most {MAX_WINDOW} cells");
}

/// One row of outputs for any window: tap by tap along the whole row.
#[inline(always)]
fn any_row(windows: &Windows, x: &[f32], to: Row, y: &mut [f32], index: &mut [u8]) {
    let [_, rows, columns] = windows.kernel;
    let (depths, heights) = (windows.taps(0, to.depth), windows.taps(1, to.height));
    y.fill(f32::NEG_INFINITY);
    // Windows that hold nothing but minus infinity keep their first cell.
    let first = (depths.start * rows + heights.start) * columns;
    for (o, index) in index.iter_mut().enumerate() {
        *index = (first + windows.taps(2, o).start) as u8;
    }
    for down in depths {
        for below in heights.clone() {
            let depth = to.depth * windows.stride[0] + down - windows.padding[0];
            let height = to.height * windows.stride[1] + below - windows.padding[1];
            let row = Row { plane: to.plane, depth, height }.of(x, windows.size);
            for right in 0..columns {
                let reached = windows.windows_of_tap(2, right);
                if reached.is_empty() {
                    continue;
                }
                let tap = ((down * rows + below) * columns + right) as u8;
                let stride = windows.stride[2];
                let cells = &row[reached.start * stride + right - windows.padding[2]..];
                let (y, index) = (&mut y[reached.clone()], &mut index[reached]);
                match stride {
                    1 => offer(cells.iter(), tap, y, index),
                    2 => {
                        let done = pairs::offer_firsts(cells, tap, y, index);
                        let cells = cells[2 * done..].iter().step_by(2);
                        offer(cells, tap, &mut y[done..], &mut index[done..]);
                    }
                    _ => offer(cells.iter().step_by(stride), tap, y, index),
                }
            }
        }
    }
}

/// Replaces what a cell beats.
#[inline(always)]
fn offer<'a>(cells: impl Iterator<Item = &'a f32>, tap: u8, y: &mut [f32], index: &mut [u8]) {
    for ((&cell, y), index) in cells.zip(y).zip(index) {
        let wins = (cell > *y) | cell.is_nan();
        *y = if wins { cell } else { *y };
        *index = if wins { tap } else { *index };
    }
}

/// Gradient of the input of [`max`]: each output's goes to the cell that won.
///
/// # Shapes
/// - dy, index: `[planes, d, h, w]`
/// - dx: `[planes, D, H, W]`, overwritten
///
/// # Panics
/// When the lengths do not fit or a window has more than [`MAX_WINDOW`] cells.
pub fn max_gradient(windows: &Windows, dy: &[f32], index: &[u8], dx: &mut [f32]) {
    let width = windows.input()[2];
    check(windows, dx.len(), dy.len(), index.len());
    fill_rows(dx, width, &Gradient { windows, dy, index });
}

/// Rows of [`max_gradient`].
struct Gradient<'a> {
    windows: &'a Windows,
    dy: &'a [f32],
    index: &'a [u8],
}

impl Rows for Gradient<'_> {
    #[inline(always)]
    fn fill(&self, first: usize, dx: &mut [f32]) {
        let &Self { windows, dy, index } = self;
        let (input, output) = (windows.input(), windows.output());
        let [_, rows, columns] = windows.kernel;
        // Windows in pairs that do not overlap: at most one of them reaches a row.
        let apart = windows.in_pairs()
            && windows.kernel[0] <= windows.stride[0]
            && windows.kernel[1] <= windows.stride[1];
        for (i, dx) in dx.chunks_exact_mut(input[2]).enumerate() {
            let to = Row::at(first + i, input);
            let depths = windows.windows_over(0, to.depth);
            let heights = windows.windows_over(1, to.height);
            if !apart || depths.is_empty() || heights.is_empty() {
                dx.fill(0.0);
            }
            for depth in depths {
                for height in heights.clone() {
                    let from = Row { plane: to.plane, depth, height };
                    let (dy, index) = (from.of(dy, output), from.of(index, output));
                    let row =
                        windows.tap(0, depth, to.depth) * rows + windows.tap(1, height, to.height);
                    let tap = row * columns;
                    if apart {
                        pairs::hand_back(dy, index, tap as u8, dx);
                    } else {
                        scatter(windows, dy, index, tap, dx);
                    }
                }
            }
        }
    }
}

/// Adds a row of outputs' gradients to the row of inputs seen under the taps from `tap` on.
#[inline(always)]
fn scatter(windows: &Windows, dy: &[f32], index: &[u8], tap: usize, dx: &mut [f32]) {
    for (o, (&dy, &index)) in dy.iter().zip(index).enumerate() {
        let right = usize::from(index).wrapping_sub(tap);
        if right < windows.kernel[2] {
            dx[o * windows.stride[2] + right - windows.padding[2]] += dy;
        }
    }
}
