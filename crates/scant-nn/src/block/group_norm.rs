//! Normalisation of groups of channels, image by image.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use scant_kernels::{NormActivation, instance_norm};

/// Group norm (Wu and He 2018, arXiv:1803.08494); with as many groups as channels an instance norm.
/// Parameters are named as in PyTorch's `GroupNorm`.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`
    weight: Param<Tensor<1>>,
    /// `[channels]`
    bias: Param<Tensor<1>>,
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    epsilon: f64,
}

impl GroupNorm {
    /// Of `channels` channels in `groups` groups; all zero, values are set by
    /// [`crate::weights::initialise`].
    ///
    /// # Panics
    /// When the groups do not divide the channels.
    #[must_use]
    pub fn new(groups: usize, channels: usize, epsilon: f64, device: &Device) -> Self {
        let fits = groups > 0 && channels.is_multiple_of(groups);
        assert!(fits, "{groups} groups do not divide {channels} channels");
        Self {
            weight: Initializer::Zeros.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
            groups,
            epsilon,
        }
    }

    #[cfg(test)]
    pub(super) fn with_scale_of_one(mut self) -> Self {
        self.weight = self.weight.map(|w| w.ones_like());
        self
    }

    /// # Shapes
    /// - x, output: `[B, channels, ...]`
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dims = x.dims();
        let (batch, channels) = (dims[0], dims[1]);
        let pixels: usize = dims[2..].iter().product();
        let grouped = x.reshape([batch, self.groups, channels / self.groups * pixels]);
        let device = grouped.device();
        let one = Tensor::ones([self.groups], &device);
        let zero = Tensor::zeros([self.groups], &device);
        let set = NormActivation { epsilon: self.epsilon, slope: 1.0 };
        let y = instance_norm(grouped, one, zero, set).reshape([batch, channels, pixels]);
        let per_channel = |p: &Param<Tensor<1>>| p.val().reshape([1, channels, 1]);
        (y * per_channel(&self.weight) + per_channel(&self.bias)).reshape(dims)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use scant_kernels::fall_through;

    use super::*;

    fn values<const D: usize>(t: &Tensor<D>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    fn filled(groups: usize, weight: &[f32], bias: &[f32], device: &Device) -> GroupNorm {
        let mut norm = GroupNorm::new(groups, weight.len(), 1e-6, device);
        norm.weight = Param::from_tensor(Tensor::from_floats(weight, device));
        norm.bias = Param::from_tensor(Tensor::from_floats(bias, device));
        norm
    }

    fn near(got: &[f32], want: &[f32]) {
        let close = got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(close && got.len() == want.len(), "{got:?} instead of {want:?}");
    }

    /// Four channels of one pixel, in groups of two: each value is one deviation from the mean of its
    /// pair, however far the groups and images lie apart.
    #[test]
    fn groups_and_images_are_normalised_by_themselves() {
        let device = Device::flex();
        let norm = filled(2, &[1.0, 2.0, 3.0, 4.0], &[0.0, 0.5, 0.0, -1.0], &device);
        let x = Tensor::<2>::from_floats([[1.0, 3.0, 20.0, 10.0], [9.0, 5.0, -7.0, 7.0]], &device);
        let y = norm.forward(x.reshape([2, 4, 1, 1]));
        assert_eq!(y.dims(), [2, 4, 1, 1]);
        near(&values(&y), &[-1.0, 2.5, 3.0, -5.0, 1.0, -1.5, -3.0, 3.0]);
    }

    /// As many groups as channels: an instance norm. 1, 2, 3, 6 have mean 3 and variance 3.5.
    #[test]
    fn the_variance_is_the_biased_one() {
        let device = Device::flex();
        let norm = filled(2, &[1.0, 1.0], &[0.0, 10.0], &device);
        let x = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 6.0, 5.0, 5.0, 5.0, 5.0], &device);
        let unit = 3.5_f32.sqrt().recip();
        let want = [-2.0 * unit, -unit, 0.0, 3.0 * unit, 10.0, 10.0, 10.0, 10.0];
        near(&values(&norm.forward(x.reshape([1, 2, 2, 2]))), &want);
    }

    #[test]
    fn both_paths_agree_in_values_and_gradients() {
        let device = Device::flex().autodiff();
        device.seed(8);
        let random =
            |dims: [usize; 4]| Tensor::<4>::random(dims, Distribution::Uniform(0.0, 1.0), &device);
        let norm = filled(3, &[1.0, 0.5, 2.0, -1.0, 3.0, 1.0], &[0.1; 6], &device);
        let (x, cotangent) = (random([2, 6, 5, 4]) + 3.0, random([2, 6, 5, 4]));
        let x = x.require_grad();
        let run = || {
            let y = norm.forward(x.clone());
            let grads = (y.clone() * cotangent.clone()).sum().backward();
            let of_x = x.grad(&grads).unwrap();
            let of_weight = norm.weight.val().grad(&grads).unwrap();
            let of_bias = norm.bias.val().grad(&grads).unwrap();
            (values(&y), values(&of_x), values(&of_weight), values(&of_bias))
        };
        let (own, burns) = (run(), fall_through(run));
        for (a, b) in [(own.0, burns.0), (own.1, burns.1), (own.2, burns.2), (own.3, burns.3)] {
            near(&a, &b);
        }
    }

    #[test]
    #[should_panic(expected = "4 groups do not divide 6 channels")]
    fn groups_that_do_not_divide_are_refused() {
        let _ = GroupNorm::new(4, 6, 1e-5, &Device::flex());
    }
}
