//! The chain against literal convolutions and norms in f64.

use proptest::prelude::*;

use super::*;
use crate::norm::tests::{literal as norm_literal, wide};
use crate::testing::{error_relative_to, noise, relative_error};

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

const SET: Settings = Settings { epsilon: 1e-5, slope: 0.01, precision: Precision::Single };

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
    let (y, traces) = forward(s, Image::Plain(&x), &stages, SET);
    let (dx, gradients) = backward(s, Image::Plain(&x), &stages, &traces, &dy, SET, true);

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

    // What cancels is as exact as its terms: means to the deviation, sums to sums of as many values.
    let deviation = variance2.iter().sum::<f64>().sqrt();
    let sum = 0.3 * dy.iter().map(|&v| f64::from(v * v)).sum::<f64>().sqrt();
    for (name, got, want, floor) in [
        ("y", &y, &y2, 0.0),
        ("mean", &traces[1].statistics.mean, &mean2, deviation),
        ("variance", &traces[1].statistics.variance, &variance2, 0.0),
        ("dx", &dx[0], &want_dx, 0.0),
        ("dw1", &gradients[0].weight, &dw1, 0.0),
        ("dw2", &gradients[1].weight, &dw2, 0.0),
        ("dgamma1", &gradients[0].gamma, &dgamma1, sum),
        ("dgamma2", &gradients[1].gamma, &dgamma2, sum),
        ("dbeta1", &gradients[0].beta, &dbeta1, sum),
        ("dbeta2", &gradients[1].beta, &dbeta2, sum),
    ] {
        let error = error_relative_to(floor, got, want);
        assert!(error <= 2e-5, "{name} of {s:?}, {hidden} inside: {error:e}");
    }

    let statistics: Vec<Statistics> = traces.into_iter().map(|t| t.statistics).collect();
    let x = wide_to_single(&x);
    let got = infer(s, Image::Plain(&x), &stages, &statistics, SET);
    let error = relative_error(&got, &wide(&y));
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
fn single_channels_inside_and_out() {
    check(Sizes { batch: 2, inputs: 3, outputs: 1, rows: 4, columns: 12 }, 1, 899);
}

#[test]
fn whole_rows_of_tiles_and_many_blocks() {
    check(Sizes { batch: 1, inputs: 3, outputs: 5, rows: 66, columns: 132 }, 7, 1);
    check(Sizes { batch: 2, inputs: 9, outputs: 17, rows: 40, columns: 64 }, 18, 2);
}

/// Doubled and joined images give exactly what the written-out images give, and their gradients are
/// sums and parts of those.
fn check_images(s: Sizes, seed: u64, precision: Precision) {
    let set = Settings { precision, ..SET };
    let weight = noise(seed, s.outputs * s.inputs * 9);
    let numbers = noise(seed + 1, s.outputs);
    let stage = [Stage { weight: &weight, bias: Some(&numbers), gamma: &numbers, beta: &numbers }];
    let dy = noise(seed + 2, s.batch * s.outputs * s.rows * s.columns);
    let run = |image: Image<'_>| {
        let (y, traces) = forward(s, image, &stage, set);
        let (dx, gradients) = backward(s, image, &stage, &traces, &dy, set, true);
        let statistics = [traces[0].statistics.clone()];
        (y, dx, gradients[0].weight.clone(), infer(s, image, &stage, &statistics, set))
    };
    let area = s.rows * s.columns;

    let small = noise(seed + 3, s.batch * s.inputs * area / 4);
    let large: Vec<f32> = (0..s.batch * s.inputs * area)
        .map(|i| {
            let (plane, r, c) = (i / area, i % area / s.columns / 2, i % s.columns / 2);
            small[plane * area / 4 + r * s.columns / 2 + c]
        })
        .collect();
    let (want, got) = (run(Image::Plain(&large)), run(Image::Doubled(&small)));
    assert_eq!((&want.0, &want.2, &want.3), (&got.0, &got.2, &got.3), "doubled, {s:?}");
    let mut sums = vec![0.0_f64; small.len()];
    for (i, &v) in want.1[0].iter().enumerate() {
        let (plane, r, c) = (i / area, i % area / s.columns / 2, i % s.columns / 2);
        sums[plane * area / 4 + r * s.columns / 2 + c] += f64::from(v);
    }
    assert!(relative_error(&got.1[0], &sums) < 1e-5, "gradient of doubling, {s:?}");

    for split in [0, 1, s.inputs - 1, s.inputs] {
        let whole = noise(seed + 4, s.batch * s.inputs * area);
        let part = |from: usize, to: usize| -> Vec<f32> {
            let images = whole.chunks_exact(s.inputs * area);
            images.flat_map(|image| image[from * area..to * area].to_vec()).collect()
        };
        let (first, second) = (part(0, split), part(split, s.inputs));
        let want = run(Image::Plain(&whole));
        let got = run(Image::Joined(&first, split, &second));
        assert_eq!((&want.0, &want.2, &want.3), (&got.0, &got.2, &got.3), "joined, {s:?}");
        let back = |image: usize, c: usize| {
            let (from, channels, c) = match c.checked_sub(split) {
                None => (&got.1[0], split, c),
                Some(c) => (&got.1[1], s.inputs - split, c),
            };
            from[(image * channels + c) * area..][..area].to_vec()
        };
        let places = (0..s.batch).flat_map(|b| (0..s.inputs).map(move |c| (b, c)));
        let joined: Vec<f32> = places.flat_map(|(b, c)| back(b, c)).collect();
        assert_eq!(joined, want.1[0], "gradient of joining, {s:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn doubled_and_joined_images(
        batch in 1_usize..3,
        inputs in 1_usize..6,
        outputs in 1_usize..20,
        rows in 1_usize..12,
        columns in 1_usize..12,
        seed in 0_u64..1000,
    ) {
        check_images(Sizes { batch, inputs, outputs, rows: 2 * rows, columns: 2 * columns }, seed, Precision::Single);
    }
}

#[test]
fn doubled_and_joined_images_of_whole_rows_of_tiles() {
    check_images(
        Sizes { batch: 1, inputs: 3, outputs: 5, rows: 66, columns: 132 },
        1,
        Precision::Single,
    );
    check_images(
        Sizes { batch: 2, inputs: 9, outputs: 17, rows: 40, columns: 64 },
        2,
        Precision::Bfloat16,
    );
    check_images(
        Sizes { batch: 1, inputs: 2, outputs: 2, rows: 8, columns: 258 },
        3,
        Precision::Single,
    );
}
