//! One instruction set chosen at run time, and loops written once for all of them.
//!
//! Two ways to use it:
//! - [`vectorise`]: a closure of plain loops over fixed-size chunks, which the compiler turns into
//!   the widest vectors of this machine.
//! - [`dispatch`]: a [`Kernel`] written against the [`Simd`] trait, where the register tile matters.
//!
//! `SCANT_SIMD=avx512|avx2|portable` lowers the choice (it can not raise it); the tests run under
//! each. On other processors than x86-64 the portable loops are compiled for the vectors every such
//! processor has (NEON on 64-bit ARM).

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use portable::Portable;

/// Most lanes of any instruction set.
pub const MAX_LANES: usize = 16;

/// An instruction set this program has loops for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whatever the compiler makes of plain loops.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Level {
    /// The instruction set in use, decided at the first call.
    #[must_use]
    pub fn current() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            // A program that wants to refuse an unknown name asks `wanted` first.
            Self::best().min(Self::wanted().ok().flatten().unwrap_or(Self::Avx512))
        })
    }

    /// What `SCANT_SIMD` asks for, if it is set.
    ///
    /// # Errors
    /// The value, where that is no name of an instruction set.
    pub fn wanted() -> Result<Option<Self>, String> {
        let Ok(name) = std::env::var("SCANT_SIMD") else { return Ok(None) };
        let levels = [Self::Portable, Self::Avx2, Self::Avx512];
        if name.is_empty() {
            return Ok(None);
        }
        levels.into_iter().find(|l| l.name() == name).map(Some).ok_or(name)
    }

    #[cfg(target_arch = "x86_64")]
    fn best() -> Self {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx512, avx2) {
            (true, _) => Self::Avx512,
            (_, true) => Self::Avx2,
            _ => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Self {
        Self::Portable
    }

    /// `avx512`, `avx2` or `portable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }
}

/// A vector of `f32` and what the kernels do with it.
///
/// The functions are safe to call only where the instruction set is there, which [`dispatch`]
/// guarantees to a [`Kernel`]; pointers must be valid for `LANES` values (`4 * LANES` for the
/// interleaving ones), at any alignment.
#[allow(clippy::missing_safety_doc, unsafe_code)] // stated once, above
pub trait Simd: Copy + Send + Sync + 'static {
    /// Values per vector.
    const LANES: usize;
    /// Vector registers there are.
    const REGISTERS: usize;
    /// A vector.
    type V: Copy;

    /// Every lane `x`.
    unsafe fn splat(x: f32) -> Self::V;
    /// `LANES` values from `p`.
    unsafe fn load(p: *const f32) -> Self::V;
    /// `LANES` values to `p`.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// a + b
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a - b
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// a · b
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, rounded once where the processor can
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of each pair.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Per lane, `a` where `c` > 0, else `b`.
    unsafe fn where_positive(c: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// Sum of the lanes.
    unsafe fn sum(v: Self::V) -> f32;
    /// From `4 · LANES` consecutive values, vector `i` holds those at `4 l + i`.
    unsafe fn deinterleave4(p: *const f32) -> [Self::V; 4];
    /// The inverse of [`deinterleave4`](Simd::deinterleave4).
    unsafe fn interleave4(p: *mut f32, v: [Self::V; 4]);
    /// Lane `i` holds the value at `(i + phase) / 2`, phase 0 or 1: each value twice.
    unsafe fn load_twice(p: *const f32, phase: usize) -> Self::V;
    /// To `2 · LANES` values, alternately from `a` and `b`.
    unsafe fn interleave2(p: *mut f32, a: Self::V, b: Self::V);
    /// Lanes 1.. of `v`, and `next` as the last lane.
    unsafe fn shift_in(v: Self::V, next: f32) -> Self::V;
    /// Both rounded to bfloat16, as pairs: `low` in the lower half of each lane.
    unsafe fn pack_pairs(low: Self::V, high: Self::V) -> Self::V;
    /// `c` plus the products of both halves of pairs of bfloat16.
    unsafe fn dot_pairs(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The lanes rounded to bfloat16, one after the other: to `LANES / 2` values.
    unsafe fn store_halves(p: *mut f32, v: Self::V);
    /// Transposes a square of `LANES` rows: row `i` starts at `from + i · from_stride`.
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// Asks for a cache line that will be read (or, with `WRITE`, written) soon. Any address is allowed.
#[inline(always)]
pub fn prefetch<const WRITE: bool>(p: *const f32) {
    // SAFETY: a hint, which reads nothing and cannot fault.
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
        if WRITE {
            _mm_prefetch::<_MM_HINT_ET0>(p.cast());
        } else {
            _mm_prefetch::<_MM_HINT_T0>(p.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// A loop nest written against [`Simd`]. `run` must be `#[inline(always)]`, and so must what it
/// calls, or the instructions are not available to it.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The loops. Inside, the functions of `S` may be called.
    fn run<S: Simd>(self) -> Self::Output;
}

/// Runs `kernel` with the instruction set in use.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    match Level::current() {
        // SAFETY: `Level::current` has asked the processor.
        #[allow(unsafe_code)]
        Level::Avx512 => return unsafe { run_avx512(kernel) },
        #[allow(unsafe_code)]
        Level::Avx2 => return unsafe { run_avx2(kernel) },
        Level::Portable => {}
    }
    kernel.run::<Portable>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512<false>>()
}

/// Runs `kernel` with the instruction set in use and, where the processor has them, its instructions
/// for bfloat16.
#[inline]
pub fn dispatch_bf16<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if crate::bf16::hardware() {
        // SAFETY: `hardware` has asked the processor.
        #[allow(unsafe_code)]
        return unsafe { run_avx512_bf16(kernel) };
    }
    dispatch(kernel)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
fn run_avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512<true>>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// Runs a closure of plain loops, compiled for the instruction set in use. Loops over arrays of 16
/// values (`as_chunks::<16>`) vectorise reliably; a sum needs 16 running sums for that.
#[inline]
pub fn vectorise<R>(body: impl FnOnce() -> R) -> R {
    struct Plain<F>(F);
    impl<R, F: FnOnce() -> R> Kernel for Plain<F> {
        type Output = R;
        #[inline(always)]
        fn run<S: Simd>(self) -> R {
            (self.0)()
        }
    }
    dispatch(Plain(body))
}

#[cfg(test)]
mod tests;
