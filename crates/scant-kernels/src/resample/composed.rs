//! The same resampling from burn's operators, for every device.
//!
//! Linear modes select the two neighbours along one axis after the other. Products with an
//! interpolation matrix would do the same, but some devices multiply matrices in reduced precision;
//! burn's own bilinear mode has no gradient on GPUs.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Int, Tensor, TensorData};
use scant_compute::resample::{Blend, nearest_sources};

pub(super) fn nearest2d(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    // Multiples by a power of two are exact in single and double precision.
    let exact = |from: usize, to: usize| to.is_multiple_of(from) && (to / from).is_power_of_two();
    if exact(height, size[0]) && exact(width, size[1]) {
        let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size);
        interpolate(x, options)
    } else {
        nearest(x, &size)
    }
}

/// One axis after the other; `size` is that of the axes after batch and channels.
pub(super) fn nearest<const D: usize>(mut x: Tensor<D>, size: &[usize]) -> Tensor<D> {
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
    for (axis, &to) in (2..).zip(size) {
        let from = x.dims()[axis];
        if from != to {
            x = blend(&x, axis, Blend::new(from, to, align_corners));
        }
    }
    x
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
