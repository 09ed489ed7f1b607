//! Convolutions of images and volumes: any kernel, stride, zero padding, dilation and groups, forward
//! and all gradients.
//!
//! Three by three pixels at stride one go to [Winograd](crate::winograd) where that is faster. A kernel
//! of one pixel is a matrix product of channels; everything else is a sum of shifted products over bands
//! that fit into the cache, without a column matrix. Two-dimensional convolutions are three-dimensional
//! ones of depth one. `depthwise` has the case of one channel per group to itself, [`transposed`] holds
//! the transposed convolution.

use rayon::prelude::*;

use crate::bf16::{self, Half, Pair, Precision};
use crate::{simd, winograd};

mod axis;
mod band;
mod correlate;
mod depthwise;
pub(crate) mod lanes;
mod pointwise;
pub(crate) mod product;
mod shifted;
mod tile;
pub mod transposed;

use axis::Axis;
use correlate::Correlation;
use pointwise::Pointwise;
use product::Shared;
use shifted::{Shifted, Weights};

/// Channels from which on Winograd's algorithm is faster, for outputs and input gradients and for weight
/// gradients, which transform both operands; and pixels of all images. See `Geometry::winograd`.
const LEAST_CHANNELS: usize = 8;
const LEAST_CHANNELS_BACK: usize = 16;
const LEAST_PIXELS: usize = 64;

/// A convolution as PyTorch's `Conv3d` defines it (`Conv2d` where the depth and its kernel are one).
///
/// # Shapes
/// - x: `[batch, inputs, image]`
/// - weight: `[outputs, inputs / groups, kernel]`
/// - bias: `[outputs]`
/// - y: `[batch, outputs, output image]`
///
/// Axes are depth, height, width; the output image has
/// `(image + 2 padding - dilation (kernel - 1) - 1) / stride + 1` values along each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
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
    /// Distance of output pixels in the input.
    pub stride: [usize; 3],
    /// Zeros on either side of the input.
    pub padding: [usize; 3],
    /// Distance of taps.
    pub dilation: [usize; 3],
    /// How inputs, weights and output gradients are rounded before they are multiplied. Depthwise
    /// convolutions that keep the image size are never rounded: they wait for memory anyway.
    pub precision: Precision,
}

impl Geometry {
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
            dilation: [1; 3],
            precision: Precision::Single,
        }
    }

    /// Size of the output image.
    ///
    /// # Panics
    /// When a size is zero, the groups do not divide the channels, or the kernel is larger than the
    /// padded image.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        let Self { image, kernel, stride, padding, dilation, .. } = *self;
        let sizes = [image, kernel, stride, dilation];
        assert!(
            sizes.iter().flatten().all(|&v| v > 0) && self.batch > 0 && self.groups > 0,
            "image, kernel, stride, dilation, batch and groups must be positive: {self:?}",
        );
        assert!(
            self.inputs > 0
                && self.outputs > 0
                && self.inputs.is_multiple_of(self.groups)
                && self.outputs.is_multiple_of(self.groups),
            "the groups must divide the channels: {self:?}",
        );
        std::array::from_fn(|a| {
            assert!(
                dilation[a] * (kernel[a] - 1) < image[a] + 2 * padding[a],
                "the kernel is larger than the padded image: {self:?}",
            );
            axis::output_size(image[a], kernel[a], stride[a], padding[a], dilation[a])
        })
    }

    /// Values of the input.
    #[must_use]
    pub fn x_len(&self) -> usize {
        self.batch * self.inputs * self.image.iter().product::<usize>()
    }

    /// Values of the output.
    ///
    /// # Panics
    /// As [`output`](Self::output).
    #[must_use]
    pub fn y_len(&self) -> usize {
        self.batch * self.outputs * self.output().iter().product::<usize>()
    }

    /// Values of the weight.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.outputs * self.inputs / self.groups * self.taps()
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    fn axes(&self, make: impl Fn(usize, usize, usize, usize, usize) -> Axis) -> [Axis; 3] {
        let Self { image, kernel, stride, padding, dilation, .. } = *self;
        std::array::from_fn(|a| make(image[a], kernel[a], stride[a], padding[a], dilation[a]))
    }

    fn pointwise(&self) -> Option<Pointwise> {
        let plain = self.precision == Precision::Single
            && self.kernel == [1; 3]
            && self.stride == [1; 3]
            && self.padding == [0; 3];
        plain.then(|| Pointwise {
            batch: self.batch,
            groups: self.groups,
            inputs: self.inputs / self.groups,
            outputs: self.outputs / self.groups,
            pixels: self.image.iter().product(),
        })
    }

    /// The sizes, where Winograd's algorithm takes this convolution and is faster than the direct way,
    /// given from how many channels on, in and out, it is with a large image. Measured on one core with
    /// AVX-512: transforming a pixel costs about as much as eight channels of direct products. With
    /// fewer pixels than a few vectors of tiles the transformed filters cost more than they save.
    fn winograd(&self, channels: usize) -> Option<winograd::Sizes> {
        let three_by_three = self.precision == Precision::Single
            && self.image[0] == 1
            && self.kernel == [1, 3, 3]
            && self.stride == [1; 3]
            && self.padding == [0, 1, 1]
            && self.dilation == [1; 3]
            && self.groups == 1;
        let [_, rows, columns] = self.image;
        let Self { batch, inputs, outputs, .. } = *self;
        let faster = inputs.min(outputs) >= channels && batch * rows * columns >= LEAST_PIXELS;
        (three_by_three && faster).then_some(winograd::Sizes {
            batch,
            inputs,
            outputs,
            rows,
            columns,
        })
    }

    fn check(&self, x: Option<usize>, weight: Option<usize>, y: Option<usize>) {
        let agrees = |name: &str, got: Option<usize>, want: usize| {
            if let Some(got) = got {
                assert_eq!(got, want, "{name} has {got} values, {self:?} needs {want}");
            }
        };
        agrees("y", y, self.y_len());
        agrees("x", x, self.x_len());
        agrees("weight", weight, self.weight_len());
    }
}

