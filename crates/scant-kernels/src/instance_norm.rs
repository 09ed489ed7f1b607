//! Instance norm with an activation behind it, of maps of any number of axes.
//!
//! Equals PyTorch's `instance_norm` by the statistics of the input (Ulyanov et al. 2016,
//! arXiv:1607.08022), then `leaky_relu`. An instance norm is the batch norm of one image that has a
//! channel for every image and channel, so it runs as [`batch_norm`](crate::batch_norm()): one pass for
//! the statistics, one for the values, gradients of its own, on every device that records them.
//!
//! # Deviation
//! PyTorch refuses maps of one pixel. Here such a pixel is its own mean, and what comes out is the
//! activation of β, without a gradient to the input.

use burn::tensor::{DType, Tensor};

use crate::activation::activate;
use crate::batch_norm::batch_norm;
use crate::conv_norm::NormActivation;
use crate::device::on_cpu;

/// `act(γ (x - μ) / √(v + ε) + β)` by the mean and the biased variance of every map by itself.
///
/// # Shapes
/// - x, output: `[B, C, ...]`
/// - gamma, beta: `[C]`
///
/// # Panics
/// When the shapes do not fit.
#[must_use]
pub fn instance_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    set: NormActivation,
) -> Tensor<D> {
    assert!(D > 1, "an instance norm needs images and channels");
    let dims = x.dims();
    let [batch, channels] = [dims[0], dims[1]];
    let fits = gamma.dims() == [channels] && beta.dims() == [channels];
    assert!(fits, "instance norm of {channels} channels needs as many γ and β");
    let fused = on_cpu(&x.device()) && x.dtype() == DType::F32;
    if !fused && !x.device().is_autodiff() {
        return composed(x, gamma, beta, set);
    }
    let mut one = dims;
    [one[0], one[1]] = [1, batch * channels];
    let each = |t: Tensor<1>| if batch == 1 { t } else { t.repeat_dim(0, batch) };
    batch_norm(x.reshape(one), each(gamma), each(beta), set).0.reshape(dims)
}

