use proptest::prelude::*;

use super::*;
use crate::testing::{noise, relative_error};

const ALL: Terms = Terms { overlap: true, bce: true, ce: true };
const YES_NO: Terms = Terms { ce: false, ..ALL };

fn ids(seed: u64, count: usize, classes: usize) -> Vec<i64> {
    // One class more than there is: pixels of no class.
    let id = |v: f32| ((v + 1.0) * 0.5 * (classes + 1) as f32) as i64;
    noise(seed, count).into_iter().map(id).collect()
}

/// The sums of one image once more, pixel by pixel, straight from the definitions.
fn literal_sums(s: SegmentationSums, x: &[f64], ids: &[i64]) -> Vec<f64> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut sums = vec![0.0; s.channels * SUMS];
    for p in 0..s.pixels {
        let x: Vec<f64> = (0..s.channels).map(|k| x[k * s.pixels + p]).collect();
        let total: f64 = x.iter().map(|x| x.exp()).sum();
        for k in 0..s.channels {
            let class = if s.channels == 1 { 1 } else { k as i64 };
            let y = f64::from(u8::from(ids[p] == class));
            let prob = if s.channels == 1 { sigmoid(x[k]) } else { x[k].exp() / total };
            let row = &mut sums[k * SUMS..][..SUMS];
            row[TRUTH] += y;
            if s.terms.overlap {
                row[BOTH] += y * prob;
                row[PREDICTED] += prob;
            }
            if s.terms.bce {
                row[BCE] -= y * sigmoid(x[k]).ln() + (1.0 - y) * sigmoid(-x[k]).ln();
            }
            if s.terms.ce {
                row[CE] -= y * (x[k].exp() / total).ln();
            }
        }
    }
    sums
}

/// Gradient of `Σ coefficients · sums` of one image, by the derivative of each definition.
fn literal_gradient(s: SegmentationSums, x: &[f64], ids: &[i64], g: &[f32]) -> Vec<f64> {
    let mut gradient = vec![0.0; s.channels * s.pixels];
    let g = |k: usize, sum: usize| f64::from(g[k * SUMS + sum]);
    for p in 0..s.pixels {
        let x: Vec<f64> = (0..s.channels).map(|k| x[k * s.pixels + p]).collect();
        let total: f64 = x.iter().map(|x| x.exp()).sum();
        let y =
            |k: usize| f64::from(u8::from(ids[p] == if s.channels == 1 { 1 } else { k as i64 }));
        for i in 0..s.channels {
            let sigmoid = 1.0 / (1.0 + (-x[i]).exp());
            let mut d = if s.terms.bce { g(i, BCE) * (sigmoid - y(i)) } else { 0.0 };
            for k in 0..s.channels {
                let same = f64::from(u8::from(i == k));
                let (pi, pk) = (x[i].exp() / total, x[k].exp() / total);
                let dp = if s.channels == 1 { sigmoid * (1.0 - sigmoid) } else { pk * (same - pi) };
                if s.terms.overlap {
                    d += (g(k, BOTH) * y(k) + g(k, PREDICTED)) * dp;
                }
                if s.terms.ce {
                    d += g(k, CE) * y(k) * (pi - same);
                }
            }
            gradient[i * s.pixels + p] = d;
        }
    }
    gradient
}

