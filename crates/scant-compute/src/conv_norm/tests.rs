//! The chain against literal convolutions and norms in f64.

use proptest::prelude::*;

use super::*;
use crate::norm::tests::{literal as norm_literal, wide};
use crate::testing::{noise, relative_error};

/// `w ∗ x + b` and, from `dz`, the gradients of x and w.
fn convolution(s: Sizes, x: &[f64], w: &[f32], bias: &[f32], dz: &[f64]) -> [Vec<f64>; 3] {
    let mut z = vec![0.0; dz.len()];
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    let (rows, columns) = (s.rows as isize, s.columns as isize);
    for at in 0..z.len() {
        let (r, c) = ((at / s.columns % s.rows) as isize, (at % s.columns) as isize);
        let plane = at / (s.columns * s.rows);
        let (b, o) = (plane / s.outputs, plane % s.outputs);
        z[at] = f64::from(bias[o]);
        for i in 0..s.inputs {
            for k in 0..9_isize {
                let (y, x_at) = (r + k / 3 - 1, c + k % 3 - 1);
                if y < 0 || x_at < 0 || y >= rows || x_at >= columns {
                    continue;
                }
                let xi = ((b * s.inputs + i) * s.rows + y as usize) * s.columns + x_at as usize;
                let wi = (o * s.inputs + i) * 9 + k as usize;
                z[at] += x[xi] * f64::from(w[wi]);
                dx[xi] += dz[at] * f64::from(w[wi]);
                dw[wi] += dz[at] * x[xi];
            }
        }
    }
    [z, dx, dw]
}

#[derive(Clone)]
struct Parameters {
    weight: Vec<f32>,
    bias: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

const SET: Settings = Settings { epsilon: 1e-5, slope: 0.01 };

fn check(s: Sizes, hidden: usize, seed: u64) {
    let parameters = |inputs: usize, outputs: usize, seed| Parameters {
        weight: noise(seed, outputs * inputs * 9),
        bias: noise(seed + 1, outputs),
        gamma: noise(seed + 2, outputs).iter().map(|v| v + 1.5).collect(),
        beta: noise(seed + 3, outputs),
    };
    let p = [parameters(s.inputs, hidden, seed), parameters(hidden, s.outputs, seed + 10)];
    let x = noise(seed + 20, s.batch * s.inputs * s.rows * s.columns);
    let dy = noise(seed + 21, s.batch * s.outputs * s.rows * s.columns);
    let stages = p.each_ref().map(|p| Stage {
        weight: &p.weight,
        bias: Some(&p.bias),
        gamma: &p.gamma,
        beta: &p.beta,
    });
    let (y, traces) = forward(s, &x, &stages, SET);
    let (dx, gradients) = backward(s, &x, &stages, &traces, &dy, SET, true);

    let set = (1e-5, f64::from(SET.slope));
    let (first, second) = (Sizes { outputs: hidden, ..s }, Sizes { inputs: hidden, ..s });
    let planes = |channels| Planes { batch: s.batch, channels, area: s.rows * s.columns };
    let zeros = |channels: usize| vec![0.0; s.batch * channels * s.rows * s.columns];
    let norm = |channels, z: &[f64], p: &Parameters, dy: &[f64]| {
        norm_literal(planes(channels), z, &p.gamma, &p.beta, dy, set)
    };
    let x = wide(&x);
    let [z1, ..] = convolution(first, &x, &p[0].weight, &p[0].bias, &zeros(hidden));
    let [_, _, y1, ..] = norm(hidden, &z1, &p[0], &zeros(hidden));
    let [z2, ..] = convolution(second, &y1, &p[1].weight, &p[1].bias, &zeros(s.outputs));
    let [mean2, variance2, y2, dz2, dgamma2, dbeta2] = norm(s.outputs, &z2, &p[1], &wide(&dy));
    let [_, dy1, dw2] = convolution(second, &y1, &p[1].weight, &p[1].bias, &dz2);
    let [_, _, _, dz1, dgamma1, dbeta1] = norm(hidden, &z1, &p[0], &dy1);
    let [_, want_dx, dw1] = convolution(first, &x, &p[0].weight, &p[0].bias, &dz1);

    let dx = dx.expect("the gradient of x was wanted");
    for (name, got, want) in [
        ("y", &y, &y2),
        ("mean", &traces[1].statistics.mean, &mean2),
        ("variance", &traces[1].statistics.variance, &variance2),
        ("dx", &dx, &want_dx),
        ("dw1", &gradients[0].weight, &dw1),
        ("dw2", &gradients[1].weight, &dw2),
        ("dgamma1", &gradients[0].gamma, &dgamma1),
        ("dgamma2", &gradients[1].gamma, &dgamma2),
        ("dbeta1", &gradients[0].beta, &dbeta1),
        ("dbeta2", &gradients[1].beta, &dbeta2),
    ] {
        let error = relative_error(got, want);
        assert!(error <= 2e-5, "{name} of {s:?}, {hidden} inside: {error:e}");
    }

    let statistics: Vec<Statistics> = traces.into_iter().map(|t| t.statistics).collect();
    let error = relative_error(&infer(s, &wide_to_single(&x), &stages, &statistics, SET), &wide(&y));
    assert!(error <= 2e-5, "the same statistics give another output: {error:e}");
}

fn wide_to_single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn equals_convolutions_and_norms_apart(
        batch in 1_usize..3,
        inputs in 1_usize..6,
        hidden in 1_usize..20,
        outputs in 1_usize..20,
        rows in 4_usize..20,
        columns in 4_usize..20,
        seed in 0_u64..1000,
    ) {
        check(Sizes { batch, inputs, outputs, rows, columns }, hidden, seed);
    }
}

#[test]
fn whole_rows_of_tiles_and_many_blocks() {
    check(Sizes { batch: 1, inputs: 3, outputs: 5, rows: 66, columns: 132 }, 7, 1);
    check(Sizes { batch: 2, inputs: 9, outputs: 17, rows: 40, columns: 64 }, 18, 2);
}
