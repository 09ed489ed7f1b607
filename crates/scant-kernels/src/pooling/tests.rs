use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use super::{avg_pool2d, avg_pool3d, composed, max_pool2d, max_pool3d};

/// Reproducible noise; few distinct values, so that there are ties, where `coarse`.
fn values(count: usize, seed: u64, coarse: bool) -> Vec<f32> {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        z ^= z << 13;
        z ^= z >> 7;
        z ^= z << 17;
        let v = (z >> 40) as f32 / 8_388_608.0 - 1.0;
        if coarse { (3.0 * v).round() } else { v }
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
    let weights = values(dims.iter().product(), 7, false);
    let weights = Tensor::<D>::from_data(TensorData::new(weights, dims), &device);
    let gradients = (y.clone() * weights).sum().backward();
    let dx = x.grad(&gradients).unwrap();
    (dims.to_vec(), y.into_data().try_to_vec().unwrap(), dx.into_data().try_to_vec().unwrap())
}

fn agree<const D: usize>(
    x: &[f32],
    shape: [usize; D],
    fast: impl Fn(Tensor<D>) -> Tensor<D>,
    composed: impl Fn(Tensor<D>) -> Tensor<D>,
) -> Result<(), TestCaseError> {
    let (got, want) =
        (output_and_gradient(x, shape, fast), output_and_gradient(x, shape, composed));
    prop_assert_eq!(&got.0, &want.0);
    for (got, want) in [(got.1, want.1), (got.2, want.2)] {
        let norm = want.iter().map(|v| v * v).sum::<f32>().sqrt();
        let apart = got.iter().zip(&want).map(|(g, w)| (g - w).powi(2)).sum::<f32>().sqrt();
        prop_assert!(apart <= 1e-5 * norm.max(1e-6), "{apart} of {norm}");
    }
    Ok(())
}

/// Size, kernel, stride, padding of an axis.
fn axis() -> impl Strategy<Value = [usize; 4]> {
    let free = (1..=3_usize, 1..=3_usize, 0..=1_usize, 0..7_usize).prop_map(|(k, s, p, more)| {
        let p = p.min(k / 2);
        [(k - 2 * p).max(1) + more, k, s, p]
    });
    prop_oneof![free, (2..9_usize).prop_map(|n| [n, 2, 2, 0])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn images_agree_with_burn(a in axis(), b in axis(), seed in any::<u64>(), count in any::<bool>()) {
        let shape = [2, 3, a[0], b[0]];
        let [_, k, s, p] = [0, 1, 2, 3].map(|i| [a[i], b[i]]);
        let size = shape.iter().product();
        let x = values(size, seed, true);
        agree(&x, shape, |x| max_pool2d(x, k, s, p), |x| composed::max2d(x, k, s, p))?;
        let x = values(size, seed, false);
        agree(
            &x,
            shape,
            |x| avg_pool2d(x, k, s, p, count),
            |x| composed::average2d(x, k, s, p, count),
        )?;
    }

    #[test]
    fn volumes_agree_with_two_steps(a in axis(), b in axis(), c in axis(), seed in any::<u64>(), count in any::<bool>()) {
        let shape = [2, 2, a[0], b[0], c[0]];
        let [_, k, s, p] = [0, 1, 2, 3].map(|i| [a[i], b[i], c[i]]);
        let size = shape.iter().product();
        let x = values(size, seed, true);
        agree(&x, shape, |x| max_pool3d(x, k, s, p), |x| composed::max3d(x, k, s, p))?;
        let x = values(size, seed, false);
        agree(
            &x,
            shape,
            |x| avg_pool3d(x, k, s, p, count),
            |x| composed::average3d(x, k, s, p, count),
        )?;
    }
}

/// Windows too large for the fast path, views, and tensors without gradient.
#[test]
fn other_ways_in() {
    let x = values(2 * 20 * 20, 3, true);
    let large = |x| max_pool2d(x, [17, 17], [2, 2], [8, 8]);
    let burn = |x| composed::max2d(x, [17, 17], [2, 2], [8, 8]);
    agree(&x, [1, 2, 20, 20], large, burn).unwrap();
    let turned = |x: Tensor<4>| max_pool2d(x.swap_dims(1, 3), [2, 2], [2, 2], [0, 0]);
    let burn = |x: Tensor<4>| composed::max2d(x.swap_dims(1, 3), [2, 2], [2, 2], [0, 0]);
    agree(&x, [1, 2, 20, 20], turned, burn).unwrap();

    let x = Tensor::<4>::from_data(TensorData::new(x, [1, 2, 20, 20]), &Device::flex());
    let half = x.clone().slice([0..1, 1..2]);
    let got = max_pool2d(half, [2, 2], [2, 2], [0, 0]).into_data();
    let want = composed::max2d(x, [2, 2], [2, 2], [0, 0]).slice([0..1, 1..2]).into_data();
    assert_eq!(got.try_to_vec::<f32>().unwrap(), want.try_to_vec::<f32>().unwrap());
}
