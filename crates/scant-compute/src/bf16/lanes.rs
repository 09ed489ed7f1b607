//! Vectors of bfloat16: pairs that belong to one sum each, and runs of single values.

use crate::conv::lanes::{Element, LaneKernel};
use crate::simd;

/// Two values, the first in the low half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Pair(u32);

/// One value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Half(u16);

impl Pair {
    #[inline(always)]
    pub(crate) fn new(first: f32, second: f32) -> Self {
        Self::of([super::round(first), super::round(second)])
    }

    /// From the bits of both.
    #[inline(always)]
    pub(crate) fn of([first, second]: [u16; 2]) -> Self {
        Self(u32::from(first) | u32::from(second) << 16)
    }
}

/// What [`Element::run`] does where [`hardware`](super::hardware) says no: nobody may ask.
#[cfg(not(target_arch = "x86_64"))]
fn refuse() -> ! {
    panic!("this processor does not multiply bfloat16")
}

impl Element for Pair {
    const CHANNELS: usize = 2;

    fn run<K: LaneKernel<Self>>(kernel: K) {
        #[cfg(target_arch = "x86_64")]
        x86::run_pairs(kernel);
        #[cfg(not(target_arch = "x86_64"))]
        {
            drop(kernel);
            refuse()
        }
    }

    fn join(values: [f32; 2]) -> Self {
        Self::new(values[0], values[1])
    }

    fn lay_out(
        volumes: [Option<&[f32]>; 2],
        room: &mut Vec<f32>,
        out: &mut [Self],
        fill: impl Fn(&[f32], &mut [f32]),
    ) {
        let [Some(first), second] = volumes else { return };
        room.resize(2 * out.len(), 0.0);
        let (a, b) = room.split_at_mut(out.len());
        fill(first, a);
        match second {
            Some(second) => fill(second, b),
            None => b.fill(0.0),
        }
        simd::vectorise(|| {
            for ((o, &a), &b) in out.iter_mut().zip(&*a).zip(&*b) {
                *o = Self::new(a, b);
            }
        });
    }
}

impl Element for Half {
    const CHANNELS: usize = 1;

    fn run<K: LaneKernel<Self>>(kernel: K) {
        #[cfg(target_arch = "x86_64")]
        x86::run_halves(kernel);
        #[cfg(not(target_arch = "x86_64"))]
        {
            drop(kernel);
            refuse()
        }
    }

    fn join(values: [f32; 2]) -> Self {
        Self(super::round(values[0]))
    }

    fn lay_out(
        volumes: [Option<&[f32]>; 2],
        room: &mut Vec<f32>,
        out: &mut [Self],
        fill: impl Fn(&[f32], &mut [f32]),
    ) {
        let Some(volume) = volumes[0] else { return };
        room.resize(out.len(), 0.0);
        fill(volume, room);
        simd::vectorise(|| {
            for (o, &v) in out.iter_mut().zip(&*room) {
                *o = Self(super::round(v));
            }
        });
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![allow(unsafe_code)]

    use std::arch::x86_64::*;

    use super::{Half, Pair};
    use crate::conv::lanes::{LaneKernel, Lanes};

    /// Sixteen pairs, the two products of each added to one sum.
    #[derive(Clone, Copy)]
    struct Pairs;

    /// Thirty-two values; products of two neighbours go to one sum.
    #[derive(Clone, Copy)]
    struct Halves;

    pub(super) fn run_pairs<K: LaneKernel<Pair>>(kernel: K) {
        assert!(crate::bf16::hardware(), "this processor does not multiply bfloat16");
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
        fn inner<K: LaneKernel<Pair>>(kernel: K) {
            kernel.run::<Pairs>();
        }
        // SAFETY: `hardware` has asked the processor.
        unsafe { inner(kernel) }
    }

    pub(super) fn run_halves<K: LaneKernel<Half>>(kernel: K) {
        assert!(crate::bf16::hardware(), "this processor does not multiply bfloat16");
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
        fn inner<K: LaneKernel<Half>>(kernel: K) {
            kernel.run::<Halves>();
        }
        // SAFETY: `hardware` has asked the processor.
        unsafe { inner(kernel) }
    }

    macro_rules! lanes {
        ($name:ident, $item:ident, $count:literal, $splat:ident) => {
            impl Lanes for $name {
                type Item = $item;
                type Operand = __m512i;
                type Sum = __m512;
                const ITEMS: usize = $count;
                const REGISTERS: usize = 32;

                #[inline(always)]
                unsafe fn load(p: *const $item) -> __m512i {
                    unsafe { _mm512_loadu_si512(p.cast()) }
                }

                #[inline(always)]
                unsafe fn splat(x: $item) -> __m512i {
                    unsafe { $splat(x.0.cast_signed()) }
                }

                #[inline(always)]
                unsafe fn start(x: f32) -> __m512 {
                    unsafe { _mm512_set1_ps(x) }
                }

                #[inline(always)]
                unsafe fn add_product(a: __m512i, b: __m512i, sum: __m512) -> __m512 {
                    // SAFETY: both types are 64 bytes without invalid values.
                    unsafe {
                        let a = std::mem::transmute::<__m512i, __m512bh>(a);
                        let b = std::mem::transmute::<__m512i, __m512bh>(b);
                        _mm512_dpbf16_ps(sum, a, b)
                    }
                }

                #[inline(always)]
                unsafe fn store(p: *mut f32, sum: __m512) {
                    unsafe { _mm512_storeu_ps(p, sum) }
                }

                #[inline(always)]
                unsafe fn total(sum: __m512) -> f32 {
                    unsafe { _mm512_reduce_add_ps(sum) }
                }
            }
        };
    }

    lanes!(Pairs, Pair, 16, _mm512_set1_epi32);
    lanes!(Halves, Half, 32, _mm512_set1_epi16);
}
