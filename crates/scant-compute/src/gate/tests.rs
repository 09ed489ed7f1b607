//! Against the definition in f64.

use proptest::prelude::*;

use super::*;
use crate::norm::tests::{literal, wide};
use crate::testing::{error_relative_to, noise};

const EPSILON: f32 = 1e-5;

/// A layer's parameters.
struct Numbers {
    weight: Vec<f32>,
    bias: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Numbers {
    fn new(inputs: usize, outputs: usize, seed: u64) -> Self {
        Self {
            weight: noise(seed, inputs * outputs),
            bias: noise(seed + 1, outputs),
            gamma: noise(seed + 2, outputs).iter().map(|v| v + 1.5).collect(),
            beta: noise(seed + 3, outputs),
        }
    }

    fn layer(&self) -> Layer<'_> {
        Layer { weight: &self.weight, bias: &self.bias, gamma: &self.gamma, beta: &self.beta }
    }

    /// The 1x1 convolution of `x` and, from `dz`, the gradients of `x` and of the weight.
    fn convolution(&self, s: Sizes, x: &[f64], dz: &[f64]) -> [Vec<f64>; 3] {
        let (outputs, area) = (self.bias.len(), s.area());
        let inputs = self.weight.len() / outputs;
        let mut z = vec![0.0; s.batch * outputs * area];
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; self.weight.len()]);
        for (at, z) in z.iter_mut().enumerate() {
            let (plane, pixel) = (at / area, at % area);
            let (b, o) = (plane / outputs, plane % outputs);
            *z = f64::from(self.bias[o]);
            for i in 0..inputs {
                let from = (b * inputs + i) * area + pixel;
                let w = f64::from(self.weight[o * inputs + i]);
                *z += w * x[from];
                dx[from] += w * dz[at];
                dw[o * inputs + i] += x[from] * dz[at];
            }
        }
        [z, dx, dw]
    }

    /// Batch norm of `z`: see `literal`.
    fn norm(&self, s: Sizes, z: &[f64], dy: &[f64]) -> [Vec<f64>; 6] {
        let p = s.planes(self.bias.len());
        literal(p, z, &self.gamma, &self.beta, dy, (f64::from(EPSILON), 1.0))
    }
}

