//! Sixteen lanes with AVX-512.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Simd;

/// AVX-512 F, BW, DQ and VL; with `BF16`, its instructions for bfloat16 too.
#[derive(Debug, Clone, Copy)]
pub struct Avx512<const BF16: bool>;

impl<const BF16: bool> Simd for Avx512<BF16> {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    type V = __m512;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn where_positive(c: Self::V, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(c, _mm512_setzero_ps());
            _mm512_mask_blend_ps(mask, b, a)
        }
    }

    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        unsafe { _mm512_reduce_add_ps(v) }
    }

    #[inline(always)]
    unsafe fn deinterleave4(p: *const f32) -> [Self::V; 4] {
        unsafe { transpose4(gather4(p)) }
    }

    #[inline(always)]
    unsafe fn interleave4(p: *mut f32, v: [Self::V; 4]) {
        unsafe {
            // After the transpose, vector i holds values 4 i .. 4 i + 4 of each quarter; the quarters
            // of the four vectors are then put in order.
            let [a, b, c, d] = transpose4(v);
            let (ab, cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
            _mm512_storeu_ps(p, _mm512_shuffle_f32x4::<0x88>(ab, cd));
            _mm512_storeu_ps(p.add(16), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
            let (ab, cd) = (_mm512_shuffle_f32x4::<0xEE>(a, b), _mm512_shuffle_f32x4::<0xEE>(c, d));
            _mm512_storeu_ps(p.add(32), _mm512_shuffle_f32x4::<0x88>(ab, cd));
            _mm512_storeu_ps(p.add(48), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
        }
    }

    #[inline(always)]
    unsafe fn load_twice(p: *const f32, phase: usize) -> Self::V {
        unsafe {
            let order = if phase == 0 {
                _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)
            } else {
                _mm512_setr_epi32(0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8)
            };
            _mm512_permutexvar_ps(order, _mm512_loadu_ps(p))
        }
    }

    #[inline(always)]
    unsafe fn interleave2(p: *mut f32, a: Self::V, b: Self::V) {
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high =
                _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            _mm512_storeu_ps(p, _mm512_permutex2var_ps(a, low, b));
            _mm512_storeu_ps(p.add(16), _mm512_permutex2var_ps(a, high, b));
        }
    }

    #[inline(always)]
    unsafe fn shift_in(v: Self::V, next: f32) -> Self::V {
        unsafe {
            let next = _mm512_castps_si512(_mm512_set1_ps(next));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(next, _mm512_castps_si512(v)))
        }
    }

    #[inline(always)]
    unsafe fn pack_pairs(low: Self::V, high: Self::V) -> Self::V {
        unsafe {
            let low = _mm512_srli_epi32::<16>(rounded::<BF16>(low));
            let high = _mm512_and_si512(rounded::<BF16>(high), _mm512_set1_epi32(HIGH));
            _mm512_castsi512_ps(_mm512_or_si512(low, high))
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe {
            let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
            if BF16 {
                let a = std::mem::transmute::<__m512i, __m512bh>(a);
                let b = std::mem::transmute::<__m512i, __m512bh>(b);
                return _mm512_dpbf16_ps(c, a, b);
            }
            let mask = _mm512_set1_epi32(HIGH);
            let (al, bl) = (_mm512_slli_epi32::<16>(a), _mm512_slli_epi32::<16>(b));
            let (ah, bh) = (_mm512_and_si512(a, mask), _mm512_and_si512(b, mask));
            let c = _mm512_fmadd_ps(_mm512_castsi512_ps(al), _mm512_castsi512_ps(bl), c);
            _mm512_fmadd_ps(_mm512_castsi512_ps(ah), _mm512_castsi512_ps(bh), c)
        }
    }

    #[inline(always)]
    unsafe fn store_halves(p: *mut f32, v: Self::V) {
        unsafe {
            let halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded::<BF16>(v)));
            _mm256_storeu_si256(p.cast(), halves);
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            for c in [0, 4, 8, 12] {
                // Rows r, r + 4, r + 8, r + 12 of four columns side by side.
                let quarter = |r: usize| {
                    let at = |k: usize| _mm_loadu_ps(from.add((r + 4 * k) * from_stride + c));
                    let low = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(at(0)), at(1));
                    let high = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(at(2)), at(3));
                    _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
                };
                let rows = transpose4([quarter(0), quarter(1), quarter(2), quarter(3)]);
                for (i, row) in rows.into_iter().enumerate() {
                    _mm512_storeu_ps(to.add((c + i) * to_stride), row);
                }
            }
        }
    }
}

/// 64 values as four vectors; vector i holds values 16 q + 4 i .. + 4 in quarter q.
#[inline(always)]
unsafe fn gather4(p: *const f32) -> [__m512; 4] {
    unsafe {
        let [a, b] = [_mm512_loadu_ps(p), _mm512_loadu_ps(p.add(16))];
        let [c, d] = [_mm512_loadu_ps(p.add(32)), _mm512_loadu_ps(p.add(48))];
        let (ab, cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
        let (v0, v1) = (_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
        let (ab, cd) = (_mm512_shuffle_f32x4::<0xEE>(a, b), _mm512_shuffle_f32x4::<0xEE>(c, d));
        let (v2, v3) = (_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
        [v0, v1, v2, v3]
    }
}

/// A 4x4 transpose in each quarter: it is its own inverse.
#[inline(always)]
unsafe fn transpose4(v: [__m512; 4]) -> [__m512; 4] {
    unsafe {
        let (a, b) = (_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
        let (c, d) = (_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
        [
            _mm512_shuffle_ps::<0x44>(a, c),
            _mm512_shuffle_ps::<0xEE>(a, c),
            _mm512_shuffle_ps::<0x44>(b, d),
            _mm512_shuffle_ps::<0xEE>(b, d),
        ]
    }
}

/// The bits of the upper half of a lane.
const HIGH: i32 = 0xFFFF_0000_u32 as i32;

/// Rounded to bfloat16 in the upper half of each lane (the lower is arbitrary); a NaN stays one.
#[inline(always)]
unsafe fn rounded<const BF16: bool>(v: __m512) -> __m512i {
    unsafe {
        if BF16 {
            let halves: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(v));
            return _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves));
        }
        let bits = _mm512_castps_si512(v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let nearest = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        _mm512_mask_or_epi32(nearest, nan, bits, _mm512_set1_epi32(0x0040_0000))
    }
}
