//! Convolutions of any kernel, stride, padding, dilation and groups.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use scant_kernels::{ConvOptions, conv2d, conv3d};

/// What a convolution is made from, before it has weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape<const D: usize> {
    /// Channels of the input.
    pub input: usize,
    /// Channels of the output.
    pub output: usize,
    /// Size of the kernel along each axis.
    pub kernel: [usize; D],
    /// How it slides.
    pub options: ConvOptions<D>,
    /// Whether a value per output channel is added.
    pub bias: bool,
}

impl<const D: usize> ConvShape<D> {
    /// Stride one, no padding, one group, with bias.
    #[must_use]
    pub fn new(input: usize, output: usize, kernel: [usize; D]) -> Self {
        Self { input, output, kernel, options: ConvOptions::default(), bias: true }
    }

    /// The same with zeros around, so that an odd kernel keeps the image size where the stride is one.
    #[must_use]
    pub fn padded(mut self) -> Self {
        self.options.padding = self.kernel.map(|k| k / 2);
        self
    }

    /// The same with a stride.
    #[must_use]
    pub fn strided(mut self, stride: [usize; D]) -> Self {
        self.options.stride = stride;
        self
    }

    /// The same in groups of channels; as many as there are channels make it depthwise.
    #[must_use]
    pub fn grouped(mut self, groups: usize) -> Self {
        self.options.groups = groups;
        self
    }

    /// The same without bias.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    pub(super) fn inputs_per_group(&self) -> usize {
        let groups = self.options.groups;
        assert!(
            groups > 0 && self.input.is_multiple_of(groups) && self.output.is_multiple_of(groups),
            "{groups} groups do not divide {} and {} channels",
            self.input,
            self.output,
        );
        self.input / groups
    }
}

/// Zeros, one per output channel, where there is a bias.
pub(super) fn zero_bias(wanted: bool, output: usize, device: &Device) -> Option<Param<Tensor<1>>> {
    wanted.then(|| Initializer::Zeros.init([output], device))
}

/// A convolution of images. Parameters are named as in PyTorch's `Conv2d`.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[output, input / groups, kh, kw]`
    weight: Param<Tensor<4>>,
    /// `[output]`
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    options: ConvOptions<2>,
}

impl Conv2d {
    /// All zero; values are set by [`crate::weights::initialise`].
    ///
    /// # Panics
    /// When the groups do not divide the channels.
    #[must_use]
    pub fn new(shape: ConvShape<2>, device: &Device) -> Self {
        let [rows, columns] = shape.kernel;
        let weight = [shape.output, shape.inputs_per_group(), rows, columns];
        Self {
            weight: Initializer::Zeros.init(weight, device),
            bias: zero_bias(shape.bias, shape.output, device),
            options: shape.options,
        }
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, (H + 2 padding - dilation (kh - 1) - 1) / stride + 1, ...]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.options)
    }
}

/// A convolution of volumes. Parameters are named as in PyTorch's `Conv3d`.
#[derive(Module, Debug)]
pub struct Conv3d {
    /// `[output, input / groups, kd, kh, kw]`
    weight: Param<Tensor<5>>,
    /// `[output]`
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    options: ConvOptions<3>,
}

impl Conv3d {
    /// All zero; values are set by [`crate::weights::initialise`].
    ///
    /// # Panics
    /// When the groups do not divide the channels.
    #[must_use]
    pub fn new(shape: ConvShape<3>, device: &Device) -> Self {
        let [depth, rows, columns] = shape.kernel;
        let weight = [shape.output, shape.inputs_per_group(), depth, rows, columns];
        Self {
            weight: Initializer::Zeros.init(weight, device),
            bias: zero_bias(shape.bias, shape.output, device),
            options: shape.options,
        }
    }

    /// # Shapes
    /// - x: `[B, input, D, H, W]`
    /// - output: `[B, output, (D + 2 padding - dilation (kd - 1) - 1) / stride + 1, ...]`
    #[must_use]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        conv3d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const R: usize>(t: &Tensor<R>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    #[test]
    fn a_window_of_ones_counts_the_pixels_it_sees() {
        let device = Device::flex();
        let shape = ConvShape::new(2, 1, [3, 3]).padded().strided([2, 2]);
        let mut conv = Conv2d::new(shape, &device);
        conv.weight = conv.weight.map(|w| w.ones_like());
        conv.bias = conv.bias.map(|b| b.map(|b| b.ones_like() * 0.5));
        let y = conv.forward(Tensor::ones([1, 2, 3, 3], &device));
        // Two channels of the two by two pixels in each corner.
        assert_eq!(y.dims(), [1, 1, 2, 2]);
        assert_eq!(values(&y), [8.5; 4]);
    }

    #[test]
    fn depthwise_channels_do_not_mix() {
        let device = Device::flex();
        let shape = ConvShape::new(2, 2, [3, 3]).padded().grouped(2).without_bias();
        let mut conv = Conv2d::new(shape, &device);
        assert_eq!(conv.weight.dims(), [2, 1, 3, 3]);
        assert!(conv.bias.is_none());
        conv.weight = conv.weight.map(|w| w.ones_like());
        let x = Tensor::cat(
            vec![Tensor::ones([1, 1, 1, 2], &device), Tensor::zeros([1, 1, 1, 2], &device)],
            1,
        );
        assert_eq!(values(&conv.forward(x)), [2.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn volumes_are_halved_by_a_stride() {
        let device = Device::flex();
        let mut conv = Conv3d::new(ConvShape::new(1, 3, [2; 3]).strided([2; 3]), &device);
        conv.weight = conv.weight.map(|w| w.ones_like());
        let y = conv.forward(Tensor::ones([2, 1, 4, 2, 6], &device));
        assert_eq!(y.dims(), [2, 3, 2, 1, 3]);
        assert_eq!(values(&y), [8.0; 36]);
    }

    #[test]
    fn the_weight_gets_a_gradient_through_the_block() {
        let device = Device::flex().autodiff();
        let conv = Conv2d::new(ConvShape::new(1, 1, [1, 1]), &device);
        let grads = conv.forward(Tensor::ones([1, 1, 2, 2], &device)).sum().backward();
        assert_eq!(values(&conv.weight.val().grad(&grads).unwrap()), [4.0]);
        let bias = conv.bias.as_ref().unwrap().val();
        assert_eq!(values(&bias.grad(&grads).unwrap()), [4.0]);
    }

    #[test]
    #[should_panic(expected = "3 groups do not divide 4 and 6 channels")]
    fn groups_that_do_not_divide_are_refused() {
        let _ = Conv2d::new(ConvShape::new(4, 6, [1, 1]).grouped(3), &Device::flex());
    }
}