/// The convolution of `x`. Shapes as in [`Geometry`].
///
/// # Panics
/// When the lengths do not fit the geometry, or as [`Geometry::output`].
#[must_use]
pub fn forward(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    g.check(Some(x.len()), Some(weight.len()), None);
    if let Some(bias) = bias {
        assert_eq!(bias.len(), g.outputs, "one bias per output channel is needed");
    }
    if depthwise::applies(g) {
        return depthwise::convolve(g, x, weight, bias, false);
    }
    if let Some((x, weight, single)) = emulated(g, x, weight) {
        return forward(&single, &x, &weight, bias);
    }
    if let Some(s) = g.winograd(LEAST_CHANNELS) {
        return winograd::forward(s, x, weight, bias);
    }
    let (inputs, outputs, taps) = (g.inputs / g.groups, g.outputs / g.groups, g.taps());
    let shifted = Shifted {
        axes: g.axes(Axis::forward),
        kernel: g.kernel,
        batch: g.batch,
        groups: g.groups,
        sources: inputs,
        targets: outputs,
        weights: Weights {
            values: weight,
            group: outputs * inputs * taps,
            target: inputs * taps,
            source: taps,
        },
        bias,
    };
    direct(g, false, &shifted, x, g.y_len())
}

/// The gradient of the input, given that of the output.
///
/// # Panics
/// As [`forward`].
#[must_use]
pub fn input_gradient(g: &Geometry, dy: &[f32], weight: &[f32]) -> Vec<f32> {
    back(g, dy, weight, None)
}

/// The gradient of the input, plus a bias per input channel (for the transposed convolution).
fn back(g: &Geometry, dy: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    g.check(None, Some(weight.len()), Some(dy.len()));
    if depthwise::applies(g) {
        return depthwise::convolve(g, dy, weight, bias, true);
    }
    if let Some((dy, weight, single)) = emulated(g, dy, weight) {
        return back(&single, &dy, &weight, bias);
    }
    if let Some(s) = g.winograd(LEAST_CHANNELS).filter(|_| bias.is_none()) {
        return winograd::input_gradient(s, dy, weight);
    }
    let (inputs, outputs, taps) = (g.inputs / g.groups, g.outputs / g.groups, g.taps());
    let shifted = Shifted {
        axes: g.axes(Axis::backward),
        kernel: g.kernel,
        batch: g.batch,
        groups: g.groups,
        sources: outputs,
        targets: inputs,
        weights: Weights {
            values: weight,
            group: outputs * inputs * taps,
            target: taps,
            source: inputs * taps,
        },
        bias,
    };
    direct(g, true, &shifted, dy, g.x_len())
}

