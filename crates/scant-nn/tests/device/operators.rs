//! The operators of `scant-kernels`, one by one. Those that only exist on the CPU (`conv_norm`,
//! `attention_gate`) are chosen by the blocks of a network: see `network`.

use burn::tensor::{Device, Tensor};
use scant_kernels::{
    ConvOptions, ConvTransposeOptions, NormActivation, Terms, avg_pool2d, avg_pool3d, batch_norm,
    conv_transpose2d, conv_transpose3d, conv2d, conv3d, masked_sums, max_pool2d, max_pool3d,
    segmentation_sums, tap, upsample_bilinear2d, upsample_nearest2d, upsample_nearest3d,
    upsample_trilinear3d,
};

use super::{compare, ids, noise, values};

/// An operator of one tensor.
fn unary<const D: usize>(what: &str, shape: [usize; D], f: impl Fn(Tensor<D>) -> Tensor<D>) {
    compare(what, |device| {
        let x = noise(1, shape, device).require_grad();
        let y = f(x.clone());
        let gradients = (y.clone() * noise(4, y.dims(), device)).sum().backward();
        vec![("output", values(y)), ("dx", values(x.grad(&gradients).unwrap()))]
    });
}

/// An operator of an image, a kernel and a bias.
fn layer<const D: usize>(
    what: &str,
    x: [usize; D],
    weight: [usize; D],
    outputs: usize,
    f: impl Fn(Tensor<D>, Tensor<D>, Tensor<1>) -> Tensor<D>,
) {
    compare(what, |device| {
        let x = noise(1, x, device).require_grad();
        let weight = noise(2, weight, device).require_grad();
        let bias = noise(3, [outputs], device).require_grad();
        let y = f(x.clone(), weight.clone(), bias.clone());
        let gradients = (y.clone() * noise(4, y.dims(), device)).sum().backward();
        vec![
            ("output", values(y)),
            ("dx", values(x.grad(&gradients).unwrap())),
            ("dweight", values(weight.grad(&gradients).unwrap())),
            ("dbias", values(bias.grad(&gradients).unwrap())),
        ]
    });
}

#[test]
fn convolutions_that_keep_the_size() {
    for (x, weight) in [
        ([2, 3, 9, 11], [5, 3, 3, 3]),
        ([1, 4, 8, 8], [2, 4, 1, 1]),
        ([3, 1, 7, 6], [1, 1, 5, 5]),
        ([1, 16, 20, 24], [32, 16, 3, 3]),
    ] {
        let o = ConvOptions { padding: [weight[2] / 2; 2], ..ConvOptions::default() };
        let what = format!("conv2d {x:?} {weight:?}, size kept");
        layer(&what, x, weight, weight[0], |x, w, b| conv2d(x, w, Some(b), o));
    }
}

#[test]
fn convolutions() {
    let plain = ConvOptions::<2>::default();
    for (x, weight, o) in [
        ([1, 3, 17, 13], [4, 3, 7, 7], ConvOptions { stride: [2; 2], padding: [3; 2], ..plain }),
        ([2, 4, 8, 9], [6, 2, 3, 2], ConvOptions { groups: 2, dilation: [2, 1], ..plain }),
        ([2, 4, 7, 6], [4, 1, 3, 3], ConvOptions { groups: 4, padding: [1; 2], ..plain }),
    ] {
        let what = format!("conv2d {x:?} {weight:?}");
        layer(&what, x, weight, weight[0], |x, w, b| conv2d(x, w, Some(b), o));
    }
    let plain = ConvOptions::<3>::default();
    for (x, weight, o) in [
        ([2, 3, 4, 5, 6], [5, 3, 3, 3, 3], ConvOptions { padding: [1; 3], ..plain }),
        ([1, 2, 6, 5, 8], [4, 2, 2, 2, 2], ConvOptions { stride: [2; 3], ..plain }),
    ] {
        let what = format!("conv3d {x:?} {weight:?}");
        layer(&what, x, weight, weight[0], |x, w, b| conv3d(x, w, Some(b), o));
    }
}

#[test]
fn transposed_convolutions() {
    let plain = ConvTransposeOptions::<2>::default();
    let two = ConvTransposeOptions { stride: [2; 2], ..plain };
    let padded = ConvTransposeOptions { padding: [1; 2], output_padding: [1, 0], ..two };
    let grouped = ConvTransposeOptions { groups: 2, dilation: [1, 2], ..plain };
    for (x, weight, o) in [
        ([2, 3, 4, 5], [3, 4, 2, 2], two),
        ([1, 3, 4, 5], [3, 2, 3, 3], padded),
        ([1, 4, 5, 3], [4, 3, 2, 3], grouped),
    ] {
        let what = format!("conv_transpose2d {x:?} {weight:?}");
        let outputs = weight[1] * o.groups;
        layer(&what, x, weight, outputs, |x, w, b| conv_transpose2d(x, w, Some(b), o));
    }
    let o = ConvTransposeOptions::<3> { stride: [2; 3], ..Default::default() };
    layer("conv_transpose3d", [1, 3, 2, 3, 4], [3, 2, 2, 2, 2], 2, |x, w, b| {
        conv_transpose3d(x, w, Some(b), o)
    });
}

