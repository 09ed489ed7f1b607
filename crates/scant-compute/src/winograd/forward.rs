//! The convolution itself, and the gradient of its input.

use rayon::prelude::*;

use super::filter::{Direction, Filters, Panel};
use super::product::{PANEL, Product};
use super::source::Source;
use super::tiles::{Destination, Grid, Scratch, Sums};
use super::{POINTS, Shared, Sizes, transform};
use crate::aligned::Aligned;
use crate::bf16::Precision;
use crate::simd::{self, Kernel, MAX_LANES, Simd};

/// Panels of output channels whose products are kept at once.
const PANELS: usize = 2;
/// Spare values between points, so that points do not share a cache set.
const GAP: usize = 16;
/// Points of tiles that may be kept for the whole batch: a share of the last-level cache.
const KEPT: usize = 10 << 20;

/// `w ∗ x + bias`.
///
/// # Shapes
/// - x: `[batch, inputs, rows, columns]`
/// - weight: `[outputs, inputs, 3, 3]`
/// - bias: `[outputs]`
/// - output: `[batch, outputs, rows, columns]`
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn forward(s: Sizes, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    assert_eq!(x.len(), s.batch * s.inputs * s.area(), "the image does not fit");
    let filters = filters(s, weight, Direction::Forward, Precision::Single);
    convolve(s.grid(), &s.plain(x, s.inputs), filters, Output { bias, ..Output::PLAIN }).0
}

/// The gradient of `x` from that of `y`.
///
/// # Shapes
/// As for [`forward`].
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn input_gradient(s: Sizes, dy: &[f32], weight: &[f32]) -> Vec<f32> {
    assert_eq!(dy.len(), s.batch * s.outputs * s.area(), "the gradient does not fit");
    let filters = filters(s, weight, Direction::Backward, Precision::Single);
    convolve(s.grid(), &s.plain(dy, s.outputs), filters, Output::PLAIN).0
}

pub(super) fn filters(
    s: Sizes,
    weight: &[f32],
    direction: Direction,
    precision: Precision,
) -> Filters<'_> {
    assert_eq!(weight.len(), s.outputs * s.inputs * 9, "the filters do not fit");
    Filters { weight, inputs: s.inputs, outputs: s.outputs, direction, precision }
}

/// Tiles of a block: as many as keep its points within a core's second-level cache.
fn block_tiles(depth: usize) -> usize {
    if depth <= 64 { 4 * MAX_LANES } else { 2 * MAX_LANES }
}

/// What is done to the output while it is written.
pub(super) struct Output<'a> {
    /// Added to each channel.
    pub(super) bias: Option<&'a [f32]>,
    /// Factor below zero, after the bias; 1 for no activation.
    pub(super) slope: f32,
    /// Receives the sums of the outputs, `[blocks of tiles, channels]`.
    pub(super) sums: Option<&'a mut Vec<Sums>>,
    /// Channels of the first of two arrays that the output is split into.
    pub(super) split: Option<usize>,
    /// Whether squares of four pixels are added up.
    pub(super) halved: bool,
}

impl Output<'_> {
    pub(super) const PLAIN: Self =
        Output { bias: None, slope: 1.0, sums: None, split: None, halved: false };
}

/// Convolves what `x` reads with `filters`. The second array is empty unless the output is split.
pub(super) fn convolve<X: Source>(
    grid: Grid,
    x: &X,
    filters: Filters<'_>,
    output: Output<'_>,
) -> (Vec<f32>, Vec<f32>) {
    let Output { bias, slope, sums, split, halved } = output;
    let (rows, depth) = filters.rows_and_depth();
    let split = split.unwrap_or(rows);
    assert!(split <= rows && !(halved && grid.rows % 2 + grid.columns % 2 > 0), "an odd image");
    let plane = grid.batch * grid.rows * grid.columns / if halved { 4 } else { 1 };
    let (len, rest) = (plane * split, plane * (rows - split));
    assert!(bias.is_none_or(|b| b.len() == rows), "one bias per output channel is needed");
    let tiles = grid.tiles();
    if len + rest == 0 || depth == 0 {
        assert_eq!(len + rest, 0, "a convolution needs at least one input channel");
        return (Vec::new(), Vec::new());
    }
    let mut y: (Vec<f32>, Vec<f32>) = (Vec::with_capacity(len), Vec::with_capacity(rest));
    let block = block_tiles(depth).min(tiles.next_multiple_of(MAX_LANES));
    let blocks = tiles.div_ceil(block);
    let mut none = Vec::new();
    let want_sums = sums.is_some();
    let sums = sums.unwrap_or(&mut none);
    if want_sums {
        sums.clear();
        sums.resize(blocks * rows, Sums::EMPTY);
    }
    let job = Job {
        grid,
        x,
        filters,
        bias,
        slope,
        block,
        tiles,
        point: filters.kept_depth() * block + GAP,
        to: Destination {
            first: Shared(y.0.as_mut_ptr()),
            second: Shared(y.1.as_mut_ptr()),
            split,
            channels: rows,
            halved,
        },
        sums: want_sums.then_some(SharedSums(sums.as_mut_ptr())),
    };
    let threads = rayon::current_num_threads();
    let kept = blocks * POINTS * job.point;
    if 4 * kept <= KEPT || blocks < 2 * threads {
        job.share_channels(blocks);
    } else {
        job.share_blocks(blocks);
    }
    // SAFETY: every tile of every channel was written, and the tiles cover the images.
    #[allow(unsafe_code)]
    unsafe {
        y.0.set_len(len);
        y.1.set_len(rest);
    }
    y
}

