//! Exponential and logarithm as plain arithmetic, so that loops over them become vector loops.
//!
//! Polynomials of the Cephes library (S. Moshier, `expf` and `logf`), within 2 units of the last
//! place. Not a number stays not a number.

/// `exp(x)` for `x <= 0`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    // Adding and taking away 1.5 * 2^23 leaves the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < LOWEST { LOWEST } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4 * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    // The last bits of `shifted` are n, in two's complement: into the exponent with them.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let value = p * scale;
    if x < LOWEST { 0.0 } else { value }
}

/// `ln(x)` for normal positive `x`.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    // The mantissa in sqrt(1/2) .. sqrt(2), and the exponent that goes with it.
    const HALF_ROOT: u32 = 0x3F35_04F3;
    let bits = x.to_bits().wrapping_sub(HALF_ROOT);
    let exponent = ((bits as i32) >> 23) as f32;
    let mantissa = f32::from_bits((bits & 0x007F_FFFF).wrapping_add(HALF_ROOT));
    let r = mantissa - 1.0;
    let square = r * r;
    let p = 7.037_683_6e-2 * r - 1.151_461e-1;
    let p = p * r + 1.167_699_9e-1;
    let p = p * r - 1.242_014_1e-1;
    let p = p * r + 1.424_932_3e-1;
    let p = p * r - 1.666_805_8e-1;
    let p = p * r + 2.000_071_5e-1;
    let p = p * r - 2.499_999_4e-1;
    let p = p * r + 3.333_333e-1;
    let tail = p * r * square - exponent * 2.121_944_4e-4 - 0.5 * square;
    let value = tail + r + exponent * 0.693_359_4;
    // The bits of what is not a number mean nothing above.
    if x.is_nan() { x } else { value }
}

/// `ln(1 + t)` for `t` in 0..=1, accurate for small `t` too.
#[inline(always)]
pub(crate) fn ln_1p(t: f32) -> f32 {
    let u = 1.0 + t;
    // What rounding took from t.
    ln(u) + (t - (u - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, range: [f32; 2]) -> f64 {
        let x = |i: u16| range[0] + (range[1] - range[0]) * f32::from(i) / 65535.0;
        (0..=u16::MAX)
            .map(|i| {
                let want = exact(f64::from(x(i)));
                if want == 0.0 { 0.0 } else { ((f64::from(f(x(i))) - want) / want).abs() }
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn as_close_as_single_precision_gets() {
        assert!(worst(exp, f64::exp, [-87.0, 0.0]) < 2e-7);
        assert!(worst(exp, f64::exp, [-1.0, 0.0]) < 2e-7);
        assert!(worst(ln, f64::ln, [1.0, 40.0]) < 3e-7);
        assert!(worst(ln_1p, f64::ln_1p, [0.0, 1.0]) < 3e-7);
        assert!(worst(ln_1p, f64::ln_1p, [0.0, 1e-6]) < 3e-7);
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(
            [exp(0.0), exp(-88.0), exp(-1e30), exp(f32::NEG_INFINITY)],
            [1.0, 0.0, 0.0, 0.0]
        );
        assert_eq!([ln(1.0), ln_1p(0.0), ln_1p(1e-30)], [0.0, 0.0, 1e-30]);
        assert!([exp(f32::NAN), ln(f32::NAN), ln_1p(f32::NAN)].iter().all(|v| v.is_nan()));
    }
}
