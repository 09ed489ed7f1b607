//! The same poolings from burn's operators, for every device.

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

pub(super) fn max2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let options = MaxPoolOptions::new(kernel).with_stride(stride).with_padding(padding);
    module::max_pool2d(x, options)
}

pub(super) fn average2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    count_include_pad: bool,
) -> Tensor<4> {
    let options = AvgPoolOptions::new(kernel)
        .with_stride(stride)
        .with_padding(padding)
        .with_count_include_pad(count_include_pad);
    module::avg_pool2d(x, options)
}

/// Pools height and width with `pool2d(x, axes)`, then depth. The largest of the largest is the
/// largest, and the first in scan order is found either way; for means, the cells inside the volume
/// are counted per axis, so that the mean of means is the mean.
fn in_two_steps(x: Tensor<5>, pool: impl Fn(Tensor<4>, [usize; 2]) -> Tensor<4>) -> Tensor<5> {
    let [batch, channels, depth, height, width] = x.dims();
    let slices = x.reshape([batch, channels * depth, height, width]);
    let pooled = pool(slices, [1, 2]);
    let [_, _, height, width] = pooled.dims();
    // Depth beside all that is left of a slice; axis three stands for a kernel of one.
    let columns = pooled.reshape([batch, channels, depth, height * width]);
    let pooled = pool(columns, [0, 3]);
    let depth = pooled.dims()[2];
    pooled.reshape([batch, channels, depth, height, width])
}

pub(super) fn max3d(
    x: Tensor<5>,
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
) -> Tensor<5> {
    let [kernel, stride, padding] = with_rest(kernel, stride, padding);
    in_two_steps(x, |x, axes| {
        max2d(x, axes.map(|a| kernel[a]), axes.map(|a| stride[a]), axes.map(|a| padding[a]))
    })
}

pub(super) fn average3d(
    x: Tensor<5>,
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    count_include_pad: bool,
) -> Tensor<5> {
    let [kernel, stride, padding] = with_rest(kernel, stride, padding);
    in_two_steps(x, |x, axes| {
        let [k, s, p] = [kernel, stride, padding].map(|values| axes.map(|a| values[a]));
        average2d(x, k, s, p, count_include_pad)
    })
}

/// Each with a fourth axis that is not pooled.
fn with_rest(kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3]) -> [[usize; 4]; 3] {
    let with = |[d, h, w]: [usize; 3], rest: usize| [d, h, w, rest];
    [with(kernel, 1), with(stride, 1), with(padding, 0)]
}