#[derive(Clone, Copy)]
struct SharedSums(*mut Sums);

// SAFETY: every block and channel has its own place.
#[allow(unsafe_code)]
unsafe impl Send for SharedSums {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for SharedSums {}

#[derive(Clone, Copy)]
struct Job<'a, X> {
    grid: Grid,
    x: &'a X,
    filters: Filters<'a>,
    bias: Option<&'a [f32]>,
    slope: f32,
    /// Tiles of a block.
    block: usize,
    tiles: usize,
    /// Values from one point of a block to the next.
    point: usize,
    to: Destination,
    sums: Option<SharedSums>,
}

impl<X: Source> Job<'_, X> {
    /// Few filters, many blocks: filters are transformed once, threads take blocks.
    fn share_blocks(&self, blocks: usize) {
        let len = self.filters.panel_len();
        let panels = self.filters.panels();
        let mut transformed = Aligned::take(panels * len);
        transformed.par_chunks_exact_mut(len).enumerate().for_each(|(panel, out)| {
            self.run(Panel { filters: self.filters, panel, out });
        });
        let room = || (Aligned::take(POINTS * self.point), Room::new(self.block));
        (0..blocks).into_par_iter().for_each_init(room, |(points, room), block| {
            self.run(Gather { job: self, block, channels: 0..self.depth(), points });
            for first in (0..panels).step_by(PANELS) {
                let last = panels.min(first + PANELS);
                let filters = &transformed[first * len..last * len];
                self.run(Multiply { job: self, block, panels: first..last, filters, points, room });
            }
        });
    }

    /// Few blocks: their points are all kept, threads take output channels.
    fn share_channels(&self, blocks: usize) {
        let size = POINTS * self.point;
        let mut points = Aligned::take(blocks * size);
        // Channels of a block are split too, where there are fewer blocks than threads.
        let parts =
            (2 * rayon::current_num_threads()).div_ceil(blocks).min(self.depth().div_ceil(2));
        let shared = Shared(points.as_mut_ptr());
        (0..blocks * parts).into_par_iter().for_each(|i| {
            let (block, part) = (i / parts, i % parts);
            // Whole pairs of channels.
            let pairs = self.depth().div_ceil(2);
            let end = self.depth().min((part + 1) * pairs / parts * 2);
            let channels = part * pairs / parts * 2..end;
            // SAFETY: every item writes its own channels of its own block.
            #[allow(unsafe_code)]
            let points =
                unsafe { std::slice::from_raw_parts_mut(shared.pointer().add(block * size), size) };
            self.run(Gather { job: self, block, channels, points });
        });
        let len = self.filters.panel_len();
        let room = || (Aligned::take(len), Room::new(self.block));
        (0..self.filters.panels()).into_par_iter().for_each_init(room, |(filters, room), panel| {
            self.run(Panel { filters: self.filters, panel, out: filters });
            for (block, points) in points.chunks_exact(size).enumerate() {
                let panels = panel..panel + 1;
                self.run(Multiply { job: self, block, panels, filters, points, room });
            }
        });
    }

    fn depth(&self) -> usize {
        self.filters.rows_and_depth().1
    }

    fn run<K: Kernel>(&self, kernel: K) -> K::Output {
        if self.filters.pairs() { simd::dispatch_bf16(kernel) } else { simd::dispatch(kernel) }
    }

    /// First tile of a block and how many it has.
    fn tiles_of(&self, block: usize) -> (usize, usize) {
        let first = block * self.block;
        (first, self.block.min(self.tiles - first))
    }
}

/// What a thread works in.
struct Room {
    products: Aligned,
    scratch: Box<Scratch>,
}

impl Room {
    fn new(block: usize) -> Self {
        let products = Aligned::take(POINTS * (PANELS * PANEL * block + GAP));
        Self { products, scratch: Scratch::new() }
    }
}

/// Transforms the tiles of a block to `points` `[POINTS, kept depth, tiles]`; the channels begin with
/// a whole pair.
struct Gather<'a, X> {
    job: &'a Job<'a, X>,
    block: usize,
    channels: std::ops::Range<usize>,
    points: &'a mut [f32],
}