fn normalised<const D: usize>(shape: [usize; D], slope: f64) {
    let set = NormActivation { epsilon: 1e-5, slope };
    compare(&format!("batch_norm {shape:?}, slope {slope}"), |device| {
        let x = noise(1, shape, device).require_grad();
        let gamma = (noise(2, [shape[1]], device) + 1.5).require_grad();
        let beta = noise(3, [shape[1]], device).require_grad();
        let (y, statistics) = batch_norm(x.clone(), gamma.clone(), beta.clone(), set);
        let gradients = (y.clone() * noise(4, shape, device)).sum().backward();
        vec![
            ("output", values(y)),
            ("mean", values(statistics.mean)),
            ("variance", values(statistics.variance)),
            ("dx", values(x.grad(&gradients).unwrap())),
            ("dgamma", values(gamma.grad(&gradients).unwrap())),
            ("dbeta", values(beta.grad(&gradients).unwrap())),
        ]
    });
}

#[test]
fn batch_norms() {
    for slope in [0.0, 0.01, 1.0] {
        normalised([2, 3, 7, 9], slope);
        normalised([2, 3, 4, 5, 3], slope);
    }
}

#[test]
fn pooling() {
    let (image, volume) = ([2, 3, 9, 8], [1, 2, 6, 7, 8]);
    unary("max_pool2d", image, |x| max_pool2d(x, [2; 2], [2; 2], [0; 2]));
    unary("max_pool2d, padded", image, |x| max_pool2d(x, [3; 2], [2; 2], [1; 2]));
    unary("avg_pool2d", image, |x| avg_pool2d(x, [2; 2], [2; 2], [0; 2], true));
    unary("avg_pool2d, padded", image, |x| avg_pool2d(x, [3; 2], [2; 2], [1; 2], false));
    unary("max_pool3d", volume, |x| max_pool3d(x, [2; 3], [2; 3], [0; 3]));
    unary("max_pool3d, padded", volume, |x| max_pool3d(x, [3; 3], [2; 3], [1; 3]));
    unary("avg_pool3d", volume, |x| avg_pool3d(x, [2; 3], [2; 3], [0; 3], true));
    unary("avg_pool3d, padded", volume, |x| avg_pool3d(x, [3; 3], [2; 3], [1; 3], false));
}

#[test]
fn resampling() {
    let (image, volume) = ([2, 3, 5, 8], [1, 2, 3, 4, 5]);
    unary("upsample_nearest2d x2", image, |x| upsample_nearest2d(x, [10, 16]));
    unary("upsample_nearest2d", image, |x| upsample_nearest2d(x, [7, 5]));
    unary("upsample_nearest3d", volume, |x| upsample_nearest3d(x, [6, 5, 9]));
    for corners in [false, true] {
        unary("upsample_bilinear2d", image, |x| upsample_bilinear2d(x, [9, 13], corners));
        unary("upsample_trilinear3d", volume, |x| upsample_trilinear3d(x, [5, 7, 4], corners));
    }
}

#[test]
fn sums_of_segmentation_losses() {
    for channels in [1, 4] {
        let terms = Terms { overlap: true, bce: true, ce: channels > 1 };
        compare(&format!("segmentation_sums, {channels} channel(s)"), |device| {
            let x = (noise(1, [2, channels, 9, 7], device) * 4.0).require_grad();
            let classes = ids(channels.max(2), [2, 9, 7], device);
            let sums = segmentation_sums(x.clone(), classes, terms);
            let weighed = |t: &Tensor<2>, seed| (t.clone() * noise(seed, t.dims(), device)).sum();
            let mut total = weighed(&sums.both, 5) + weighed(&sums.predicted, 6);
            total = total + weighed(&sums.bce, 7);
            let mut out = vec![
                ("both", values(sums.both)),
                ("truth", values(sums.truth)),
                ("predicted", values(sums.predicted)),
                ("bce", values(sums.bce)),
            ];
            if terms.ce {
                total = total + weighed(&sums.ce, 8);
                out.push(("ce", values(sums.ce)));
            }
            let gradients = total.backward();
            out.push(("dlogits", values(x.grad(&gradients).unwrap())));
            out
        });
    }
}

fn mask(shape: [usize; 4], device: &Device) -> Tensor<4> {
    ids(3, shape, device).equal_elem(1).float()
}

#[test]
fn sums_over_regions() {
    compare("masked_sums", |device| {
        let x = noise(1, [2, 5, 8, 9], device).require_grad();
        let (inside, outside) = masked_sums(x.clone(), mask([2, 3, 8, 9], device));
        let total = inside.clone() * noise(2, inside.dims(), device)
            + outside.clone() * noise(3, outside.dims(), device);
        let gradients = total.sum().backward();
        vec![
            ("inside", values(inside)),
            ("outside", values(outside)),
            ("dx", values(x.grad(&gradients).unwrap())),
        ]
    });
}

#[test]
fn a_tap_adds_to_the_gradient_of_the_rest() {
    compare("tap", |device| {
        let x = noise(1, [2, 5, 8, 9], device).require_grad();
        let (onwards, tap) = tap(x.clone() * 2.0);
        let (inside, outside) = tap.masked_sums(mask([2, 1, 8, 9], device));
        let rest = (onwards.clone() * onwards * noise(2, [2, 5, 8, 9], device)).sum();
        let looked_at = (inside * 0.5 - outside * 0.25).sum();
        let total = rest + looked_at;
        let gradients = total.backward();
        vec![("total", values(total)), ("dx", values(x.grad(&gradients).unwrap()))]
    });
}