/// The same out of burn's operators. Images stay apart, so that a recorded graph can be run on another
/// number of them.
fn composed<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    set: NormActivation,
) -> Tensor<D> {
    let dims = x.dims();
    let [batch, channels] = [dims[0], dims[1]];
    let flat: Tensor<3> = x.reshape([batch, channels, dims[2..].iter().product()]);
    let centred = flat.clone() - flat.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    let scale = gamma.reshape([1, channels, 1]) / (variance + set.epsilon).sqrt();
    let y = (centred * scale + beta.reshape([1, channels, 1])).reshape(dims);
    activate(y, set.slope)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData};

    use super::*;
    use crate::device::fall_through;

    fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        let near = got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1e-5 * (1.0 + w.abs()));
        assert!(near, "{got:?} is not {want:?}");
    }

    /// Two images of two channels of two pixels: whatever they are, they lie one deviation to either
    /// side of their mean.
    #[test]
    fn two_pixels_are_minus_one_and_one() {
        let device = Device::flex().autodiff();
        let pixels = vec![3.0_f32, 7.0, 50.0, -50.0, 1.0, 0.0, 1e4, 1e4 + 2.0];
        let x = Tensor::<4>::from_data(TensorData::new(pixels, [2, 2, 1, 2]), &device);
        let x = x.require_grad();
        let gamma = Tensor::<1>::from_floats([1.0, 2.0], &device).require_grad();
        let beta = Tensor::<1>::from_floats([0.0, 1.0], &device).require_grad();
        let set = NormActivation { epsilon: 0.0, slope: 0.5 };
        let y = instance_norm(x.clone(), gamma.clone(), beta.clone(), set);
        close(&values(y.clone()), &[-0.5, 1.0, 3.0, -0.5, 1.0, -0.5, -0.5, 3.0]);
        let w = vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let w = Tensor::<4>::from_data(TensorData::new(w, [2, 2, 1, 2]), &device);
        let gradients = (y * w).sum().backward();
        // Behind the slope the weights are 0.5, 2 | 3, 2 and 5, 3 | 3.5, 8; γ meets them with the
        // signs above: -0.5 + 2 + 5 - 3 and 3 - 2 - 3.5 + 8.
        close(&values(gamma.grad(&gradients).unwrap()), &[3.5, 5.5]);
        close(&values(beta.grad(&gradients).unwrap()), &[10.5, 16.5]);
        // Two pixels are -1 and 1 however they move.
        close(&values(x.grad(&gradients).unwrap()), &[0.0; 8]);
    }

    /// Pixels 0, 0, 3: mean 1, variance 2. With g = (1, 0, 0) and x̂ = (-1, -1, 2) / √2,
    /// dx = (g - 1/3 - x̂ (-1/√2) / 3) / √2 = (1/2, -1/2, 0) / √2.
    #[test]
    fn the_gradient_of_three_pixels_is_that_on_paper() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_floats([0.0, 0.0, 3.0], &device).reshape([1, 1, 3]);
        let x: Tensor<3> = x.detach().require_grad();
        let one = Tensor::<1>::ones([1], &device);
        let set = NormActivation { epsilon: 0.0, slope: 1.0 };
        let y = instance_norm(x.clone(), one.clone(), one.zeros_like(), set);
        let root = 2.0_f32.sqrt();
        close(&values(y.clone()), &[-1.0 / root, -1.0 / root, root]);
        let gradients = y.slice([0..1, 0..1, 0..1]).sum().backward();
        close(&values(x.grad(&gradients).unwrap()), &[0.5 / root, -0.5 / root, 0.0]);
    }

    /// Every path: fused and composed, with and without gradients, for images and volumes.
    fn agree<const D: usize>(shape: [usize; D], slope: f64) {
        let device = Device::flex().autodiff();
        device.seed(5);
        let noise = Distribution::Normal(0.3, 1.0);
        let learnt = |n| Tensor::<1>::random([n], noise, &device).require_grad();
        let (gamma, beta) = (learnt(shape[1]), learnt(shape[1]));
        let x = Tensor::<D>::random(shape, noise, &device).require_grad();
        let w = Tensor::<D>::random(shape, noise, &device);
        let set = NormActivation { epsilon: 1e-5, slope };
        let pass = |elsewhere: bool| {
            let norm = || instance_norm(x.clone(), gamma.clone(), beta.clone(), set);
            let y = if elsewhere { fall_through(norm) } else { norm() };
            let gradients = (y.clone() * w.clone()).sum().backward();
            let of = |t: &Tensor<1>| values(t.grad(&gradients).unwrap());
            [values(y), values(x.grad(&gradients).unwrap()), of(&gamma), of(&beta)]
        };
        let (here, there) = (pass(false), pass(true));
        for (a, b) in here.iter().zip(&there) {
            close(a, b);
        }
        let [x, gamma, beta] = [values(x.clone()), values(gamma.clone()), values(beta.clone())];
        let device = device.inner();
        let x = Tensor::<D>::from_data(TensorData::new(x, shape), &device);
        let [gamma, beta] = [gamma, beta].map(|t| {
            let size = [t.len()];
            Tensor::<1>::from_data(TensorData::new(t, size), &device)
        });
        let norm = || instance_norm(x.clone(), gamma.clone(), beta.clone(), set);
        close(&values(norm()), &here[0]);
        close(&values(fall_through(norm)), &here[0]);
    }

    #[test]
    fn all_ways_agree() {
        agree([3, 4, 9, 7], 0.01);
        agree([1, 5, 4, 4], 0.0);
        agree([2, 3, 4, 5, 6], 1.0);
        agree([2, 3, 17], 0.2);
    }

    #[test]
    fn a_large_map_far_from_zero_keeps_its_spread() {
        let device = Device::flex();
        let (rows, columns) = (512, 512);
        let pixels = (0..rows * columns).map(|i| 4096.0 + (i % 2) as f32).collect();
        let data = TensorData::new::<f32, _>(pixels, [1, 1, rows, columns]);
        let x = Tensor::<4>::from_data(data, &device);
        let one = Tensor::<1>::ones([1], &device);
        let set = NormActivation { epsilon: 1e-5, slope: 1.0 };
        let norm = || values(instance_norm(x.clone(), one.clone(), one.zeros_like(), set));
        // Half of the pixels a half below the mean, half above: variance 1/4.
        let want = 0.5 / (0.25_f32 + 1e-5).sqrt();
        for (y, tolerance) in [(norm(), 1e-3), (fall_through(norm), 1e-3)] {
            for pair in y.chunks_exact(2) {
                let far = (pair[0] + want).abs().max((pair[1] - want).abs());
                assert!(far < tolerance, "{pair:?}");
            }
        }
    }

    #[test]
    fn a_single_pixel_is_its_own_mean() {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::ones([2, 3, 1, 1], &device).require_grad();
        let gamma = Tensor::<1>::ones([3], &device);
        let beta = Tensor::<1>::from_floats([-1.0, 0.0, 2.0], &device);
        let set = NormActivation { epsilon: 1e-5, slope: 0.5 };
        for elsewhere in [false, true] {
            let norm = || instance_norm(x.clone(), gamma.clone(), beta.clone(), set);
            let y = if elsewhere { fall_through(norm) } else { norm() };
            let got = values(y.clone());
            let want = [-0.5, 0.0, 2.0, -0.5, 0.0, 2.0];
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-4), "{got:?}");
            let gradients = y.sum().backward();
            close(&values(x.grad(&gradients).unwrap()), &[0.0; 6]);
        }
    }

    #[test]
    #[should_panic(expected = "3 channels")]
    fn other_channels_are_refused() {
        let (device, set) = (Device::flex(), NormActivation { epsilon: 1e-5, slope: 1.0 });
        let (x, one) = (Tensor::<3>::ones([2, 3, 8], &device), Tensor::<1>::ones([4], &device));
        let _ = instance_norm(x, one.clone(), one, set);
    }
}
