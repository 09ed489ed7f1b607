//! Products whose operands are rounded to bfloat16 and whose sums are `f32`.
//!
//! Where the processor has the instruction (AVX-512 BF16), a product takes half the time of one in
//! `f32`; elsewhere the rounded operands are multiplied in `f32`. Either way a product of two operands is
//! exact, so that results of different processors differ by the rounding of `f32` sums only.
//! Subnormal operands may count as zero.

use gemm::Parallelism;
use rayon::prelude::*;

use crate::conv::lanes::{Element, LaneKernel, Lanes};
use crate::conv::product::{MAX_ROWS, Product, Shared};
use crate::simd::{self, MAX_LANES};

mod lanes;

pub(crate) use lanes::{Half, Pair};

/// How the operands of a product are rounded; sums are `f32` always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Not at all.
    #[default]
    Single,
    /// To bfloat16: eight bits of significand, the range of `f32`.
    Bfloat16,
}

/// Whether the processor multiplies bfloat16 itself.
#[must_use]
pub fn hardware() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        simd::Level::current() == simd::Level::Avx512
            && std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// The bits of the nearest bfloat16, ties to even. A NaN stays one.
#[inline(always)]
#[must_use]
pub fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = (bits.wrapping_add(0x7FFF + (bits >> 16 & 1))) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if x.is_nan() { quiet } else { nearest }) as u16
}

/// The nearest bfloat16 as an `f32`.
#[inline(always)]
#[must_use]
pub fn rounded(x: f32) -> f32 {
    f32::from_bits(u32::from(round(x)) << 16)
}

/// All values rounded.
#[must_use]
pub fn rounded_all(values: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    const PART: usize = 1 << 16;
    out.par_chunks_mut(PART).zip(values.par_chunks(PART)).for_each(|(out, values)| {
        simd::vectorise(|| out.iter_mut().zip(values).for_each(|(o, &v)| *o = rounded(v)));
    });
    out
}

/// A matrix whose element `(r, c)` is `values[r · row + c · column]`.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// The first element is element `(0, 0)`.
    pub values: &'a [f32],
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns.
    pub column: usize,
}

impl Strided<'_> {
    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
}

/// Rows of the inner dimension that are multiplied at a time.
const DEPTH: usize = 3 << 7;
/// Most rows and columns of a block.
const ROWS: usize = 1 << 8;
const COLUMNS: usize = 24 * PANEL;
/// Columns of a panel of the right operand.
const PANEL: usize = 3 * MAX_LANES;

/// `c = a b`, or `c += a b` if `accumulate`, with the elements of `a` and `b` rounded to bfloat16.
///
/// # Shapes
/// `a` `[m, k]`, `b` `[k, n]`, `c` `[m, n]` with rows `c_row` apart
///
/// Blocks of the result are shared among the threads of the current pool if `parallel`; the result does
/// not depend on how many there are.
///
/// # Panics
/// When a matrix reaches past its slice, or the rows of `c` overlap.
pub fn gemm_bf16(
    [m, n, k]: [usize; 3],
    a: Strided<'_>,
    b: Strided<'_>,
    c: &mut [f32],
    c_row: usize,
    accumulate: bool,
    parallel: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(c_row >= n && (m - 1) * c_row + n <= c.len(), "c does not hold {m} x {n}");
    if k == 0 {
        if !accumulate {
            c.chunks_mut(c_row).take(m).for_each(|row| row[..n].fill(0.0));
        }
        return;
    }
    assert!(a.holds(m, k), "a does not hold {m} x {k}");
    assert!(b.holds(k, n), "b does not hold {k} x {n}");
    let (row_blocks, column_blocks) = (m.div_ceil(ROWS), n.div_ceil(COLUMNS));
    let shared = Shared::new(c);
    let block = |room: &mut Room, index: usize| {
        let (i, j) = (index % row_blocks * ROWS, index / row_blocks * COLUMNS);
        let (rows, columns) = (ROWS.min(m - i), COLUMNS.min(n - j));
        for p in (0..k).step_by(DEPTH) {
            let block = Block {
                rows,
                columns,
                depth: DEPTH.min(k - p),
                left: Strided { values: &a.values[i * a.row + p * a.column..], ..a },
                right: Strided { values: &b.values[p * b.row + j * b.column..], ..b },
                out: shared,
                start: i * c_row + j,
                out_row: c_row,
                add: accumulate || p > 0,
            };
            if hardware() {
                block.by_pairs(room);
            } else {
                block.by_rounding(room);
            }
        }
    };
    let blocks = row_blocks * column_blocks;
    if parallel {
        let parts = blocks.min(4 * rayon::current_num_threads());
        (0..parts).into_par_iter().for_each(|part| {
            let mut room = Room::default();
            let range = part * blocks / parts..(part + 1) * blocks / parts;
            range.for_each(|index| block(&mut room, index));
        });
    } else {
        let mut room = Room::default();
        (0..blocks).for_each(|index| block(&mut room, index));
    }
}

