//! The same resampling from burn's operators, for every device.
//!
//! Linear modes select the two neighbours along one axis after the other. Products with an
//! interpolation matrix would do the same, but some devices multiply matrices in reduced precision;
//! burn's own bilinear mode has no gradient on GPUs. Where nothing is computed, burn's modes are
//! recorded by their names.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Int, Tensor, TensorData};
use scant_compute::resample::{Blend, nearest_sources};

use crate::device::recorded;

pub(super) fn nearest2d(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    if exact(&x, &size) {
        interpolate(x, options(InterpolateMode::Nearest, size, false))
    } else {
        nearest(x, &size)
    }
}

/// Whether every axis grows by a power of two, where single and double precision find the same
/// neighbours.
fn exact<const D: usize>(x: &Tensor<D>, size: &[usize]) -> bool {
    let grows =
        |(&from, &to): (&usize, &usize)| to.is_multiple_of(from) && (to / from).is_power_of_two();
    x.dims()[2..].iter().zip(size).all(grows)
}

/// One axis after the other; `size` is that of the axes after batch and channels.
pub(super) fn nearest<const D: usize>(mut x: Tensor<D>, size: &[usize]) -> Tensor<D> {
    if recorded(&x.device()) && exact(&x, size) {
        return by_name(x, size, |size| options(InterpolateMode::Nearest, size, false));
    }
    for (axis, &to) in (2..).zip(size) {
        let from = x.dims()[axis];
        if from != to {
            x = select(&x, axis, &nearest_sources(from, to));
        }
    }
    x
}

/// One axis after the other; `size` is that of the axes after batch and channels.
pub(super) fn linear<const D: usize>(
    mut x: Tensor<D>,
    size: &[usize],
    align_corners: bool,
) -> Tensor<D> {
    if recorded(&x.device()) {
        let bilinear = |size| options(InterpolateMode::Bilinear, size, align_corners);
        return by_name(x, size, bilinear);
    }
    for (axis, &to) in (2..).zip(size) {
        let from = x.dims()[axis];
        if from != to {
            x = blend(&x, axis, Blend::new(from, to, align_corners));
        }
    }
    x
}

pub(super) fn options(
    mode: InterpolateMode,
    size: [usize; 2],
    align_corners: bool,
) -> InterpolateOptions {
    InterpolateOptions::new(mode).with_output_size(size).with_align_corners(align_corners)
}

/// By burn's own operator, which knows two axes: of a volume first the planes, then the depth beside all
/// that is left of a plane.
pub(super) fn by_name<const D: usize>(
    x: Tensor<D>,
    size: &[usize],
    options: impl Fn([usize; 2]) -> InterpolateOptions,
) -> Tensor<D> {
    let mut shape = x.dims();
    let [batch, channels] = [shape[0], shape[1]];
    let depth = shape[2..D - 2].iter().product::<usize>();
    let planes = x.reshape([batch, channels * depth, shape[D - 2], shape[D - 1]]);
    let (rows, columns) = (size[size.len() - 2], size[size.len() - 1]);
    let mut x = interpolate(planes, options([rows, columns]));
    if let [to, _, _] = *size
        && to != depth
    {
        let beside = x.reshape([batch, channels, depth, rows * columns]);
        x = interpolate(beside, options([to, rows * columns]));
    }
    shape[2..].copy_from_slice(size);
    x.reshape(shape)
}

fn blend<const D: usize>(x: &Tensor<D>, axis: usize, blend: Blend) -> Tensor<D> {
    let (lower, upper) = (select(x, axis, &blend.lower), select(x, axis, &blend.upper));
    let mut shape = [1; D];
    shape[axis] = blend.weight.len();
    let weights = |values: Vec<f32>| {
        Tensor::<D>::from_data(TensorData::new(values, shape), (&x.device(), x.dtype()))
    };
    let rest = blend.weight.iter().map(|w| 1.0 - w).collect();
    lower * weights(rest) + upper * weights(blend.weight)
}

fn select<const D: usize>(x: &Tensor<D>, axis: usize, sources: &[usize]) -> Tensor<D> {
    let sources: Vec<i64> = sources.iter().map(|&i| i as i64).collect();
    let count = sources.len();
    let sources = Tensor::<1, Int>::from_data(TensorData::new(sources, [count]), &x.device());
    x.clone().select(axis, sources)
}
