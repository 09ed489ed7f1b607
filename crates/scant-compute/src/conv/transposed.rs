//! Transposed convolutions: the input gradient of an ordinary one, used as a layer.

use super::Geometry;
use crate::bf16::Precision;

/// A transposed convolution as PyTorch's `ConvTranspose3d` defines it (`ConvTranspose2d` where the depth
/// and its kernel are one).
///
/// # Shapes
/// - x: `[batch, inputs, image]`
/// - weight: `[inputs, outputs / groups, kernel]`
/// - bias: `[outputs]`
/// - y: `[batch, outputs, output image]`
///
/// Axes are depth, height, width; the output image has
/// `(image - 1) stride - 2 padding + dilation (kernel - 1) + output padding + 1` values along each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transposed {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Groups of channels that do not see each other; divides inputs and outputs.
    pub groups: usize,
    /// Size of the input.
    pub image: [usize; 3],
    /// Size of the kernel.
    pub kernel: [usize; 3],
    /// Distance of input pixels in the output.
    pub stride: [usize; 3],
    /// Values cut off from either side of the output.
    pub padding: [usize; 3],
    /// Values added at the end of the output, less than the stride.
    pub output_padding: [usize; 3],
    /// Distance of taps.
    pub dilation: [usize; 3],
    /// As [`Geometry::precision`].
    pub precision: Precision,
}

impl Transposed {
    /// Stride and dilation one, no padding, one group, single precision.
    #[must_use]
    pub fn plain(
        batch: usize,
        inputs: usize,
        outputs: usize,
        image: [usize; 3],
        kernel: [usize; 3],
    ) -> Self {
        Self {
            batch,
            inputs,
            outputs,
            groups: 1,
            image,
            kernel,
            stride: [1; 3],
            padding: [0; 3],
            output_padding: [0; 3],
            dilation: [1; 3],
            precision: Precision::Single,
        }
    }

    /// Size of the output image.
    ///
    /// # Panics
    /// When a size is zero, the output is empty, or the output padding is not less than the stride.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        std::array::from_fn(|a| {
            assert!(
                self.image[a] > 0 && self.kernel[a] > 0 && self.dilation[a] > 0,
                "image, kernel and dilation must be positive: {self:?}",
            );
            assert!(
                self.output_padding[a] < self.stride[a],
                "the output padding must be less than the stride: {self:?}",
            );
            let size = (self.image[a] - 1) * self.stride[a]
                + self.dilation[a] * (self.kernel[a] - 1)
                + self.output_padding[a]
                + 1;
            assert!(size > 2 * self.padding[a], "nothing is left of the output: {self:?}");
            size - 2 * self.padding[a]
        })
    }

    /// The convolution from the output of this one to its input.
    ///
    /// # Panics
    /// As [`output`](Self::output).
    #[must_use]
    pub fn adjoint(&self) -> Geometry {
        Geometry {
            batch: self.batch,
            inputs: self.outputs,
            outputs: self.inputs,
            groups: self.groups,
            image: self.output(),
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            precision: self.precision,
        }
    }
}

/// The transposed convolution of `x`. Shapes as in [`Transposed`].
///
/// # Panics
/// When the lengths do not fit, or as [`Transposed::output`].
#[must_use]
pub fn forward(t: &Transposed, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    if let Some(bias) = bias {
        assert_eq!(bias.len(), t.outputs, "one bias per output channel is needed");
    }
    super::back(&t.adjoint(), x, weight, bias)
}

/// The gradient of the input, given that of the output.
///
/// # Panics
/// As [`forward`].
#[must_use]
pub fn input_gradient(t: &Transposed, dy: &[f32], weight: &[f32]) -> Vec<f32> {
    super::forward(&t.adjoint(), dy, weight, None)
}

/// The gradient of the weight.
///
/// # Panics
/// As [`forward`].
#[must_use]
pub fn weight_gradient(t: &Transposed, x: &[f32], dy: &[f32]) -> Vec<f32> {
    super::weight_gradient(&t.adjoint(), dy, x)
}

#[cfg(test)]
mod tests;
