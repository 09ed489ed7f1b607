//! Linear interpolation along each axis: bilinear and trilinear.

use super::Resize;
use super::axis::{Adjoint, Blend};
use crate::pool::{Row, Rows, fill_rows};

/// Values per step of the loops.
const LANES: usize = 16;

/// Modes `bilinear` and `trilinear` of PyTorch.
///
/// # Shapes
/// - x: `[planes, D, H, W]` of [`Resize::input`]
/// - y: `[planes, d, h, w]` of [`Resize::output`]
///
/// # Panics
/// When the lengths do not fit.
pub fn linear(resize: &Resize, align_corners: bool, x: &[f32], y: &mut [f32]) {
    let (from, to) = (resize.from, resize.to);
    resize.check(x.len(), y.len());
    let axes = [0, 1, 2].map(|axis| Blend::new(from[axis], to[axis], align_corners));
    let stretch = Stretch::of(resize, align_corners);
    fill_rows(y, to[2], &Linear { resize, axes, stretch, x });
}

/// Rows of [`linear`].
struct Linear<'a> {
    resize: &'a Resize,
    axes: [Blend; 3],
    stretch: Stretch,
    x: &'a [f32],
}

impl Rows for Linear<'_> {
    #[inline(always)]
    fn fill(&self, first: usize, y: &mut [f32]) {
        let Self { resize, axes: [depths, heights, widths], stretch, x } = self;
        let (from, to) = (resize.from, resize.to);
        // Two rows of the input, already of the new width, and one between two slices.
        let mut stretched = [vec![0.0; to[2]], vec![0.0; to[2]]];
        let mut held: [Option<Row>; 2] = [None; 2];
        let mut between = vec![0.0; from[2]];
        for (i, y) in y.chunks_exact_mut(to[2]).enumerate() {
            let at = Row::at(first + i, to);
            let (lower, upper) = (heights.lower[at.height], heights.upper[at.height]);
            let weight = heights.weight[at.height];
            let wanted = [lower, upper].map(|height| Row { height, ..at });
            if held[1] == Some(wanted[0]) {
                stretched.swap(0, 1);
                held.swap(0, 1);
            }
            let needed = if weight == 0.0 || lower == upper { 1 } else { 2 };
            for side in 0..needed {
                if held[side] == Some(wanted[side]) {
                    continue;
                }
                let slice = |depth: usize| Row { depth, ..wanted[side] }.of(x, from);
                let (front, back) = (slice(depths.lower[at.depth]), slice(depths.upper[at.depth]));
                let weight = depths.weight[at.depth];
                let row = if weight == 0.0 {
                    front
                } else {
                    blend(front, back, weight, &mut between);
                    &between
                };
                match stretch {
                    Stretch::Keep => stretched[side].copy_from_slice(row),
                    Stretch::Double => double(row, &mut stretched[side]),
                    Stretch::Any => widen(row, widths, &mut stretched[side]),
                }
                held[side] = Some(wanted[side]);
            }
            match needed {
                1 => y.copy_from_slice(&stretched[0]),
                _ => blend(&stretched[0], &stretched[1], weight, y),
            }
        }
    }
}

/// How a row is stretched.
#[derive(Clone, Copy)]
enum Stretch {
    Keep,
    /// To twice the width, corners not aligned: weights 1/4 and 3/4 everywhere.
    Double,
    Any,
}

impl Stretch {
    fn of(resize: &Resize, align_corners: bool) -> Self {
        match (resize.from[2], resize.to[2]) {
            (from, to) if from == to => Self::Keep,
            (from, to) if 2 * from == to && !align_corners => Self::Double,
            _ => Self::Any,
        }
    }
}

/// `y = (1 - weight) · a + weight · b`
#[inline(always)]
fn blend(a: &[f32], b: &[f32], weight: f32, y: &mut [f32]) {
    let rest = 1.0 - weight;
    y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = rest * a + weight * b);
}

#[inline(always)]
fn widen(row: &[f32], widths: &Blend, y: &mut [f32]) {
    let sources = widths.lower.iter().zip(&widths.upper).zip(&widths.weight);
    for (y, ((&lower, &upper), &weight)) in y.iter_mut().zip(sources) {
        *y = (1.0 - weight) * row[lower] + weight * row[upper];
    }
}

/// `y[2 i] = x[i - 1] / 4 + 3 x[i] / 4` and `y[2 i + 1] = 3 x[i] / 4 + x[i + 1] / 4`; the first and
/// the last are those of the row.
#[inline(always)]
fn double(row: &[f32], y: &mut [f32]) {
    let last = row.len() - 1;
    let pair = |i: usize| {
        let (before, after) = (row[i.saturating_sub(1)], row[(i + 1).min(last)]);
        [0.25 * before + 0.75 * row[i], 0.75 * row[i] + 0.25 * after]
    };
    let pairs = y.as_chunks_mut::<2>().0;
    pairs[0] = pair(0);
    let (steps, rest) = pairs[1..].as_chunks_mut::<LANES>();
    let done = 1 + steps.len() * LANES;
    let inner = &row[..last + 1];
    for (step, pairs) in steps.iter_mut().enumerate() {
        let start = step * LANES;
        // The last pair of the row may be in the last step: there it has no value after it.
        if start + LANES + 2 > inner.len() {
            pairs.iter_mut().enumerate().for_each(|(l, p)| *p = pair(start + 1 + l));
            continue;
        }
        let cells = &inner[start..start + LANES + 2];
        let out = pairs.as_flattened_mut();
        for l in 0..LANES {
            out[2 * l] = 0.25 * cells[l] + 0.75 * cells[l + 1];
            out[2 * l + 1] = 0.75 * cells[l + 1] + 0.25 * cells[l + 2];
        }
    }
    rest.iter_mut().enumerate().for_each(|(l, p)| *p = pair(done + l));
}