/// Packed operands, kept from block to block.
#[derive(Default)]
struct Room {
    left: Vec<Pair>,
    right: Vec<Pair>,
    line: Vec<u16>,
    rounded_left: Vec<f32>,
    rounded_right: Vec<f32>,
}

/// A block of the result over some of the inner dimension.
struct Block<'a> {
    rows: usize,
    columns: usize,
    depth: usize,
    left: Strided<'a>,
    right: Strided<'a>,
    out: Shared,
    start: usize,
    out_row: usize,
    add: bool,
}

impl Block<'_> {
    fn by_pairs(&self, room: &mut Room) {
        let pairs = self.depth.div_ceil(2);
        let panels = self.columns.div_ceil(PANEL);
        room.left.resize(self.rows * pairs, Pair::default());
        room.right.resize(panels * pairs * PANEL, Pair::default());
        simd::vectorise(|| {
            // [tile, pair, row]
            let mut left = room.left.as_mut_slice();
            for first in (0..self.rows).step_by(MAX_ROWS) {
                let rows = MAX_ROWS.min(self.rows - first);
                let (tile, rest) = left.split_at_mut(rows * pairs);
                self.pack_tile(first, rows, &mut room.line, tile);
                left = rest;
            }
            // [panel, pair, column], row by row, as the operand lies in memory.
            for p in 0..pairs {
                let row = |r: usize| &self.right.values[r * self.right.row..];
                let first = row(2 * p);
                let second = (2 * p + 1 < self.depth).then(|| row(2 * p + 1));
                let panels = room.right.chunks_exact_mut(pairs * PANEL).enumerate();
                for (panel, out) in panels {
                    let column = panel * PANEL;
                    let columns = PANEL.min(self.columns - column);
                    let out = &mut out[p * PANEL..(p + 1) * PANEL];
                    self.pair_rows(first, second, column, &mut out[..columns]);
                    out[columns..].fill(Pair::default());
                }
            }
        });
        Pair::run(Panels { block: self, left: &room.left, right: &room.right, pairs });
    }

    /// Rows `first..first + rows` of the left operand as `[pair, row]`.
    #[inline(always)]
    fn pack_tile(&self, first: usize, rows: usize, line: &mut Vec<u16>, tile: &mut [Pair]) {
        let (values, row, column) = (self.left.values, self.left.row, self.left.column);
        if column == 1 {
            line.clear();
            line.resize(self.depth.next_multiple_of(2), 0);
            for r in 0..rows {
                let from = &values[(first + r) * row..][..self.depth];
                line.iter_mut().zip(from).for_each(|(l, &v)| *l = round(v));
                let (pairs, _) = line.as_chunks::<2>();
                for (out, &pair) in tile.chunks_exact_mut(rows).zip(pairs) {
                    out[r] = Pair::of(pair);
                }
            }
        } else {
            for (p, out) in tile.chunks_exact_mut(rows).enumerate() {
                for (r, out) in out.iter_mut().enumerate() {
                    let at = (first + r) * row + 2 * p * column;
                    let second = if 2 * p + 1 < self.depth { values[at + column] } else { 0.0 };
                    *out = Pair::new(values[at], second);
                }
            }
        }
    }

    #[inline(always)]
    fn pair_rows(&self, a: &[f32], b: Option<&[f32]>, first: usize, out: &mut [Pair]) {
        let step = self.right.column;
        match b {
            Some(b) if step == 1 => {
                let (a, b) = (&a[first..][..out.len()], &b[first..][..out.len()]);
                for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    *o = Pair::new(a, b);
                }
            }
            _ => {
                for (i, o) in out.iter_mut().enumerate() {
                    let at = (first + i) * step;
                    *o = Pair::new(a[at], b.map_or(0.0, |b| b[at]));
                }
            }
        }
    }

    #[allow(unsafe_code)]
    fn by_rounding(&self, room: &mut Room) {
        let copy = |from: &Strided<'_>, rows: usize, columns: usize, out: &mut Vec<f32>| {
            out.resize(rows * columns, 0.0);
            for (r, out) in out.chunks_exact_mut(columns).enumerate() {
                let values = from.values[r * from.row..].iter().step_by(from.column.max(1));
                out.iter_mut().zip(values).for_each(|(o, &v)| *o = rounded(v));
            }
        };
        let (m, n, k) = (self.rows, self.columns, self.depth);
        copy(&self.left, m, k, &mut room.rounded_left);
        copy(&self.right, k, n, &mut room.rounded_right);
        let out = self.out.pointer(self.start, (m - 1) * self.out_row + n);
        let stride = |v: usize| isize::try_from(v).expect("strides fit in an isize");
        // SAFETY: both operands hold exactly m x k and k x n values, and the line above shows that the
        // result lies inside its slice; its rows do not overlap and belong to this block alone.
        unsafe {
            gemm::gemm::<f32>(
                m,
                n,
                k,
                out,
                1,
                stride(self.out_row),
                self.add,
                room.rounded_left.as_ptr(),
                1,
                stride(k),
                room.rounded_right.as_ptr(),
                1,
                stride(n),
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

/// The tiles of a block.
struct Panels<'a> {
    block: &'a Block<'a>,
    left: &'a [Pair],
    right: &'a [Pair],
    pairs: usize,
}

impl LaneKernel<Pair> for Panels<'_> {
    #[inline(always)]
    fn run<L: Lanes<Item = Pair>>(self) {
        let Block { rows, columns, out, start, out_row, add, .. } = *self.block;
        let mut results = [0.0_f32; MAX_ROWS * PANEL];
        for (panel, right) in self.right.chunks_exact(self.pairs * PANEL).enumerate() {
            let column = panel * PANEL;
            let width = PANEL.min(columns - column);
            for row in (0..rows).step_by(MAX_ROWS) {
                let count = MAX_ROWS.min(rows - row);
                let product = Product {
                    items: self.pairs,
                    item: PANEL,
                    offsets: &[0],
                    furthest: 0,
                    source: right,
                    weights: &self.left[row * self.pairs..(row + count) * self.pairs],
                    weight_item: count,
                    bias: [0.0; MAX_ROWS],
                };
                // SAFETY: `results` has room for the largest tile; a panel is three vectors wide.
                #[allow(unsafe_code)]
                unsafe {
                    product.run::<L>(count, PANEL / L::ITEMS, results.as_mut_ptr(), PANEL);
                }
                for (r, results) in results.chunks_exact(PANEL).take(count).enumerate() {
                    let at = start + (row + r) * out_row + column;
                    // SAFETY: part of a row of this block, which belongs to the calling task alone; the
                    // matrix it lies in was borrowed as initialised values.
                    #[allow(unsafe_code)]
                    let out = unsafe { out.part(at, width).assume_init_mut() };
                    if add {
                        out.iter_mut().zip(results).for_each(|(o, r)| *o += r);
                    } else {
                        out.iter_mut().zip(results).for_each(|(o, r)| *o = *r);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
