//! Layers, and the ways networks of this field put operators together.

use burn::nn::{GroupNormConfig, InstanceNormConfig, LayerNormConfig};
use burn::tensor::activation::{leaky_relu, softmax};
use burn::tensor::ops::{
    AttentionModuleOptions, AvgPoolOptions, ConvOptions, ConvTransposeOptions, MaxPoolOptions,
};
use burn::tensor::{Bool, Tensor, TensorData, module, s};
use scant_kernels::{
    avg_pool3d, max_pool3d, upsample_bilinear2d, upsample_nearest2d, upsample_nearest3d,
    upsample_trilinear3d,
};

use crate::bench::Bench;
use crate::operators::constant;

const MAP: [usize; 4] = [1, 4, 9, 11];
const VOLUME: [usize; 5] = [1, 2, 6, 5, 7];

fn convolutions(bench: &mut Bench) {
    bench.case("conv2d", MAP, |x: Tensor<4>| {
        let (w, b) = (constant([6, 4, 3, 5], &x), constant([6], &x));
        module::conv2d(x, w, Some(b), ConvOptions::new([2, 1], [1, 2], [1, 1], 1))
    });
    bench.case("conv2d-dilated", MAP, |x: Tensor<4>| {
        let w = constant([6, 2, 3, 3], &x);
        module::conv2d(x, w, None, ConvOptions::new([1, 2], [2, 0], [2, 3], 2))
    });
    bench.case("conv2d-depthwise", MAP, |x: Tensor<4>| {
        let (w, b) = (constant([8, 1, 3, 3], &x), constant([8], &x));
        module::conv2d(x, w, Some(b), ConvOptions::new([1, 1], [1, 1], [1, 1], 4))
    });
    bench.case("conv1d", [1, 3, 8], |x: Tensor<3>| {
        let (w, b) = (constant([2, 3, 3], &x), constant([2], &x));
        module::conv1d(x, w, Some(b), ConvOptions::new([2], [1], [1], 1))
    });
    bench.case("conv3d", VOLUME, |x: Tensor<5>| {
        let (w, b) = (constant([4, 2, 3, 1, 3], &x), constant([4], &x));
        module::conv3d(x, w, Some(b), ConvOptions::new([2, 1, 1], [1, 0, 1], [1, 1, 2], 1))
    });
    bench.case("conv-transpose2d", MAP, |x: Tensor<4>| {
        let (w, b) = (constant([4, 3, 2, 2], &x), constant([3], &x));
        let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
        module::conv_transpose2d(x, w, Some(b), options)
    });
    bench.case("conv-transpose2d-odd", MAP, |x: Tensor<4>| {
        let w = constant([4, 3, 3, 5], &x);
        let options = ConvTransposeOptions::new([2, 3], [1, 2], [1, 2], [2, 1], 2);
        module::conv_transpose2d(x, w, None, options)
    });
    bench.case("conv-transpose3d", VOLUME, |x: Tensor<5>| {
        let (w, b) = (constant([2, 3, 2, 2, 1], &x), constant([3], &x));
        let options = ConvTransposeOptions::new([2, 2, 1], [0; 3], [0; 3], [1; 3], 1);
        module::conv_transpose3d(x, w, Some(b), options)
    });
}

fn poolings(bench: &mut Bench) {
    bench.case("max-pool2d", MAP, |x: Tensor<4>| {
        let options = MaxPoolOptions::new([3, 2]).with_stride([2, 2]).with_padding([1, 0]);
        module::max_pool2d(x, options)
    });
    bench.case("max-pool2d-ceil", MAP, |x: Tensor<4>| {
        let options = MaxPoolOptions::new([2, 2]).with_stride([2, 2]).with_ceil_mode(true);
        module::max_pool2d(x, options)
    });
    bench.case("max-pool2d-uneven", MAP, |x: Tensor<4>| {
        let options = MaxPoolOptions::new([3, 3]).with_stride([2, 2]);
        module::max_pool2d(x.pad((0, 1, 0, 1), f32::NEG_INFINITY), options)
    });
    for counted in [false, true] {
        bench.case(&format!("average-pool2d-{counted}"), MAP, |x: Tensor<4>| {
            let options = AvgPoolOptions::new([3, 3]).with_stride([2, 1]).with_padding([1, 1]);
            module::avg_pool2d(x, options.with_count_include_pad(counted))
        });
    }
    bench.case("pool1d", [1, 3, 9], |x: Tensor<3>| {
        let max = MaxPoolOptions::new([3]).with_stride([2]).with_padding([1]);
        let average = AvgPoolOptions::new([3]).with_stride([2]).with_padding([1]);
        module::max_pool1d(x.clone(), max) + module::avg_pool1d(x, average)
    });
    bench.case("adaptive-one", MAP, |x: Tensor<4>| module::adaptive_avg_pool2d(x, [1, 1]));
    bench.case("adaptive-even", MAP, |x: Tensor<4>| module::adaptive_avg_pool2d(x, [3, 11]));
    bench.case("adaptive-uneven", MAP, |x: Tensor<4>| module::adaptive_avg_pool2d(x, [4, 5]));
    bench.case("adaptive-volume", VOLUME, |x: Tensor<5>| module::adaptive_avg_pool3d(x, [2, 1, 1]));
    bench.case("pool3d", VOLUME, |x: Tensor<5>| {
        let (kernel, stride, padding) = ([2, 3, 3], [2, 2, 2], [0, 1, 1]);
        max_pool3d(x.clone(), kernel, stride, padding)
            + avg_pool3d(x, kernel, stride, padding, false)
    });
}

