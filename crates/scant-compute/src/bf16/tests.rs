//! Against f64 products of the rounded operands.

use proptest::prelude::*;

use super::*;
use crate::testing::{noise, relative_error};

/// Element `(r, c)` of a packed matrix that is stored by columns if `turned`.
fn strided(values: &[f32], rows: usize, columns: usize, turned: bool) -> Strided<'_> {
    if turned {
        Strided { values, row: 1, column: rows }
    } else {
        Strided { values, row: columns, column: 1 }
    }
}

fn check(size: [usize; 3], turned: [bool; 2], accumulate: bool, parallel: bool, seed: u64) {
    let [m, n, k] = size;
    let (a, b) = (noise(seed, m * k), noise(seed + 1, k * n));
    let c_row = n + 3;
    let before = noise(seed + 2, m * c_row);
    let (left, right) = (strided(&a, m, k, turned[0]), strided(&b, k, n, turned[1]));
    let mut c = before.clone();
    gemm_bf16(size, left, right, &mut c, c_row, accumulate, parallel);
    let mut want: Vec<f64> = before.iter().map(|&v| f64::from(v)).collect();
    for i in 0..m {
        for j in 0..n {
            let start = if accumulate { f64::from(before[i * c_row + j]) } else { 0.0 };
            let at = |s: &Strided<'_>, r: usize, c: usize| {
                f64::from(rounded(s.values[r * s.row + c * s.column]))
            };
            let product = |p: usize| at(&left, i, p) * at(&right, p, j);
            want[i * c_row + j] = start + (0..k).map(product).sum::<f64>();
        }
    }
    let error = relative_error(&c, &want);
    assert!(error <= 2e-6, "{size:?} {turned:?} {accumulate}: {error:e}");
    for (c, before) in c.chunks_exact(c_row).zip(before.chunks_exact(c_row)) {
        assert_eq!(c[n..], before[n..], "values between the rows are left alone");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn products_agree_with_those_of_rounded_operands(
        m in 1..40_usize, n in 1..120_usize, k in 1..70_usize, turned in any::<[bool; 2]>(),
        accumulate in any::<bool>(), parallel in any::<bool>(), seed in 1..1000_u64,
    ) {
        check([m, n, k], turned, accumulate, parallel, seed);
    }

    #[test]
    fn rounding_takes_the_nearest_and_the_even_of_two(bits in any::<u32>()) {
        let x = f32::from_bits(bits);
        let below = f32::from_bits(bits & 0xFFFF_0000);
        let above = f32::from_bits((bits & 0xFFFF_0000).wrapping_add(0x1_0000));
        if x.is_nan() {
            prop_assert!(rounded(x).is_nan());
        } else if x.is_finite() && above.is_finite() {
            let (down, up) = (
                (f64::from(x) - f64::from(below)).abs(),
                (f64::from(above) - f64::from(x)).abs(),
            );
            let even = if bits >> 16 & 1 == 0 { below } else { above };
            let want = if down < up { below } else if up < down { above } else { even };
            prop_assert_eq!(rounded(x).to_bits(), want.to_bits());
        }
    }
}

#[test]
fn several_blocks_agree() {
    check([300, 401, 1100], [false, true], true, true, 3);
    check([257, 385, 513], [true, false], false, false, 4);
}

#[test]
fn an_empty_inner_dimension_gives_zero() {
    let empty = Strided { values: &[], row: 0, column: 0 };
    let mut c = [1.0; 6];
    gemm_bf16([2, 2, 0], empty, empty, &mut c, 3, true, false);
    assert_eq!(c, [1.0; 6]);
    gemm_bf16([2, 2, 0], empty, empty, &mut c, 3, false, false);
    assert_eq!(c, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn special_values_keep_their_meaning() {
    assert_eq!(rounded(f32::INFINITY), f32::INFINITY);
    assert_eq!(rounded(f32::NEG_INFINITY), f32::NEG_INFINITY);
    assert_eq!(rounded(f32::MAX), f32::INFINITY);
    assert!(rounded(f32::from_bits(0x7F80_0001)).is_nan());
    assert_eq!(rounded(-0.0).to_bits(), (-0.0_f32).to_bits());
    assert_eq!(rounded_all(&[1.0, 1.0 + 1.0 / 512.0]), [1.0, 1.0]);
}
