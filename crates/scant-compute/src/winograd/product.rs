//! The small matrix products between the transforms: one per point of the transformed tile.

#![allow(unsafe_code)]

use super::transform;
use crate::simd::Simd;

/// Rows that are packed side by side: a panel of transformed filters.
pub(super) const PANEL: usize = 16;

/// `c[r][n] (+)= Σ_k a[r · a_row + k · a_step] b[k · b_step + n]` for `rows` rows (rounded up to
/// the register tile, which divides [`PANEL`]) and `vectors` vectors of columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) vectors: usize,
    pub(super) depth: usize,
    pub(super) a: *const f32,
    pub(super) a_row: usize,
    pub(super) a_step: usize,
    pub(super) b: *const f32,
    pub(super) b_step: usize,
    pub(super) c: *mut f32,
    pub(super) c_row: usize,
    pub(super) add: bool,
    /// Whether operands are pairs of bfloat16 along the depth, which counts pairs then.
    pub(super) pairs: bool,
}

impl Product {
    /// # Safety
    /// The instruction set of `S` must be there, and the addressed values must lie in their buffers,
    /// for rows rounded up to a multiple of the register tile (at most [`PANEL`]).
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(&self) {
        unsafe {
            match (S::REGISTERS >= 32, self.pairs) {
                (true, false) => self.bands::<S, 8, false>(),
                (true, true) => self.bands::<S, 8, true>(),
                (false, false) => self.bands::<S, 4, false>(),
                (false, true) => self.bands::<S, 4, true>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn bands<S: Simd, const R: usize, const P: bool>(&self) {
        unsafe {
            for row in (0..self.rows).step_by(R) {
                let mut vector = 0;
                while vector + 2 <= self.vectors {
                    self.tile::<S, R, 2, P>(row, vector);
                    vector += 2;
                }
                if vector < self.vectors {
                    self.tile::<S, R, 1, P>(row, vector);
                }
            }
        }
    }

    /// R rows by N vectors, kept in registers over the whole depth.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const N: usize, const P: bool>(
        &self,
        row: usize,
        vector: usize,
    ) {
        unsafe {
            let mut a = self.a.add(row * self.a_row);
            let mut b = self.b.add(vector * S::LANES);
            let c = self.c.add(row * self.c_row + vector * S::LANES);
            let mut sums = [[S::splat(0.0); N]; R];
            if self.add {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (n, sum) in sums.iter_mut().enumerate() {
                        *sum = S::load(c.add(r * self.c_row + n * S::LANES));
                    }
                }
            }
            for _ in 0..self.depth {
                let columns = transform::load::<S, N>(b, S::LANES);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let left = S::splat(*a.add(r * self.a_row));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = if P {
                            S::dot_pairs(left, column, *sum)
                        } else {
                            S::fma(left, column, *sum)
                        };
                    }
                }
                a = a.wrapping_add(self.a_step);
                b = b.wrapping_add(self.b_step);
            }
            for (r, sums) in sums.iter().enumerate() {
                for (n, &sum) in sums.iter().enumerate() {
                    S::store(c.add(r * self.c_row + n * S::LANES), sum);
                }
            }
        }
    }
}
