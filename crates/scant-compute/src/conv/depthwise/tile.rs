//! The register tiles of depthwise convolutions.

use std::mem::MaybeUninit;

use super::ROWS;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Vectors of a tile.
const VECTORS: usize = 2;

/// Convolves the rows of a band. `source` holds `k - 1` more rows than the output, rounded up to
/// whole tiles, each of `pitch` values.
pub(super) struct Convolve<'a> {
    pub(super) size: usize,
    pub(super) kernel: &'a [f32],
    pub(super) bias: f32,
    pub(super) source: &'a [f32],
    pub(super) pitch: usize,
    pub(super) width: usize,
    /// Written whole.
    pub(super) y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Convolve<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        match self.size {
            3 => self.sized::<S, 3>(),
            5 => self.sized::<S, 5>(),
            7 => self.sized::<S, 7>(),
            size => unreachable!("no tile for kernels of {size} x {size}"),
        }
    }
}

impl Convolve<'_> {
    #[inline(always)]
    fn sized<S: Simd, const K: usize>(self) {
        let (width, pitch) = (self.width, self.pitch);
        let rows = self.y.len() / width;
        assert!(
            self.kernel.len() == K * K
                && width.next_multiple_of(MAX_LANES) + MAX_LANES + K <= pitch
                && self.source.len() >= (rows.next_multiple_of(ROWS) + K - 1) * pitch,
            "a tile must lie inside its slices",
        );
        let mut results = [0.0_f32; ROWS * VECTORS * MAX_LANES];
        let out_row = VECTORS * S::LANES;
        for first in (0..rows).step_by(ROWS) {
            let y = &mut self.y[first * width..rows.min(first + ROWS) * width];
            let mut column = 0;
            while column < width {
                let source = &self.source[first * pitch + column..];
                let wide = width - column > S::LANES;
                // SAFETY: by the assertion above, reads reach at most `2 LANES + K - 1` values past
                // `column` in `ROWS + K - 1` rows; `results` has room for the largest tile; the
                // instruction set is there because this runs inside `dispatch`.
                #[allow(unsafe_code)]
                unsafe {
                    let (from, to) = (source.as_ptr(), results.as_mut_ptr());
                    if wide {
                        self::tile::<S, K, VECTORS>(
                            self.kernel,
                            self.bias,
                            from,
                            pitch,
                            to,
                            out_row,
                        );
                    } else {
                        self::tile::<S, K, 1>(self.kernel, self.bias, from, pitch, to, out_row);
                    }
                }
                let done = if wide { out_row } else { S::LANES }.min(width - column);
                for (y, result) in y.chunks_exact_mut(width).zip(results.chunks_exact(out_row)) {
                    y[column..column + done].write_copy_of_slice(&result[..done]);
                }
                column += done;
            }
        }
    }
}

/// `ROWS` rows of `V` vectors.
///
/// # Safety
/// `source` must be valid for `ROWS + K - 1` rows of `V LANES + K - 1` values, `out` for `ROWS` rows of
/// `V` vectors.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn tile<S: Simd, const K: usize, const V: usize>(
    kernel: &[f32],
    bias: f32,
    source: *const f32,
    pitch: usize,
    out: *mut f32,
    out_row: usize,
) {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut sums = [[S::splat(bias); V]; ROWS];
        let at = |row: usize| source.add(row * pitch);
        let kernel = kernel.as_ptr();
        input_row::<S, K, V, 0, 1>(kernel, at(0), &mut sums);
        input_row::<S, K, V, 0, 2>(kernel.add(K), at(1), &mut sums);
        input_row::<S, K, V, 0, 3>(kernel.add(2 * K), at(2), &mut sums);
        for row in 3..K {
            input_row::<S, K, V, 0, 4>(kernel.add(row * K), at(row), &mut sums);
        }
        input_row::<S, K, V, 1, 4>(kernel.add(K * K), at(K), &mut sums);
        input_row::<S, K, V, 2, 4>(kernel.add((K + 1) * K), at(K + 1), &mut sums);
        input_row::<S, K, V, 3, 4>(kernel.wrapping_add((K + 2) * K), at(K + 2), &mut sums);
        for (r, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                S::store(out.add(r * out_row + v * S::LANES), sum);
            }
        }
    }
}

