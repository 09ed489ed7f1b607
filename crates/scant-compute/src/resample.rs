//! Up- and down-sampling to a given size over two or three axes, with gradients.
//!
//! Values are `[planes, depth, height, width]`, a plane being one channel of one image; two
//! dimensions are a depth of one. Source positions are those of PyTorch's `interpolate` with a
//! given `size`. Work is cut along the rows that are written, gradients included (they gather), so
//! results do not depend on the number of threads.

mod axis;
mod linear;
mod nearest;

pub use linear::{linear, linear_gradient};
pub use nearest::{nearest, nearest_gradient};

pub use axis::{Blend, nearest_sources};

/// From which size to which, axes in the order depth, height, width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    from: [usize; 3],
    to: [usize; 3],
}

impl Resize {
    /// From planes of one size to planes of another.
    ///
    /// # Panics
    /// When a side is zero.
    #[must_use]
    pub fn new(from: [usize; 3], to: [usize; 3]) -> Self {
        let sides = from.iter().chain(&to);
        assert!(sides.copied().all(|n| n > 0), "sides must not be zero: {from:?} to {to:?}");
        Self { from, to }
    }

    /// Size of a plane of the input.
    #[must_use]
    pub fn input(&self) -> [usize; 3] {
        self.from
    }

    /// Size of a plane of the output.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        self.to
    }

    /// Holds the lengths of input and output against each other.
    fn check(&self, input: usize, output: usize) {
        let (from, to): (usize, usize) = (self.from.iter().product(), self.to.iter().product());
        assert_eq!(input % from, 0, "{input} values are not planes of {:?}", self.from);
        assert_eq!(input / from * to, output, "the output has another size than {:?}", self.to);
    }
}

#[cfg(test)]
mod tests;
