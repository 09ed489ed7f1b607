//! 3x3 convolution of stride one that keeps the image size, by Winograd's F(4x4, 3x3): a quarter of
//! the multiplications, forward and for both gradients.
//!
//! Source: Lavin and Gray 2016, arXiv:1509.09308; points as in [`transform`]. All three products are
//! one bilinear form: with `V = Bᵀ x B`, `U = G w Gᵀ`, the output is `Aᵀ (U ⊙ V) A`; the gradient of
//! the weights is `Gᵀ (Σ (A dy Aᵀ) ⊙ V) G`, and the gradient of the image is the convolution of `dy`
//! with the reversed filters.
//!
//! Tiles are worked on in blocks whose points stay in a core's cache. Where there are many blocks,
//! threads share the blocks; where there are few (deep layers: small images, large filters) the
//! threads share the channels, and transformed filters never reach memory.

#![allow(unsafe_code)]

mod backward;
mod filter;
mod forward;
mod product;
mod source;
mod tiles;
mod transform;

use crate::norm::{Affine, Gradient, Part, Statistics};
use filter::Direction;
use source::{NormGradient, Normalised, Plain};

pub use backward::weight_gradient;
pub use forward::{forward, input_gradient};

/// Points of a tile: 6x6.
const POINTS: usize = 36;

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Images.
    pub batch: usize,
    /// Channels of the image.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Rows of image and output.
    pub rows: usize,
    /// Columns of image and output.
    pub columns: usize,
}

impl Sizes {
    fn area(&self) -> usize {
        self.rows * self.columns
    }

    fn grid(&self) -> tiles::Grid {
        tiles::Grid { batch: self.batch, rows: self.rows, columns: self.columns }
    }
}

/// Images a convolution reads, `[batch, channels, rows, columns]`, with what is done to them on the
/// way.
#[derive(Debug, Clone, Copy)]
pub enum Pixels<'a> {
    /// As they are.
    Plain(&'a [f32]),
    /// After a norm and its activation.
    Normalised(&'a [f32], &'a Affine),
    /// The gradient before a norm and activation, from that after them.
    Gradient {
        /// Gradient of the activated values.
        dy: &'a [f32],
        /// Values before the norm.
        z: &'a [f32],
        /// The norm.
        affine: &'a Affine,
        /// Its gradient.
        gradient: &'a Gradient,
    },
}

/// Calls `$body` with `$source` bound to the kind of source that `$pixels` is.
macro_rules! with_source {
    ($pixels:expr, |$source:ident| $body:expr) => {
        match $pixels {
            Pixels::Plain(values) => {
                let $source = &Plain { values };
                $body
            }
            Pixels::Normalised(values, a) => {
                let $source =
                    &Normalised { values, scale: &a.scale, shift: &a.shift, slope: a.slope };
                $body
            }
            Pixels::Gradient { dy, z, affine, gradient } => {
                assert_eq!(dy.len(), z.len(), "the gradient does not fit");
                let $source = &NormGradient {
                    dy,
                    z,
                    scale: &affine.scale,
                    shift: &affine.shift,
                    slope: affine.slope,
                    by_gradient: &gradient.by_gradient,
                    by_value: &gradient.by_value,
                    constant: &gradient.constant,
                };
                $body
            }
        }
    };
}

impl Pixels<'_> {
    /// Panics unless there are `channels` channels of `s`.
    fn check(&self, s: Sizes, channels: usize) {
        let (len, numbers) = match self {
            Self::Plain(x) => (x.len(), channels),
            Self::Normalised(x, affine) => (x.len(), affine.scale.len()),
            Self::Gradient { z, affine, .. } => (z.len(), affine.scale.len()),
        };
        assert!(len == s.batch * channels * s.area() && numbers == channels, "pixels do not fit");
    }
}

/// [`forward`] of what `x` reads, and the statistics of the output.
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn forward_with_statistics(
    s: Sizes,
    x: Pixels<'_>,
    weight: &[f32],
    bias: Option<&[f32]>,
) -> (Vec<f32>, Statistics) {
    x.check(s, s.inputs);
    let filters = forward::filters(s, weight, Direction::Forward);
    let mut sums = Vec::new();
    let y = with_source!(x, |x| forward::convolve(
        s.grid(),
        x,
        filters,
        forward::Output { bias, slope: 1.0, sums: Some(&mut sums) },
    ));
    let mut parts = vec![Part::EMPTY; s.outputs];
    for block in sums.chunks_exact(s.outputs) {
        for (part, sums) in parts.iter_mut().zip(block) {
            *part = part.join(sums.part());
        }
    }
    (y, Statistics::new(&parts))
}

/// [`forward`] with an activation of `slope` below zero behind it.
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn forward_activated(s: Sizes, x: &[f32], weight: &[f32], bias: &[f32], slope: f32) -> Vec<f32> {
    Pixels::Plain(x).check(s, s.inputs);
    let filters = forward::filters(s, weight, Direction::Forward);
    let output = forward::Output { bias: Some(bias), slope, sums: None };
    forward::convolve(s.grid(), &Plain { values: x }, filters, output)
}

/// [`input_gradient`] from the gradient that `dy` reads.
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn input_gradient_of(s: Sizes, dy: Pixels<'_>, weight: &[f32]) -> Vec<f32> {
    dy.check(s, s.outputs);
    let filters = forward::filters(s, weight, Direction::Backward);
    with_source!(dy, |dy| forward::convolve(s.grid(), dy, filters, forward::Output::PLAIN))
}

/// [`weight_gradient`] from the image that `x` and the gradient that `dy` reads.
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn weight_gradient_of(s: Sizes, x: Pixels<'_>, dy: Pixels<'_>) -> Vec<f32> {
    x.check(s, s.inputs);
    dy.check(s, s.outputs);
    with_source!(x, |x| with_source!(dy, |dy| backward::gradient(s, x, dy)))
}

/// A pointer that threads may share because they write to different places.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: every use states which places are whose.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn pointer(self) -> *mut f32 {
        self.0
    }
}

#[cfg(test)]
mod tests;
