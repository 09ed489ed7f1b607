//! Nearest neighbour.

use std::ops::Range;

use super::Resize;
use super::axis::{nearest_sources, takers};
use crate::pool::{Row, Rows, fill_rows, pairs};

/// How a row is stretched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stretch {
    Keep,
    Double,
    Any,
}

impl Stretch {
    fn of(resize: &Resize) -> Self {
        match (resize.from[2], resize.to[2]) {
            (from, to) if from == to => Self::Keep,
            (from, to) if 2 * from == to => Self::Double,
            _ => Self::Any,
        }
    }
}

/// Each output takes the value at `floor(o · from / to)`: mode `nearest` of PyTorch.
///
/// # Shapes
/// - x: `[planes, D, H, W]` of [`Resize::input`]
/// - y: `[planes, d, h, w]` of [`Resize::output`]
///
/// # Panics
/// When the lengths do not fit.
pub fn nearest(resize: &Resize, x: &[f32], y: &mut [f32]) {
    let (from, to) = (resize.from, resize.to);
    resize.check(x.len(), y.len());
    let sources = [0, 1, 2].map(|axis| nearest_sources(from[axis], to[axis]));
    fill_rows(y, to[2], &Nearest { resize, sources, x });
}

/// Rows of [`nearest`].
struct Nearest<'a> {
    resize: &'a Resize,
    sources: [Vec<usize>; 3],
    x: &'a [f32],
}

impl Rows for Nearest<'_> {
    #[inline(always)]
    fn fill(&self, first: usize, y: &mut [f32]) {
        let Self { resize, sources, x } = self;
        let (from, to, stretch) = (resize.from, resize.to, Stretch::of(resize));
        let source = |row: usize| {
            let row = Row::at(row, to);
            Row { depth: sources[0][row.depth], height: sources[1][row.height], ..row }
        };
        let mut done: &mut [f32] = &mut [];
        let mut last = None;
        for (i, y) in y.chunks_exact_mut(to[2]).enumerate() {
            let at = source(first + i);
            if last == Some(at) {
                y.copy_from_slice(done);
            } else {
                let row = at.of(x, from);
                match stretch {
                    Stretch::Keep => y.copy_from_slice(row),
                    Stretch::Double => pairs::double(row, 1.0, y),
                    Stretch::Any => {
                        y.iter_mut().zip(&sources[2]).for_each(|(y, &at)| *y = row[at]);
                    }
                }
            }
            (done, last) = (y, Some(at));
        }
    }
}

/// Gradient of the input of [`nearest`]: the sum over the outputs that took its value.
///
/// # Shapes
/// - dy: `[planes, d, h, w]`
/// - dx: `[planes, D, H, W]`, overwritten
///
/// # Panics
/// When the lengths do not fit.
pub fn nearest_gradient(resize: &Resize, dy: &[f32], dx: &mut [f32]) {
    let (from, to) = (resize.from, resize.to);
    resize.check(dx.len(), dy.len());
    let takers = [0, 1, 2].map(|axis| takers(&nearest_sources(from[axis], to[axis]), from[axis]));
    fill_rows(dx, from[2], &Gradient { resize, takers, dy });
}

/// Rows of [`nearest_gradient`].
struct Gradient<'a> {
    resize: &'a Resize,
    takers: [Vec<Range<usize>>; 3],
    dy: &'a [f32],
}

impl Rows for Gradient<'_> {
    #[inline(always)]
    fn fill(&self, first: usize, dx: &mut [f32]) {
        let Self { resize, takers, dy } = self;
        let (from, to, stretch) = (resize.from, resize.to, Stretch::of(resize));
        let mut line = vec![0.0; if stretch == Stretch::Any { to[2] } else { 0 }];
        for (i, dx) in dx.chunks_exact_mut(from[2]).enumerate() {
            let at = Row::at(first + i, from);
            dx.fill(0.0);
            line.fill(0.0);
            for depth in takers[0][at.depth].clone() {
                for height in takers[1][at.height].clone() {
                    let dy = Row { plane: at.plane, depth, height }.of(dy, to);
                    match stretch {
                        Stretch::Keep => add(dy, dx),
                        Stretch::Double => pairs::add_pairs(dy, dx),
                        Stretch::Any => add(dy, &mut line),
                    }
                }
            }
            if stretch == Stretch::Any {
                for (dx, range) in dx.iter_mut().zip(&takers[2]) {
                    *dx = line[range.clone()].iter().sum();
                }
            }
        }
    }
}

#[inline(always)]
fn add(row: &[f32], sums: &mut [f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
}
