//! Images to points of tiles, and points back to images.
//!
//! Tiles of 4x4 outputs are counted image by image, row by row; a vector holds the same point of
//! consecutive tiles. Where these lie in one row of tiles, whole rows of pixels are transformed at
//! once; where not (narrow images, ends of rows), tiles are put together value by value.

#![allow(unsafe_code)]

use super::source::{Place, Source};
use super::{POINTS, Shared, transform};
use crate::norm::Part;
use crate::simd::{self, MAX_LANES, Simd};

/// Pixels per row that `MAX_LANES` tiles reach, in whole vectors.
const WIDTH: usize = 5 * MAX_LANES;

#[repr(align(64))]
struct Row([f32; WIDTH]);

/// Most vectors of tiles in a block, for the narrowest vectors.
const SPANS: usize = 8;

/// What lies above and below an image.
static ZEROS: Row = Row([0.0; WIDTH]);

/// Zero where the first pixel of a row lies left of the image.
static LEFT_EDGE: [f32; MAX_LANES] = {
    let mut edge = [1.0; MAX_LANES];
    edge[0] = 0.0;
    edge
};

/// An image cut into tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) batch: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Tiles beside each other: `count` from lane `lane` on.
#[derive(Debug, Clone, Copy)]
struct Run {
    image: usize,
    row: usize,
    column: usize,
    lane: usize,
    count: usize,
}

/// Tiles of one vector: the first, and how many of the lanes are tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    first: usize,
    count: usize,
    run: Run,
}

/// Room for the tiles of one vector.
#[repr(align(64))]
pub(super) struct Scratch {
    rows: [[f32; WIDTH]; 6],
    middle: [[f32; WIDTH]; 6],
    points: [[f32; MAX_LANES]; POINTS],
}

impl Scratch {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            rows: [[0.0; WIDTH]; 6],
            middle: [[0.0; WIDTH]; 6],
            points: [[0.0; MAX_LANES]; POINTS],
        })
    }
}

/// What is added up of the pixels of one channel while they are written: sums of `y - shift` and of
/// its square.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Sums {
    pub(super) sum: [f32; MAX_LANES],
    pub(super) square: [f32; MAX_LANES],
    pub(super) shift: f32,
    pub(super) count: usize,
}

impl Sums {
    pub(super) const EMPTY: Self =
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
    pub(super) fn part(&self) -> Part {
        let total = |lanes: &[f32]| lanes.iter().map(|&v| f64::from(v)).sum();
        Part::new(self.count, self.shift, total(&self.sum), total(&self.square))
    }
}

/// Where the output goes: `split` channels to the first array, the others to the second; or, halved,
/// the sum of each square of four pixels (the gradient of doubling).
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination {
    pub(super) first: Shared,
    pub(super) second: Shared,
    pub(super) split: usize,
    pub(super) channels: usize,
    pub(super) halved: bool,
}

impl Grid {
    pub(super) fn tile_rows(&self) -> usize {
        self.rows.div_ceil(4)
    }

    pub(super) fn tile_columns(&self) -> usize {
        self.columns.div_ceil(4)
    }

    pub(super) fn tiles(&self) -> usize {
        self.batch * self.tile_rows() * self.tile_columns()
    }

    /// `count` tiles from `first` on, `lanes` to a vector.
    pub(super) fn spans(&self, first: usize, count: usize, lanes: usize) -> [Span; SPANS] {
        let span = |i: usize| {
            let first = first + i * lanes;
            let count = lanes.min(count.saturating_sub(i * lanes));
            Span { first, count, run: self.run(first, 0, count) }
        };
        std::array::from_fn(span)
    }

    fn run(&self, first: usize, lane: usize, count: usize) -> Run {
        let (across, down) = (self.tile_columns(), self.tile_rows());
        let tile = first + lane;
        let (row, column) = (tile / across, tile % across);
        Run {
            image: row / down,
            row: row % down,
            column,
            lane,
            count: (across - column).min(count.saturating_sub(lane)),
        }
    }

    /// The runs of a span.
    #[inline(always)]
    fn runs(&self, span: Span) -> impl Iterator<Item = Run> + use<> {
        let grid = *self;
        let mut next = Some(span.run);
        std::iter::from_fn(move || {
            let run = next?;
            let lane = run.lane + run.count;
            next = (lane < span.count).then(|| grid.run(span.first, lane, span.count));
            Some(run)
        })
    }

