//! Convolutions and transposed convolutions of images and volumes, with gradients.
//!
//! On the CPU, `scant_compute::conv` chooses the way by the shape: Winograd's algorithm for three by three
//! pixels at stride one, matrix products for single pixels, shifted products over bands of the image for
//! everything else; there is no column matrix. They multiply in the
//! [`precision`](crate::precision()) in force when they are called, and so do their gradients. Other
//! devices take burn's operators.

mod node;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor, module, ops};
use scant_compute::conv::Geometry;
use scant_compute::conv::transposed::Transposed;

use crate::{on_cpu, precision};
use node::{Convolve, Layer};

/// How a kernel slides over an image of `D` axes; the fields are those of PyTorch's `Conv2d` and
/// `Conv3d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvOptions<const D: usize> {
    /// Distance of output pixels in the input.
    pub stride: [usize; D],
    /// Zeros on either side of the input.
    pub padding: [usize; D],
    /// Distance of taps.
    pub dilation: [usize; D],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl<const D: usize> Default for ConvOptions<D> {
    /// Stride and dilation one, no padding, one group.
    fn default() -> Self {
        Self { stride: [1; D], padding: [0; D], dilation: [1; D], groups: 1 }
    }
}

impl<const D: usize> ConvOptions<D> {
    fn burn(&self) -> ops::ConvOptions<D> {
        ops::ConvOptions::new(self.stride, self.padding, self.dilation, self.groups)
    }
}

/// How the kernel of a transposed convolution spreads over an image of `D` axes; the fields are those of
/// PyTorch's `ConvTranspose2d` and `ConvTranspose3d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvTransposeOptions<const D: usize> {
    /// Distance of input pixels in the output.
    pub stride: [usize; D],
    /// Values cut off from either side of the output.
    pub padding: [usize; D],
    /// Values added at the end of the output, less than the stride.
    pub output_padding: [usize; D],
    /// Distance of taps.
    pub dilation: [usize; D],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl<const D: usize> Default for ConvTransposeOptions<D> {
    /// Stride and dilation one, no padding, one group.
    fn default() -> Self {
        Self {
            stride: [1; D],
            padding: [0; D],
            output_padding: [0; D],
            dilation: [1; D],
            groups: 1,
        }
    }
}

impl<const D: usize> ConvTransposeOptions<D> {
    fn burn(&self) -> ops::ConvTransposeOptions<D> {
        let Self { stride, padding, output_padding, dilation, groups } = *self;
        ops::ConvTransposeOptions::new(stride, padding, output_padding, dilation, groups)
    }
}

/// Convolution of images: `conv2d` of PyTorch.
///
/// # Shapes
/// - x: `[B, Ci, H, W]`
/// - weight: `[Co, Ci / groups, kh, kw]`
/// - bias: `[Co]`
/// - output: `[B, Co, (H + 2 padding - dilation (kh - 1) - 1) / stride + 1, ...]`, rounded down
///
/// # Panics
/// When the shapes do not fit, the groups do not divide the channels, or the kernel is larger than the
/// padded image.
#[must_use]
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let geometry = geometry(&x, &weight, bias.as_ref(), &options);
    if native(&x, &weight, bias.as_ref()) {
        layer(x, weight, bias, Layer::Plain(geometry))
    } else {
        module::conv2d(x, weight, bias, options.burn())
    }
}

/// Convolution of volumes: `conv3d` of PyTorch.
///
/// # Shapes
/// - x: `[B, Ci, D, H, W]`
/// - weight: `[Co, Ci / groups, kd, kh, kw]`
/// - bias: `[Co]`
/// - output: `[B, Co, (D + 2 padding - dilation (kd - 1) - 1) / stride + 1, ...]`, rounded down
///
/// # Panics
/// As [`conv2d`].
#[must_use]
pub fn conv3d(
    x: Tensor<5>,
    weight: Tensor<5>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<3>,
) -> Tensor<5> {
    let geometry = geometry(&x, &weight, bias.as_ref(), &options);
    if native(&x, &weight, bias.as_ref()) {
        layer(x, weight, bias, Layer::Plain(geometry))
    } else {
        module::conv3d(x, weight, bias, options.burn())
    }
}

/// Transposed convolution of images: `conv_transpose2d` of PyTorch.
///
/// # Shapes
/// - x: `[B, Ci, H, W]`
/// - weight: `[Ci, Co / groups, kh, kw]`
/// - bias: `[Co]`
/// - output: `[B, Co, (H - 1) stride - 2 padding + dilation (kh - 1) + output padding + 1, ...]`
///
/// # Panics
/// When the shapes do not fit, the groups do not divide the channels, the output padding is not less
/// than the stride, or nothing is left of the output.
#[must_use]
pub fn conv_transpose2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvTransposeOptions<2>,
) -> Tensor<4> {
    let transposed = transposed(&x, &weight, bias.as_ref(), &options);
    if native(&x, &weight, bias.as_ref()) {
        layer(x, weight, bias, Layer::Transposed(transposed))
    } else {
        module::conv_transpose2d(x, weight, bias, options.burn())
    }
}

