//! The sign-flip test.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Result of a two-sided sign-flip test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SignFlip {
    /// Share of the sign patterns whose sum is at least as far from 0 as the observed one.
    pub p: f64,
    /// Values whose sign was flipped.
    pub units: usize,
    /// Whether every pattern was tried; else `p` is (hits + 1) / (patterns drawn + 1).
    pub exact: bool,
}

/// Sign-flip test of the sum of `units` against 0 (Fisher 1935, section 21; Phipson and Smyth 2010
/// for the added 1), two-sided.
///
/// Under the null hypothesis each unit is as likely to be positive as negative, independently of
/// the others. All `2^n` patterns are tried where there are at most `patterns` of them, else
/// `patterns` random ones are drawn. With exact patterns it equals
/// `scipy.stats.permutation_test((units,), numpy.mean, permutation_type="samples")`.
///
/// `None` without units, without patterns, or when a value is not finite. With `n` units no p below
/// `2 / 2^n` is possible.
#[must_use]
pub fn sign_flip(units: &[f64], patterns: usize, seed: u64) -> Option<SignFlip> {
    if units.is_empty() || patterns == 0 || units.iter().any(|u| !u.is_finite()) {
        return None;
    }
    let n = units.len();
    let observed = units.iter().sum::<f64>().abs();
    // Sums of the same numbers in another order differ in their last bits.
    let at_least = observed - 1e-12 * units.iter().map(|u| u.abs()).sum::<f64>();
    let all = u32::try_from(n).ok().and_then(|n| 1usize.checked_shl(n)).filter(|&k| k > 1);
    let Some(all) = all.filter(|&k| k <= patterns) else {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let hits = (0..patterns)
            .filter(|_| {
                // 64 signs of every draw.
                let mut sum = 0.0;
                for some in units.chunks(64) {
                    let signs: u64 = rng.random();
                    for (i, &u) in some.iter().enumerate() {
                        sum += if signs >> i & 1 == 0 { u } else { -u };
                    }
                }
                f64::abs(sum) >= at_least
            })
            .count();
        let p = (hits + 1) as f64 / (patterns + 1) as f64;
        return Some(SignFlip { p, units: n, exact: false });
    };
    let hits = (0..all)
        .filter(|pattern| {
            let signed = |(i, &u): (usize, &f64)| if pattern >> i & 1 == 0 { u } else { -u };
            units.iter().enumerate().map(signed).sum::<f64>().abs() >= at_least
        })
        .count();
    Some(SignFlip { p: hits as f64 / all as f64, units: n, exact: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_pinned_to_scipy() {
        // scipy.stats.permutation_test(([.3, -.1, .4, .2, .25, -.05],), np.mean,
        //     permutation_type="samples", n_resamples=np.inf).pvalue
        let got = sign_flip(&[0.3, -0.1, 0.4, 0.2, 0.25, -0.05], 10_000, 0).unwrap();
        assert!((got.p - SCIPY_6).abs() < 1e-12 && got.exact, "{got:?}");
        assert_eq!(got.units, 6);
    }

    const SCIPY_6: f64 = 0.125;

    #[test]
    fn by_hand() {
        // Sums of (+-1, +-2): 3, 1, -1, -3; two of four are at least 3 from 0.
        assert_eq!(sign_flip(&[1.0, 2.0], 100, 0).unwrap().p, 0.5);
        // Five of one sign: 2 / 32, the smallest that five units can give.
        assert_eq!(sign_flip(&[1.0; 5], 100, 0).unwrap().p, 0.0625);
        assert_eq!(sign_flip(&[0.0; 3], 100, 0).unwrap().p, 1.0);
    }

    #[test]
    fn drawn_patterns_come_near_all_patterns() {
        let units: Vec<f64> = (0..14).map(|i| f64::from((i * 37) % 11) - 3.0).collect();
        let exact = sign_flip(&units, 20_000, 0).unwrap();
        let drawn = sign_flip(&units, 16_000, 3).unwrap();
        assert!(exact.exact && !drawn.exact);
        assert!((exact.p - drawn.p).abs() < 0.01, "{exact:?} {drawn:?}");
        assert_eq!(sign_flip(&units, 16_000, 3), Some(drawn));
    }

    #[test]
    fn refuses_what_says_nothing() {
        assert_eq!(sign_flip(&[], 10, 0), None);
        assert_eq!(sign_flip(&[1.0], 0, 0), None);
        assert_eq!(sign_flip(&[1.0, f64::NAN], 10, 0), None);
    }
}
