//! Against the definition in f64.

use proptest::prelude::*;

use super::*;
use crate::testing::{error_relative_to, noise};

/// Mean, variance, output, and gradients of z, γ and β of `sum(y · dy)`, by the definition.
pub(crate) fn literal(
    p: Planes,
    z: &[f64],
    gamma: &[f32],
    beta: &[f32],
    dy: &[f64],
    (epsilon, slope): (f64, f64),
) -> [Vec<f64>; 6] {
    let n = p.count() as f64;
    let mut out: [Vec<f64>; 6] = Default::default();
    out[2] = vec![0.0; z.len()];
    out[3] = vec![0.0; z.len()];
    for c in 0..p.channels {
        let at = |b: usize, i: usize| (b * p.channels + c) * p.area + i;
        let places: Vec<usize> =
            (0..p.batch).flat_map(|b| (0..p.area).map(move |i| at(b, i))).collect();
        let mean = places.iter().map(|&i| z[i]).sum::<f64>() / n;
        let variance = places.iter().map(|&i| (z[i] - mean).powi(2)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        let (gamma, beta) = (f64::from(gamma[c]), f64::from(beta[c]));
        let hat = |i: usize| (z[i] - mean) * inverse;
        let inner = |i: usize| gamma * hat(i) + beta;
        let g = |i: usize| if inner(i) > 0.0 { dy[i] } else { slope * dy[i] };
        let sum: f64 = places.iter().map(|&i| g(i)).sum();
        let product: f64 = places.iter().map(|&i| g(i) * hat(i)).sum();
        for &i in &places {
            out[2][i] = if inner(i) > 0.0 { inner(i) } else { slope * inner(i) };
            out[3][i] = gamma * inverse * (g(i) - sum / n - hat(i) * product / n);
        }
        out[0].push(mean);
        out[1].push(variance);
        out[4].push(product);
        out[5].push(sum);
    }
    out
}

pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn check(p: Planes, slope: f32, offset: f32, seed: u64) {
    let epsilon = 1e-5;
    let z: Vec<f32> = noise(seed, p.len()).iter().map(|v| v + offset).collect();
    let dy = noise(seed + 1, p.len());
    let gamma = noise(seed + 2, p.channels);
    let beta = noise(seed + 3, p.channels);
    let settings = (f64::from(epsilon), f64::from(slope));
    let want = literal(p, &wide(&z), &gamma, &beta, &wide(&dy), settings);
    let s = statistics(p, &z);
    let affine = Affine::new(&s, &gamma, &beta, epsilon, slope);
    let y = apply(p, &z, &affine);
    let g = gradient(p, &dy, &z, &s, &affine, epsilon);
    let dz = input_gradient(p, &dy, &z, &affine, &g);
    // What cancels is as exact as its terms: means to the deviation, sums to sums of as many values.
    let root = (p.count() as f64).sqrt();
    let deviation = want[1].iter().sum::<f64>().sqrt();
    let steepest = affine.scale.iter().fold(0.0_f64, |a, &s| a.max(f64::from(s.abs())));
    for (name, got, want, floor) in [
        ("mean", &s.mean, &want[0], deviation),
        ("variance", &s.variance, &want[1], 0.0),
        ("y", &y, &want[2], 0.0),
        ("dz", &dz, &want[3], 0.3 * root * steepest),
        ("dgamma", &g.gamma, &want[4], 0.3 * root),
        ("dbeta", &g.beta, &want[5], 0.3 * root),
    ] {
        let error = error_relative_to(floor, got, want);
        assert!(error <= 1e-5, "{name} of {p:?}, slope {slope}: {error:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn equals_the_definition(
        batch in 1_usize..4,
        channels in 1_usize..6,
        area in 3_usize..3000,
        slope in prop::sample::select(vec![0.0_f32, 0.01, 1.0]),
        seed in 0_u64..1000,
    ) {
        check(Planes { batch, channels, area }, slope, 0.0, seed);
    }
}

/// The mean of these values is so small that it is not known to its last bits, only to those of the
/// values.
#[test]
fn a_mean_that_mostly_cancels() {
    check(Planes { batch: 2, channels: 1, area: 715 }, 0.0, 0.0, 246);
}

#[test]
fn a_mean_far_from_zero_does_not_spoil_the_variance() {
    let p = Planes { batch: 2, channels: 1, area: 70_000 };
    let z: Vec<f32> = noise(1, p.len()).iter().map(|v| v + 300.0).collect();
    let mean = z.iter().map(|&v| f64::from(v)).sum::<f64>() / z.len() as f64;
    let squares: f64 = z.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    let want = squares / z.len() as f64;
    let got = f64::from(statistics(p, &z).variance[0]);
    assert!((got / want - 1.0).abs() < 1e-5, "{got} for {want}");
}
