//! Separable resampling of planar arrays.
//!
//! Pixel centres sit at half-integers (`align_corners = false`). Enlarging is bilinear; shrinking
//! widens the triangle to the scale factor, so that every source pixel contributes. This is the
//! convention of Pillow's `BILINEAR` and of PyTorch's `interpolate(..., antialias=True)`.
//!
//! Legend: C channels · H, W source pixels · h, w target pixels.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3};

/// Which source pixels make one target pixel, and how much of each.
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

/// Weights of a triangle filter along one axis.
fn taps(source: usize, target: usize) -> Vec<Tap> {
    let scale = source as f64 / target as f64;
    let support = scale.max(1.0);
    (0..target)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let first = ((centre - support + 0.5).floor().max(0.0)) as usize;
            let last = ((centre + support + 0.5).floor() as usize).min(source);
            let mut weights: Vec<f64> = (first..last)
                .map(|j| (1.0 - ((j as f64 + 0.5 - centre) / support).abs()).max(0.0))
                .collect();
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= sum);
            Tap { first, weights: weights.into_iter().map(|w| w as f32).collect() }
        })
        .collect()
}

/// Resamples every channel to `target` rows and columns.
///
/// # Shapes
/// `[C, H, W] -> [C, h, w]`; no axis may be empty.
pub(crate) fn linear(source: ArrayView3<'_, f32>, target: (usize, usize)) -> Array3<f32> {
    let (channels, rows, columns) = source.dim();
    if (rows, columns) == target {
        return source.as_standard_layout().into_owned();
    }
    let (across, down) = (taps(columns, target.1), taps(rows, target.0));
    let source = source.as_standard_layout();
    let pixels = source.as_slice().unwrap_or_default();
    let mut out = Vec::with_capacity(channels * target.0 * target.1);
    let mut narrow = vec![0.0_f32; rows * target.1]; // [H, w]
    for plane in pixels.chunks_exact(rows * columns) {
        for (line, to) in plane.chunks_exact(columns).zip(narrow.chunks_exact_mut(target.1)) {
            for (tap, value) in across.iter().zip(to) {
                let from = &line[tap.first..tap.first + tap.weights.len()];
                *value = from.iter().zip(&tap.weights).map(|(v, w)| v * w).sum();
            }
        }
        for tap in &down {
            let start = out.len();
            out.resize(start + target.1, 0.0);
            let to = &mut out[start..];
            for (k, &weight) in tap.weights.iter().enumerate() {
                let at = (tap.first + k) * target.1;
                for (value, from) in to.iter_mut().zip(&narrow[at..at + target.1]) {
                    *value += weight * from;
                }
            }
        }
    }
    Array3::from_shape_vec((channels, target.0, target.1), out)
        .expect("every plane got one row per target row")
}

/// Takes, for every target pixel, the source pixel its centre lies in.
///
/// # Shapes
/// `[H, W] -> [h, w]`; no axis may be empty.
pub(crate) fn nearest(source: ArrayView2<'_, u8>, target: (usize, usize)) -> Array2<u8> {
    let (rows, columns) = source.dim();
    // Integer arithmetic: floor((i + 1/2) * source / target) without rounding surprises.
    let pick = |i: usize, from: usize, to: usize| ((2 * i + 1) * from / (2 * to)).min(from - 1);
    let column_of: Vec<usize> = (0..target.1).map(|c| pick(c, columns, target.1)).collect();
    Array2::from_shape_fn(target, |(r, c)| source[[pick(r, rows, target.0), column_of[c]]])
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, array};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shrinking_agrees_with_pillow() {
        // Pillow: Image.fromarray(arange(20, dtype=float32).reshape(4, 5) ** 2, "F")
        //             .resize((3, 2), Image.BILINEAR)
        let image = Array::from_iter((0..20).map(|v| (v * v) as f32));
        let image = image.into_shape_with_order((1, 4, 5)).unwrap();
        let out = linear(image.view(), (2, 3));
        let expected = [28.4898, 43.7302, 63.5102, 153.082, 193.016, 237.49];
        for (got, want) in out.iter().zip(expected) {
            assert!((got - want).abs() < 1e-3, "{out:?}");
        }
    }

    #[test]
    fn enlarging_agrees_with_pillow() {
        // Pillow: Image.fromarray([[0, 1], [4, 2]], "F").resize((4, 3), Image.BILINEAR)
        let image = array![[[0.0_f32, 1.0], [4.0, 2.0]]];
        let out = linear(image.view(), (3, 4));
        let expected = [0.0, 0.25, 0.75, 1.0, 2.0, 1.875, 1.625, 1.5, 4.0, 3.5, 2.5, 2.0];
        for (got, want) in out.iter().zip(expected) {
            assert!((got - want).abs() < 1e-5, "{out:?}");
        }
    }

    #[test]
    fn nearest_takes_the_pixel_under_the_centre() {
        let source = array![[0, 1, 2, 3], [4, 5, 6, 7]];
        assert_eq!(nearest(source.view(), (1, 2)), array![[5, 7]]);
        assert_eq!(nearest(array![[1, 2]].view(), (2, 4)), array![[1, 1, 2, 2], [1, 1, 2, 2]]);
    }

    proptest! {
        #[test]
        fn weights_sum_to_one_and_stay_inside(source in 1_usize..300, target in 1_usize..300) {
            let taps = taps(source, target);
            prop_assert_eq!(taps.len(), target);
            for tap in taps {
                prop_assert!(!tap.weights.is_empty());
                prop_assert!(tap.first + tap.weights.len() <= source);
                prop_assert!((tap.weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn shrinking_to_a_divisor_keeps_the_mean(k in 1_usize..6, n in 2_usize..9, seed in 0_u32..99) {
            // Away from the borders the triangle is a partition of unity; a linear ramp shows it.
            let ramp = Array3::from_shape_fn((1, 1, n * k), |(_, _, c)| (c as f32) + seed as f32);
            let out = linear(ramp.view(), (1, n));
            let mean = |a: &Array3<f32>| a.mean().unwrap();
            prop_assert!((mean(&ramp) - mean(&out)).abs() < 1e-3 * mean(&ramp).abs().max(1.0));
        }
    }
}
