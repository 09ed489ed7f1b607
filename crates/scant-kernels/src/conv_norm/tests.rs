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
    let norm =
        module::batch_norm_train(z, conv.gamma.clone(), conv.beta.clone(), SET.epsilon);
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
    (conv.weight.grad(grads).expect("the weight has a gradient"), [grad(&conv.gamma), grad(&conv.beta)])
}

#[test]
fn two_in_a_row_equal_the_parts() {
    let device = Device::flex().autodiff();
    device.seed(7);
    let x = random([2, 3, 13, 18], &device);
    let convs = [conv(3, 9, &device), conv(9, 5, &device)];
    let weights = random([2, 5, 13, 18], &device).detach();

    let (y, statistics) = conv_norm_twice(x.clone(), convs.clone(), SET);
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
    let (y, statistics) = conv_norm(x.clone(), conv.clone(), SET);
    let (want, _) = by_burn(x.clone(), &conv);
    close("y", y.clone().inner(), want.inner());

    let plain = ConvNorm {
        weight: conv.weight.inner(),
        bias: conv.bias.inner(),
        gamma: conv.gamma.inner(),
        beta: conv.beta.inner(),
    };
    let fixed = BatchStatistics {
        mean: statistics.mean.inner(),
        variance: statistics.variance.inner(),
    };
    close("fixed", conv_norm_infer(x.inner(), vec![(plain, fixed)], SET), y.inner());
}

#[test]
#[should_panic(expected = "channels")]
fn other_channels_are_refused() {
    let device = Device::flex().autodiff();
    let _ = conv_norm(random([1, 4, 9, 9], &device), conv(3, 6, &device), SET);
}
