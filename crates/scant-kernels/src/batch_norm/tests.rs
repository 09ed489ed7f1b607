//! Against burn's batch norm and leaky ReLU on the same device.

use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Distribution};

use super::*;

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.3, 1.0), device).require_grad()
}

fn close<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>) {
    let norm = |t: Tensor<D>| t.square().sum().sqrt().into_scalar::<f32>();
    let (distance, norm) = (norm(got - want.clone()), norm(want));
    assert!(distance <= 1e-5 * norm, "{name}: {distance:e} of {norm:e}");
}

fn check<const D: usize>(shape: [usize; D], slope: f64) {
    let device = Device::flex().autodiff();
    device.seed(5);
    let set = NormActivation { epsilon: 1e-5, slope };
    let (x, channels) = (random(shape, &device), shape[1]);
    let (gamma, beta) = (random([channels], &device), random([channels], &device));
    let weights = random(shape, &device).detach();
    let (y, statistics) = batch_norm(x.clone(), gamma.clone(), beta.clone(), set);
    let norm = module::batch_norm_train(x.clone(), gamma.clone(), beta.clone(), set.epsilon);
    let want = leaky_relu(norm.output, slope);

    let got_gradients = (y.clone() * weights.clone()).sum().backward();
    let want_gradients = (want.clone() * weights).sum().backward();
    close("y", y.inner(), want.inner());
    close("mean", statistics.mean.inner(), norm.mean.inner());
    close("variance", statistics.variance.inner(), norm.variance.inner());
    let of = |t: &Tensor<1>| [&got_gradients, &want_gradients].map(|g| t.grad(g).unwrap());
    let [got, want] = [&got_gradients, &want_gradients].map(|g| x.grad(g).unwrap());
    close("dx", got, want);
    for (name, [got, want]) in [("dgamma", of(&gamma)), ("dbeta", of(&beta))] {
        close(name, got, want);
    }
}

#[test]
fn equals_burns_operators_for_any_number_of_axes() {
    check([40, 3], 1.0);
    check([2, 5, 31], 0.0);
    check([3, 4, 9, 7], 0.01);
    check([2, 1, 20, 16], 0.0);
    check([1, 3, 4, 5, 6], 0.2);
}

#[test]
fn parameters_that_do_not_learn_get_no_gradient() {
    let device = Device::flex().autodiff();
    let set = NormActivation { epsilon: 1e-5, slope: 1.0 };
    let (x, gamma) = (random([2, 3, 8], &device), random([3], &device).set_require_grad(false));
    let beta = random([3], &device);
    let (y, statistics) = batch_norm(x.clone(), gamma.clone(), beta.clone(), set);
    let gradients = y.square().sum().backward();
    assert!(gamma.grad(&gradients).is_none());
    assert!(x.grad(&gradients).is_some() && beta.grad(&gradients).is_some());
    assert!(!statistics.mean.is_require_grad());
}

#[test]
fn a_view_is_read_in_its_order() {
    let device = Device::flex().autodiff();
    let set = NormActivation { epsilon: 1e-5, slope: 0.0 };
    let x = random([2, 6, 10, 3], &device).permute([0, 3, 1, 2]);
    let copy = Tensor::<4>::from_data(x.to_data(), &device);
    let one = || Tensor::<1>::ones([3], &device);
    let norm = |x| batch_norm(x, one(), one(), set).0.to_data();
    assert_eq!(norm(x), norm(copy));
}

#[test]
#[should_panic(expected = "3 channels")]
fn other_channels_are_refused() {
    let device = Device::flex().autodiff();
    let set = NormActivation { epsilon: 1e-5, slope: 0.0 };
    let _ = batch_norm(random([2, 3, 8], &device), random([4], &device), random([4], &device), set);
}