fn check(s: SegmentationSums, scale: f32, seed: u64) {
    let size = s.channels * s.pixels;
    let x: Vec<f32> = noise(seed, s.batch * size).into_iter().map(|v| v * scale).collect();
    let ids = ids(seed + 1, s.batch * s.pixels, s.channels.max(2));
    let narrow: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let g = noise(seed + 2, s.batch * s.channels * SUMS);
    let (mut sums, mut gradient) = (Vec::new(), Vec::new());
    for b in 0..s.batch {
        let x: Vec<f64> = x[b * size..][..size].iter().map(|&x| f64::from(x)).collect();
        let ids = &ids[b * s.pixels..][..s.pixels];
        let g = &g[b * s.channels * SUMS..][..s.channels * SUMS];
        sums.extend(literal_sums(s, &x, ids));
        gradient.extend(literal_gradient(s, &x, ids, g));
    }
    assert!(relative_error(&s.sums(&x, &ids), &sums) <= 1e-5, "{s:?}");
    let error = relative_error(&s.gradient(&x, &ids, &g), &gradient);
    // Where a softmax is all but certain, single precision is left with the rounding of 1 - p.
    assert!(error <= if s.pixels > 9 { 1e-5 } else { 1e-4 }, "{error}, {s:?}");
    assert_eq!(s.sums(&x, &ids), s.sums(&x, &narrow));
    assert_eq!(s.gradient(&x, &ids, &g), s.gradient(&x, &narrow, &g));
}

#[test]
fn several_tasks() {
    for (channels, terms) in [(1, YES_NO), (4, ALL)] {
        check(SegmentationSums { batch: 2, channels, pixels: 2 * TASK + 77, terms }, 6.0, 3);
    }
}

#[test]
fn confident_pixels_keep_their_small_losses() {
    let s = SegmentationSums { batch: 1, channels: 1, pixels: 3, terms: YES_NO };
    let sums = s.sums(&[30.0, 30.0, -30.0], &[1, 1, 0]);
    let want = 3.0 * (-30.0_f64).exp();
    assert!((f64::from(sums[BCE]) / want - 1.0).abs() < 1e-5, "{sums:?}");
    let gradient = s.gradient(&[30.0, 30.0, -30.0], &[1, 1, 0], &[0.0, 0.0, 0.0, 1.0, 0.0]);
    for (g, sign) in gradient.iter().zip([-1.0, -1.0, 1.0]) {
        assert!((f64::from(*g) * sign / (-30.0_f64).exp() - 1.0).abs() < 1e-5, "{gradient:?}");
    }
}

#[test]
fn extremes_are_finite_and_not_a_number_is_told() {
    let s = SegmentationSums { batch: 1, channels: 3, pixels: 2, terms: ALL };
    let x = [1e4, -1e4, -1e4, 1e4, 0.0, 3e38];
    let (sums, gradient) = (s.sums(&x, &[2, 0]), s.gradient(&x, &[2, 0], &[1.0; 15]));
    assert!(sums.iter().chain(&gradient).all(|v| v.is_finite()), "{sums:?} {gradient:?}");
    for at in 0..6 {
        let mut x = x;
        x[at] = f32::NAN;
        assert!(s.sums(&x, &[2, 0]).iter().any(|v| v.is_nan()));
        assert!(s.gradient(&x, &[2, 0], &[1.0; 15])[at].is_nan());
    }
}

#[test]
fn the_same_on_any_number_of_threads() {
    let s = SegmentationSums { batch: 2, channels: 3, pixels: 3 * TASK + 5, terms: ALL };
    let (x, ids) = (noise(1, 6 * s.pixels), ids(2, 2 * s.pixels, 3));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| s.sums(&x, &ids))
    };
    assert_eq!(on(1), on(3));
}

#[test]
#[should_panic(expected = "a single channel has no softmax")]
fn one_channel_has_no_cross_entropy() {
    let s = SegmentationSums { batch: 1, channels: 1, pixels: 1, terms: ALL };
    let _ = s.sums(&[0.0], &[0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn equal_to_the_literal_sums(
        batch in 1_usize..3, channels in 1_usize..6, pixels in 1_usize..600,
        overlap in any::<bool>(), bce in any::<bool>(), ce in any::<bool>(),
        scale in 0.1_f32..8.0, seed in 0_u64..1 << 40,
    ) {
        let terms = Terms { overlap, bce, ce: ce && channels > 1 };
        check(SegmentationSums { batch, channels, pixels, terms }, scale, seed);
    }
}
