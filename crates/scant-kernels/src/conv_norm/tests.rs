//! Against burn's convolution, batch norm and ReLU on the same device.

use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Distribution, module, ops};

use super::*;

const SET: NormActivation = NormActivation { epsilon: 1e-5, slope: 0.01 };

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device).require_grad()
}

fn conv(inputs: usize, outputs: usize, device: &Device) -> ConvNorm {
    ConvNorm {
        weight: random([outputs, inputs, 3, 3], device),
        bias: random([outputs], device),
        gamma: random([outputs], device),
        beta: random([outputs], device),
    }
}

fn by_burn(x: Tensor<4>, conv: &ConvNorm) -> (Tensor<4>, BatchStatistics) {
    let options = ops::ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let z = module::conv2d(x, conv.weight.clone(), Some(conv.bias.clone()), options);
    let norm = module::batch_norm_train(z, conv.gamma.clone(), conv.beta.clone(), SET.epsilon);
    let statistics = BatchStatistics { mean: norm.mean, variance: norm.variance };
    (leaky_relu(norm.output, SET.slope), statistics)
}

fn close<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>) {
    let distance = (got - want.clone()).powf_scalar(2.0).sum().sqrt().into_scalar::<f32>();
    let norm = want.powf_scalar(2.0).sum().sqrt().into_scalar::<f32>();
    assert!(distance <= 2e-5 * norm, "{name}: {distance:e} of {norm:e}");
}

fn gradients(conv: &ConvNorm, grads: &burn::tensor::Gradients) -> (Tensor<4>, [Tensor<1>; 2]) {
    let grad = |t: &Tensor<1>| t.grad(grads).expect("the parameter has a gradient");
    (
        conv.weight.grad(grads).expect("the weight has a gradient"),
        [grad(&conv.gamma), grad(&conv.beta)],
    )
}

#[test]
fn two_in_a_row_equal_the_parts() {
    let device = Device::flex().autodiff();
    device.seed(7);
    let x = random([2, 3, 13, 18], &device);
    let convs = [conv(3, 9, &device), conv(9, 5, &device)];
    let weights = random([2, 5, 13, 18], &device).detach();

    let (y, statistics) = conv_norm_twice(ConvInput::Plain(x.clone()), convs.clone(), SET);
    let got = (y.clone() * weights.clone()).sum().backward();
    let (middle, first) = by_burn(x.clone(), &convs[0]);
    let (want_y, second) = by_burn(middle, &convs[1]);
    let want = (want_y.clone() * weights).sum().backward();

    close("y", y.inner(), want_y.inner());
    for (got, want) in statistics.into_iter().zip([first, second]) {
        close("mean", got.mean.inner(), want.mean.inner());
        close("variance", got.variance.inner(), want.variance.inner());
    }
    let dx = |g| x.grad(g).expect("the image has a gradient");
    close("dx", dx(&got), dx(&want));
    for (i, conv) in convs.iter().enumerate() {
        let ((weight, norm), (want_weight, want_norm)) =
            (gradients(conv, &got), gradients(conv, &want));
        close(&format!("weight {i}"), weight, want_weight);
        for (got, want) in norm.into_iter().zip(want_norm) {
            close(&format!("norm {i}"), got, want);
        }
        let bias = conv.bias.grad(&got).expect("the bias has a gradient");
        assert_eq!(bias.abs().max().into_scalar::<f32>(), 0.0);
    }
}

#[test]
fn one_equals_its_parts_and_fixed_statistics_give_the_same() {
    let device = Device::flex().autodiff();
    device.seed(8);
    let x = random([1, 4, 9, 30], &device);
    let conv = conv(4, 6, &device);
    let (y, statistics) = conv_norm(ConvInput::Plain(x.clone()), conv.clone(), SET);
    let (want, _) = by_burn(x.clone(), &conv);
    close("y", y.clone().inner(), want.inner());

    let plain = ConvNorm {
        weight: conv.weight.inner(),
        bias: conv.bias.inner(),
        gamma: conv.gamma.inner(),
        beta: conv.beta.inner(),
    };
    let fixed =
        BatchStatistics { mean: statistics.mean.inner(), variance: statistics.variance.inner() };
    close(
        "fixed",
        conv_norm_infer(ConvInput::Plain(x.inner()), vec![(plain, fixed)], SET),
        y.inner(),
    );
}

#[test]
#[should_panic(expected = "channels")]
fn other_channels_are_refused() {
    let device = Device::flex().autodiff();
    let x = ConvInput::Plain(random([1, 4, 9, 9], &device));
    let _ = conv_norm(x, conv(3, 6, &device), SET);
}

/// Gradients and outputs of an input that is not plain against the one that is written out.
fn check_input(
    make: impl Fn(&[Tensor<4>; 2]) -> ConvInput,
    channels: usize,
    shapes: [[usize; 4]; 2],
) {
    let device = Device::flex().autodiff();
    device.seed(9);
    let images = shapes.map(|shape| random(shape, &device));
    let convs = [conv(channels, 4, &device), conv(4, 3, &device)];
    let run = |input: ConvInput| {
        let (y, _) = conv_norm_twice(input, convs.clone(), SET);
        let ramp: Vec<f32> = (0..y.dims().iter().product()).map(|i| (i as f32).sin()).collect();
        let weights = Tensor::<1>::from_floats(ramp.as_slice(), &device).reshape(y.dims());
        let grads = (y.clone() * weights).sum().backward();
        let images = images.each_ref().map(|x| x.grad(&grads));
        (y, images, convs[0].weight.grad(&grads).expect("the weight has a gradient"))
    };
    let got = run(make(&images));
    let want = run(ConvInput::Plain(make(&images).written_out()));
    close("y", got.0.inner(), want.0.inner());
    close("weight", got.2, want.2);
    for (got, want) in got.1.into_iter().zip(want.1) {
        assert_eq!(got.is_some(), want.is_some());
        if let (Some(got), Some(want)) = (got, want) {
            close("image", got, want);
        }
    }
}

#[test]
fn doubled_and_joined_inputs_equal_written_out_ones() {
    check_input(|[x, _]| ConvInput::Doubled(x.clone()), 3, [[2, 3, 5, 9], [1, 1, 1, 1]]);
    check_input(
        |[a, b]| ConvInput::Joined(a.clone(), b.clone()),
        5,
        [[2, 3, 10, 18], [2, 2, 10, 18]],
    );
}

#[test]
fn the_precision_of_the_graph_is_kept_for_its_gradients() {
    use crate::{Precision, with_precision};
    let device = Device::flex().autodiff();
    device.seed(10);
    let x = random([1, 8, 16, 70], &device);
    let convs = [conv(8, 9, &device), conv(9, 5, &device)];
    let weights = random([1, 5, 16, 70], &device).detach();
    let run = |precision| {
        let input = ConvInput::Plain(x.clone());
        let (y, _) = with_precision(precision, || conv_norm_twice(input, convs.clone(), SET));
        // Outside: the precision is that of the thread no more.
        let grads = (y.clone() * weights.clone()).sum().backward();
        (y.inner(), convs[1].weight.grad(&grads).expect("the weight has a gradient"))
    };
    let (single, half) = (run(Precision::Single), run(Precision::Bfloat16));
    let far = |a: Tensor<4>, b: Tensor<4>| {
        let norm = |t: Tensor<4>| t.powf_scalar(2.0).sum().sqrt().into_scalar::<f32>();
        norm(a.clone() - b) / norm(a)
    };
    for error in [far(single.0, half.0), far(single.1, half.1)] {
        assert!((1e-3..0.3).contains(&error), "{error:e}");
    }
}
