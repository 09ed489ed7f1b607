//! What the tiles of a convolution multiply: `f32`, or pairs of bfloat16 where the processor has the
//! instruction.

use crate::simd::{self, Simd};

/// Vectors of operands and of `f32` sums.
///
/// Safe to call only where the instruction set is there, which [`Element::run`] guarantees to a
/// [`LaneKernel`]; pointers must be valid for a vector, at any alignment.
#[allow(unsafe_code)]
pub(crate) trait Lanes: Copy {
    /// What operands are stored as.
    type Item: Copy;
    /// A vector of items.
    type Operand: Copy;
    /// A vector of sums.
    type Sum: Copy;
    /// Items per vector.
    const ITEMS: usize;
    /// Vector registers there are.
    const REGISTERS: usize;
    unsafe fn load(p: *const Self::Item) -> Self::Operand;
    unsafe fn splat(x: Self::Item) -> Self::Operand;
    /// Every sum `x`.
    unsafe fn start(x: f32) -> Self::Sum;
    /// sum + a · b
    unsafe fn add_product(a: Self::Operand, b: Self::Operand, sum: Self::Sum) -> Self::Sum;
    unsafe fn store(p: *mut f32, sum: Self::Sum);
    /// All sums added.
    unsafe fn total(sum: Self::Sum) -> f32;
}

/// A loop nest written against [`Lanes`]; `run` and what it calls must be `#[inline(always)]`.
pub(crate) trait LaneKernel<I> {
    fn run<L: Lanes<Item = I>>(self);
}

/// What operands are stored as, and how they come from `f32`.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// Channels per item.
    const CHANNELS: usize;
    /// Runs the loops with the instruction set in use.
    fn run<K: LaneKernel<Self>>(kernel: K);
    /// The item of `CHANNELS` values; the second is zero where there is one channel only.
    fn join(values: [f32; 2]) -> Self;
    /// Writes the items of `CHANNELS` volumes, each laid out by `fill`; the second is absent past the
    /// last channel. `room` is for what lies between.
    fn lay_out(
        volumes: [Option<&[f32]>; 2],
        room: &mut Vec<f32>,
        out: &mut [Self],
        fill: impl Fn(&[f32], &mut [f32]),
    );
}

/// Plain single precision.
#[derive(Clone, Copy)]
struct Single<S>(S);

#[allow(unsafe_code)] // the callers answer for the instruction set, see the trait
impl<S: Simd> Lanes for Single<S> {
    type Item = f32;
    type Operand = S::V;
    type Sum = S::V;
    const ITEMS: usize = S::LANES;
    const REGISTERS: usize = S::REGISTERS;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> S::V {
        unsafe { S::load(p) }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> S::V {
        unsafe { S::splat(x) }
    }

    #[inline(always)]
    unsafe fn start(x: f32) -> S::V {
        unsafe { S::splat(x) }
    }

    #[inline(always)]
    unsafe fn add_product(a: S::V, b: S::V, sum: S::V) -> S::V {
        unsafe { S::fma(a, b, sum) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, sum: S::V) {
        unsafe { S::store(p, sum) }
    }

    #[inline(always)]
    unsafe fn total(sum: S::V) -> f32 {
        unsafe { S::sum(sum) }
    }
}

impl Element for f32 {
    const CHANNELS: usize = 1;

    fn run<K: LaneKernel<f32>>(kernel: K) {
        struct Plain<K>(K);
        impl<K: LaneKernel<f32>> simd::Kernel for Plain<K> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self) {
                self.0.run::<Single<S>>();
            }
        }
        simd::dispatch(Plain(kernel));
    }

    fn join(values: [f32; 2]) -> f32 {
        values[0]
    }

    fn lay_out(
        volumes: [Option<&[f32]>; 2],
        _room: &mut Vec<f32>,
        out: &mut [f32],
        fill: impl Fn(&[f32], &mut [f32]),
    ) {
        if let Some(volume) = volumes[0] {
            fill(volume, out);
        }
    }
}
