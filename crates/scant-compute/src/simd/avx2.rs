//! Eight lanes with AVX2 and fused multiply-add.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Simd;

/// AVX2 with fused multiply-add.
#[derive(Debug, Clone, Copy)]
pub struct Avx2;

impl Simd for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    type V = __m256;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn where_positive(c: Self::V, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            let mask = _mm256_cmp_ps::<_CMP_GT_OQ>(c, _mm256_setzero_ps());
            _mm256_blendv_ps(b, a, mask)
        }
    }

    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        }
    }

    #[inline(always)]
    unsafe fn deinterleave4(p: *const f32) -> [Self::V; 4] {
        unsafe {
            // Lane 0 takes the first half of the values, lane 1 the second: a 4x4 transpose in each.
            let half = |i: usize| {
                let low = _mm256_castps128_ps256(_mm_loadu_ps(p.add(4 * i)));
                _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(p.add(16 + 4 * i)))
            };
            transpose4([half(0), half(1), half(2), half(3)])
        }
    }

    #[inline(always)]
    unsafe fn interleave4(p: *mut f32, v: [Self::V; 4]) {
        unsafe {
            for (i, v) in transpose4(v).into_iter().enumerate() {
                _mm_storeu_ps(p.add(4 * i), _mm256_castps256_ps128(v));
                _mm_storeu_ps(p.add(16 + 4 * i), _mm256_extractf128_ps::<1>(v));
            }
        }
    }

    #[inline(always)]
    unsafe fn load_twice(p: *const f32, phase: usize) -> Self::V {
        unsafe {
            let order = if phase == 0 {
                _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)
            } else {
                _mm256_setr_epi32(0, 1, 1, 2, 2, 3, 3, 4)
            };
            _mm256_permutevar8x32_ps(_mm256_loadu_ps(p), order)
        }
    }

    #[inline(always)]
    unsafe fn interleave2(p: *mut f32, a: Self::V, b: Self::V) {
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            _mm256_storeu_ps(p, _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_storeu_ps(p.add(8), _mm256_permute2f128_ps::<0x31>(low, high));
        }
    }

    #[inline(always)]
    unsafe fn shift_in(v: Self::V, next: f32) -> Self::V {
        unsafe {
            let order = _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0);
            let turned = _mm256_permutevar8x32_ps(v, order);
            _mm256_blend_ps::<0x80>(turned, _mm256_set1_ps(next))
        }
    }

    #[inline(always)]
    unsafe fn pack_pairs(low: Self::V, high: Self::V) -> Self::V {
        unsafe {
            let low = _mm256_srli_epi32::<16>(rounded(low));
            let high = _mm256_and_si256(rounded(high), _mm256_set1_epi32(HIGH));
            _mm256_castsi256_ps(_mm256_or_si256(low, high))
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe {
            let (a, b) = (_mm256_castps_si256(a), _mm256_castps_si256(b));
            let mask = _mm256_set1_epi32(HIGH);
            let (al, bl) = (_mm256_slli_epi32::<16>(a), _mm256_slli_epi32::<16>(b));
            let (ah, bh) = (_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
            let c = _mm256_fmadd_ps(_mm256_castsi256_ps(al), _mm256_castsi256_ps(bl), c);
            _mm256_fmadd_ps(_mm256_castsi256_ps(ah), _mm256_castsi256_ps(bh), c)
        }
    }

    #[inline(always)]
    unsafe fn store_halves(p: *mut f32, v: Self::V) {
        unsafe {
            let v = _mm256_srli_epi32::<16>(rounded(v));
            let halves =
                _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            _mm_storeu_si128(p.cast(), halves);
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            for c in [0, 4] {
                let half = |r: usize| {
                    let low = _mm_loadu_ps(from.add(r * from_stride + c));
                    let high = _mm_loadu_ps(from.add((r + 4) * from_stride + c));
                    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
                };
                let rows = transpose4([half(0), half(1), half(2), half(3)]);
                for (i, row) in rows.into_iter().enumerate() {
                    _mm256_storeu_ps(to.add((c + i) * to_stride), row);
                }
            }
        }
    }
}

/// A 4x4 transpose in each half: it is its own inverse.
#[inline(always)]
unsafe fn transpose4(v: [__m256; 4]) -> [__m256; 4] {
    unsafe {
        let (a, b) = (_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
        let (c, d) = (_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));
        [
            _mm256_shuffle_ps::<0x44>(a, c),
            _mm256_shuffle_ps::<0xEE>(a, c),
            _mm256_shuffle_ps::<0x44>(b, d),
            _mm256_shuffle_ps::<0xEE>(b, d),
        ]
    }
}

/// The bits of the upper half of a lane.
const HIGH: i32 = 0xFFFF_0000_u32 as i32;

/// Rounded to bfloat16 in the upper half of each lane (the lower is arbitrary); a NaN stays one.
#[inline(always)]
unsafe fn rounded(v: __m256) -> __m256i {
    unsafe {
        let bits = _mm256_castps_si256(v);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
        let nearest = _mm256_castsi256_ps(_mm256_add_epi32(bits, up));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(v, v);
        _mm256_castps_si256(_mm256_blendv_ps(nearest, _mm256_castsi256_ps(quiet), nan))
    }
}