impl<X: Source> Kernel for Gather<'_, X> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { job, block, channels, points } = self;
        let (first, count) = job.tiles_of(block);
        let depth = job.depth();
        assert!(points.len() == POINTS * job.point && channels.end <= depth);
        let mut scratch = Scratch::new();
        let spans = job.grid.spans(first, count, S::LANES);
        if !job.filters.pairs() {
            for channel in channels {
                for (lane, &span) in (0..count).step_by(S::LANES).zip(&spans) {
                    // SAFETY: channel and lanes lie within a point, which is depth * block long.
                    #[allow(unsafe_code)]
                    unsafe {
                        let out = points.as_mut_ptr().add(channel * job.block + lane);
                        let x = job.x;
                        job.grid.gather_input::<S, X>(
                            x,
                            channel,
                            span,
                            out,
                            job.point,
                            &mut scratch,
                        );
                    }
                }
            }
            return;
        }
        // Both channels of a pair, point by point.
        let mut both = Aligned::take(POINTS * 2 * S::LANES);
        for channel in channels.clone().step_by(2) {
            for (lane, &span) in (0..count).step_by(S::LANES).zip(&spans) {
                // SAFETY: `both` holds two vectors per point; pair and lanes lie within a point, which
                // is kept depth * block long.
                #[allow(unsafe_code)]
                unsafe {
                    let pair = both.as_mut_ptr();
                    for c in 0..2 {
                        let out = pair.add(c * S::LANES);
                        if channel + c < channels.end {
                            let (x, stride) = (job.x, 2 * S::LANES);
                            let channel = channel + c;
                            job.grid.gather_input::<S, X>(
                                x,
                                channel,
                                span,
                                out,
                                stride,
                                &mut scratch,
                            );
                        } else {
                            for p in 0..POINTS {
                                S::store(out.add(p * 2 * S::LANES), S::splat(0.0));
                            }
                        }
                    }
                    let out = points.as_mut_ptr().add(channel / 2 * job.block + lane);
                    for p in 0..POINTS {
                        let [low, high] =
                            transform::load::<S, 2>(pair.add(p * 2 * S::LANES), S::LANES);
                        S::store(out.add(p * job.point), S::pack_pairs(low, high));
                    }
                }
            }
        }
    }
}

/// Multiplies the points of a block with panels of filters and writes the outputs.
struct Multiply<'a, X> {
    job: &'a Job<'a, X>,
    block: usize,
    panels: std::ops::Range<usize>,
    /// `[panels, POINTS, kept depth, PANEL]`
    filters: &'a [f32],
    points: &'a [f32],
    room: &'a mut Room,
}

impl<X: Source> Kernel for Multiply<'_, X> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { job, block, panels, filters, points, room } = self;
        let (first, count) = job.tiles_of(block);
        let (rows, depth) = (job.filters.rows_and_depth().0, job.filters.kept_depth());
        let len = job.filters.panel_len();
        let stride = PANELS * PANEL * job.block + GAP;
        let vectors = count.div_ceil(S::LANES);
        assert!(panels.len() <= PANELS && filters.len() >= panels.len() * len);
        assert!(points.len() == POINTS * job.point && room.products.len() == POINTS * stride);
        for p in 0..POINTS {
            for (i, panel) in panels.clone().enumerate() {
                // SAFETY: the lengths were checked above; rows are rounded up within a panel.
                #[allow(unsafe_code)]
                unsafe {
                    let product = Product {
                        rows: PANEL.min(rows - panel * PANEL),
                        vectors,
                        depth,
                        a: filters.as_ptr().add(i * len + p * depth * PANEL),
                        a_row: 1,
                        a_step: PANEL,
                        b: points.as_ptr().add(p * job.point),
                        b_step: job.block,
                        c: room.products.as_mut_ptr().add(p * stride + i * PANEL * job.block),
                        c_row: job.block,
                        add: false,
                        pairs: job.filters.pairs(),
                    };
                    product.run::<S>();
                }
            }
        }
        let begin = panels.start * PANEL;
        let mut sums = [Sums::EMPTY; PANELS * PANEL];
        let spans = job.grid.spans(first, count, S::LANES);
        for row in begin..rows.min(panels.end * PANEL) {
            let sums = &mut sums[row - begin];
            for (lane, &span) in (0..count).step_by(S::LANES).zip(&spans) {
                // SAFETY: as above; only this item writes the tiles of this block in these channels.
                #[allow(unsafe_code)]
                unsafe {
                    let m = room.products.as_ptr().add((row - begin) * job.block + lane);
                    let bias = job.bias.map_or(0.0, |b| b[row]);
                    job.grid.scatter_output::<S>(
                        m,
                        stride,
                        row,
                        span,
                        (bias, job.slope),
                        &job.to,
                        job.sums.is_some().then_some(&mut *sums),
                        &mut room.scratch,
                    );
                }
            }
        }
        let Some(place) = job.sums else { return };
        for (row, sums) in (begin..rows.min(panels.end * PANEL)).zip(sums) {
            // SAFETY: there is a place for every block and channel, written by this item alone.
            #[allow(unsafe_code)]
            unsafe {
                place.0.add(block * rows + row).write(sums);
            }
        }
    }
}