/// Adds an input row to the output rows `LOW..HIGH`; `kernel` is the row of taps that output row 0
/// would take, and each further output row takes the one before.
#[allow(unsafe_code)]
#[allow(clippy::needless_range_loop)] // constant bounds keep the sums in registers
#[inline(always)]
unsafe fn input_row<
    S: Simd,
    const K: usize,
    const V: usize,
    const LOW: usize,
    const HIGH: usize,
>(
    kernel: *const f32,
    source: *const f32,
    sums: &mut [[S::V; V]; ROWS],
) {
    // SAFETY: as promised by the caller of `tile`; taps lie inside the kernel by the choice of rows.
    unsafe {
        for x in 0..K {
            let values: [S::V; V] = std::array::from_fn(|v| S::load(source.add(x + v * S::LANES)));
            for r in LOW..HIGH {
                let tap = S::splat(*kernel.wrapping_sub(r * K).wrapping_add(x));
                for (sum, value) in sums[r].iter_mut().zip(values) {
                    *sum = S::fma(tap, value, *sum);
                }
            }
        }
    }
}

/// Products of a band of the input with the output gradient, summed, for each tap.
pub(super) struct Correlate<'a> {
    pub(super) size: usize,
    /// `rows` rows with `k / 2` zeros in front.
    pub(super) source: &'a [f32],
    /// `rows + k - 1` rows; row `i` of the source pairs with rows `i..i + k`, the last tap first.
    pub(super) gradient: &'a [f32],
    pub(super) pitch: usize,
    pub(super) width: usize,
    pub(super) rows: usize,
}

impl Kernel for Correlate<'_> {
    type Output = [f32; 49];

    #[inline(always)]
    fn run<S: Simd>(self) -> [f32; 49] {
        let mut taps = [0.0; 49];
        // As many rows of taps as the registers hold.
        match (self.size, S::REGISTERS >= 32) {
            (3, _) => self.some::<S, 3, 3>(0, &mut taps),
            (5, true) => self.some::<S, 5, 5>(0, &mut taps),
            (5, false) => {
                for low in [0, 2] {
                    self.some::<S, 5, 2>(low, &mut taps);
                }
                self.some::<S, 5, 1>(4, &mut taps);
            }
            (7, true) => {
                self.some::<S, 7, 4>(0, &mut taps);
                self.some::<S, 7, 3>(4, &mut taps);
            }
            (7, false) => (0..7).for_each(|low| self.some::<S, 7, 1>(low, &mut taps)),
            (size, _) => unreachable!("no tile for kernels of {size} x {size}"),
        }
        taps
    }
}

impl Correlate<'_> {
    /// The taps of kernel rows `low..low + G`.
    #[allow(clippy::needless_range_loop)] // constant bounds keep the sums in registers
    #[inline(always)]
    fn some<S: Simd, const K: usize, const G: usize>(&self, low: usize, taps: &mut [f32; 49]) {
        let (rows, pitch) = (self.rows, self.pitch);
        let whole = self.width.next_multiple_of(S::LANES);
        assert!(
            low + G <= K
                && whole + K <= pitch
                && self.source.len() >= rows * pitch
                && self.gradient.len() >= (rows + K - 1) * pitch,
            "a tile must lie inside its slices",
        );
        // SAFETY: by the assertion above, all reads lie inside; the instruction set is there because
        // this runs inside `dispatch`.
        #[allow(unsafe_code)]
        unsafe {
            let mut sums = [[S::splat(0.0); K]; G];
            for row in 0..rows {
                let source = self.source.as_ptr().add(row * pitch);
                let gradient = self.gradient.as_ptr().add((row + K - 1 - low) * pitch);
                let mut column = 0;
                while column < whole {
                    let dy: [S::V; G] =
                        std::array::from_fn(|g| S::load(gradient.sub(g * pitch).add(column)));
                    for x in 0..K {
                        let value = S::load(source.add(column + x));
                        for g in 0..G {
                            sums[g][x] = S::fma(value, dy[g], sums[g][x]);
                        }
                    }
                    column += S::LANES;
                }
            }
            for g in 0..G {
                for x in 0..K {
                    taps[(low + g) * K + x] = S::sum(sums[g][x]);
                }
            }
        }
    }
}
