//! Literal loops over every window in `f64`, and values of PyTorch.

use proptest::prelude::*;

use super::{Windows, average, average_gradient, max, max_gradient, max_values};
use crate::testing::{noise, relative_error};

/// One cell of a window: which tap it is, and where in the plane unless in the padding.
type Cell = (usize, Option<usize>);

/// The cells of every window of a plane, in scan order.
fn cells(w: &Windows) -> Vec<Vec<Cell>> {
    let inside = |axis: usize, o: usize, tap: usize| {
        (o * w.stride[axis] + tap).checked_sub(w.padding[axis]).filter(|&i| i < w.size[axis])
    };
    let [d, h, wd] = w.output();
    let mut all = Vec::new();
    for (od, oh, ow) in
        (0..d).flat_map(|a| (0..h).flat_map(move |b| (0..wd).map(move |c| (a, b, c))))
    {
        let mut window = Vec::new();
        for kd in 0..w.kernel[0] {
            for kh in 0..w.kernel[1] {
                for kw in 0..w.kernel[2] {
                    let at = (inside(0, od, kd), inside(1, oh, kh), inside(2, ow, kw));
                    let place = match at {
                        (Some(i), Some(j), Some(k)) => Some((i * w.size[1] + j) * w.size[2] + k),
                        _ => None,
                    };
                    window.push((window.len(), place));
                }
            }
        }
        all.push(window);
    }
    all
}

fn windows() -> impl Strategy<Value = Windows> {
    let axis = |largest: usize| {
        (1..=3_usize, 1..=3_usize, 0..=1_usize, 0..largest).prop_map(|(k, s, p, extra)| {
            let p = p.min(k / 2);
            ((k - 2 * p).max(1) + extra, k, s, p)
        })
    };
    let free = (axis(4), axis(6), axis(70));
    let halves =
        (0..3_usize, 0..5_usize, 0..80_usize, any::<bool>()).prop_map(|(d, h, w, cube)| {
            let depth = if cube { (d + 2, 2, 2, 0) } else { (d + 1, 1, 1, 0) };
            (depth, (h + 2, 2, 2, 0), (w + 2, 2, 2, 0))
        });
    let long = (1..3_usize, 8..20_usize)
        .prop_map(|(h, k)| ((1, 1, 1, 0), (h + 2, 3, 2, 1), (k + 9, k, 3, k / 2)));
    prop_oneof![free, halves, long].prop_map(|(d, h, w)| {
        Windows::new([d.0, h.0, w.0], [d.1, h.1, w.1], [d.2, h.2, w.2], [d.3, h.3, w.3])
    })
}

fn sizes(w: &Windows, planes: usize) -> (usize, usize) {
    (planes * w.input().iter().product::<usize>(), planes * w.output().iter().product::<usize>())
}

