//! Plain arrays of eight, for processors without a path of their own.

#![allow(unsafe_code)]

use super::Simd;
use crate::bf16::round;

/// Loops over arrays of eight, which the compiler vectorises as far as the target allows.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

const LANES: usize = 8;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;
    type V = [f32; LANES];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        unsafe { p.cast::<Self::V>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        unsafe { p.cast::<Self::V>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction, `mul_add` is a slow library call.
        if cfg!(target_arch = "aarch64") {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn where_positive(c: Self::V, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if c[i] > 0.0 { a[i] } else { b[i] })
    }

    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        v.iter().sum()
    }

    #[inline(always)]
    unsafe fn deinterleave4(p: *const f32) -> [Self::V; 4] {
        let all = unsafe { p.cast::<[f32; 4 * LANES]>().read_unaligned() };
        std::array::from_fn(|i| std::array::from_fn(|l| all[4 * l + i]))
    }

    #[inline(always)]
    unsafe fn interleave4(p: *mut f32, v: [Self::V; 4]) {
        let all: [f32; 4 * LANES] = std::array::from_fn(|i| v[i % 4][i / 4]);
        unsafe { p.cast::<[f32; 4 * LANES]>().write_unaligned(all) }
    }

    #[inline(always)]
    unsafe fn load_twice(p: *const f32, phase: usize) -> Self::V {
        let v = unsafe { Self::load(p) };
        std::array::from_fn(|i| v[(i + phase) / 2])
    }

    #[inline(always)]
    unsafe fn interleave2(p: *mut f32, a: Self::V, b: Self::V) {
        let all: [f32; 2 * LANES] =
            std::array::from_fn(|i| if i % 2 == 0 { a[i / 2] } else { b[i / 2] });
        unsafe { p.cast::<[f32; 2 * LANES]>().write_unaligned(all) }
    }

    #[inline(always)]
    unsafe fn shift_in(v: Self::V, next: f32) -> Self::V {
        std::array::from_fn(|i| if i + 1 < LANES { v[i + 1] } else { next })
    }

    #[inline(always)]
    unsafe fn pack_pairs(low: Self::V, high: Self::V) -> Self::V {
        zip(low, high, |a, b| f32::from_bits(u32::from(round(a)) | u32::from(round(b)) << 16))
    }

    #[inline(always)]
    unsafe fn dot_pairs(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let low = |v: f32| f32::from_bits(v.to_bits() << 16);
        let high = |v: f32| f32::from_bits(v.to_bits() & 0xFFFF_0000);
        let products = zip(a, b, |a, b| low(a) * low(b) + high(a) * high(b));
        zip(products, c, |p, c| p + c)
    }

    #[inline(always)]
    unsafe fn store_halves(p: *mut f32, v: Self::V) {
        for (i, pair) in v.as_chunks::<2>().0.iter().enumerate() {
            let bits = u32::from(round(pair[0])) | u32::from(round(pair[1])) << 16;
            // SAFETY: the caller has room for half as many values.
            unsafe { p.add(i).write_unaligned(f32::from_bits(bits)) };
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for r in 0..LANES {
            for c in 0..LANES {
                unsafe { *to.add(c * to_stride + r) = *from.add(r * from_stride + c) };
            }
        }
    }
}
