//! Every channel of every image is normalised by itself.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use scant_kernels::{NormActivation, instance_norm};

/// Instance norm (Ulyanov et al. 2016, arXiv:1607.08022) with a scale and a shift per channel. Parameters
/// are named as in PyTorch's `InstanceNorm2d` and `InstanceNorm3d`; there are no running statistics, so
/// training and evaluation do the same.
///
/// PyTorch refuses maps of one pixel. Here such a map becomes its shift, and nothing of the input comes
/// through: a network still runs on images too small for it.
#[derive(Module, Debug)]
pub struct InstanceNorm {
    /// `[channels]`
    weight: Param<Tensor<1>>,
    /// `[channels]`
    bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl InstanceNorm {
    /// Of `channels` channels; all zero, values are set by [`crate::weights::initialise`].
    #[must_use]
    pub fn new(channels: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
            epsilon,
        }
    }

    /// # Shapes
    /// - x, output: `[B, channels, ...]`
    #[must_use]
    pub fn forward<const R: usize>(&self, x: Tensor<R>) -> Tensor<R> {
        self.forward_leaky(x, 1.0)
    }

    /// [`forward`](Self::forward) and a leaky ReLU of this slope behind it, in one.
    ///
    /// # Shapes
    /// - x, output: `[B, channels, ...]`
    #[must_use]
    pub fn forward_leaky<const R: usize>(&self, x: Tensor<R>, slope: f64) -> Tensor<R> {
        let set = NormActivation { epsilon: self.epsilon, slope };
        instance_norm(x, self.weight.val(), self.bias.val(), set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const R: usize>(t: &Tensor<R>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    #[test]
    fn images_and_channels_do_not_mix() {
        let device = Device::flex();
        let mut norm = InstanceNorm::new(2, 1e-5, &device);
        norm.weight = Param::from_tensor(Tensor::from_floats([1.0, 2.0], &device));
        norm.bias = Param::from_tensor(Tensor::from_floats([0.0, 1.0], &device));
        // Two images of two channels of two pixels: each pair is one deviation around its mean.
        let pixels = [3.0, 7.0, 500.0, -500.0, -1.0, -9.0, 0.0, 0.5];
        let x = Tensor::<1>::from_floats(pixels, &device);
        let image: Tensor<4> = x.clone().reshape([2, 2, 1, 2]);
        let want = [-1.0, 1.0, 3.0, -1.0, 1.0, -1.0, -1.0, 3.0];
        let near = |got: Vec<f32>, want: [f32; 8]| {
            let far = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
            assert!(far < 1e-3, "{got:?}");
        };
        near(values(&norm.forward(image.clone())), want);
        let volume: Tensor<5> = x.reshape([2, 2, 2, 1, 1]);
        near(values(&norm.forward(volume)), want);
        let leaky = want.map(|v| if v < 0.0 { 0.5 * v } else { v });
        near(values(&norm.forward_leaky(image, 0.5)), leaky);
    }

    /// Pixels 0, 0, 3 have mean 1 and variance 2, x̂ = (-1, -1, 2) / √2. The sum of the first of the
    /// outputs 2 x̂ + 1 moves the weight by x̂ of the first, the bias by 1, and the pixels by
    /// 2 (g - 1/3 - x̂ x̂₁ / 3) / √2 = (1, -1, 0) / √2.
    #[test]
    fn gradients_are_those_on_paper() {
        let device = Device::flex().autodiff();
        let mut norm = InstanceNorm::new(1, 0.0, &device);
        norm.weight = Param::from_tensor(Tensor::from_floats([2.0], &device));
        norm.bias = Param::from_tensor(Tensor::from_floats([1.0], &device));
        let x = Tensor::<1>::from_floats([0.0, 0.0, 3.0], &device).reshape([1, 1, 1, 3]);
        let x: Tensor<4> = x.detach().require_grad();
        let y = norm.forward(x.clone());
        let gradients = y.slice([0..1, 0..1, 0..1, 0..1]).sum().backward();
        let root = 2.0_f32.sqrt();
        let near = |got: Vec<f32>, want: &[f32]| {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{got:?}");
        };
        near(values(&x.grad(&gradients).unwrap()), &[1.0 / root, -1.0 / root, 0.0]);
        near(values(&norm.weight.val().grad(&gradients).unwrap()), &[-1.0 / root]);
        near(values(&norm.bias.val().grad(&gradients).unwrap()), &[1.0]);
    }

    #[test]
    fn a_single_pixel_becomes_the_shift() {
        let device = Device::flex();
        let mut norm = InstanceNorm::new(1, 1e-5, &device);
        norm.weight = norm.weight.map(|w| w.ones_like());
        norm.bias = Param::from_tensor(Tensor::from_floats([0.25], &device));
        let y = values(&norm.forward(Tensor::<5>::ones([1, 1, 1, 1, 1], &device)));
        assert!((y[0] - 0.25).abs() < 1e-4, "{y:?}");
    }
}