/// Gradient of the input of [`linear`], gathered: each input sums the outputs it reached.
///
/// # Shapes
/// - dy: `[planes, d, h, w]`
/// - dx: `[planes, D, H, W]`, overwritten
///
/// # Panics
/// When the lengths do not fit.
pub fn linear_gradient(resize: &Resize, align_corners: bool, dy: &[f32], dx: &mut [f32]) {
    let (from, to) = (resize.from, resize.to);
    resize.check(dx.len(), dy.len());
    let axes = [0, 1, 2].map(|a| Blend::new(from[a], to[a], align_corners).adjoint(from[a]));
    let stretch = Stretch::of(resize, align_corners);
    fill_rows(dx, from[2], &Gradient { resize, axes, stretch, dy });
}

/// Rows of [`linear_gradient`].
struct Gradient<'a> {
    resize: &'a Resize,
    axes: [Adjoint; 3],
    stretch: Stretch,
    dy: &'a [f32],
}

impl Rows for Gradient<'_> {
    #[inline(always)]
    fn fill(&self, first: usize, dx: &mut [f32]) {
        let Self { resize, axes: [depths, heights, widths], stretch, dy } = self;
        let (from, to) = (resize.from, resize.to);
        let mut line = vec![0.0; to[2]];
        for (i, dx) in dx.chunks_exact_mut(from[2]).enumerate() {
            let at = Row::at(first + i, from);
            line.fill(0.0);
            let (front, slices) = depths.of(at.depth);
            let (top, rows) = heights.of(at.height);
            for (down, slice) in slices.iter().enumerate() {
                let row = |below: usize| {
                    Row { plane: at.plane, depth: front + down, height: top + below }.of(dy, to)
                };
                add_rows(row, rows, *slice, &mut line);
            }
            match stretch {
                Stretch::Keep => dx.copy_from_slice(&line),
                Stretch::Double => halve(&line, dx),
                Stretch::Any => narrow(&line, widths, dx),
            }
        }
    }
}

/// `line += scale · Σ weights[i] · row(i)`, four rows at a time.
#[inline(always)]
fn add_rows<'a>(row: impl Fn(usize) -> &'a [f32], weights: &[f32], scale: f32, line: &mut [f32]) {
    let (fours, rest) = weights.as_chunks::<4>();
    for (four, w) in fours.iter().enumerate() {
        let [a, b, c, d]: [&[f32]; 4] = std::array::from_fn(|i| row(4 * four + i));
        let w = w.map(|w| scale * w);
        let cells = a.iter().zip(b).zip(c.iter().zip(d));
        for (sum, ((a, b), (c, d))) in line.iter_mut().zip(cells) {
            *sum += (w[0] * a + w[1] * b) + (w[2] * c + w[3] * d);
        }
    }
    for (i, w) in rest.iter().enumerate() {
        let w = scale * w;
        line.iter_mut().zip(row(4 * fours.len() + i)).for_each(|(sum, v)| *sum += w * v);
    }
}

#[inline(always)]
fn narrow(line: &[f32], widths: &Adjoint, dx: &mut [f32]) {
    for (i, dx) in dx.iter_mut().enumerate() {
        let (first, weights) = widths.of(i);
        let cells = &line[first..first + weights.len()];
        *dx = cells.iter().zip(weights).map(|(v, w)| v * w).sum();
    }
}

/// The transpose of [`double`].
#[inline(always)]
fn halve(line: &[f32], dx: &mut [f32]) {
    let (columns, end) = (dx.len(), line.len() - 1);
    // The first and the last output belong to one input alone.
    let at = |i: usize| {
        let (before, after) = (line[(2 * i).saturating_sub(1)], line[(2 * i + 2).min(end)]);
        0.75 * (line[2 * i] + line[2 * i + 1]) + 0.25 * (before + after)
    };
    dx[0] = at(0);
    let (steps, rest) = dx[1..].as_chunks_mut::<LANES>();
    let done = 1 + steps.len() * LANES;
    for (step, dx) in steps.iter_mut().enumerate() {
        let start = step * LANES + 1;
        if start + LANES >= columns {
            dx.iter_mut().enumerate().for_each(|(l, dx)| *dx = at(start + l));
            continue;
        }
        let cells = &line[2 * start - 1..2 * start + 2 * LANES + 1];
        for l in 0..LANES {
            let (near, far) =
                (cells[2 * l + 1] + cells[2 * l + 2], cells[2 * l] + cells[2 * l + 3]);
            dx[l] = 0.75 * near + 0.25 * far;
        }
    }
    rest.iter_mut().enumerate().for_each(|(l, dx)| *dx = at(done + l));
}
