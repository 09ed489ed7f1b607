//! Against burn's own operators on the same device, output and all gradients.

use burn::tensor::{Device, TensorData};

use super::*;
use crate::{Precision, with_precision};

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        z ^= z << 13;
        z ^= z >> 7;
        z ^= z << 17;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn tensor<const R: usize>(seed: u64, shape: [usize; R], device: &Device) -> Tensor<R> {
    let values = noise(seed, shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values<const R: usize>(t: &Tensor<R>) -> Vec<f32> {
    t.to_data().iter::<f32>().collect()
}

/// Output, and gradients of input, weight and bias; empty where there is none.
fn outcome<const R: usize>(
    f: impl Fn(Tensor<R>, Tensor<R>, Option<Tensor<1>>) -> Tensor<R>,
    x: [usize; R],
    weight: [usize; R],
    bias: Option<usize>,
) -> (Vec<usize>, [Vec<f32>; 4]) {
    let device = Device::flex().autodiff();
    let x = tensor(1, x, &device).require_grad();
    let weight = tensor(2, weight, &device).require_grad();
    let bias = bias.map(|n| tensor(3, [n], &device).require_grad());
    let y = f(x.clone(), weight.clone(), bias.clone());
    let grads = (y.clone() * tensor(4, y.dims(), &device)).sum().backward();
    let db = bias.map(|b| values(&b.grad(&grads).unwrap())).unwrap_or_default();
    let gradients = [x.grad(&grads).unwrap(), weight.grad(&grads).unwrap()];
    let [dx, dw] = gradients.map(|g| values(&g));
    (y.dims().to_vec(), [values(&y), dx, dw, db])
}

fn agree<const R: usize>(
    ours: impl Fn(Tensor<R>, Tensor<R>, Option<Tensor<1>>) -> Tensor<R>,
    burns: impl Fn(Tensor<R>, Tensor<R>, Option<Tensor<1>>) -> Tensor<R>,
    x: [usize; R],
    weight: [usize; R],
    outputs: usize,
    tolerance: f64,
) {
    for bias in [None, Some(outputs)] {
        let (shape, got) = outcome(&ours, x, weight, bias);
        let (expected, want) = outcome(&burns, x, weight, bias);
        assert_eq!(shape, expected);
        for ((got, want), name) in got.iter().zip(&want).zip(["y", "dx", "dw", "db"]) {
            assert_eq!(got.len(), want.len());
            let squares = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
            let pairs = got.iter().zip(want);
            let difference = squares(&mut pairs.map(|(&g, &w)| f64::from(g) - f64::from(w)));
            let norm = squares(&mut want.iter().map(|&w| f64::from(w))).max(1e-9);
            let error = difference / norm;
            assert!(error <= tolerance, "{name} of {x:?}, {weight:?}, {bias:?}: {error:e}");
        }
    }
}

fn agree2(x: [usize; 4], weight: [usize; 4], o: ConvOptions<2>) {
    agree(
        |x, w, b| conv2d(x, w, b, o),
        |x, w, b| module::conv2d(x, w, b, o.burn()),
        x,
        weight,
        weight[0],
        1e-5,
    );
}

fn agree3(x: [usize; 5], weight: [usize; 5], o: ConvOptions<3>) {
    agree(
        |x, w, b| conv3d(x, w, b, o),
        |x, w, b| module::conv3d(x, w, b, o.burn()),
        x,
        weight,
        weight[0],
        1e-5,
    );
}

#[test]
fn convolutions_of_images_agree_with_burn() {
    let plain = ConvOptions::<2>::default();
    agree2([2, 3, 9, 11], [5, 3, 1, 1], plain);
    agree2([1, 3, 17, 13], [4, 3, 7, 7], ConvOptions { stride: [2; 2], padding: [3; 2], ..plain });
    agree2([2, 4, 8, 9], [6, 2, 3, 2], ConvOptions { groups: 2, dilation: [2, 1], ..plain });
    agree2([2, 4, 7, 6], [4, 1, 3, 3], ConvOptions { groups: 4, padding: [1; 2], ..plain });
    agree2([1, 3, 9, 20], [3, 1, 5, 5], ConvOptions { groups: 3, padding: [2; 2], ..plain });
    agree2([2, 18, 13, 9], [17, 18, 3, 3], ConvOptions { padding: [1; 2], ..plain });
}

#[test]
fn convolutions_of_volumes_agree_with_burn() {
    let plain = ConvOptions::<3>::default();
    agree3([2, 3, 4, 5, 6], [5, 3, 3, 3, 3], ConvOptions { padding: [1; 3], ..plain });
    agree3([1, 2, 6, 5, 8], [4, 2, 2, 2, 2], ConvOptions { stride: [2; 3], ..plain });
    agree3([1, 4, 3, 3, 5], [2, 4, 1, 1, 1], plain);
}

#[test]
fn transposed_convolutions_of_images_agree_with_burn() {
    let plain = ConvTransposeOptions::<2>::default();
    let two = ConvTransposeOptions { stride: [2; 2], ..plain };
    let padded = ConvTransposeOptions { padding: [1; 2], output_padding: [1, 0], ..two };
    let grouped = ConvTransposeOptions { groups: 2, dilation: [1, 2], ..plain };
    for (x, weight, o) in [
        ([2, 3, 4, 5], [3, 4, 2, 2], two),
        ([1, 3, 4, 5], [3, 2, 3, 3], padded),
        ([1, 4, 5, 3], [4, 3, 2, 3], grouped),
    ] {
        agree(
            |x, w, b| conv_transpose2d(x, w, b, o),
            |x, w, b| module::conv_transpose2d(x, w, b, o.burn()),
            x,
            weight,
            weight[1] * o.groups,
            1e-5,
        );
    }
}

#[test]
fn transposed_convolutions_of_volumes_agree_with_burn() {
    let two = ConvTransposeOptions::<3> { stride: [2; 3], ..Default::default() };
    let padded = ConvTransposeOptions { padding: [1; 3], output_padding: [1; 3], ..two };
    for (x, weight, o) in
        [([1, 3, 2, 3, 4], [3, 2, 2, 2, 2], two), ([2, 2, 2, 3, 3], [2, 3, 3, 3, 3], padded)]
    {
        agree(
            |x, w, b| conv_transpose3d(x, w, b, o),
            |x, w, b| module::conv_transpose3d(x, w, b, o.burn()),
            x,
            weight,
            weight[1],
            1e-5,
        );
    }
}

#[test]
fn rounding_to_bfloat16_is_followed_also_by_gradients() {
    let o = ConvOptions::<2>::default();
    let device = Device::flex().autodiff();
    let one = |v: f32| Tensor::<4>::from_data(TensorData::new(vec![v], [1, 1, 1, 1]), &device);
    // 1 + 1/512 rounds to 1.
    let x = one(1.0 + 1.0 / 512.0);
    let weight = one(3.0).require_grad();
    let y = with_precision(Precision::Bfloat16, || conv2d(x.clone(), weight.clone(), None, o));
    assert_eq!(values(&y), [3.0]);
    // Outside of the scope by now.
    let grads = y.backward();
    assert_eq!(values(&weight.grad(&grads).unwrap()), [1.0]);
    assert_eq!(values(&conv2d(x, one(3.0), None, o)), [3.0 + 3.0 / 512.0]);
    for (x, weight) in [([2, 5, 9, 8], [4, 5, 3, 3]), ([1, 16, 9, 8], [16, 16, 3, 3])] {
        agree(
            |x, w, b| with_precision(Precision::Bfloat16, || conv2d(x, w, b, o)),
            |x, w, b| module::conv2d(x, w, b, o.burn()),
            x,
            weight,
            weight[0],
            6e-3,
        );
    }
}

#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let device = Device::flex().autodiff();
    let o = ConvOptions::<2>::default();
    let x = tensor(1, [1, 2, 5, 5], &device);
    let weight = tensor(2, [3, 2, 3, 3], &device);
    let asked = weight.clone().require_grad();
    let grads = conv2d(x.clone(), asked.clone(), None, o).sum().backward();
    assert!(asked.grad(&grads).is_some() && x.grad(&grads).is_none());
    let asked = x.require_grad();
    let grads = conv2d(asked.clone(), weight.clone(), None, o).sum().backward();
    assert!(asked.grad(&grads).is_some() && weight.grad(&grads).is_none());
}

#[test]
#[should_panic(expected = "does not fit an image of shape [1, 3, 4, 4]")]
fn channels_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let _ = conv2d(
        tensor(1, [1, 3, 4, 4], &device),
        tensor(1, [2, 2, 1, 1], &device),
        None,
        ConvOptions::default(),
    );
}