    /// The first pixel of the run and how many pixels of its column the image has below it, if a
    /// whole vector of tiles lies side by side in the image and `width` values, from `halo` pixels
    /// left of it on, may be read of every row from `halo` above the run to row `last` of it.
    #[inline(always)]
    fn whole<S: Simd, X: Source>(
        &self,
        x: &X,
        run: Run,
        channel: usize,
        (halo, width, last): (usize, usize, usize),
    ) -> Option<Place> {
        if run.count < S::LANES || 4 * (run.column + S::LANES) > self.columns {
            return None;
        }
        let (row, column) = (4 * run.row, 4 * run.column);
        let at = Place { image: run.image, channel, row, column: column as isize - halo as isize };
        let top = Place { row: row.saturating_sub(halo), ..at };
        let bottom = (row + last).min(self.rows - 1);
        x.may_read(top, bottom - top.row, width).then_some(at)
    }

    /// Points of the 6x6 inputs of a span of `channel`: point p at `out + p · point_stride`. Lanes
    /// beyond the span are zero.
    ///
    /// # Safety
    /// The instruction set of `S` must be there and `out` must hold the points.
    #[inline(always)]
    pub(super) unsafe fn gather_input<S: Simd, X: Source>(
        &self,
        x: &X,
        channel: usize,
        span: Span,
        out: *mut f32,
        point_stride: usize,
        scratch: &mut Scratch,
    ) {
        unsafe {
            let run = span.run;
            let Some(start) = self.whole::<S, X>(x, run, channel, (1, 5 * S::LANES, 4)) else {
                self.gather_pieces::<S, X, 6>(x, channel, span, scratch);
                let p = scratch.points.as_mut_ptr().cast::<f32>();
                for j in 0..6 {
                    let at = p.add(j * MAX_LANES);
                    let column = transform::input::<S>(transform::load::<S, 6>(at, 6 * MAX_LANES));
                    transform::store::<S, 6>(at, 6 * MAX_LANES, column);
                }
                for i in 0..6 {
                    let row = transform::load::<S, 6>(p.add(6 * i * MAX_LANES), MAX_LANES);
                    let to = out.add(6 * i * point_stride);
                    transform::store::<S, 6>(to, point_stride, transform::input::<S>(row));
                }
                return;
            };
            let mut rows = [ZEROS.0.as_ptr(); 6];
            for (r, row) in rows.iter_mut().enumerate() {
                let y = 4 * run.row + r;
                if y >= 1 && y <= self.rows {
                    let at = Place { row: y - 1, ..start };
                    let buffer = scratch.rows[r].as_mut_ptr();
                    *row = values::<S, X>(x, at, 5 * S::LANES, buffer);
                }
            }
            // The pixel left of the image, which was read from elsewhere, is zero.
            let inside = S::load(LEFT_EDGE.as_ptr());
            for v in (0..5 * S::LANES).step_by(S::LANES) {
                let mut d = [S::splat(0.0); 6];
                for (d, row) in d.iter_mut().zip(rows) {
                    *d = S::load(row.add(v));
                }
                if v == 0 && run.column == 0 {
                    for d in &mut d {
                        *d = S::where_positive(inside, *d, S::splat(0.0));
                    }
                }
                let to = scratch.middle.as_mut_ptr().cast::<f32>().add(v);
                transform::store::<S, 6>(to, WIDTH, transform::input::<S>(d));
            }
            let right = 4 * (run.column + S::LANES) == self.columns;
            for (i, row) in scratch.middle.iter().enumerate() {
                let [a, b, c, d] = S::deinterleave4(row.as_ptr());
                let (e, f) = (row[4 * S::LANES], row[4 * S::LANES + 1]);
                let f = if right { 0.0 } else { f };
                let points =
                    transform::input::<S>([a, b, c, d, S::shift_in(a, e), S::shift_in(b, f)]);
                transform::store::<S, 6>(out.add(6 * i * point_stride), point_stride, points);
            }
        }
    }

