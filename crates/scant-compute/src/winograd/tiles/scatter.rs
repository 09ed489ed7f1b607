//! Points of tiles back to images.

#![allow(unsafe_code)]

use super::{Grid, Run, Scratch, Span};
use crate::norm::Part;
use crate::simd::{self, MAX_LANES, Simd};
use crate::winograd::{Shared, transform};

/// What is added up of the pixels of one channel while they are written: sums of `y - shift` and of
/// its square.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(in crate::winograd) struct Sums {
    pub(in crate::winograd) sum: [f32; MAX_LANES],
    pub(in crate::winograd) square: [f32; MAX_LANES],
    pub(in crate::winograd) shift: f32,
    pub(in crate::winograd) count: usize,
}

impl Sums {
    pub(in crate::winograd) const EMPTY: Self =
        Self { shift: 0.0, count: 0, sum: [0.0; MAX_LANES], square: [0.0; MAX_LANES] };

    /// Adds the pixels of a vector of tiles, of which `first` is one.
    #[inline(always)]
    unsafe fn add_tiles<S: Simd>(&mut self, first: f32, rows: &[[S::V; 4]; 4]) {
        if self.count == 0 {
            self.shift = first;
        }
        self.count += 16 * S::LANES;
        // SAFETY: both arrays hold the lanes of any instruction set.
        unsafe {
            let shift = S::splat(self.shift);
            let mut sum = S::load(self.sum.as_ptr());
            let mut square = S::load(self.square.as_ptr());
            for row in rows {
                for &v in row {
                    let v = S::sub(v, shift);
                    sum = S::add(sum, v);
                    square = S::fma(v, v, square);
                }
            }
            S::store(self.sum.as_mut_ptr(), sum);
            S::store(self.square.as_mut_ptr(), square);
        }
    }

    fn add_values(&mut self, values: &[f32]) {
        if self.count == 0 {
            self.shift = values[0];
        }
        self.count += values.len();
        for (i, &v) in values.iter().enumerate() {
            let v = v - self.shift;
            self.sum[i % MAX_LANES] += v;
            self.square[i % MAX_LANES] += v * v;
        }
    }

    /// The lanes added up.
    pub(in crate::winograd) fn part(&self) -> Part {
        let total = |lanes: &[f32]| lanes.iter().map(|&v| f64::from(v)).sum();
        Part::new(self.count, self.shift, total(&self.sum), total(&self.square))
    }
}

/// Where the output goes: `split` channels to the first array, the others to the second; or, halved,
/// the sum of each square of four pixels (the gradient of doubling).
#[derive(Debug, Clone, Copy)]
pub(in crate::winograd) struct Destination {
    pub(in crate::winograd) first: Shared,
    pub(in crate::winograd) second: Shared,
    pub(in crate::winograd) split: usize,
    pub(in crate::winograd) channels: usize,
    pub(in crate::winograd) halved: bool,
}

