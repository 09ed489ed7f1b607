//! What a network needs of images or of volumes, so that one definition serves both.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use scant_kernels::{avg_pool2d, avg_pool3d};

use super::{Conv2d, Conv3d, ConvShape, ConvTranspose2d, ConvTranspose3d, ConvTransposeShape};

/// A convolution along `D` axes of tensors with `R` = `D` + 2, and what goes with it.
pub trait Convolution<const D: usize, const R: usize>: Module + ModuleDisplay {
    /// Learnt up-sampling of the same maps.
    type Transposed: TransposedConvolution<D, R>;

    /// All zero; values are set by [`crate::weights::initialise`].
    fn new(shape: ConvShape<D>, device: &Device) -> Self;

    /// # Shapes
    /// - x: `[B, input, ...]`
    /// - output: `[B, output, ...]`, as the shape says
    fn forward(&self, x: Tensor<R>) -> Tensor<R>;

    /// Mean of every window, windows side by side.
    ///
    /// # Shapes
    /// - x: `[B, C, ...]`
    /// - output: `[B, C, ...]`, every axis divided by that of the window, rounded down
    fn average(x: Tensor<R>, window: [usize; D]) -> Tensor<R>;
}

/// The transposed partner of a [`Convolution`].
pub trait TransposedConvolution<const D: usize, const R: usize>: Module + ModuleDisplay {
    /// All zero; values are set by [`crate::weights::initialise`].
    fn new(shape: ConvTransposeShape<D>, device: &Device) -> Self;

    /// # Shapes
    /// - x: `[B, input, ...]`
    /// - output: `[B, output, ...]`, as the shape says
    fn forward(&self, x: Tensor<R>) -> Tensor<R>;
}

impl Convolution<2, 4> for Conv2d {
    type Transposed = ConvTranspose2d;

    fn new(shape: ConvShape<2>, device: &Device) -> Self {
        Self::new(shape, device)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward(x)
    }

    fn average(x: Tensor<4>, window: [usize; 2]) -> Tensor<4> {
        avg_pool2d(x, window, window, [0; 2], true)
    }
}

impl Convolution<3, 5> for Conv3d {
    type Transposed = ConvTranspose3d;

    fn new(shape: ConvShape<3>, device: &Device) -> Self {
        Self::new(shape, device)
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.forward(x)
    }

    fn average(x: Tensor<5>, window: [usize; 3]) -> Tensor<5> {
        avg_pool3d(x, window, window, [0; 3], true)
    }
}

impl TransposedConvolution<2, 4> for ConvTranspose2d {
    fn new(shape: ConvTransposeShape<2>, device: &Device) -> Self {
        Self::new(shape, device)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward(x)
    }
}

impl TransposedConvolution<3, 5> for ConvTranspose3d {
    fn new(shape: ConvTransposeShape<3>, device: &Device) -> Self {
        Self::new(shape, device)
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.forward(x)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ModuleMapper;
    use burn::module::Param;

    use super::*;

    /// Sets every parameter to one.
    struct Ones;

    impl ModuleMapper for Ones {
        fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
            param.map(|t| t.ones_like())
        }
    }

    /// Down by a strided sum of ones, up by repetition, and the mean of what came out.
    fn there_and_back<C: Convolution<D, R>, const D: usize, const R: usize>(
        kernel: [usize; D],
        x: Tensor<R>,
    ) -> (Vec<usize>, Vec<f32>) {
        let device = x.device();
        let down = C::new(ConvShape::new(1, 1, kernel).strided(kernel).without_bias(), &device);
        let mut shape = ConvTransposeShape::new(1, 1, kernel).without_bias();
        shape.options.stride = kernel;
        let up = C::Transposed::new(shape, &device);
        let y = up.map(&mut Ones).forward(down.map(&mut Ones).forward(x.clone()));
        assert_eq!(y.dims(), x.dims());
        let mean = C::average(y, kernel);
        (mean.dims().to_vec(), mean.to_data().iter::<f32>().collect())
    }

    #[test]
    fn one_definition_serves_images_and_volumes() {
        let device = Device::flex();
        let pixels = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &device);
        let image = pixels.clone().reshape([1, 1, 2, 4]);
        let (dims, sums) = there_and_back::<Conv2d, 2, 4>([1, 2], image);
        assert_eq!((dims, sums), (vec![1, 1, 2, 2], vec![3.0, 7.0, 11.0, 15.0]));
        let volume = pixels.reshape([1, 1, 2, 2, 2]);
        let (dims, sums) = there_and_back::<Conv3d, 3, 5>([2, 1, 2], volume);
        assert_eq!((dims, sums), (vec![1, 1, 1, 2, 1], vec![14.0, 22.0]));
    }
}