    /// Points of the 4x4 output gradients of a span, as [`gather_input`](Self::gather_input).
    ///
    /// # Safety
    /// The instruction set of `S` must be there and `out` must hold the points.
    #[inline(always)]
    pub(super) unsafe fn gather_gradient<S: Simd, X: Source>(
        &self,
        dy: &X,
        channel: usize,
        span: Span,
        out: *mut f32,
        point_stride: usize,
        scratch: &mut Scratch,
    ) {
        unsafe {
            let run = span.run;
            let Some(start) = self.whole::<S, X>(dy, run, channel, (0, 4 * S::LANES, 3)) else {
                self.gather_pieces::<S, X, 4>(dy, channel, span, scratch);
                let p = scratch.points.as_ptr().cast::<f32>();
                let mut columns = [[S::splat(0.0); 6]; 4];
                for (j, column) in columns.iter_mut().enumerate() {
                    let y = transform::load::<S, 4>(p.add(j * MAX_LANES), 4 * MAX_LANES);
                    *column = transform::output_gradient::<S>(y);
                }
                for i in 0..6 {
                    let row = transform::output_gradient::<S>(transform::column(&columns, i));
                    transform::store::<S, 6>(out.add(6 * i * point_stride), point_stride, row);
                }
                return;
            };
            let mut rows = [ZEROS.0.as_ptr(); 4];
            for (r, row) in rows.iter_mut().enumerate() {
                if start.row + r < self.rows {
                    let at = Place { row: start.row + r, ..start };
                    let buffer = scratch.rows[r].as_mut_ptr();
                    *row = values::<S, X>(dy, at, 4 * S::LANES, buffer);
                }
            }
            for v in (0..4 * S::LANES).step_by(S::LANES) {
                let mut y = [S::splat(0.0); 4];
                for (y, row) in y.iter_mut().zip(rows) {
                    *y = S::load(row.add(v));
                }
                let to = scratch.middle.as_mut_ptr().cast::<f32>().add(v);
                transform::store::<S, 6>(to, WIDTH, transform::output_gradient::<S>(y));
            }
            for (i, row) in scratch.middle.iter().enumerate() {
                let points = transform::output_gradient::<S>(S::deinterleave4(row.as_ptr()));
                transform::store::<S, 6>(out.add(6 * i * point_stride), point_stride, points);
            }
        }
    }

    /// Values of the NxN squares of a span to `scratch.points[N · row + column]`, zero outside the
    /// image; for N = 6 squares begin one pixel above and left of the tile.
    #[inline(always)]
    unsafe fn gather_pieces<S: Simd, X: Source, const N: usize>(
        &self,
        x: &X,
        channel: usize,
        span: Span,
        scratch: &mut Scratch,
    ) {
        let halo = (N - 4) / 2;
        for point in &mut scratch.points[..N * N] {
            point[..S::LANES].fill(0.0);
        }
        for run in self.runs(span) {
            let width = 4 * run.count + N - 4;
            // Columns of the run that lie in the image.
            let left = halo.saturating_sub(4 * run.column);
            let right = width.min(self.columns + halo - 4 * run.column);
            for r in 0..N {
                let y = 4 * run.row + r;
                if y < halo || y >= self.rows + halo {
                    continue;
                }
                let buffer = &mut scratch.rows[r];
                buffer[..left].fill(0.0);
                buffer[right..width].fill(0.0);
                let column = (4 * run.column + left - halo) as isize;
                let at = Place { image: run.image, channel, row: y - halo, column };
                // SAFETY: the pixels are those of the image that lie in the run, and `buffer` is
                // wide enough for the pixels of a whole vector of tiles.
                unsafe { x.read::<S>(at, right - left, buffer.as_mut_ptr().add(left)) };
                for (tile, values) in buffer[..width].windows(N).step_by(4).enumerate() {
                    for (c, &v) in values.iter().enumerate() {
                        scratch.points[N * r + c][run.lane + tile] = v;
                    }
                }
            }
        }
    }

    /// Points of products, at `m + p · point_stride`, to pixels of `channel`, plus `bias` and times
    /// `slope` below zero; and, if asked, their sums.
    ///
    /// # Safety
    /// The instruction set of `S` must be there, `m` must hold the points and `to` the whole batch;
    /// nobody else may write these pixels.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // one call site, all numbers of one loop nest
    pub(super) unsafe fn scatter_output<S: Simd>(
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

/// `count` values of a row from `at` on: where they lie, or computed into `buffer`.
///
/// # Safety
/// The source must allow whole vectors to be read, and `buffer` must hold `count` values.
#[inline(always)]
unsafe fn values<S: Simd, X: Source>(
    x: &X,
    at: Place,
    count: usize,
    buffer: *mut f32,
) -> *const f32 {
    match x.in_place(at) {
        Some(p) => p,
        None => {
            // SAFETY: the caller's promise.
            unsafe { x.read::<S>(at, count, buffer) };
            buffer
        }
    }
}