impl Grid {
    /// Points of products, at `m + p · point_stride`, to pixels of `channel`, plus `bias` and times
    /// `slope` below zero; and, if asked, their sums.
    ///
    /// # Safety
    /// The instruction set of `S` must be there, `m` must hold the points and `to` the whole batch;
    /// nobody else may write these pixels.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // one call site, all numbers of one loop nest
    pub(in crate::winograd) unsafe fn scatter_output<S: Simd>(
        &self,
        m: *const f32,
        point_stride: usize,
        channel: usize,
        span: Span,
        (bias, slope): (f32, f32),
        to: &Destination,
        sums: Option<&mut Sums>,
        scratch: &mut Scratch,
    ) {
        unsafe {
            let mut columns = [[S::splat(0.0); 4]; 6];
            for (j, column) in columns.iter_mut().enumerate() {
                let points = transform::load::<S, 6>(m.add(j * point_stride), 6 * point_stride);
                *column = transform::output::<S>(points);
            }
            let bias = S::splat(bias);
            let mut rows = [[S::splat(0.0); 4]; 4];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = transform::output::<S>(transform::column(&columns, r));
                for v in row {
                    *v = S::add(*v, bias);
                    if slope != 1.0 {
                        *v = S::where_positive(*v, *v, S::mul(S::splat(slope), *v));
                    }
                }
            }
            let run = span.run;
            if run.count == S::LANES && self.inside(run) == (4, 4 * S::LANES) {
                let (start, width) = (self.start(to, run, channel), self.width(to));
                if to.halved {
                    for (r, pair) in rows.chunks_exact(2).enumerate() {
                        let sum = |c: usize| {
                            let above = S::add(pair[0][c], pair[0][c + 1]);
                            S::add(above, S::add(pair[1][c], pair[1][c + 1]))
                        };
                        S::interleave2(start.add(r * width), sum(0), sum(2));
                    }
                    return;
                }
                for (r, &row) in rows.iter().enumerate() {
                    let to = start.add(r * width);
                    S::interleave4(to, row);
                    for v in (0..4 * S::LANES).step_by(MAX_LANES) {
                        simd::prefetch::<true>(to.wrapping_add(self.rows * width + v));
                    }
                }
                if let Some(sums) = sums {
                    sums.add_tiles::<S>(*start, &rows);
                }
                return;
            }
            for (row, &values) in scratch.rows.iter_mut().zip(&rows) {
                S::interleave4(row.as_mut_ptr(), values);
            }
            self.scatter_pieces(channel, span, to, sums, scratch);
        }
    }

    /// Rows and columns of pixels of a run that lie in the image.
    fn inside(&self, run: Run) -> (usize, usize) {
        let pixels = self.columns - 4 * run.column;
        (4.min(self.rows - 4 * run.row), pixels.min(4 * run.count))
    }

    /// Pixels of a row of the destination.
    fn width(&self, to: &Destination) -> usize {
        if to.halved { self.columns / 2 } else { self.columns }
    }

    /// Where the first pixel of a run goes.
    fn start(&self, to: &Destination, run: Run, channel: usize) -> *mut f32 {
        let (p, channels, channel) = match channel.checked_sub(to.split) {
            None => (to.first, to.split, channel),
            Some(channel) => (to.second, to.channels - to.split, channel),
        };
        let factor = if to.halved { 2 } else { 1 };
        let (rows, columns) = (self.rows / factor, self.columns / factor);
        let (row, column) = (4 / factor * run.row, 4 / factor * run.column);
        let plane = run.image * channels + channel;
        p.pointer().wrapping_add((plane * rows + row) * columns + column)
    }

    /// The rows of pixels in `scratch` of a span that is not one whole run.
    ///
    /// # Safety
    /// As for [`scatter_output`](Self::scatter_output).
    unsafe fn scatter_pieces(
        &self,
        channel: usize,
        span: Span,
        to: &Destination,
        mut sums: Option<&mut Sums>,
        scratch: &Scratch,
    ) {
        for run in self.runs(span) {
            let (height, width) = self.inside(run);
            let start = self.start(to, run, channel);
            let from = |r: usize| &scratch.rows[r][4 * run.lane..][..width];
            // SAFETY: these are pixels of the run that lie in the image.
            unsafe {
                if to.halved {
                    for r in 0..height / 2 {
                        let (above, below) = (from(2 * r).as_chunks::<2>().0, from(2 * r + 1));
                        let to = start.add(r * self.columns / 2);
                        for (i, (a, b)) in above.iter().zip(below.as_chunks::<2>().0).enumerate() {
                            *to.add(i) = (a[0] + a[1]) + (b[0] + b[1]);
                        }
                    }
                    continue;
                }
                for r in 0..height {
                    let to = start.add(r * self.columns);
                    std::ptr::copy_nonoverlapping(from(r).as_ptr(), to, width);
                    if let Some(sums) = sums.as_deref_mut() {
                        sums.add_values(from(r));
                    }
                }
            }
        }
    }
}
