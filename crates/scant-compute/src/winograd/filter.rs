//! Filters to their points and back.

#![allow(unsafe_code)]

use super::product::PANEL;
use super::{POINTS, transform};
use crate::bf16::Precision;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Which way the convolution runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Image to output: rows of the product are output channels.
    Forward,
    /// Gradient of the output to that of the image: rows are input channels, taps are reversed.
    Backward,
}

/// Filters `[outputs, inputs, 3, 3]`, read for one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filters<'a> {
    pub(super) weight: &'a [f32],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) direction: Direction,
    pub(super) precision: Precision,
}

impl Filters<'_> {
    /// Rows and depth of the products.
    pub(super) fn rows_and_depth(&self) -> (usize, usize) {
        match self.direction {
            Direction::Forward => (self.outputs, self.inputs),
            Direction::Backward => (self.inputs, self.outputs),
        }
    }

    /// Whether points are kept as pairs of bfloat16.
    pub(super) fn pairs(&self) -> bool {
        self.precision == Precision::Bfloat16
    }

    /// Depth of the products as it is kept: in pairs for bfloat16.
    pub(super) fn kept_depth(&self) -> usize {
        let depth = self.rows_and_depth().1;
        if self.pairs() { depth.div_ceil(2) } else { depth }
    }

    /// Values of one transformed panel.
    pub(super) fn panel_len(&self) -> usize {
        POINTS * self.kept_depth() * PANEL
    }

    /// Panels there are.
    pub(super) fn panels(&self) -> usize {
        self.rows_and_depth().0.div_ceil(PANEL)
    }
}

/// Transforms one panel of filters to `out` `[POINTS, kept depth, PANEL]`; rows beyond the last are
/// zero.
pub(super) struct Panel<'a> {
    pub(super) filters: Filters<'a>,
    pub(super) panel: usize,
    pub(super) out: &'a mut [f32],
}

impl Kernel for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let f = self.filters;
        let (rows, depth) = f.rows_and_depth();
        assert_eq!(self.out.len(), f.panel_len());
        let first = self.panel * PANEL;
        let count = PANEL.min(rows - first);
        let (row_stride, depth_stride) = match f.direction {
            Direction::Forward => (9 * f.inputs, 9),
            Direction::Backward => (9, 9 * f.inputs),
        };
        let (pairs, kept) = (f.pairs(), f.kept_depth());
        // The points of the first of a pair, until the second is there.
        let mut waiting = [[0.0_f32; PANEL]; POINTS];
        let mut taps = [[0.0_f32; PANEL]; 16];
        let mut square = [[0.0_f32; 16]; PANEL];
        for k in 0..depth {
            for (r, filter) in square[..count].iter_mut().enumerate() {
                let at = (first + r) * row_stride + k * depth_stride;
                filter[..9].copy_from_slice(&f.weight[at..at + 9]);
            }
            // SAFETY: both buffers are PANEL x 16, and PANEL and 16 are multiples of the lanes;
            // `out` holds POINTS * depth * PANEL values.
            unsafe {
                for r in (0..PANEL).step_by(S::LANES) {
                    for c in (0..9).step_by(S::LANES) {
                        let from = square.as_ptr().cast::<f32>().add(r * 16 + c);
                        let to = taps.as_mut_ptr().cast::<f32>().add(c * PANEL + r);
                        S::transpose(from, 16, to, PANEL);
                    }
                }
                for lane in (0..PANEL).step_by(S::LANES) {
                    let mut columns = [[S::splat(0.0); 6]; 3];
                    for (c, column) in columns.iter_mut().enumerate() {
                        // Reversed taps are counted from the last.
                        let (first, step) = match f.direction {
                            Direction::Forward => (c as isize, 3),
                            Direction::Backward => (8 - c as isize, -3),
                        };
                        let p = taps.as_ptr().cast::<f32>();
                        let mut g = [S::splat(0.0); 3];
                        for (i, g) in g.iter_mut().enumerate() {
                            let tap = (first + step * i as isize) as usize;
                            *g = S::load(p.add(tap * PANEL + lane));
                        }
                        *column = transform::filter::<S>(g);
                    }
                    for i in 0..6 {
                        let row = transform::filter::<S>(transform::column(&columns, i));
                        let point = kept * PANEL;
                        let first = waiting.as_mut_ptr().cast::<f32>().add(6 * i * PANEL + lane);
                        if !pairs {
                            let out = self.out.as_mut_ptr().add(6 * i * point + k * PANEL + lane);
                            transform::store::<S, 6>(out, point, row);
                        } else if k % 2 == 0 && k + 1 < depth {
                            transform::store::<S, 6>(first, PANEL, row);
                        } else {
                            let at = 6 * i * point + k / 2 * PANEL + lane;
                            let before = transform::load::<S, 6>(first, PANEL);
                            for (j, &v) in row.iter().enumerate() {
                                // The last of an odd depth is paired with zero.
                                let alone = k % 2 == 0;
                                let (low, high) =
                                    if alone { (v, S::splat(0.0)) } else { (before[j], v) };
                                let out = self.out.as_mut_ptr().add(at + j * point);
                                S::store(out, S::pack_pairs(low, high));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Gradients of filters from those of their points.
pub(super) struct PanelGradient<'a> {
    /// `[POINTS, rows, width]`
    pub(super) points: &'a [f32],
    /// Rows of `points`, of which as many are wanted as `out` holds.
    pub(super) rows: usize,
    /// Input channels, rounded up to whole vectors.
    pub(super) width: usize,
    /// Input channels.
    pub(super) inputs: usize,
    /// `[rows, inputs, 3, 3]`
    pub(super) out: &'a mut [f32],
}

impl Kernel for PanelGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { points, rows, width, inputs, out } = self;
        assert!(points.len() >= POINTS * rows * width && width % S::LANES == 0);
        let mut taps = [[0.0_f32; MAX_LANES]; 16];
        let mut filters = [[0.0_f32; 16]; MAX_LANES];
        for (r, out) in out.chunks_exact_mut(inputs * 9).enumerate() {
            for first in (0..inputs).step_by(S::LANES) {
                // SAFETY: `points` was checked above; the buffers are 16 x MAX_LANES.
                unsafe {
                    let point = rows * width;
                    let p = points.as_ptr().add(r * width + first);
                    let mut columns = [[S::splat(0.0); 3]; 6];
                    for (j, column) in columns.iter_mut().enumerate() {
                        let u = transform::load::<S, 6>(p.add(j * point), 6 * point);
                        *column = transform::filter_gradient::<S>(u);
                    }
                    for i in 0..3 {
                        let row = transform::column(&columns, i);
                        let row = transform::filter_gradient::<S>(row);
                        let to = taps.as_mut_ptr().cast::<f32>().add(3 * i * MAX_LANES);
                        transform::store::<S, 3>(to, MAX_LANES, row);
                    }
                    for c in (0..9).step_by(S::LANES) {
                        let from = taps.as_ptr().cast::<f32>().add(c * MAX_LANES);
                        let to = filters.as_mut_ptr().cast::<f32>().add(c);
                        S::transpose(from, MAX_LANES, to, 16);
                    }
                }
                let count = S::LANES.min(inputs - first);
                let out = &mut out[first * 9..(first + count) * 9];
                for (to, from) in out.chunks_exact_mut(9).zip(&filters) {
                    to.copy_from_slice(&from[..9]);
                }
            }
        }
    }
}
