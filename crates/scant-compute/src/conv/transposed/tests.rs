//! Against the literal sum in f64: every input value spreads over the output.

use proptest::prelude::*;

use super::*;
use crate::testing::{error_relative_to, noise};

fn check(t: &Transposed, seed: u64) {
    let volume = |v: [usize; 3]| v.iter().product::<usize>();
    let points =
        |v: [usize; 3]| (0..volume(v)).map(move |i| [i / (v[1] * v[2]), i / v[2] % v[1], i % v[2]]);
    let output = t.output();
    let (inputs, outputs) = (t.inputs / t.groups, t.outputs / t.groups);
    let x = noise(seed, t.batch * t.inputs * volume(t.image));
    let w = noise(seed + 1, t.inputs * outputs * volume(t.kernel));
    let bias = noise(seed + 2, t.outputs);
    let dy = noise(seed + 3, t.batch * t.outputs * volume(output));
    let channel = |i: usize| i / volume(output) % t.outputs;
    let mut y: Vec<f64> = (0..dy.len()).map(|i| f64::from(bias[channel(i)])).collect();
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    // What norm to expect where signs are random: sums that happen to cancel are as exact as their terms.
    let mut squares = [0.0_f64; 3];
    for b in 0..t.batch {
        for i in 0..t.inputs {
            for (at, p) in points(t.image).enumerate() {
                for o in 0..outputs {
                    for (tap, k) in points(t.kernel).enumerate() {
                        let to: Vec<Option<usize>> = (0..3)
                            .map(|a| {
                                (p[a] * t.stride[a] + k[a] * t.dilation[a])
                                    .checked_sub(t.padding[a])
                                    .filter(|&v| v < output[a])
                            })
                            .collect();
                        let [Some(z), Some(r), Some(c)] = to[..] else { continue };
                        let plane = b * t.outputs + i / inputs * outputs + o;
                        let yi = ((plane * output[0] + z) * output[1] + r) * output[2] + c;
                        let xi = (b * t.inputs + i) * volume(t.image) + at;
                        let wi = (i * outputs + o) * volume(t.kernel) + tap;
                        let (x, w, dy) = (f64::from(x[xi]), f64::from(w[wi]), f64::from(dy[yi]));
                        y[yi] += x * w;
                        dx[xi] += w * dy;
                        dw[wi] += x * dy;
                        let terms = [x * w, w * dy, x * dy];
                        squares.iter_mut().zip(terms).for_each(|(s, t)| *s += t * t);
                    }
                }
            }
        }
    }
    let compare = |name: &str, got: &[f32], want: &[f64], squares: f64| {
        let error = error_relative_to(0.3 * squares.sqrt(), got, want);
        assert!(error <= 1e-5, "{name} of {t:?}: {error:e}");
    };
    compare("output", &forward(t, &x, &w, Some(&bias)), &y, squares[0]);
    compare("input gradient", &input_gradient(t, &dy, &w), &dx, squares[1]);
    compare("weight gradient", &weight_gradient(t, &x, &dy), &dw, squares[2]);
}

fn axis() -> impl Strategy<Value = [usize; 6]> {
    (1..9_usize, 1..5_usize, 1..4_usize, 0..3_usize, 0..3_usize, 1..3_usize)
        .prop_map(|(image, kernel, stride, padding, more, dilation)| {
            [image, kernel, stride, padding, more % stride, dilation]
        })
        .prop_filter("something is left", |&[image, kernel, stride, padding, _, dilation]| {
            (image - 1) * stride + dilation * (kernel - 1) + 1 > 2 * padding
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn everything_agrees_with_the_literal_sum(
        axes in [axis(), axis(), axis()], batch in 1..3_usize, groups in 1..4_usize,
        inputs in 1..5_usize, outputs in 1..11_usize, planar in any::<bool>(), seed in 1..1000_u64,
    ) {
        let mut axes = axes;
        if planar {
            axes[0] = [1, 1, 1, 0, 0, 1];
        }
        let each = |i: usize| axes.map(|a| a[i]);
        check(
            &Transposed {
                batch, groups, inputs: groups * inputs, outputs: groups * outputs,
                image: each(0), kernel: each(1), stride: each(2), padding: each(3),
                output_padding: each(4), dilation: each(5), precision: Precision::Single,
            },
            seed,
        );
    }

    #[test]
    fn doubling_agrees_as_well(
        batch in 1..3_usize, inputs in 1..20_usize, outputs in 1..20_usize,
        depth in 0..4_usize, height in 1..20_usize, width in 1..40_usize, seed in 1..1000_u64,
    ) {
        let (image, size) = match depth {
            0 => ([1, height, width], [1, 2, 2]),
            _ => ([depth, height, width], [2; 3]),
        };
        let t = Transposed { stride: size, ..Transposed::plain(batch, inputs, outputs, image, size) };
        check(&t, seed);
    }
}

#[test]
#[should_panic(expected = "the output padding must be less than the stride")]
fn an_output_padding_as_large_as_the_stride_is_refused() {
    let t = Transposed::plain(1, 1, 1, [1, 4, 4], [1, 2, 2]);
    let _ = Transposed { output_padding: [0, 1, 0], ..t }.output();
}
