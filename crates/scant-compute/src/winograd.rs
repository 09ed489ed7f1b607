//! 3x3 convolution of stride one that keeps the image size, by Winograd's F(4x4, 3x3): a quarter of
//! the multiplications, forward and for both gradients.
//!
//! Source: Lavin and Gray 2016, arXiv:1509.09308; points as in `transform`. All three products are
//! one bilinear form: with `V = Bᵀ x B`, `U = G w Gᵀ`, the output is `Aᵀ (U ⊙ V) A`; the gradient of
//! the weights is `Gᵀ (Σ (A dy Aᵀ) ⊙ V) G`, and the gradient of the image is the convolution of `dy`
//! with the reversed filters.
//!
//! With [`Precision::Bfloat16`] the points are rounded to bfloat16 before they are multiplied, and
//! added up in `f32`. The transforms then enlarge the error: about 1.2 % of the norm of the output,
//! where rounding the operands of a direct convolution costs 0.3 %.
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

use crate::bf16::Precision;
use crate::norm::{Affine, Gradient, Part, Statistics};
use filter::Direction;
use source::{Doubled, Joined, Layout, NormGradient, Normalised, Plain};

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

    fn layout(&self, channels: usize) -> Layout {
        Layout { channels, rows: self.rows, columns: self.columns }
    }

    /// `values` of `channels` channels as they are.
    fn plain<'a>(&self, values: &'a [f32], channels: usize) -> Plain<'a> {
        Plain { values, layout: self.layout(channels) }
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
    /// Images of half the rows and columns, each pixel as a square of four: nearest-neighbour
    /// up-sampling by two.
    Doubled(&'a [f32]),
    /// The channels of the first array, as many as stated, then those of the second.
    Joined(&'a [f32], usize, &'a [f32]),
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

/// Calls `$body` with `$source` bound to the kind of source that `$pixels`, of `$channels` channels
/// of the sizes `$s`, is.
macro_rules! with_source {
    ($s:expr, $channels:expr, $pixels:expr, |$source:ident| $body:expr) => {
        match $pixels {
            Pixels::Plain(values) => {
                let $source = &$s.plain(values, $channels);
                $body
            }
            Pixels::Normalised(values, a) => {
                let $source = &Normalised {
                    values,
                    layout: $s.layout($channels),
                    scale: &a.scale,
                    shift: &a.shift,
                    slope: a.slope,
                };
                $body
            }
            Pixels::Doubled(values) => {
                let (rows, columns) = ($s.rows / 2, $s.columns / 2);
                let layout = Layout { channels: $channels, rows, columns };
                let $source = &Doubled { values, layout };
                $body
            }
            Pixels::Joined(first, split, second) => {
                let second = $s.plain(second, $channels - split);
                let $source = &Joined { first: $s.plain(first, split), split, second };
                $body
            }
            Pixels::Gradient { .. } => panic!("a gradient is not an image"),
        }
    };
}

/// As `with_source!`, for gradients of outputs.
macro_rules! with_gradient {
    ($s:expr, $pixels:expr, |$source:ident| $body:expr) => {
        match $pixels {
            Pixels::Plain(dy) => {
                let $source = &$s.plain(dy, $s.outputs);
                $body
            }
            Pixels::Gradient { dy, z, affine, gradient } => {
                let $source = &NormGradient {
                    dy,
                    z,
                    layout: $s.layout($s.outputs),
                    scale: &affine.scale,
                    shift: &affine.shift,
                    slope: affine.slope,
                    by_gradient: &gradient.by_gradient,
                    by_value: &gradient.by_value,
                    constant: &gradient.constant,
                };
                $body
            }
            _ => panic!("an image is not a gradient"),
        }
    };
}

impl Pixels<'_> {
    /// Panics unless there are `channels` channels of `s`.
    fn check(&self, s: Sizes, channels: usize) {
        let plane = s.batch * s.area();
        let fits = match self {
            Self::Plain(x) => x.len() == plane * channels,
            Self::Normalised(x, affine) => {
                x.len() == plane * channels && affine.scale.len() == channels
            }
            Self::Gradient { dy, z, affine, .. } => {
                let numbers = affine.scale.len() == channels && dy.len() == z.len();
                numbers && z.len() == plane * channels
            }
            Self::Doubled(x) => s.rows % 2 + s.columns % 2 == 0 && 4 * x.len() == plane * channels,
            Self::Joined(first, split, second) => {
                first.len() == plane * split && second.len() + first.len() == plane * channels
            }
        };
        assert!(fits, "pixels do not fit");
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
    precision: Precision,
) -> (Vec<f32>, Statistics) {
    x.check(s, s.inputs);
    let filters = forward::filters(s, weight, Direction::Forward, precision);
    let mut sums = Vec::new();
    let output = forward::Output { bias, sums: Some(&mut sums), ..forward::Output::PLAIN };
    let (y, _) = with_source!(s, s.inputs, x, |x| forward::convolve(s.grid(), x, filters, output));
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
pub fn forward_activated(
    s: Sizes,
    x: Pixels<'_>,
    weight: &[f32],
    bias: &[f32],
    slope: f32,
    precision: Precision,
) -> Vec<f32> {
    x.check(s, s.inputs);
    let filters = forward::filters(s, weight, Direction::Forward, precision);
    let output = forward::Output { bias: Some(bias), slope, ..forward::Output::PLAIN };
    with_source!(s, s.inputs, x, |x| forward::convolve(s.grid(), x, filters, output)).0
}

/// [`input_gradient`] from the gradient that `dy` reads, of an image of the kind of `like`: one array,
/// two for joined images.
///
/// # Panics
/// When a length does not fit, or `like` is an image whose gradient would be that of a norm.
#[must_use]
pub fn input_gradient_of(
    s: Sizes,
    dy: Pixels<'_>,
    weight: &[f32],
    like: Pixels<'_>,
    precision: Precision,
) -> (Vec<f32>, Option<Vec<f32>>) {
    dy.check(s, s.outputs);
    like.check(s, s.inputs);
    let filters = forward::filters(s, weight, Direction::Backward, precision);
    let (split, halved) = match like {
        Pixels::Joined(_, split, _) => (Some(split), false),
        Pixels::Doubled(_) => (None, true),
        // Of the values after the norm.
        Pixels::Plain(_) | Pixels::Normalised(..) => (None, false),
        Pixels::Gradient { .. } => panic!("a gradient is not an image"),
    };
    let output = forward::Output { split, halved, ..forward::Output::PLAIN };
    let (first, second) =
        with_gradient!(s, dy, |dy| forward::convolve(s.grid(), dy, filters, output));
    (first, split.map(|_| second))
}

/// [`weight_gradient`] from the image that `x` and the gradient that `dy` reads.
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn weight_gradient_of(
    s: Sizes,
    x: Pixels<'_>,
    dy: Pixels<'_>,
    precision: Precision,
) -> Vec<f32> {
    x.check(s, s.inputs);
    dy.check(s, s.outputs);
    with_source!(s, s.inputs, x, |x| with_gradient!(s, dy, |dy| backward::gradient(
        s, x, dy, precision
    )))
}

/// A pointer that threads may share because they write to different places.
#[derive(Debug, Clone, Copy)]
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
