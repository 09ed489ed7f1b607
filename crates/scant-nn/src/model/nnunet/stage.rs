//! Blocks of nnU-Net's networks.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use scant_kernels::residual_sum;

use crate::block::{ConvShape, Convolution, InstanceNorm};

/// ε of the norms.
const EPSILON: f64 = 1e-5;
/// Slope of the activations below zero.
pub(super) const SLOPE: f64 = 0.01;

/// Convolution → instance norm → leaky ReLU (`ConvDropoutNormReLU`; nnU-Net has no dropout).
#[derive(Module, Debug)]
pub(super) struct ConvBlock<C: Convolution<D, R>, const D: usize, const R: usize> {
    conv: C,
    norm: InstanceNorm,
    /// 1 where no activation follows.
    #[module(skip)]
    slope: f64,
}

impl<C: Convolution<D, R>, const D: usize, const R: usize> ConvBlock<C, D, R> {
    pub(super) fn new(shape: ConvShape<D>, device: &Device) -> Self {
        let norm = InstanceNorm::new(shape.output, EPSILON, device);
        Self { conv: C::new(shape, device), norm, slope: SLOPE }
    }

    /// The same without the activation.
    fn linear(mut self) -> Self {
        self.slope = 1.0;
        self
    }

    /// # Shapes
    /// - x: `[B, input, ...]`
    /// - output: `[B, output, ...]`, smaller by the stride
    pub(super) fn forward(&self, x: Tensor<R>) -> Tensor<R> {
        self.norm.forward_leaky(self.conv.forward(x), self.slope)
    }
}

/// Blocks in a row, the first of which changes channels and size (`StackedConvBlocks`).
pub(super) fn stacked<C: Convolution<D, R>, const D: usize, const R: usize>(
    blocks: usize,
    [input, output]: [usize; 2],
    kernel: [usize; D],
    stride: [usize; D],
    device: &Device,
) -> Vec<ConvBlock<C, D, R>> {
    let first = ConvShape::new(input, output, kernel).padded().strided(stride);
    let other = ConvShape::new(output, output, kernel).padded();
    let shapes = std::iter::once(first).chain(std::iter::repeat(other)).take(blocks);
    shapes.map(|shape| ConvBlock::new(shape, device)).collect()
}

/// Two convolutions beside a shortcut (`BasicBlockD`; He et al. 2019, arXiv:1812.01187, ResNet-D): the
/// mean of windows where the block has a stride, then a 1x1 convolution where it changes the channels.
#[derive(Module, Debug)]
pub(super) struct ResidualBlock<C: Convolution<D, R>, const D: usize, const R: usize> {
    conv1: ConvBlock<C, D, R>,
    conv2: ConvBlock<C, D, R>,
    skip: Option<ConvBlock<C, D, R>>,
    #[module(skip)]
    stride: [usize; D],
}

impl<C: Convolution<D, R>, const D: usize, const R: usize> ResidualBlock<C, D, R> {
    fn new(
        [input, output]: [usize; 2],
        kernel: [usize; D],
        stride: [usize; D],
        device: &Device,
    ) -> Self {
        let first = ConvShape::new(input, output, kernel).padded().strided(stride);
        let second = ConvShape::new(output, output, kernel).padded();
        let skip = ConvShape::new(input, output, [1; D]).without_bias();
        Self {
            conv1: ConvBlock::new(first, device),
            conv2: ConvBlock::new(second, device).linear(),
            skip: (input != output).then(|| ConvBlock::new(skip, device).linear()),
            stride,
        }
    }

    /// # Shapes
    /// - x: `[B, input, ...]`
    /// - output: `[B, output, ...]`, smaller by the stride
    fn forward(&self, x: Tensor<R>) -> Tensor<R> {
        let whole = self.stride == [1; D];
        let shortcut = if whole { x.clone() } else { C::average(x.clone(), self.stride) };
        let shortcut = match &self.skip {
            Some(skip) => skip.forward(shortcut),
            None => shortcut,
        };
        residual_sum(self.conv2.forward(self.conv1.forward(x)), shortcut, SLOPE)
    }

    /// Place of the shortcut's convolution in the reference: behind the mean of windows, if there is one.
    fn skip_index(&self) -> usize {
        usize::from(self.stride != [1; D])
    }
}

