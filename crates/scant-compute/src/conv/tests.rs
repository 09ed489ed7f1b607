//! Against the literal sum in f64, forward and all gradients, over random shapes.

use proptest::prelude::*;

use super::*;
use crate::testing::{error_relative_to, noise};

/// Calls `visit(y index, x index, weight index)` for each product of the convolution.
fn products(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let output = g.output();
    let (inputs, outputs) = (g.inputs / g.groups, g.outputs / g.groups);
    let volume = |v: [usize; 3]| v.iter().product::<usize>();
    let points =
        |v: [usize; 3]| (0..volume(v)).map(move |i| [i / (v[1] * v[2]), i / v[2] % v[1], i % v[2]]);
    for b in 0..g.batch {
        for o in 0..g.outputs {
            for (at, p) in points(output).enumerate() {
                for i in 0..inputs {
                    for (tap, t) in points(g.kernel).enumerate() {
                        let from: Vec<Option<usize>> = (0..3)
                            .map(|a| {
                                (p[a] * g.stride[a] + t[a] * g.dilation[a])
                                    .checked_sub(g.padding[a])
                                    .filter(|&v| v < g.image[a])
                            })
                            .collect();
                        let [Some(z), Some(y), Some(x)] = from[..] else { continue };
                        let channel = b * g.inputs + o / outputs * inputs + i;
                        let x = ((channel * g.image[0] + z) * g.image[1] + y) * g.image[2] + x;
                        let w = (o * inputs + i) * volume(g.kernel) + tap;
                        visit((b * g.outputs + o) * volume(output) + at, x, w);
                    }
                }
            }
        }
    }
}

pub(super) fn check(g: &Geometry, seed: u64) {
    let x = noise(seed, g.x_len());
    let w = noise(seed + 1, g.weight_len());
    let bias = noise(seed + 2, g.outputs);
    let dy = noise(seed + 3, g.y_len());
    let as_multiplied = |v: f32| match g.precision {
        Precision::Bfloat16 if !depthwise::applies(g) => f64::from(bf16::rounded(v)),
        _ => f64::from(v),
    };
    let pixels = g.output().iter().product::<usize>();
    let channel = |i: usize| i / pixels % g.outputs;
    let mut plain = vec![0.0; dy.len()];
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    let mut db = vec![0.0; g.outputs];
    // What norm to expect where signs are random: sums that happen to cancel are as exact as their terms.
    let mut squares = [0.0; 3];
    products(g, |y_at, x_at, w_at| {
        let [x, w, dy] = [x[x_at], w[w_at], dy[y_at]].map(as_multiplied);
        plain[y_at] += x * w;
        dx[x_at] += dy * w;
        dw[w_at] += dy * x;
        let terms = [x * w, dy * w, dy * x];
        squares.iter_mut().zip(terms).for_each(|(s, t)| *s += t * t);
    });
    dy.iter().enumerate().for_each(|(i, &v)| db[channel(i)] += f64::from(v));
    let biased: Vec<f64> =
        plain.iter().enumerate().map(|(i, v)| v + f64::from(bias[channel(i)])).collect();

    let compare = |name: &str, got: &[f32], want: &[f64], squares: f64| {
        let error = error_relative_to(0.3 * squares.sqrt(), got, want);
        assert!(error <= 1e-5, "{name} of {g:?}: {error:e}");
    };
    let [in_y, in_dx, in_dw] = squares;
    let in_db = dy.iter().map(|&v| f64::from(v * v)).sum();
    compare("output without bias", &forward(g, &x, &w, None), &plain, in_y);
    compare("output", &forward(g, &x, &w, Some(&bias)), &biased, in_y);
    compare("input gradient", &input_gradient(g, &dy, &w), &dx, in_dx);
    compare("weight gradient", &weight_gradient(g, &x, &dy), &dw, in_dw);
    compare("bias gradient", &bias_gradient(g.batch, g.outputs, &dy), &db, in_db);
}

fn axis() -> impl Strategy<Value = [usize; 5]> {
    (1..14_usize, 1..6_usize, 1..5_usize, 0..4_usize, 1..4_usize)
        .prop_map(|(image, kernel, stride, padding, dilation)| {
            [image, kernel, stride, padding, dilation]
        })
        .prop_filter("the kernel fits", |&[image, kernel, _, padding, dilation]| {
            dilation * (kernel - 1) < image + 2 * padding
        })
}

