//! Transposed convolutions: learnt up-sampling.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use scant_kernels::{ConvTransposeOptions, conv_transpose2d, conv_transpose3d};

use super::convolution::zero_bias;

/// What a transposed convolution is made from, before it has weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvTransposeShape<const D: usize> {
    /// Channels of the input.
    pub input: usize,
    /// Channels of the output.
    pub output: usize,
    /// Size of the kernel along each axis.
    pub kernel: [usize; D],
    /// How it spreads.
    pub options: ConvTransposeOptions<D>,
    /// Whether a value per output channel is added.
    pub bias: bool,
}

impl<const D: usize> ConvTransposeShape<D> {
    /// Stride one, no padding, one group, with bias.
    #[must_use]
    pub fn new(input: usize, output: usize, kernel: [usize; D]) -> Self {
        Self { input, output, kernel, options: ConvTransposeOptions::default(), bias: true }
    }

    /// Kernel and stride two: every axis twice as long, no overlap.
    #[must_use]
    pub fn doubling(input: usize, output: usize) -> Self {
        let mut shape = Self::new(input, output, [2; D]);
        shape.options.stride = [2; D];
        shape
    }

    /// The same without bias.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    fn outputs_per_group(&self) -> usize {
        let groups = self.options.groups;
        assert!(
            groups > 0 && self.input.is_multiple_of(groups) && self.output.is_multiple_of(groups),
            "{groups} groups do not divide {} and {} channels",
            self.input,
            self.output,
        );
        self.output / groups
    }
}

/// A transposed convolution of images. Parameters are named as in PyTorch's `ConvTranspose2d`.
#[derive(Module, Debug)]
pub struct ConvTranspose2d {
    /// `[input, output / groups, kh, kw]`
    weight: Param<Tensor<4>>,
    /// `[output]`
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    options: ConvTransposeOptions<2>,
}

impl ConvTranspose2d {
    /// All zero; values are set by [`crate::weights::initialise`].
    ///
    /// # Panics
    /// When the groups do not divide the channels.
    #[must_use]
    pub fn new(shape: ConvTransposeShape<2>, device: &Device) -> Self {
        let [rows, columns] = shape.kernel;
        let weight = [shape.input, shape.outputs_per_group(), rows, columns];
        Self {
            weight: Initializer::Zeros.init(weight, device),
            bias: zero_bias(shape.bias, shape.output, device),
            options: shape.options,
        }
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, (H - 1) stride - 2 padding + dilation (kh - 1) + output padding + 1, ...]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv_transpose2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.options)
    }
}

/// A transposed convolution of volumes. Parameters are named as in PyTorch's `ConvTranspose3d`.
#[derive(Module, Debug)]
pub struct ConvTranspose3d {
    /// `[input, output / groups, kd, kh, kw]`
    weight: Param<Tensor<5>>,
    /// `[output]`
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    options: ConvTransposeOptions<3>,
}

impl ConvTranspose3d {
    /// All zero; values are set by [`crate::weights::initialise`].
    ///
    /// # Panics
    /// When the groups do not divide the channels.
    #[must_use]
    pub fn new(shape: ConvTransposeShape<3>, device: &Device) -> Self {
        let [depth, rows, columns] = shape.kernel;
        let weight = [shape.input, shape.outputs_per_group(), depth, rows, columns];
        Self {
            weight: Initializer::Zeros.init(weight, device),
            bias: zero_bias(shape.bias, shape.output, device),
            options: shape.options,
        }
    }

    /// # Shapes
    /// - x: `[B, input, D, H, W]`
    /// - output: `[B, output, (D - 1) stride - 2 padding + dilation (kd - 1) + output padding + 1, ...]`
    #[must_use]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        conv_transpose3d(x, self.weight.val(), self.bias.as_ref().map(Param::val), self.options)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn values<const R: usize>(t: &Tensor<R>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    #[test]
    fn doubling_repeats_pixels_where_all_weights_are_one() {
        let device = Device::flex();
        let mut up = ConvTranspose2d::new(ConvTransposeShape::doubling(1, 2), &device);
        assert_eq!(up.weight.dims(), [1, 2, 2, 2]);
        up.weight = up.weight.map(|w| w.ones_like());
        up.bias = up.bias.map(|b| b.map(|b| b.ones_like()));
        let x = Tensor::from_data(TensorData::new(vec![1.0_f32, 2.0], [1, 1, 1, 2]), &device);
        let y = up.forward(x);
        assert_eq!(y.dims(), [1, 2, 2, 4]);
        assert_eq!(values(&y), [2.0, 2.0, 3.0, 3.0].repeat(4));
    }

    #[test]
    fn windows_that_overlap_add_up() {
        let device = Device::flex();
        let mut shape = ConvTransposeShape::new(1, 1, [1, 3]).without_bias();
        shape.options.stride = [1, 2];
        shape.options.padding = [0, 1];
        shape.options.output_padding = [0, 1];
        let mut up = ConvTranspose2d::new(shape, &device);
        up.weight = up.weight.map(|w| w.ones_like());
        let x = Tensor::from_data(TensorData::new(vec![1.0_f32, 10.0], [1, 1, 1, 2]), &device);
        assert_eq!(values(&up.forward(x)), [1.0, 11.0, 10.0, 10.0]);
    }

    #[test]
    fn volumes_are_doubled() {
        let device = Device::flex();
        let mut up = ConvTranspose3d::new(ConvTransposeShape::doubling(3, 2), &device);
        up.weight = up.weight.map(|w| w.ones_like());
        let y = up.forward(Tensor::ones([1, 3, 1, 2, 3], &device));
        assert_eq!(y.dims(), [1, 2, 2, 4, 6]);
        assert_eq!(values(&y), [3.0; 96]);
    }

    #[test]
    fn the_weight_gets_a_gradient_through_the_block() {
        let device = Device::flex().autodiff();
        let shape = ConvTransposeShape::doubling(1, 1).without_bias();
        let up = ConvTranspose2d::new(shape, &device);
        let grads = up.forward(Tensor::ones([1, 1, 2, 2], &device)).sum().backward();
        assert_eq!(values(&up.weight.val().grad(&grads).unwrap()), [4.0; 4]);
    }
}