/// Transposed convolution of volumes: `conv_transpose3d` of PyTorch.
///
/// # Shapes
/// - x: `[B, Ci, D, H, W]`
/// - weight: `[Ci, Co / groups, kd, kh, kw]`
/// - bias: `[Co]`
/// - output: `[B, Co, (D - 1) stride - 2 padding + dilation (kd - 1) + output padding + 1, ...]`
///
/// # Panics
/// As [`conv_transpose2d`].
#[must_use]
pub fn conv_transpose3d(
    x: Tensor<5>,
    weight: Tensor<5>,
    bias: Option<Tensor<1>>,
    options: ConvTransposeOptions<3>,
) -> Tensor<5> {
    let transposed = transposed(&x, &weight, bias.as_ref(), &options);
    if native(&x, &weight, bias.as_ref()) {
        layer(x, weight, bias, Layer::Transposed(transposed))
    } else {
        module::conv_transpose3d(x, weight, bias, options.burn())
    }
}

/// Whether the loops of `scant-compute` may take these tensors.
fn native<const R: usize>(x: &Tensor<R>, weight: &Tensor<R>, bias: Option<&Tensor<1>>) -> bool {
    let single = x.dtype() == DType::F32
        && weight.dtype() == DType::F32
        && bias.is_none_or(|b| b.dtype() == DType::F32);
    single && on_cpu(&x.device())
}

fn layer<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<R>,
    bias: Option<Tensor<1>>,
    layer: Layer,
) -> Tensor<R> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => {
            <Dispatch as Convolve>::convolution_with_bias(x, weight, bias.into_dispatch(), layer)
        }
        None => <Dispatch as Convolve>::convolution(x, weight, layer),
    })
}

/// The last axes of a shape, or values for them, as depth, height and width; `fill` where there is no
/// depth.
fn volume(axes: &[usize], fill: usize) -> [usize; 3] {
    match *axes {
        [height, width] => [fill, height, width],
        [depth, height, width] => [depth, height, width],
        _ => unreachable!("the public functions have two or three axes"),
    }
}

fn geometry<const R: usize, const D: usize>(
    x: &Tensor<R>,
    weight: &Tensor<R>,
    bias: Option<&Tensor<1>>,
    options: &ConvOptions<D>,
) -> Geometry {
    let (image, kernel) = (x.dims(), weight.dims());
    let geometry = Geometry {
        batch: image[0],
        inputs: image[1],
        outputs: kernel[0],
        groups: options.groups,
        image: volume(&image[2..], 1),
        kernel: volume(&kernel[2..], 1),
        stride: volume(&options.stride, 1),
        padding: volume(&options.padding, 0),
        dilation: volume(&options.dilation, 1),
        precision: precision(),
    };
    let _ = geometry.output();
    assert_eq!(
        kernel[1] * options.groups,
        image[1],
        "a kernel of shape {kernel:?} in {} groups does not fit an image of shape {image:?}",
        options.groups,
    );
    check_bias(bias, kernel[0]);
    geometry
}

fn transposed<const R: usize, const D: usize>(
    x: &Tensor<R>,
    weight: &Tensor<R>,
    bias: Option<&Tensor<1>>,
    options: &ConvTransposeOptions<D>,
) -> Transposed {
    let (image, kernel) = (x.dims(), weight.dims());
    let transposed = Transposed {
        batch: image[0],
        inputs: image[1],
        outputs: kernel[1] * options.groups,
        groups: options.groups,
        image: volume(&image[2..], 1),
        kernel: volume(&kernel[2..], 1),
        stride: volume(&options.stride, 1),
        padding: volume(&options.padding, 0),
        output_padding: volume(&options.output_padding, 0),
        dilation: volume(&options.dilation, 1),
        precision: precision(),
    };
    let _ = transposed.adjoint().output();
    assert_eq!(
        kernel[0], image[1],
        "a kernel of shape {kernel:?} does not fit an image of shape {image:?}",
    );
    check_bias(bias, transposed.outputs);
    transposed
}

fn check_bias(bias: Option<&Tensor<1>>, outputs: usize) {
    if let Some(bias) = bias {
        assert_eq!(bias.dims(), [outputs], "one bias per output channel is needed");
    }
}

#[cfg(test)]
mod tests;
