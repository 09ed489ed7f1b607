//! Literal sums over the neighbours in `f64`, and values of PyTorch.

use proptest::prelude::*;

use super::{Blend, Resize, linear, linear_gradient, nearest, nearest_gradient, nearest_sources};
use crate::testing::{noise, relative_error};

fn resize() -> impl Strategy<Value = Resize> {
    let free = (1..5_usize, 1..6_usize, 1..50_usize, 1..9_usize, 1..9_usize, 1..90_usize)
        .prop_map(|(d, h, w, a, b, c)| Resize::new([d, h, w], [a, b, c]));
    let doubled =
        (1..4_usize, 1..6_usize, 1..60_usize, any::<bool>()).prop_map(|(d, h, w, flat)| {
            let d = if flat { 1 } else { d };
            Resize::new([d, h, w], [if flat { 1 } else { 2 * d }, 2 * h, 2 * w])
        });
    let kept = (1..4_usize, 1..6_usize, 1..20_usize, 1..12_usize)
        .prop_map(|(d, h, w, to)| Resize::new([d, h, w], [d, to, w]));
    prop_oneof![free, doubled, kept]
}

/// Each output's sources and their weights along one axis, in `f64`.
fn sources(from: usize, to: usize, mode: Mode) -> Vec<Vec<(usize, f64)>> {
    let (n, m) = (from as f64, to as f64);
    let source = |o: usize| {
        let o = o as f64;
        let at = match mode {
            Mode::Nearest => {
                let at = (o as f32 * (from as f32 / to as f32)).floor() as usize;
                return vec![(at.min(from - 1), 1.0)];
            }
            Mode::Corners if to == 1 => 0.0,
            Mode::Corners => o * (n - 1.0) / (m - 1.0),
            Mode::Halves => ((o + 0.5) * n / m - 0.5).max(0.0),
        };
        let below = (at.floor() as usize).min(from - 1);
        let share = (at - below as f64).min(1.0);
        vec![(below, 1.0 - share), ((below + 1).min(from - 1), share)]
    };
    (0..to).map(source).collect()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Corners,
    Halves,
}

/// All `(output, input, weight)` of a plane.
fn weights(r: &Resize, mode: Mode) -> Vec<(usize, usize, f64)> {
    let axes = [0, 1, 2].map(|a| sources(r.from[a], r.to[a], mode));
    let mut all = Vec::new();
    for (od, ds) in axes[0].iter().enumerate() {
        for (oh, hs) in axes[1].iter().enumerate() {
            for (ow, ws) in axes[2].iter().enumerate() {
                let o = (od * r.to[1] + oh) * r.to[2] + ow;
                for &(d, a) in ds {
                    for &(h, b) in hs {
                        for &(w, c) in ws {
                            all.push((o, (d * r.from[1] + h) * r.from[2] + w, a * b * c));
                        }
                    }
                }
            }
        }
    }
    all
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Nearest), Just(Mode::Corners), Just(Mode::Halves)]
}

fn forward(r: &Resize, mode: Mode, x: &[f32]) -> Vec<f32> {
    let (from, to): (usize, usize) = (r.from.iter().product(), r.to.iter().product());
    let mut y = vec![9.0; x.len() / from * to];
    match mode {
        Mode::Nearest => nearest(r, x, &mut y),
        _ => linear(r, mode == Mode::Corners, x, &mut y),
    }
    y
}

fn backward(r: &Resize, mode: Mode, dy: &[f32]) -> Vec<f32> {
    let (from, to): (usize, usize) = (r.from.iter().product(), r.to.iter().product());
    let mut dx = vec![9.0; dy.len() / to * from];
    match mode {
        Mode::Nearest => nearest_gradient(r, dy, &mut dx),
        _ => linear_gradient(r, mode == Mode::Corners, dy, &mut dx),
    }
    dx
}

proptest! {
    #[test]
    fn equals_the_literal_sum(r in resize(), mode in modes(), planes in 1..4_usize, seed in any::<u64>()) {
        let (from, to): (usize, usize) = (r.from.iter().product(), r.to.iter().product());
        let (x, dy) = (noise(seed, planes * from), noise(seed ^ 1, planes * to));
        let (mut y, mut dx) = (vec![0.0_f64; planes * to], vec![0.0_f64; planes * from]);
        let weights = weights(&r, mode);
        for plane in 0..planes {
            for &(o, i, w) in &weights {
                y[plane * to + o] += w * f64::from(x[plane * from + i]);
                dx[plane * from + i] += w * f64::from(dy[plane * to + o]);
            }
        }
        prop_assert!(relative_error(&forward(&r, mode, &x), &y) <= 1e-5);
        prop_assert!(relative_error(&backward(&r, mode, &dy), &dx) <= 1e-5);
    }
}