/// A stage of the encoder.
#[derive(Module, Debug)]
pub(super) enum Stage<C: Convolution<D, R>, const D: usize, const R: usize> {
    /// Of a plain encoder.
    Plain(Vec<ConvBlock<C, D, R>>),
    /// Of a residual encoder.
    Residual(Vec<ResidualBlock<C, D, R>>),
}

impl<C: Convolution<D, R>, const D: usize, const R: usize> Stage<C, D, R> {
    pub(super) fn plain(
        blocks: usize,
        channels: [usize; 2],
        kernel: [usize; D],
        stride: [usize; D],
        device: &Device,
    ) -> Self {
        Self::Plain(stacked(blocks, channels, kernel, stride, device))
    }

    pub(super) fn residual(
        blocks: usize,
        [input, output]: [usize; 2],
        kernel: [usize; D],
        stride: [usize; D],
        device: &Device,
    ) -> Self {
        let first = ResidualBlock::new([input, output], kernel, stride, device);
        let other = |_| ResidualBlock::new([output; 2], kernel, [1; D], device);
        Self::Residual(std::iter::once(first).chain((1..blocks).map(other)).collect())
    }

    /// # Shapes
    /// - x: `[B, input, ...]`
    /// - output: `[B, output, ...]`, smaller by the stride
    pub(super) fn forward(&self, x: Tensor<R>) -> Tensor<R> {
        match self {
            Self::Plain(blocks) => blocks.iter().fold(x, |x, block| block.forward(x)),
            Self::Residual(blocks) => blocks.iter().fold(x, |x, block| block.forward(x)),
        }
    }

    /// Official name below that of the stage, from the path below the stage in this module.
    pub(super) fn official_name(&self, path: &[&str]) -> Option<String> {
        Some(match (self, path) {
            (Self::Plain(_), ["Plain", block, rest @ ..]) => {
                format!("0.convs.{block}.{}", rest.join("."))
            }
            (Self::Residual(blocks), ["Residual", block, "skip", rest @ ..]) => {
                let index = blocks.get(block.parse::<usize>().ok()?)?.skip_index();
                format!("blocks.{block}.skip.{index}.{}", rest.join("."))
            }
            (Self::Residual(_), ["Residual", block, rest @ ..]) => {
                format!("blocks.{block}.{}", rest.join("."))
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use burn::tensor::activation::leaky_relu;

    use super::*;
    use crate::block::{Conv2d, Conv3d};

    /// With all parameters zero both branches are zero, but for a shortcut without parameters.
    #[test]
    fn a_shortcut_has_no_parameters_where_channels_stay() {
        let device = Device::flex();
        let x = Tensor::<4>::random([1, 2, 4, 6], Distribution::Uniform(-1.0, 1.0), &device);
        let whole = ResidualBlock::<Conv2d, 2, 4>::new([2, 2], [3; 2], [1; 2], &device);
        assert_eq!(whole.forward(x.clone()).to_data(), leaky_relu(x.clone(), SLOPE).to_data());
        assert_eq!(whole.skip_index(), 0);

        let half = ResidualBlock::<Conv2d, 2, 4>::new([2, 2], [3; 2], [2, 3], &device);
        let mean = leaky_relu(Conv2d::average(x.clone(), [2, 3]), SLOPE);
        assert_eq!(mean.dims(), [1, 2, 2, 2]);
        assert_eq!(half.forward(x.clone()).to_data(), mean.to_data());

        let wider = ResidualBlock::<Conv2d, 2, 4>::new([2, 3], [3; 2], [2; 2], &device);
        assert!(wider.skip.is_some() && wider.skip_index() == 1);
        let y = wider.forward(x);
        assert_eq!((y.dims(), y.abs().max().into_scalar::<f32>()), ([1, 3, 2, 3], 0.0));
    }

    #[test]
    fn stages_shrink_once() {
        let device = Device::flex();
        let x = Tensor::<5>::ones([1, 2, 4, 4, 4], &device);
        for stage in [
            Stage::<Conv3d, 3, 5>::plain(3, [2, 5], [1, 3, 3], [1, 2, 2], &device),
            Stage::residual(3, [2, 5], [1, 3, 3], [1, 2, 2], &device),
        ] {
            assert_eq!(stage.forward(x.clone()).dims(), [1, 5, 4, 2, 2]);
        }
    }
}