proptest! {
    #[test]
    fn max_is_the_first_of_the_largest(w in windows(), planes in 1..4_usize, seed in any::<u64>(), odd in 0..3_u8) {
        let (inputs, outputs) = sizes(&w, planes);
        // Few distinct values, so that there are ties; some NaN; sometimes nothing finite.
        let value = |v: f32| match (v * 8.0).round() {
            r if odd == 1 && r > 6.0 => f32::NAN,
            r if odd == 2 && r < 5.0 => f32::NEG_INFINITY,
            r => r,
        };
        let x: Vec<f32> = noise(seed, inputs).into_iter().map(value).collect();
        let dy = noise(seed ^ 1, outputs);
        let (mut y, mut index) = (vec![9.0; outputs], vec![99; outputs]);
        max(&w, &x, &mut y, &mut index);
        let mut values = vec![9.0; outputs];
        max_values(&w, &x, &mut values);
        prop_assert!(values.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()));
        let mut dx = vec![9.0; inputs];
        max_gradient(&w, &dy, &index, &mut dx);

        let (plane, cells) = (inputs / planes, cells(&w));
        let mut want_dx = vec![0.0_f64; inputs];
        for p in 0..planes {
            for (o, window) in cells.iter().enumerate() {
                let mut best: Option<(usize, usize)> = None;
                for &(tap, place) in window {
                    let Some(place) = place else { continue };
                    let v = x[p * plane + place];
                    if best.is_none_or(|(_, b)| v > x[p * plane + b] || v.is_nan()) {
                        best = Some((tap, place));
                    }
                }
                let (tap, place) = best.unwrap();
                let o = p * cells.len() + o;
                prop_assert_eq!(usize::from(index[o]), tap);
                prop_assert_eq!(y[o].to_bits(), x[p * plane + place].to_bits());
                want_dx[p * plane + place] += f64::from(dy[o]);
            }
        }
        prop_assert!(relative_error(&dx, &want_dx) <= 1e-6);
    }

    #[test]
    fn average_is_the_mean(w in windows(), planes in 1..4_usize, seed in any::<u64>(), count_padding in any::<bool>()) {
        let (inputs, outputs) = sizes(&w, planes);
        let (x, dy) = (noise(seed, inputs), noise(seed ^ 1, outputs));
        let mut y = vec![9.0; outputs];
        average(&w, count_padding, &x, &mut y);
        let mut dx = vec![9.0; inputs];
        average_gradient(&w, count_padding, &dy, &mut dx);

        let (plane, cells) = (inputs / planes, cells(&w));
        let (mut want_y, mut want_dx) = (vec![0.0_f64; outputs], vec![0.0_f64; inputs]);
        for p in 0..planes {
            for (o, window) in cells.iter().enumerate() {
                let inside: Vec<usize> = window.iter().filter_map(|c| c.1).collect();
                let counted = if count_padding { window.len() } else { inside.len() } as f64;
                let o = p * cells.len() + o;
                for place in inside {
                    want_y[o] += f64::from(x[p * plane + place]) / counted;
                    want_dx[p * plane + place] += f64::from(dy[o]) / counted;
                }
            }
        }
        prop_assert!(relative_error(&y, &want_y) <= 1e-5);
        prop_assert!(relative_error(&dx, &want_dx) <= 1e-5);
    }
}

/// A plane cut into several tasks has the same values as its rows alone.
#[test]
fn many_tasks_agree_with_one() {
    let w = Windows::new([1, 400, 130], [1, 2, 2], [1, 2, 2], [0; 3]);
    let x = noise(3, 400 * 130);
    let (mut y, mut index) = (vec![0.0; 200 * 65], vec![0; 200 * 65]);
    max(&w, &x, &mut y, &mut index);
    for (o, &y) in y.iter().enumerate() {
        let (i, j) = (o / 65 * 2, o % 65 * 2);
        let four = [i * 130 + j, i * 130 + j + 1, (i + 1) * 130 + j, (i + 1) * 130 + j + 1];
        let best = four.map(|i| x[i]).into_iter().fold(f32::MIN, f32::max);
        assert_eq!(y, best);
        assert_eq!(x[four[usize::from(index[o])]], best);
    }
}

/// The values PyTorch is given in the tables below, exact in `f32`.
fn given(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((7 * i * i + 3 * i) % 23) as f32 / 4.0 - 2.5).collect()
}

/// `max_pool2d(given(35).reshape(5, 7), 3, stride=2, padding=1)` of PyTorch 2.15 and the gradient
/// of its sum weighted by `given`.
#[test]
fn padded_max_agrees_with_pytorch() {
    let w = Windows::new([1, 5, 7], [1, 3, 3], [1, 2, 2], [0, 1, 1]);
    let (mut y, mut index, mut dx) = ([0.0; 12], [0; 12], [0.0; 35]);
    max(&w, &given(35), &mut y, &mut index);
    max_gradient(&w, &given(12), &index, &mut dx);
    let want = [2.25, 2.25, 1.75, 1.75, 3.0, 2.25, 3.0, -0.25, 3.0, 2.25, 2.25, 1.75];
    assert_eq!(y, want);
    let want = [
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.75, -2.5, 0.0, -1.0, 0.25, 0.0, 2.25, 0.0, 0.0, 0.0, 0.0,
        0.0, 1.75, 0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.25, 0.0, 1.75, -1.0,
        0.0,
    ];
    assert_eq!(dx, want);
}

