//! Against the same gate of burn's operators on the same device.

use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Distribution, module, ops};

use super::*;

const EPSILON: f64 = 1e-5;

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device).require_grad()
}

fn layer(inputs: usize, outputs: usize, device: &Device) -> ConvNorm {
    ConvNorm {
        weight: random([outputs, inputs, 1, 1], device),
        bias: random([outputs], device),
        gamma: random([outputs], device),
        beta: random([outputs], device),
    }
}

fn by_burn(gating: Tensor<4>, skip: Tensor<4>, layers: &[ConvNorm; 3]) -> Tensor<4> {
    let normalised = |x: Tensor<4>, layer: &ConvNorm| {
        let options = ops::ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let z = module::conv2d(x, layer.weight.clone(), Some(layer.bias.clone()), options);
        module::batch_norm_train(z, layer.gamma.clone(), layer.beta.clone(), EPSILON).output
    };
    let sum = normalised(gating, &layers[0]) + normalised(skip.clone(), &layers[1]);
    skip * sigmoid(normalised(relu(sum), &layers[2]))
}

fn close<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>) {
    let norm = |t: Tensor<D>| t.square().sum().sqrt().into_scalar::<f32>();
    let (distance, norm) = (norm(got - want.clone()), norm(want));
    assert!(distance <= 1e-5 * norm, "{name}: {distance:e} of {norm:e}");
}

#[test]
fn equals_burns_operators() {
    let device = Device::flex().autodiff();
    device.seed(9);
    let shape = [2, 6, 13, 11];
    let (gating, skip) = (random(shape, &device), random(shape, &device));
    let layers = [layer(6, 4, &device), layer(6, 4, &device), layer(4, 1, &device)];
    let weights = random(shape, &device).detach();
    let (y, statistics) = attention_gate(gating.clone(), skip.clone(), layers.clone(), EPSILON);
    let got = (y.clone() * weights.clone()).sum().backward();
    let slow = by_burn(gating.clone(), skip.clone(), &layers);
    let want = (slow.clone() * weights).sum().backward();
    close("y", y.inner(), slow.inner());
    for (name, map) in [("gating", &gating), ("skip", &skip)] {
        close(name, map.grad(&got).unwrap(), map.grad(&want).unwrap());
    }
    for (i, layer) in layers.iter().enumerate() {
        let weight = |g| layer.weight.grad(g).unwrap();
        close(&format!("weight {i}"), weight(&got), weight(&want));
        for (name, t) in [("gamma", &layer.gamma), ("beta", &layer.beta)] {
            close(&format!("{name} {i}"), t.grad(&got).unwrap(), t.grad(&want).unwrap());
        }
        let bias = layer.bias.grad(&got).unwrap();
        assert_eq!(bias.abs().max().into_scalar::<f32>(), 0.0);
    }
    assert_eq!(statistics.map(|s| s.mean.dims()), [[4], [4], [1]]);
}

#[test]
fn a_signal_that_does_not_learn_gets_no_gradient() {
    let device = Device::flex().autodiff();
    let [gating, skip] = [false, true].map(|r| random([1, 2, 5, 4], &device).set_require_grad(r));
    let layers = [layer(2, 3, &device), layer(2, 3, &device), layer(3, 1, &device)];
    let (y, _) = attention_gate(gating.clone(), skip.clone(), layers, EPSILON);
    let gradients = y.square().sum().backward();
    assert!(gating.grad(&gradients).is_none() && skip.grad(&gradients).is_some());
}

#[test]
#[should_panic(expected = "needs a weight [1, 4, 1, 1]")]
fn a_gate_of_two_channels_is_refused() {
    let device = Device::flex().autodiff();
    let map = || random([1, 6, 5, 5], &device);
    let layers = [layer(6, 4, &device), layer(6, 4, &device), layer(4, 2, &device)];
    let _ = attention_gate(map(), map(), layers, EPSILON);
}