fn check(s: Sizes, seed: u64) {
    let numbers = [
        Numbers::new(s.channels, s.hidden, seed),
        Numbers::new(s.channels, s.hidden, seed + 10),
        Numbers::new(s.hidden, 1, seed + 20),
    ];
    let layers = numbers.each_ref().map(Numbers::layer);
    let (area, len) = (s.area(), s.batch * s.channels * s.area());
    let [gating, skip, dy] = [30, 31, 32].map(|i| noise(seed + i, len));
    let (y, traces) = forward(s, &gating, &skip, &layers, EPSILON);
    let got = backward(s, [&gating, &skip], &layers, &traces, &dy, EPSILON, [true; 2]);

    let [gating64, skip64, dy64] = [&gating, &skip, &dy].map(|v| wide(v));
    let inside = vec![0.0; s.batch * s.hidden * area];
    let one = vec![0.0; s.batch * area];
    let [g, x, p] = &numbers;
    let [z_g, ..] = g.convolution(s, &gating64, &inside);
    let [z_x, ..] = x.convolution(s, &skip64, &inside);
    let [_, _, n_g, ..] = g.norm(s, &z_g, &inside);
    let [_, _, n_x, ..] = x.norm(s, &z_x, &inside);
    let sum: Vec<f64> = n_g.iter().zip(&n_x).map(|(a, b)| a + b).collect();
    let relu: Vec<f64> = sum.iter().map(|v| v.max(0.0)).collect();
    let [z_p, ..] = p.convolution(s, &relu, &one);
    let [_, _, q, ..] = p.norm(s, &z_p, &one);
    let psi: Vec<f64> = q.iter().map(|q| 1.0 / (1.0 + (-q).exp())).collect();
    let of = |at: usize| at / (s.channels * area) * area + at % area;
    let want_y: Vec<f64> = skip64.iter().enumerate().map(|(i, v)| v * psi[of(i)]).collect();
    let mut dq = one;
    for (at, (v, d)) in skip64.iter().zip(&dy64).enumerate() {
        dq[of(at)] += v * d * psi[of(at)] * (1.0 - psi[of(at)]);
    }
    let [mean_p, variance_p, _, dz_p, gamma_p, beta_p] = p.norm(s, &z_p, &dq);
    let [_, d_relu, weight_p] = p.convolution(s, &relu, &dz_p);
    let d_sum: Vec<f64> =
        d_relu.iter().zip(&sum).map(|(&d, &v)| if v > 0.0 { d } else { 0.0 }).collect();
    let [_, _, _, dz_g, gamma_g, beta_g] = g.norm(s, &z_g, &d_sum);
    let [mean_x, _, _, dz_x, gamma_x, beta_x] = x.norm(s, &z_x, &d_sum);
    let [_, d_gating, weight_g] = g.convolution(s, &gating64, &dz_g);
    let [_, mut d_skip, weight_x] = x.convolution(s, &skip64, &dz_x);
    for (at, d) in d_skip.iter_mut().enumerate() {
        *d += dy64[at] * psi[of(at)];
    }

    // What cancels is as exact as its terms: sums are held against sums of as many products.
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let root = ((s.batch * area) as f64).sqrt();
    let (of_norms, of_p) = (0.3 * norm(&d_sum), 0.3 * norm(&dq));
    let steepest = |i: usize| {
        let v = traces[i].statistics.variance.iter().zip(&numbers[i].gamma);
        v.fold(0.0, |a: f64, (&v, &g)| a.max(f64::from(g) / f64::from(v + EPSILON).sqrt()))
    };
    let [by_g, by_x, by_p] = [0, 1, 2].map(steepest);
    let products = |a: f64, b: &[f64]| a * norm(b) / root;
    let [layer_g, layer_x, layer_p] = &got.layers;
    for (name, got, want, floor) in [
        ("y", &y, &want_y, 0.0),
        ("mean x", &traces[1].statistics.mean, &mean_x, 0.3),
        ("mean p", &traces[2].statistics.mean, &mean_p, 0.3),
        ("variance p", &traces[2].statistics.variance, &variance_p, 0.0),
        ("gating", got.gating.as_ref().unwrap(), &d_gating, of_norms * by_g),
        ("skip", got.skip.as_ref().unwrap(), &d_skip, of_norms * by_x),
        ("weight g", &layer_g.weight, &weight_g, products(of_norms * by_g, &gating64)),
        ("weight x", &layer_x.weight, &weight_x, products(of_norms * by_x, &skip64)),
        ("weight p", &layer_p.weight, &weight_p, products(of_p * by_p, &relu)),
        ("gamma g", &layer_g.gamma, &gamma_g, of_norms),
        ("gamma x", &layer_x.gamma, &gamma_x, of_norms),
        ("gamma p", &layer_p.gamma, &gamma_p, of_p),
        ("beta g", &layer_g.beta, &beta_g, of_norms),
        ("beta x", &layer_x.beta, &beta_x, of_norms),
        ("beta p", &layer_p.beta, &beta_p, of_p),
    ] {
        let error = error_relative_to(floor, got, want);
        assert!(error <= 2e-5, "{name} of {s:?}: {error:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn equals_the_definition(
        batch in 1_usize..4,
        channels in 1_usize..12,
        hidden in 1_usize..9,
        image in [1_usize..4, 2_usize..17, 4_usize..19],
        seed in 0_u64..1000,
    ) {
        check(Sizes { batch, channels, hidden, image }, seed);
    }
}

#[test]
fn more_than_one_block() {
    check(Sizes { batch: 2, channels: 33, hidden: 17, image: [1, 61, 53] }, 3);
}

#[test]
fn gradients_nobody_wants_are_not_made() {
    let s = Sizes { batch: 1, channels: 2, hidden: 3, image: [1, 4, 5] };
    let numbers = [Numbers::new(2, 3, 1), Numbers::new(2, 3, 2), Numbers::new(3, 1, 3)];
    let layers = numbers.each_ref().map(Numbers::layer);
    let maps = [noise(4, 40), noise(5, 40)];
    let maps = maps.each_ref().map(Vec::as_slice);
    let (y, traces) = forward(s, maps[0], maps[1], &layers, EPSILON);
    let back = |want| backward(s, maps, &layers, &traces, &y, EPSILON, want);
    let (all, none) = (back([true; 2]), back([false; 2]));
    assert!(all.gating.is_some() && all.skip.is_some());
    assert!(none.gating.is_none() && none.skip.is_none());
    assert_eq!(all.layers[1].weight, none.layers[1].weight);
}

#[test]
fn what_is_not_a_number_is_not_hidden() {
    let s = Sizes { batch: 1, channels: 1, hidden: 1, image: [1, 1, 5] };
    let numbers = [Numbers::new(1, 1, 1), Numbers::new(1, 1, 2), Numbers::new(1, 1, 3)];
    let layers = numbers.each_ref().map(Numbers::layer);
    let skip = [1.0, 2.0, f32::NAN, 0.0, 4.0];
    let (y, _) = forward(s, &[1.0; 5], &skip, &layers, EPSILON);
    assert!(y.iter().all(|v| v.is_nan()));
}

#[test]
#[should_panic(expected = "layer of the gate")]
fn another_weight_is_refused() {
    let numbers = [Numbers::new(2, 3, 1), Numbers::new(3, 3, 2), Numbers::new(3, 1, 3)];
    let s = Sizes { batch: 1, channels: 2, hidden: 3, image: [1, 4, 5] };
    let layers = numbers.each_ref().map(Numbers::layer);
    let _ = forward(s, &[0.0; 40], &[0.0; 40], &layers, EPSILON);
}
