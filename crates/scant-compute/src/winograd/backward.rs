//! The gradient of the weights.

use std::ops::Range;

use rayon::prelude::*;

use super::filter::PanelGradient;
use super::product::Product;
use super::source::Source;
use super::tiles::{Grid, Scratch};
use super::{POINTS, Shared, Sizes, transform};
use crate::aligned::Aligned;
use crate::bf16::Precision;
use crate::simd::{self, Kernel, MAX_LANES, Simd};

/// Output channels whose points are multiplied at once.
const ROWS: usize = 32;
/// Tiles of a block.
const BLOCK: usize = 4 * MAX_LANES;
/// Spare values between points, so that points do not share a cache set.
const GAP: usize = 16;
/// Bytes of points of the image that may be kept for the whole batch.
const KEPT: usize = 10 << 20;

/// The gradient of the weights from the image and the gradient of the output.
///
/// # Shapes
/// - x: `[batch, inputs, rows, columns]`
/// - dy: `[batch, outputs, rows, columns]`
/// - output: `[outputs, inputs, 3, 3]`
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn weight_gradient(s: Sizes, x: &[f32], dy: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), s.batch * s.inputs * s.area(), "the image does not fit");
    assert_eq!(dy.len(), s.batch * s.outputs * s.area(), "the gradient does not fit");
    gradient(s, &s.plain(x, s.inputs), &s.plain(dy, s.outputs), Precision::Single)
}

/// [`weight_gradient`] of what `x` and `dy` read.
pub(super) fn gradient<X: Source, Y: Source>(
    s: Sizes,
    x: &X,
    dy: &Y,
    precision: Precision,
) -> Vec<f32> {
    let mut dw = vec![0.0; s.outputs * s.inputs * 9];
    if dw.is_empty() || s.batch * s.area() == 0 {
        return dw;
    }
    let grid = s.grid();
    let tiles = grid.tiles();
    let width = s.inputs.next_multiple_of(MAX_LANES);
    let pairs = precision == Precision::Bfloat16;
    let job = Job { s, grid, x, dy, tiles, width, pairs };
    let threads = rayon::current_num_threads();
    let blocks = tiles.div_ceil(BLOCK);
    if 4 * blocks * job.points_len() <= KEPT || blocks < 2 * threads {
        job.share_channels(&mut dw, blocks);
    } else {
        job.share_blocks(&mut dw, blocks, threads);
    }
    dw
}

#[derive(Clone, Copy)]
struct Job<'a, X, Y> {
    s: Sizes,
    grid: Grid,
    x: &'a X,
    dy: &'a Y,
    tiles: usize,
    /// Input channels in whole vectors.
    width: usize,
    /// Whether points are kept as pairs of bfloat16, of neighbouring tiles.
    pairs: bool,
}