/// Planes cut into several tasks, so that rows held by one task are not there for the next.
#[test]
fn many_tasks_agree_with_small_planes() {
    for mode in [Mode::Nearest, Mode::Corners, Mode::Halves] {
        for to in [[1, 400, 180], [1, 301, 151]] {
            let r = Resize::new([1, 200, 90], to);
            let x = noise(5, 200 * 90);
            let (count, dy) = (to[1] * to[2], noise(6, to[1] * to[2]));
            let (mut y, mut dx) = (vec![0.0_f64; count], vec![0.0_f64; 200 * 90]);
            for (o, i, w) in weights(&r, mode) {
                y[o] += w * f64::from(x[i]);
                dx[i] += w * f64::from(dy[o]);
            }
            assert!(relative_error(&forward(&r, mode, &x), &y) <= 1e-6, "{mode:?} {to:?}");
            assert!(relative_error(&backward(&r, mode, &dy), &dx) <= 1e-6, "{mode:?} {to:?}");
        }
    }
}

/// An infinity stays with the outputs it belongs to.
#[test]
fn infinities_do_not_spread() {
    let x = [1.0, f32::INFINITY, 2.0, 3.0];
    let y = forward(&Resize::new([1, 1, 4], [1, 2, 4]), Mode::Halves, &x);
    assert_eq!(y, [x, x].concat());
    let blend = Blend::new(4, 7, true);
    assert_eq!((blend.lower[2], blend.upper[2], blend.weight[2]), (1, 1, 0.0));
}