prop_compose! {
    fn geometry()(
        axes in [axis(), axis(), axis()],
        batch in 1..4_usize, groups in 1..4_usize, inputs in 1..6_usize, outputs in 1..12_usize,
        planar in any::<bool>(),
    ) -> Geometry {
        let mut axes = axes;
        if planar {
            axes[0] = [1, 1, 1, 0, 1];
        }
        let each = |i: usize| axes.map(|a| a[i]);
        Geometry {
            batch, groups, inputs: groups * inputs, outputs: groups * outputs,
            image: each(0), kernel: each(1), stride: each(2), padding: each(3), dilation: each(4),
            precision: Precision::Single,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn everything_agrees_with_the_literal_sum(g in geometry(), seed in 1..1000_u64) {
        check(&g, seed);
    }

    #[test]
    fn rounded_operands_agree_with_the_literal_sum_of_them(g in geometry(), seed in 1..1000_u64) {
        check(&Geometry { precision: Precision::Bfloat16, ..g }, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn pointwise_products_agree_as_well(
        batch in 1..4_usize, inputs in 1..40_usize, outputs in 1..40_usize,
        height in 1..40_usize, width in 1..40_usize, groups in 1..3_usize, seed in 1..1000_u64,
    ) {
        let image = [1, height, width];
        let plain = Geometry::plain(batch, groups * inputs, groups * outputs, image, [1; 3]);
        for precision in [Precision::Single, Precision::Bfloat16] {
            check(&Geometry { groups, precision, ..plain }, seed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn three_by_three_agrees_with_and_without_transforms(
        batch in 1..3_usize, inputs in 6..24_usize, outputs in 6..24_usize,
        height in 1..20_usize, width in 1..30_usize, seed in 1..1000_u64,
    ) {
        let plain = Geometry::plain(batch, inputs, outputs, [1, height, width], [1, 3, 3]);
        for precision in [Precision::Single, Precision::Bfloat16] {
            check(&Geometry { padding: [0, 1, 1], precision, ..plain }, seed);
        }
    }
}

#[test]
fn several_bands_of_every_kind_agree() {
    // Wide rows, many channels, whole planes; strides two and three; short last bands.
    let cases = [
        ([1, 9, 1500], [1, 3, 3], [1, 1, 1], [0, 1, 1], 20, 3),
        ([3, 40, 90], [3, 3, 3], [1, 1, 1], [1, 1, 1], 24, 9),
        ([9, 31, 30], [3, 3, 3], [2, 2, 2], [1, 1, 1], 9, 17),
        ([12, 30, 50], [2, 2, 2], [2, 2, 2], [0, 0, 0], 11, 5),
        ([1, 101, 97], [1, 7, 7], [1, 2, 2], [0, 3, 3], 3, 13),
        ([1, 40, 600], [1, 1, 5], [1, 3, 3], [0, 0, 2], 40, 2),
    ];
    for (image, kernel, stride, padding, inputs, outputs) in cases {
        let plain = Geometry::plain(2, inputs, outputs, image, kernel);
        for precision in [Precision::Single, Precision::Bfloat16] {
            check(&Geometry { stride, padding, precision, ..plain }, 5);
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let g = Geometry { padding: [1; 3], ..Geometry::plain(3, 17, 9, [5, 21, 33], [3; 3]) };
    let (x, w, dy) = (noise(1, g.x_len()), noise(2, g.weight_len()), noise(3, g.y_len()));
    let once = || {
        let (y, dx) = (forward(&g, &x, &w, None), input_gradient(&g, &dy, &w));
        (y, dx, weight_gradient(&g, &x, &dy))
    };
    let first = once();
    for _ in 0..3 {
        assert!(once() == first, "two runs differ");
    }
}

#[test]
fn sums_of_planes_keep_their_precision() {
    let values = vec![0.1_f32; (1 << 20) + 21];
    let exact = f64::from(0.1_f32) * values.len() as f64;
    assert!((plane_sum(&values) / exact - 1.0).abs() < 1e-12);
    assert_eq!(plane_sum(&[1.0, 2.0, 3.0]), 6.0);
}

#[test]
#[should_panic(expected = "the kernel is larger than the padded image")]
fn a_kernel_that_does_not_fit_is_refused() {
    let _ = Geometry::plain(1, 1, 1, [1, 2, 9], [1, 3, 3]).output();
}

#[test]
#[should_panic(expected = "x has 3 values")]
fn lengths_that_do_not_fit_are_refused() {
    let g = Geometry::plain(1, 1, 1, [1, 2, 2], [1; 3]);
    let _ = forward(&g, &[0.0; 3], &[1.0], None);
}
