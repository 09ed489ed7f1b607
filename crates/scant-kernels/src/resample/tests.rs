use burn::tensor::ops::InterpolateMode;
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use super::{
    composed, upsample_bilinear2d, upsample_nearest2d, upsample_nearest3d, upsample_trilinear3d,
};

/// Reproducible noise.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        z ^= z << 13;
        z ^= z >> 7;
        z ^= z << 17;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Output and gradient of `f`, the output weighted by noise.
fn output_and_gradient<const D: usize>(
    x: &[f32],
    shape: [usize; D],
    f: impl Fn(Tensor<D>) -> Tensor<D>,
) -> (Vec<usize>, Vec<f32>, Vec<f32>) {
    let device = Device::flex().autodiff();
    let x = Tensor::<D>::from_data(TensorData::new(x.to_vec(), shape), &device).require_grad();
    let y = f(x.clone());
    let dims = y.dims();
    let weights = values(dims.iter().product(), 7);
    let weights = Tensor::<D>::from_data(TensorData::new(weights, dims), &device);
    let gradients = (y.clone() * weights).sum().backward();
    let dx = x.grad(&gradients).unwrap();
    (dims.to_vec(), y.into_data().try_to_vec().unwrap(), dx.into_data().try_to_vec().unwrap())
}

fn agree<const D: usize>(
    seed: u64,
    shape: [usize; D],
    fast: impl Fn(Tensor<D>) -> Tensor<D>,
    composed: impl Fn(Tensor<D>) -> Tensor<D>,
) -> Result<(), TestCaseError> {
    let x = values(shape.iter().product(), seed);
    let (got, want) =
        (output_and_gradient(&x, shape, fast), output_and_gradient(&x, shape, composed));
    prop_assert_eq!(&got.0, &want.0);
    for (got, want) in [(got.1, want.1), (got.2, want.2)] {
        let norm = want.iter().map(|v| v * v).sum::<f32>().sqrt();
        let apart = got.iter().zip(&want).map(|(g, w)| (g - w).powi(2)).sum::<f32>().sqrt();
        prop_assert!(apart <= 1e-5 * norm, "{apart} of {norm}");
    }
    Ok(())
}

/// From and to which side.
fn sides() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![(1..9_usize, 1..14_usize), (1..20_usize).prop_map(|n| (n, 2 * n))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn images_agree_with_selected_neighbours(h in sides(), w in sides(), seed in any::<u64>(), corners in any::<bool>()) {
        let (shape, size) = ([2, 3, h.0, w.0], [h.1, w.1]);
        agree(seed, shape, |x| upsample_nearest2d(x, size), |x| composed::nearest2d(x, size))?;
        agree(
            seed,
            shape,
            |x| upsample_bilinear2d(x, size, corners),
            |x| composed::linear(x, &size, corners),
        )?;
    }

    #[test]
    fn volumes_agree_with_selected_neighbours(d in sides(), h in sides(), w in sides(), seed in any::<u64>(), corners in any::<bool>()) {
        let (shape, size) = ([1, 2, d.0, h.0, w.0], [d.1, h.1, w.1]);
        agree(seed, shape, |x| upsample_nearest3d(x, size), |x| composed::nearest(x, &size))?;
        agree(
            seed,
            shape,
            |x| upsample_trilinear3d(x, size, corners),
            |x| composed::linear(x, &size, corners),
        )?;
    }
}

/// A view, and a tensor without gradient.
#[test]
fn other_ways_in() {
    let turned = |x: Tensor<4>| upsample_bilinear2d(x.swap_dims(1, 3), [7, 9], false);
    let composed = |x: Tensor<4>| composed::linear(x.swap_dims(1, 3), &[7, 9], false);
    agree(5, [2, 3, 4, 5], turned, composed).unwrap();
    let x = Tensor::<4>::from_data([[[[1.0, 2.0], [3.0, 4.0]]]], &Device::flex());
    let y: Vec<f32> = upsample_nearest2d(x, [2, 4]).into_data().try_to_vec().unwrap();
    assert_eq!(y, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
}

/// What is recorded computes the same.
#[test]
fn burns_own_modes_agree_with_selected_neighbours() {
    let numbers = |y: &[f32], want: &[f32]| {
        let far = y.iter().zip(want).map(|(y, w)| (y - w).abs()).fold(0.0, f32::max);
        assert!(y.len() == want.len() && far < 1e-5, "{far}");
    };
    fn plain<const D: usize>(y: Tensor<D>) -> Vec<f32> {
        y.into_data().try_to_vec().unwrap()
    }
    let device = Device::flex();
    let image = TensorData::new(values(2 * 3 * 5 * 4, 1), [2, 3, 5, 4]);
    let image = Tensor::<4>::from_data(image, &device);
    let volume = TensorData::new(values(2 * 3 * 5 * 4, 2), [1, 2, 3, 5, 4]);
    let volume = Tensor::<5>::from_data(volume, &device);
    let near = |size| composed::options(InterpolateMode::Nearest, size, false);
    for corners in [false, true] {
        let named = |size| composed::options(InterpolateMode::Bilinear, size, corners);
        for size in [[10, 8], [7, 3], [5, 9]] {
            let want = composed::linear(image.clone(), &size, corners);
            numbers(&plain(composed::by_name(image.clone(), &size, named)), &plain(want));
        }
        for size in [[6, 10, 8], [3, 7, 3], [2, 5, 4], [1, 1, 9]] {
            let want = composed::linear(volume.clone(), &size, corners);
            numbers(&plain(composed::by_name(volume.clone(), &size, named)), &plain(want));
        }
    }
    for size in [[6, 10, 16], [3, 5, 8], [12, 5, 4]] {
        let want = composed::nearest(volume.clone(), &size);
        numbers(&plain(composed::by_name(volume.clone(), &size, near)), &plain(want));
    }
}