/// Modes, sizes, `interpolate(given)` of PyTorch 2.15, and the gradient of its sum weighted by
/// `given`, which is exact in `f32`.
#[test]
fn agrees_with_pytorch() {
    let given = |count: usize| -> Vec<f32> {
        (0..count).map(|i| ((7 * i * i + 3 * i) % 23) as f32 / 4.0 - 2.5).collect()
    };
    let tables = [
        (
            Mode::Nearest,
            [1, 3, 4],
            [1, 5, 7],
            vec![
                -2.5, -2.5, 0.0, 0.0, 0.25, 0.25, -1.75, -2.5, -2.5, 0.0, 0.0, 0.25, 0.25, -1.75,
                -0.25, -0.25, -1.0, -1.0, 1.75, 1.75, 2.25, -0.25, -0.25, -1.0, -1.0, 1.75, 1.75,
                2.25, 0.5, 0.5, 2.25, 2.25, 1.75, 1.75, -1.0,
            ],
            vec![0.25, 2.5, -2.5, 0.0, 1.75, -6.5, 1.0, -0.75, 0.75, 2.75, 4.0, -1.0],
        ),
        (
            Mode::Corners,
            [1, 3, 4],
            [1, 5, 7],
            vec![
                -2.5, -1.25, 0.0, 0.125, 0.25, -0.75, -1.75, -1.375, -0.9375, -0.5, 0.25, 1.0,
                0.625, 0.25, -0.25, -0.625, -1.0, 0.375, 1.75, 2.0, 2.25, 0.125, 0.375, 0.625,
                1.1875, 1.75, 1.1875, 0.625, 0.5, 1.375, 2.25, 2.0, 1.75, 0.375, -1.0,
            ],
            vec![
                -1.25, 1.0625, -1.75, 0.3125, 2.625, -3.1875, 1.5625, -2.25, 1.0, 1.75, 3.0625,
                -0.6875,
            ],
        ),
        (
            Mode::Halves,
            [1, 3, 4],
            [1, 5, 7],
            vec![
                -2.5,
                -1.6071427,
                -0.17857134,
                0.12500003,
                0.10714245,
                -1.0357146,
                -1.75,
                -1.5999999,
                -1.1714286,
                -0.48571426,
                0.22500014,
                0.77857125,
                0.20714284,
                -0.14999984,
                -0.25,
                -0.5178572,
                -0.9464286,
                0.37500036,
                1.7857144,
                2.0714288,
                2.25,
                0.2000001,
                0.4678574,
                0.89642906,
                1.3500004,
                1.6464282,
                0.8178566,
                0.29999954,
                0.5,
                1.1250001,
                2.125,
                2.0,
                1.5535709,
                -0.017857626,
                -1.0,
            ],
            vec![
                -0.84285736,
                1.2428572,
                -1.5499996,
                -0.10000028,
                1.9071428,
                -2.9571424,
                1.6428568,
                -1.9428567,
                1.4000003,
                1.2499993,
                2.7285707,
                -0.528571,
            ],
        ),
        (
            Mode::Halves,
            [1, 5, 7],
            [1, 3, 2],
            vec![0.35416666, -0.6875, -0.625, 0.375, 0.6666661, 0.83333284],
            vec![
                0.0,
                -1.25,
                -0.4166667,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
                -0.62499994,
                -0.20833331,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
                0.1875,
                0.0625,
                0.0,
                -0.4375,
                -1.3125,
                0.0,
                0.0,
                -0.06250003,
                -0.020833343,
                0.0,
                -0.08333337,
                -0.25000012,
                0.0,
                0.0,
                -0.12499997,
                -0.041666657,
                0.0,
                -0.16666663,
                -0.49999988,
                0.0,
            ],
        ),
        (
            Mode::Corners,
            [1, 5, 7],
            [1, 1, 4],
            vec![-2.5, 0.25, -0.25, 1.75],
            vec![
                -2.5, 0.0, 0.0, 0.0, 0.25, 0.0, -1.75, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
                0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
                0.0, 0.0, 0.0,
            ],
        ),
        (
            Mode::Halves,
            [1, 2, 3],
            [1, 4, 6],
            vec![
                -2.5, -1.875, -0.625, 0.0625, 0.1875, 0.25, -2.3125, -1.75, -0.625, -0.0625,
                -0.0625, -0.0625, -1.9375, -1.5, -0.625, -0.3125, -0.5625, -0.6875, -1.75, -1.375,
                -0.625, -0.4375, -0.8125, -1.0,
            ],
            vec![-0.140625, 0.890625, -1.8125, 2.265625, 1.484375, -5.1875],
        ),
        (
            Mode::Corners,
            [2, 2, 3],
            [3, 3, 4],
            vec![
                -2.5,
                -0.83333325,
                0.08333334,
                0.25,
                -2.125,
                -0.7916666,
                -0.20833333,
                -0.375,
                -1.75,
                -0.75,
                -0.5,
                -1.0,
                -0.375,
                0.625,
                0.875,
                0.375,
                -0.0625,
                0.6041667,
                0.5208333,
                -0.3125,
                0.25,
                0.5833334,
                0.16666663,
                -1.0,
                1.75,
                2.0833333,
                1.6666666,
                0.5,
                2.0,
                2.0,
                1.25,
                -0.25,
                2.25,
                1.9166667,
                0.83333325,
                -1.0,
            ],
            vec![
                -3.9583335,
                0.16666657,
                -0.08333318,
                0.45833328,
                3.6666665,
                -0.37499976,
                -1.2916666,
                0.08333333,
                -0.041666687,
                2.125,
                2.5833335,
                -1.3333333,
            ],
        ),
        (
            Mode::Halves,
            [2, 2, 3],
            [3, 3, 4],
            vec![
                -2.5, -0.9375, 0.09375, 0.25, -2.125, -0.875, -0.21875, -0.375, -1.75, -0.8125,
                -0.53125, -1.0, -0.375, 0.5625, 0.84375, 0.375, -0.0625, 0.5625, 0.46875, -0.3125,
                0.25, 0.5625, 0.09375, -1.0, 1.75, 2.0625, 1.59375, 0.5, 2.0, 2.0, 1.15625, -0.25,
                2.25, 1.9375, 0.71875, -1.0,
            ],
            vec![
                -4.03125,
                0.15625,
                0.0,
                0.578125,
                3.4374995,
                -0.26562503,
                -1.296875,
                0.07812497,
                -0.031249993,
                2.2812498,
                2.4218748,
                -1.3281248,
            ],
        ),
        (
            Mode::Nearest,
            [2, 2, 3],
            [3, 5, 4],
            vec![
                -2.5, -2.5, 0.0, 0.25, -2.5, -2.5, 0.0, 0.25, -2.5, -2.5, 0.0, 0.25, -1.75, -1.75,
                -0.25, -1.0, -1.75, -1.75, -0.25, -1.0, -2.5, -2.5, 0.0, 0.25, -2.5, -2.5, 0.0,
                0.25, -2.5, -2.5, 0.0, 0.25, -1.75, -1.75, -0.25, -1.0, -1.75, -1.75, -0.25, -1.0,
                1.75, 1.75, 2.25, 0.5, 1.75, 1.75, 2.25, 0.5, 1.75, 1.75, 2.25, 0.5, 2.25, 2.25,
                1.75, -1.0, 2.25, 2.25, 1.75, -1.0,
            ],
            vec![2.5, 2.75, -2.75, -3.5, 2.25, -3.25, 1.5, -3.25, -1.5, 4.75, 0.25, 0.5],
        ),
    ];
    for (mode, from, to, y, dx) in tables {
        let r = Resize::new(from, to);
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let got = forward(&r, mode, &given(dx.len()));
        assert!(relative_error(&got, &wide(&y)) <= 1e-6, "{mode:?} {from:?} {to:?}: {got:?}");
        let got = backward(&r, mode, &given(y.len()));
        assert!(relative_error(&got, &wide(&dx)) <= 1e-6, "{mode:?} {from:?} {to:?}: {got:?}");
    }
}

/// Sizes for which `floor(o from / to)` is another value in double precision (PyTorch 2.15).
#[test]
fn nearest_positions_are_those_of_single_precision() {
    for (from, to, o, source) in
        [(14, 46, 23, 6), (21, 69, 23, 6), (28, 46, 23, 13), (39, 33, 11, 12), (52, 22, 11, 25)]
    {
        assert_eq!(nearest_sources(from, to)[o], source);
    }
}

#[test]
#[should_panic(expected = "not planes of")]
fn lengths_that_do_not_fit_are_refused() {
    nearest(&Resize::new([1, 2, 2], [1, 4, 4]), &[0.0; 5], &mut [0.0; 16]);
}