impl<X: Source, Y: Source> Job<'_, X, Y> {
    /// From one point of a block of the image to the next.
    fn point(&self) -> usize {
        BLOCK / if self.pairs { 2 } else { 1 } * self.width + GAP
    }

    fn run<K: Kernel>(&self, kernel: K) -> K::Output {
        if self.pairs { simd::dispatch_bf16(kernel) } else { simd::dispatch(kernel) }
    }

    /// Points of the image of a block.
    fn points_len(&self) -> usize {
        POINTS * self.point()
    }

    /// Many blocks: each thread adds up a fixed share of them, and the shares are added in order.
    fn share_blocks(&self, dw: &mut [f32], blocks: usize, threads: usize) {
        let rows = self.s.outputs.next_multiple_of(ROWS);
        let share = |part: usize| {
            let mut sums = Aligned::take(POINTS * rows * self.width);
            let mut points = Aligned::take(self.points_len());
            let mut room = Room::new();
            for block in part * blocks / threads..(part + 1) * blocks / threads {
                self.run(Gather { job: self, block, channels: 0..self.width, points: &mut points });
                for first in (0..rows).step_by(ROWS) {
                    let to = Target {
                        sums: &mut sums,
                        first,
                        rows,
                        begin: block == part * blocks / threads,
                    };
                    self.run(Multiply {
                        job: self,
                        block,
                        outputs: first,
                        points: &points,
                        room: &mut room,
                        to,
                    });
                }
            }
            sums
        };
        let mut parts: Vec<Aligned> = (0..threads).into_par_iter().map(share).collect();
        let (total, others) = parts.split_at_mut(1);
        let total: &mut [f32] = &mut total[0];
        total.par_chunks_mut(1 << 14).enumerate().for_each(|(i, total)| {
            for other in others.iter() {
                let other = &other[i << 14..][..total.len()];
                total.iter_mut().zip(other).for_each(|(a, b)| *a += b);
            }
        });
        // Output channels are the middle axis, so that the rows of a point lie together.
        let (inputs, width, total) = (self.s.inputs, self.width, &*total);
        dw.par_chunks_mut(ROWS * inputs * 9).enumerate().for_each(|(i, out)| {
            let mut points = Aligned::take(POINTS * ROWS * width);
            for (p, to) in points.chunks_exact_mut(ROWS * width).enumerate() {
                to.copy_from_slice(&total[(p * rows + i * ROWS) * width..][..ROWS * width]);
            }
            simd::dispatch(PanelGradient { points: &points, rows: ROWS, width, inputs, out });
        });
    }

    /// Few blocks: the points of the image are all kept, threads take output channels.
    fn share_channels(&self, dw: &mut [f32], blocks: usize) {
        let size = self.points_len();
        let mut points = Aligned::take(blocks * size);
        let vectors = self.width / MAX_LANES;
        let parts = (2 * rayon::current_num_threads()).div_ceil(blocks.max(1)).min(vectors);
        let shared = Shared(points.as_mut_ptr());
        (0..blocks * parts).into_par_iter().for_each(|i| {
            let (block, part) = (i / parts, i % parts);
            let channels =
                part * vectors / parts * MAX_LANES..(part + 1) * vectors / parts * MAX_LANES;
            // SAFETY: every item writes its own channels of its own block.
            #[allow(unsafe_code)]
            let points =
                unsafe { std::slice::from_raw_parts_mut(shared.pointer().add(block * size), size) };
            self.run(Gather { job: self, block, channels, points });
        });
        let (inputs, width) = (self.s.inputs, self.width);
        // As many channels at once as give every thread some, in whole register tiles.
        let threads = rayon::current_num_threads();
        let rows = self.s.outputs.div_ceil(2 * threads).next_multiple_of(8).min(ROWS);
        let room = || (Aligned::take(POINTS * rows * width), Room::new());
        dw.par_chunks_mut(rows * inputs * 9).enumerate().for_each_init(
            room,
            |(sums, room), (i, out)| {
                for (block, points) in points.chunks_exact(size).enumerate() {
                    let to = Target { sums, first: 0, rows, begin: block == 0 };
                    self.run(Multiply { job: self, block, outputs: i * rows, points, room, to });
                }
                simd::dispatch(PanelGradient { points: sums, rows, width, inputs, out });
            },
        );
    }

    fn tiles_of(&self, block: usize) -> (usize, usize) {
        let first = block * BLOCK;
        (first, BLOCK.min(self.tiles - first))
    }
}

/// What a thread works in.
struct Room {
    gradients: Aligned,
    scratch: Box<Scratch>,
}

/// From one point of the output gradients of a block to the next.
const GRADIENT_POINT: usize = ROWS * (BLOCK + GAP) + GAP;

impl Room {
    fn new() -> Self {
        Self { gradients: Aligned::take(POINTS * GRADIENT_POINT), scratch: Scratch::new() }
    }
}

/// Transforms the image tiles of a block to `points` `[POINTS, tiles (in pairs), channels]`.
struct Gather<'a, X, Y> {
    job: &'a Job<'a, X, Y>,
    block: usize,
    /// In whole vectors; those beyond the last channel stay zero.
    channels: Range<usize>,
    points: &'a mut [f32],
}

