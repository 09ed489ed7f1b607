//! Where the pixels of a convolution come from: an array as it is, or one whose batch norm and
//! activation are applied while it is read, so that the result is never written to memory.

#![allow(unsafe_code)]

use crate::simd::Simd;

/// Planes of pixels that a transform reads.
pub(super) trait Source: Copy + Send + Sync {
    /// Values there are, of all planes.
    fn len(&self) -> usize;

    /// Writes `count` values from `first` on, which belong to `channel`, to `out`. Values of
    /// neighbouring planes may be among them; they get the arithmetic of `channel` too.
    ///
    /// # Safety
    /// The instruction set of `S` must be there, `first + count` must not be more than `len` and
    /// `out` must hold `count` values.
    unsafe fn read<S: Simd>(&self, channel: usize, first: usize, count: usize, out: *mut f32);

    /// The values themselves, where they need no arithmetic.
    fn in_place(&self) -> Option<*const f32>;
}

/// Values as they lie in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain<'a> {
    pub(super) values: &'a [f32],
}

impl Source for Plain<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.values.len()
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(&self, _: usize, first: usize, count: usize, out: *mut f32) {
        // SAFETY: `out` holds `count` values, and nobody else writes there.
        unsafe { std::ptr::copy_nonoverlapping(self.values.as_ptr().add(first), out, count) }
    }

    #[inline(always)]
    fn in_place(&self) -> Option<*const f32> {
        Some(self.values.as_ptr())
    }
}

/// `act(scale[c] · v + shift[c])`, act(v) = v above zero and slope · v below.
#[derive(Debug, Clone, Copy)]
pub(super) struct Normalised<'a> {
    pub(super) values: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) slope: f32,
}

impl Source for Normalised<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.values.len()
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(&self, channel: usize, first: usize, count: usize, out: *mut f32) {
        let from = &self.values[first..][..count];
        let (scale, shift) = (self.scale[channel], self.shift[channel]);
        // SAFETY: whole vectors below `count`, then single values.
        unsafe {
            let (a, b, slope) = (S::splat(scale), S::splat(shift), S::splat(self.slope));
            let mut i = 0;
            while i + S::LANES <= count {
                let v = S::fma(a, S::load(from.as_ptr().add(i)), b);
                S::store(out.add(i), S::where_positive(v, v, S::mul(slope, v)));
                i += S::LANES;
            }
            for (i, &v) in from.iter().enumerate().skip(i) {
                let v = scale * v + shift;
                *out.add(i) = if v > 0.0 { v } else { self.slope * v };
            }
        }
    }

    #[inline(always)]
    fn in_place(&self) -> Option<*const f32> {
        None
    }
}

/// The gradient of the values before a batch norm and activation from that after them:
/// `by_gradient[c] · g + by_value[c] · z + constant[c]`, with `g = dy` where
/// `scale[c] · z + shift[c] > 0` and `slope · dy` elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct NormGradient<'a> {
    pub(super) dy: &'a [f32],
    pub(super) z: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) slope: f32,
    pub(super) by_gradient: &'a [f32],
    pub(super) by_value: &'a [f32],
    pub(super) constant: &'a [f32],
}

impl Source for NormGradient<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.z.len()
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(&self, channel: usize, first: usize, count: usize, out: *mut f32) {
        let (dy, z) = (&self.dy[first..][..count], &self.z[first..][..count]);
        let (scale, shift) = (self.scale[channel], self.shift[channel]);
        let (by_gradient, by_value) = (self.by_gradient[channel], self.by_value[channel]);
        let constant = self.constant[channel];
        // SAFETY: whole vectors below `count`, then single values.
        unsafe {
            let (a, b, slope) = (S::splat(scale), S::splat(shift), S::splat(self.slope));
            let (p, q, r) = (S::splat(by_gradient), S::splat(by_value), S::splat(constant));
            let mut i = 0;
            while i + S::LANES <= count {
                let z = S::load(z.as_ptr().add(i));
                let dy = S::load(dy.as_ptr().add(i));
                let g = S::where_positive(S::fma(a, z, b), dy, S::mul(slope, dy));
                S::store(out.add(i), S::fma(p, g, S::fma(q, z, r)));
                i += S::LANES;
            }
            for i in i..count {
                let g = if scale * z[i] + shift > 0.0 { dy[i] } else { self.slope * dy[i] };
                *out.add(i) = by_gradient * g + (by_value * z[i] + constant);
            }
        }
    }

    #[inline(always)]
    fn in_place(&self) -> Option<*const f32> {
        None
    }
}