fn norms(bench: &mut Bench) {
    bench.case("batch-norm", MAP, |x: Tensor<4>| {
        let row = || constant::<1, 4>([4], &x);
        module::batch_norm(x.clone(), row(), row() * 2.0, row() / 3.0, row().abs() + 0.5, 1e-3)
    });
    bench.case("layer-norm", [1, 5, 8], |x: Tensor<3>| {
        let layer = LayerNormConfig::new(8).with_epsilon(1e-5).init(&x.device());
        let row = || constant::<1, 3>([8], &x);
        layer.forward(x.clone()) + module::layer_norm(x.clone(), row(), Some(row() * 2.0), 1e-6)
    });
    bench.case("group-norm", MAP, |x: Tensor<4>| {
        GroupNormConfig::new(2, 4).init(&x.device()).forward(x)
    });
    bench.case("instance-norm", VOLUME, |x: Tensor<5>| {
        leaky_relu(InstanceNormConfig::new(2).init(&x.device()).forward(x), 0.01)
    });
    bench.case("instance-norm-by-moments", VOLUME, |x: Tensor<5>| {
        let [b, c, d, h, w] = x.dims();
        let flat = x.reshape([b * c, d * h * w]);
        let (variance, mean) = flat.clone().var_mean_bias(1);
        ((flat - mean) / (variance + 1e-5).sqrt()).reshape([b, c, d, h, w])
    });
    bench.case("weight-standardisation", MAP, |x: Tensor<4>| {
        let w = constant::<4, 4>([6, 4, 3, 3], &x);
        let flat: Tensor<2> = w.reshape([6, 36]);
        let (variance, mean) = flat.clone().var_mean_bias(1);
        let w = ((flat - mean) / (variance + 1e-5).sqrt()).reshape([6, 4, 3, 3]);
        module::conv2d(x, w, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
    });
}

fn attention(bench: &mut Bench) {
    bench.case("linear", [1, 5, 8], |x: Tensor<3>| {
        let (w, b) = (constant([8, 3], &x), constant([3], &x));
        module::linear(x, w, Some(b))
    });
    bench.case("linear-flat", [1, 8], |x: Tensor<2>| {
        let (w, b) = (constant([8, 3], &x), constant([3], &x));
        let hidden = module::linear(x.clone(), w, Some(b));
        hidden + module::linear(x.clone(), constant([8, 3], &x), None)
    });
    bench.case("self-attention", [1, 6, 8], |x: Tensor<3>| {
        let [b, n, c] = x.dims();
        let qkv = module::linear(x.clone(), constant([8, 24], &x), Some(constant([24], &x)));
        let qkv: Tensor<5> = qkv.reshape([b, n, 3, 2, c / 2]).permute([2, 0, 3, 1, 4]);
        let part = |i: usize| -> Tensor<4> { qkv.clone().narrow(0, i, 1).squeeze_dim(0) };
        let scores = (part(0) * 0.5).matmul(part(1).swap_dims(2, 3));
        let bias = constant::<4, 3>([1, 2, n, n], &x);
        let mixed = softmax(scores + bias, 3).matmul(part(2));
        mixed.swap_dims(1, 2).reshape([b, n, c])
    });
    let all = |bench: &mut Bench, name: &str, masked: bool, options: AttentionModuleOptions| {
        bench.case(name, [1, 2, 5, 4], move |x: Tensor<4>| {
            let [b, ..] = x.dims();
            let keys = Tensor::cat(vec![x.clone(), x.clone() * -0.7], 2);
            let values = keys.clone().sin();
            let bias = constant::<4, 4>([1, 2, 5, 10], &x).expand([b, 2, 5, 10]);
            let mask = masked.then(|| {
                let hidden = keys.clone().mean_dim(3).swap_dims(2, 3).greater_elem(0.1);
                hidden.expand([b, 2, 5, 10])
            });
            module::attention(x, keys, values, mask, Some(bias), options)
        });
    };
    all(bench, "attention", false, AttentionModuleOptions::default());
    let scaled = AttentionModuleOptions { scale: Some(0.3), softcap: Some(2.0), is_causal: false };
    all(bench, "attention-masked", true, scaled);
    let causal = AttentionModuleOptions { is_causal: true, ..AttentionModuleOptions::default() };
    all(bench, "attention-causal", true, causal);
}

/// Windows of Swin: rolled, cut, masked by a constant, attended, joined, rolled back.
fn windows(bench: &mut Bench) {
    bench.case("shifted-windows", [1, 8, 8, 6], |x: Tensor<4>| {
        let [b, h, w, c] = x.dims();
        let (side, count) = (4, (h / 4) * (w / 4));
        let rolled = x.clone().roll(&[-2, -2], &[1, 2]);
        let cut: Tensor<6> = rolled.reshape([b, h / side, side, w / side, side, c]);
        let cut = cut.permute([0, 1, 3, 2, 4, 5]);
        let tokens: Tensor<3> = cut.reshape([b * count, side * side, c]);
        let scores = tokens.clone().matmul(tokens.clone().swap_dims(1, 2));
        let mask = constant::<3, 4>([count, 16, 16], &x).greater_elem(0.5);
        let mask = mask.float() * -100.0;
        let masked: Tensor<4> = scores.reshape([b, count, 16, 16]);
        let masked = masked + mask.unsqueeze_dim::<4>(0);
        let weights = softmax(masked.reshape([b * count, 16, 16]), 2);
        let joined: Tensor<6> =
            weights.matmul(tokens).reshape([b, h / side, w / side, side, side, c]);
        let joined: Tensor<4> = joined.permute([0, 1, 3, 2, 4, 5]).reshape([b, h, w, c]);
        joined.roll(&[2, 2], &[1, 2])
    });
    bench.case("patch-merging", [1, 8, 8, 3], |x: Tensor<4>| {
        let at = |row: usize, column: usize| x.clone().slice(s![.., row..;2, column..;2, ..]);
        let joined = Tensor::cat(vec![at(0, 0), at(1, 0), at(0, 1), at(1, 1)], 3);
        module::linear(joined, constant([12, 6], &x), None)
    });
    bench.case("patch-expanding", [1, 16, 8], |x: Tensor<3>| {
        let [b, ..] = x.dims();
        let wide: Tensor<6> = x.reshape([b, 4, 4, 2, 2, 2]);
        let fine: Tensor<4> = wide.permute([0, 1, 3, 2, 4, 5]).reshape([b, 8, 8, 2]);
        fine.permute([0, 3, 1, 2])
    });
}

/// The resampling of `scant-kernels`, as it is recorded.
fn resampling(bench: &mut Bench) {
    for corners in [false, true] {
        bench.case(&format!("upsample-bilinear-{corners}"), MAP, |x: Tensor<4>| {
            let twice = upsample_bilinear2d(x, [18, 22], corners);
            upsample_bilinear2d(twice, [13, 30], corners)
        });
        bench.case(&format!("upsample-trilinear-{corners}"), VOLUME, |x: Tensor<5>| {
            let twice = upsample_trilinear3d(x, [12, 10, 14], corners);
            upsample_trilinear3d(twice, [5, 11, 14], corners)
        });
    }
    bench.case("upsample-nearest", MAP, |x: Tensor<4>| {
        let twice = upsample_nearest2d(x, [18, 22]);
        upsample_nearest2d(twice, [13, 30])
    });
    bench.case("upsample-nearest3d", VOLUME, |x: Tensor<5>| {
        let twice = upsample_nearest3d(x, [12, 10, 14]);
        upsample_nearest3d(twice, [5, 11, 9])
    });
}

/// A mask made on the host, as some networks make theirs.
fn host_constants(bench: &mut Bench) {
    bench.case("host-truth", [1, 2, 3], |x: Tensor<3>| {
        let mask = TensorData::from([[true, false, true], [false, false, true]]);
        let mask = Tensor::<2, Bool>::from_data(mask, &x.device());
        let [b, ..] = x.dims();
        x.mask_fill(mask.unsqueeze_dim::<3>(0).expand([b, 2, 3]), 7.0)
    });
}

#[test]
#[ignore = "needs ONNX Runtime: SCANT_PYTHON or SCANT_INSTALL=1"]
fn layers() {
    let mut bench = Bench::new();
    convolutions(&mut bench);
    poolings(&mut bench);
    norms(&mut bench);
    attention(&mut bench);
    windows(&mut bench);
    resampling(&mut bench);
    host_constants(&mut bench);
    bench.compare();
}