impl<X: Source, Y: Source> Kernel for Gather<'_, X, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { job, block, channels, points } = self;
        let (first, count) = job.tiles_of(block);
        assert!(points.len() == job.points_len() && channels.end <= job.width);
        let mut scratch = Scratch::new();
        // [POINTS, channels of a vector, tiles of a vector]
        let mut staged = Aligned::take(POINTS * (S::LANES * S::LANES + GAP));
        let stage = S::LANES * S::LANES + GAP;
        let mut square = Aligned::take(S::LANES * S::LANES);
        let spans = job.grid.spans(first, count, S::LANES);
        for channel in channels.step_by(S::LANES) {
            for (lane, &span) in (0..count).step_by(S::LANES).zip(&spans) {
                // SAFETY: `staged` holds a square per point, and tiles and channels lie within a
                // point, which is BLOCK * width long.
                #[allow(unsafe_code)]
                unsafe {
                    for c in 0..S::LANES {
                        let out = staged.as_mut_ptr().add(c * S::LANES);
                        if channel + c < job.s.inputs {
                            let channel = channel + c;
                            job.grid.gather_input::<S, X>(
                                job.x,
                                channel,
                                span,
                                out,
                                stage,
                                &mut scratch,
                            );
                        } else {
                            for p in 0..POINTS {
                                S::store(out.add(p * stage), S::splat(0.0));
                            }
                        }
                    }
                    for p in 0..POINTS {
                        let from = staged.as_ptr().add(p * stage);
                        let to = points.as_mut_ptr().add(p * job.point() + channel);
                        if !job.pairs {
                            S::transpose(from, S::LANES, to.add(lane * job.width), job.width);
                            continue;
                        }
                        let turned = square.as_mut_ptr();
                        S::transpose(from, S::LANES, turned, S::LANES);
                        for tile in (0..S::LANES).step_by(2) {
                            let [low, high] =
                                transform::load::<S, 2>(turned.add(tile * S::LANES), S::LANES);
                            let row = (lane + tile) / 2;
                            S::store(to.add(row * job.width), S::pack_pairs(low, high));
                        }
                    }
                }
            }
        }
    }
}

/// Where products are added: rows `first ..` of `sums` `[POINTS, rows, width]`.
struct Target<'a> {
    sums: &'a mut [f32],
    first: usize,
    rows: usize,
    /// Whether this is the first block, which overwrites.
    begin: bool,
}

/// Multiplies the points of the output gradients of a block with those of the image.
struct Multiply<'a, X, Y> {
    job: &'a Job<'a, X, Y>,
    block: usize,
    /// First output channel.
    outputs: usize,
    points: &'a [f32],
    room: &'a mut Room,
    to: Target<'a>,
}

impl<X: Source, Y: Source> Kernel for Multiply<'_, X, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { job, block, outputs, points, room, to } = self;
        let (first, count) = job.tiles_of(block);
        let rows = ROWS.min(to.rows - to.first);
        let (tiles, width) = (BLOCK + GAP, job.width);
        assert!(points.len() == job.points_len() && to.sums.len() == POINTS * to.rows * width);
        assert!(rows % 8 == 0 && room.gradients.len() == POINTS * GRADIENT_POINT);
        let spans = job.grid.spans(first, count, S::LANES);
        let mut staged = Aligned::take(POINTS * S::LANES);
        for row in 0..rows {
            for (lane, &span) in (0..count).step_by(S::LANES).zip(&spans) {
                // SAFETY: rows and lanes lie within a point of GRADIENT_POINT values.
                #[allow(unsafe_code)]
                unsafe {
                    let step = if job.pairs { lane / 2 } else { lane };
                    let out = room.gradients.as_mut_ptr().add(row * tiles + step);
                    if outputs + row < job.s.outputs {
                        let (channel, scratch) = (outputs + row, &mut room.scratch);
                        let (to, stride) = if job.pairs {
                            (staged.as_mut_ptr(), S::LANES)
                        } else {
                            (out, GRADIENT_POINT)
                        };
                        job.grid
                            .gather_gradient::<S, Y>(job.dy, channel, span, to, stride, scratch);
                        if job.pairs {
                            for p in 0..POINTS {
                                let v = S::load(to.add(p * S::LANES));
                                S::store_halves(out.add(p * GRADIENT_POINT), v);
                            }
                        }
                    } else {
                        for p in 0..POINTS {
                            S::store(out.add(p * GRADIENT_POINT), S::splat(0.0));
                        }
                    }
                }
            }
        }
        for p in 0..POINTS {
            // SAFETY: the lengths were checked above, `rows` is a multiple of the register tile, and
            // `width` of the lanes.
            #[allow(unsafe_code)]
            unsafe {
                let product = Product {
                    rows,
                    vectors: width / S::LANES,
                    depth: count.next_multiple_of(S::LANES) / if job.pairs { 2 } else { 1 },
                    a: room.gradients.as_ptr().add(p * GRADIENT_POINT),
                    a_row: tiles,
                    a_step: 1,
                    b: points.as_ptr().add(p * job.point()),
                    b_step: width,
                    c: to.sums.as_mut_ptr().add((p * to.rows + to.first) * width),
                    c_row: width,
                    add: !to.begin,
                    pairs: job.pairs,
                };
                product.run::<S>();
            }
        }
    }
}
