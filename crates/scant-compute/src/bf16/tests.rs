//! Rounding to the nearest, to the even of two, and of special values.

use proptest::prelude::*;

use super::*;

proptest! {
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
fn special_values_keep_their_meaning() {
    assert_eq!(rounded(f32::INFINITY), f32::INFINITY);
    assert_eq!(rounded(f32::NEG_INFINITY), f32::NEG_INFINITY);
    assert_eq!(rounded(f32::MAX), f32::INFINITY);
    assert!(rounded(f32::from_bits(0x7F80_0001)).is_nan());
    assert_eq!(rounded(-0.0).to_bits(), (-0.0_f32).to_bits());
    assert_eq!(rounded_all(&[1.0, 1.0 + 1.0 / 512.0]), [1.0, 1.0]);
}
