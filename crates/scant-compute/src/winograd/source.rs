//! Where the pixels of a convolution come from: an array as it is, or one to which something is done
//! while it is read (batch norm and activation, doubling, joining), so that the result is never
//! written to memory.

#![allow(unsafe_code)]

use crate::simd::{self, MAX_LANES, Simd};

/// A place in a batch of images; the column may lie one left of the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) image: usize,
    pub(super) channel: usize,
    pub(super) row: usize,
    pub(super) column: isize,
}

/// Pixels that a transform reads.
pub(super) trait Source: Copy + Send + Sync {
    /// Whether `width` values from `at` on, of its row and the `below` rows below it, may be read,
    /// whether or not they all belong to the image.
    fn may_read(&self, at: Place, below: usize, width: usize) -> bool;

    /// Writes `count` values of a row from `at` on to `out`; those outside of the image are
    /// arbitrary.
    ///
    /// # Safety
    /// The instruction set of `S` must be there, `out` must hold `count` values and, unless these lie
    /// in the image, [`may_read`](Source::may_read) must allow whole vectors.
    unsafe fn read<S: Simd>(&self, at: Place, count: usize, out: *mut f32);

    /// The values themselves, where they need no arithmetic.
    fn in_place(&self, at: Place) -> Option<*const f32>;
}

/// How `[batch, channels, rows, columns]` lies in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) channels: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Layout {
    /// The index of a place; wraps where that lies before the first value.
    #[inline(always)]
    fn index(&self, at: Place) -> usize {
        let row = ((at.image * self.channels + at.channel) * self.rows + at.row) * self.columns;
        row.wrapping_add_signed(at.column)
    }

    #[inline(always)]
    fn may_read(&self, len: usize, at: Place, below: usize, width: usize) -> bool {
        let first = self.index(at);
        // A wrapped index is larger than any array.
        first <= len && first + below * self.columns + width <= len
    }

    fn area(&self) -> usize {
        self.rows * self.columns
    }
}

/// Values as they lie in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain<'a> {
    pub(super) values: &'a [f32],
    pub(super) layout: Layout,
}

impl Source for Plain<'_> {
    #[inline(always)]
    fn may_read(&self, at: Place, below: usize, width: usize) -> bool {
        self.layout.may_read(self.values.len(), at, below, width)
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(&self, at: Place, count: usize, out: *mut f32) {
        let from = &self.values[self.layout.index(at)..][..count];
        // SAFETY: `out` holds `count` values, and nobody else writes there.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), out, count) }
    }

    /// Also asks for the same place of the next channel, which comes next: the rows are too short for
    /// the processor to guess.
    #[inline(always)]
    fn in_place(&self, at: Place) -> Option<*const f32> {
        let p = self.values.as_ptr().wrapping_add(self.layout.index(at));
        let next = p.wrapping_add(self.layout.area());
        for v in (0..5 * MAX_LANES).step_by(MAX_LANES) {
            simd::prefetch::<false>(next.wrapping_add(v));
        }
        Some(p)
    }
}

/// Every pixel as a square of four: nearest-neighbour up-sampling by two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubled<'a> {
    pub(super) values: &'a [f32],
    /// Of the values, before doubling.
    pub(super) layout: Layout,
}

impl Doubled<'_> {
    #[inline(always)]
    fn half(at: Place) -> Place {
        Place { row: at.row / 2, column: at.column.div_euclid(2), ..at }
    }
}

impl Source for Doubled<'_> {
    #[inline(always)]
    fn may_read(&self, at: Place, below: usize, width: usize) -> bool {
        // A vector more, because vectors are read whole of which half is used.
        let width = width / 2 + 2 * MAX_LANES;
        self.layout.may_read(self.values.len(), Self::half(at), below.div_ceil(2), width)
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(&self, at: Place, count: usize, out: *mut f32) {
        let first = self.layout.index(Self::half(at));
        let phase = at.column.rem_euclid(2) as usize;
        // SAFETY: the caller allows whole vectors, or else all that is used lies in the image.
        unsafe {
            let from = self.values.as_ptr().wrapping_add(first);
            let mut i = 0;
            while i + S::LANES <= count && first + i / 2 + S::LANES <= self.values.len() {
                S::store(out.add(i), S::load_twice(from.add(i / 2), phase));
                i += S::LANES;
            }
            for i in i..count {
                *out.add(i) = *from.add((i + phase) / 2);
            }
        }
    }

    #[inline(always)]
    fn in_place(&self, _: Place) -> Option<*const f32> {
        None
    }
}