/// `avg_pool3d(given(30).reshape(2, 3, 5), (2, 3, 2), stride=(1, 2, 2), padding=1)` of PyTorch 2.15
/// with `count_include_pad` and without, and the gradients of the sum weighted by `given`.
#[test]
fn padded_average_agrees_with_pytorch() {
    let w = Windows::new([2, 3, 5], [2, 3, 2], [1, 2, 2], [1, 1, 1]);
    let tables = [
        (
            true,
            vec![
                -0.29166666,
                0.35416666,
                0.0625,
                0.0625,
                0.22916667,
                0.104166664,
                -0.33333334,
                0.14583333,
                0.0625,
                0.041666668,
                0.1875,
                -0.041666668,
                -0.041666668,
                -0.20833333,
                0.0,
                -0.020833334,
                -0.041666668,
                -0.14583333,
            ],
            vec![
                -0.0625,
                0.1875,
                0.1875,
                0.0625,
                0.0625,
                -0.020833328,
                0.3125,
                0.3125,
                -0.10416667,
                -0.10416667,
                0.04166667,
                0.12499999,
                0.12499999,
                -0.16666667,
                -0.16666667,
                0.12499999,
                0.04166667,
                0.04166667,
                0.0625,
                0.0625,
                0.31249997,
                -0.020833343,
                -0.020833343,
                -0.14583333,
                -0.14583333,
                0.1875,
                -0.0625,
                -0.0625,
                -0.20833334,
                -0.20833334,
            ],
        ),
        (
            false,
            vec![
                -1.75, 1.0625, 0.1875, 0.375, 0.6875, 0.3125, -1.0, 0.21875, 0.09375, 0.125,
                0.28125, -0.0625, -0.25, -0.625, 0.0, -0.125, -0.125, -0.4375,
            ],
            vec![
                -0.8125, 0.28125, 0.28125, 0.125, 0.125, -1.125, 0.4375, 0.4375, -0.25, -0.25,
                -0.3125, 0.15625, 0.15625, -0.375, -0.375, 0.3125, -0.15625, -0.15625, 0.125,
                0.125, 0.875, -0.5625, -0.5625, -0.375, -0.375, 0.5625, -0.40625, -0.40625, -0.5,
                -0.5,
            ],
        ),
    ];
    for (count_padding, want_y, want_dx) in tables {
        let (mut y, mut dx) = (vec![0.0; 18], vec![0.0; 30]);
        average(&w, count_padding, &given(30), &mut y);
        average_gradient(&w, count_padding, &given(18), &mut dx);
        close(&y, &want_y);
        close(&dx, &want_dx);
    }
}

/// Ties go to the first cell, NaN wins and the last NaN gets the gradient (PyTorch 2.15).
#[test]
fn ties_and_nan_agree_with_pytorch() {
    let w = Windows::new([1, 2, 6], [1, 2, 2], [1, 2, 2], [0; 3]);
    let nan = f32::NAN;
    let x = [1.0, 1.0, nan, 2.0, -1.0, nan, 1.0, 1.0, 3.0, nan, nan, 5.0];
    let (mut y, mut index, mut dx) = ([0.0; 3], [9; 3], [9.0; 12]);
    max(&w, &x, &mut y, &mut index);
    max_gradient(&w, &[1.0, 2.0, 3.0], &index, &mut dx);
    assert!(y[0] == 1.0 && y[1].is_nan() && y[2].is_nan());
    let want = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 3.0, 0.0];
    assert_eq!(dx, want);
}

fn close(got: &[f32], want: &[f32]) {
    let want: Vec<f64> = want.iter().map(|&v| f64::from(v)).collect();
    assert!(relative_error(got, &want) <= 1e-6, "{got:?} is not {want:?}");
}

#[test]
#[should_panic(expected = "exceeds half of the kernel")]
fn padding_wider_than_half_a_kernel_is_refused() {
    let _ = Windows::new([1, 4, 4], [1, 2, 2], [1, 2, 2], [0, 2, 0]);
}

#[test]
#[should_panic(expected = "at most 256 cells")]
fn windows_too_large_for_a_byte_are_refused() {
    let w = Windows::new([1, 17, 17], [1, 17, 17], [1; 3], [0; 3]);
    max(&w, &[0.0; 289], &mut [0.0], &mut [0]);
}