/// A convolution or its input gradient, `len` values, without any transform.
fn direct(
    g: &Geometry,
    transposed: bool,
    shifted: &Shifted<'_>,
    source: &[f32],
    len: usize,
) -> Vec<f32> {
    let write = |target: Shared| match (g.pointwise(), g.precision) {
        (Some(pointwise), _) => {
            let weight = shifted.weights.values;
            pointwise.product(transposed, source, weight, shifted.bias, target);
        }
        (None, Precision::Single) => shifted.run::<f32>(source, target),
        (None, Precision::Bfloat16) => shifted.run::<Pair>(source, target),
    };
    // SAFETY: each of the three writes every value of its target.
    #[allow(unsafe_code)]
    unsafe {
        Shared::written(len, write)
    }
}

/// The gradient of the weight.
///
/// # Panics
/// As [`forward`].
#[must_use]
pub fn weight_gradient(g: &Geometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
    g.check(Some(x.len()), None, Some(dy.len()));
    if let Some((x, dy, single)) = emulated(g, x, dy) {
        return weight_gradient(&single, &x, &dy);
    }
    if let Some(s) = g.winograd(LEAST_CHANNELS_BACK) {
        return winograd::weight_gradient(s, x, dy);
    }
    let mut dw = vec![0.0; g.weight_len()];
    direct_weight_gradient(g, x, dy, &mut dw);
    dw
}

/// Sets the gradient of the weight, without any transform.
fn direct_weight_gradient(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    if depthwise::applies(g) {
        return depthwise::weight_gradient(g, x, dy, dw);
    }
    // Long sums of many channels go faster where vectors run along them.
    let long = |p: &Pointwise| p.pixels >= 2048 && p.inputs >= 16 && p.outputs >= 16;
    if let Some(pointwise) = g.pointwise().filter(|p| !long(p)) {
        return pointwise.weight_gradient(x, dy, dw);
    }
    let correlation = Correlation {
        axes: g.axes(Axis::forward),
        kernel: g.kernel,
        batch: g.batch,
        groups: g.groups,
        inputs: g.inputs / g.groups,
        outputs: g.outputs / g.groups,
    };
    match g.precision {
        Precision::Single => correlation.run::<f32>(x, dy, dw),
        Precision::Bfloat16 => correlation.run::<Half>(x, dy, dw),
    }
}

/// Both operands rounded and the same convolution in single precision, where the processor cannot
/// multiply bfloat16.
fn emulated(g: &Geometry, a: &[f32], b: &[f32]) -> Option<(Vec<f32>, Vec<f32>, Geometry)> {
    let needed = g.precision == Precision::Bfloat16 && !bf16::hardware() && !depthwise::applies(g);
    let single = Geometry { precision: Precision::Single, ..*g };
    needed.then(|| (bf16::rounded_all(a), bf16::rounded_all(b), single))
}

/// The gradient of the bias, `[channels]`: `dy [batch, channels, pixels]` summed over images and pixels.
///
/// # Panics
/// When `dy` does not hold a whole number of images of as many channels.
#[must_use]
pub fn bias_gradient(batch: usize, channels: usize, dy: &[f32]) -> Vec<f32> {
    assert!(
        batch > 0 && channels > 0 && dy.len().is_multiple_of(batch * channels),
        "{} values are not {batch} images of {channels} channels",
        dy.len(),
    );
    let pixels = dy.len() / (batch * channels);
    let sum = |channel: usize| {
        let plane = |b: usize| &dy[(b * channels + channel) * pixels..][..pixels];
        (0..batch).map(|b| plane_sum(plane(b))).sum::<f64>() as f32
    };
    (0..channels).into_par_iter().map(sum).collect()
}

/// Sum of a plane in double precision: sixteen running sums, which wait for memory anyway.
fn plane_sum(values: &[f32]) -> f64 {
    simd::vectorise(|| {
        let (parts, rest) = values.as_chunks::<16>();
        let mut lanes = [0.0_f64; 16];
        for part in parts {
            lanes.iter_mut().zip(part).for_each(|(lane, &v)| *lane += f64::from(v));
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|&v| f64::from(v)).sum::<f64>()
    })
}

#[cfg(test)]
mod tests;