/// The channels of one source, then those of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined<A, B> {
    pub(super) first: A,
    /// Channels of the first.
    pub(super) split: usize,
    pub(super) second: B,
}

impl<A: Source, B: Source> Source for Joined<A, B> {
    #[inline(always)]
    fn may_read(&self, at: Place, below: usize, width: usize) -> bool {
        match at.channel.checked_sub(self.split) {
            None => self.first.may_read(at, below, width),
            Some(channel) => self.second.may_read(Place { channel, ..at }, below, width),
        }
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(&self, at: Place, count: usize, out: *mut f32) {
        // SAFETY: the caller's promise, for the half that the channel lies in.
        unsafe {
            match at.channel.checked_sub(self.split) {
                None => self.first.read::<S>(at, count, out),
                Some(channel) => self.second.read::<S>(Place { channel, ..at }, count, out),
            }
        }
    }

    #[inline(always)]
    fn in_place(&self, at: Place) -> Option<*const f32> {
        match at.channel.checked_sub(self.split) {
            None => self.first.in_place(at),
            Some(channel) => self.second.in_place(Place { channel, ..at }),
        }
    }
}

/// `act(scale[c] · v + shift[c])`, act(v) = v above zero and slope · v below.
#[derive(Debug, Clone, Copy)]
pub(super) struct Normalised<'a> {
    pub(super) values: &'a [f32],
    pub(super) layout: Layout,
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) slope: f32,
}

impl Source for Normalised<'_> {
    #[inline(always)]
    fn may_read(&self, at: Place, below: usize, width: usize) -> bool {
        self.layout.may_read(self.values.len(), at, below, width)
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(&self, at: Place, count: usize, out: *mut f32) {
        let from = &self.values[self.layout.index(at)..][..count];
        let (scale, shift) = (self.scale[at.channel], self.shift[at.channel]);
        // SAFETY: whole vectors below `count`, then single values.
        unsafe {
            let (a, b, slope) = (S::splat(scale), S::splat(shift), S::splat(self.slope));
            let next = from.as_ptr().wrapping_add(self.layout.area());
            let mut i = 0;
            while i + S::LANES <= count {
                simd::prefetch::<false>(next.wrapping_add(i));
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
    fn in_place(&self, _: Place) -> Option<*const f32> {
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
    pub(super) layout: Layout,
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) slope: f32,
    pub(super) by_gradient: &'a [f32],
    pub(super) by_value: &'a [f32],
    pub(super) constant: &'a [f32],
}

impl Source for NormGradient<'_> {
    #[inline(always)]
    fn may_read(&self, at: Place, below: usize, width: usize) -> bool {
        self.layout.may_read(self.z.len(), at, below, width)
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(&self, at: Place, count: usize, out: *mut f32) {
        let (first, channel) = (self.layout.index(at), at.channel);
        let (dy, z) = (&self.dy[first..][..count], &self.z[first..][..count]);
        let (scale, shift) = (self.scale[channel], self.shift[channel]);
        let (by_gradient, by_value) = (self.by_gradient[channel], self.by_value[channel]);
        let constant = self.constant[channel];
        // SAFETY: whole vectors below `count`, then single values.
        unsafe {
            let (a, b, slope) = (S::splat(scale), S::splat(shift), S::splat(self.slope));
            let (p, q, r) = (S::splat(by_gradient), S::splat(by_value), S::splat(constant));
            let area = self.layout.area();
            let mut i = 0;
            while i + S::LANES <= count {
                simd::prefetch::<false>(z.as_ptr().wrapping_add(area + i));
                simd::prefetch::<false>(dy.as_ptr().wrapping_add(area + i));
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
    fn in_place(&self, _: Place) -> Option<*const f32> {
        None
    }
}
