//! Images to points of tiles; `scatter` brings points back to images.
//!
//! Tiles of 4x4 outputs are counted image by image, row by row; a vector holds the same point of
//! consecutive tiles. Where these lie in one row of tiles, whole rows of pixels are transformed at
//! once; where not (narrow images, ends of rows), tiles are put together value by value.

#![allow(unsafe_code)]

use super::source::{Place, Source};
use super::{POINTS, transform};
use crate::simd::{MAX_LANES, Simd};

mod scatter;

pub(super) use scatter::{Destination, Sums};

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
