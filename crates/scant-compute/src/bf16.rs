//! Products whose operands are rounded to bfloat16 and whose sums are `f32`.
//!
//! Where the processor has the instruction (AVX-512 BF16), a product takes half the time of one in
//! `f32`; elsewhere the rounded operands are multiplied in `f32`. Either way a product of two operands is
//! exact, so that results of different processors differ by the rounding of `f32` sums only.
//! Subnormal operands may count as zero.

use rayon::prelude::*;

use crate::simd;

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

#[cfg(test)]
mod tests;
