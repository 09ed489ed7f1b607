//! Student's t on one sample and on pairs.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{mean, standard_deviation};

/// Result of a two-sided t-test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TTest {
    /// `(mean - mu0) / (s / sqrt(n))`, `s` with `n - 1`.
    pub t: f64,
    /// Degrees of freedom, `n - 1`.
    pub df: f64,
    /// Two-sided p-value.
    pub p: f64,
}

/// One-sample t-test of the mean of `values` against `mu0` (Student 1908), two-sided.
///
/// This is `scipy.stats.ttest_1samp(values, mu0)`, and the test of several runs against one
/// baseline number. `None` for fewer than two values, values that are not finite, or no spread at
/// all, where t is not defined.
#[must_use]
pub fn one_sample_t(values: &[f64], mu0: f64) -> Option<TTest> {
    let spread = standard_deviation(values)?;
    let distance = mean(values)? - mu0;
    if spread <= 0.0 || !distance.is_finite() {
        return None;
    }
    t_of(distance, spread / (values.len() as f64).sqrt(), values.len() - 1)
}

/// The two-sided t-test of `distance` from 0, given its standard error.
///
/// `None` without degrees of freedom or when the error is not above the rounding of the distance.
pub(crate) fn t_of(distance: f64, error: f64, df: usize) -> Option<TTest> {
    let (t, df) = (distance / error, df as f64);
    let distribution = StudentsT::new(0.0, 1.0, df).ok()?;
    let sound = error > 1e-14 * distance.abs() && t.is_finite();
    sound.then(|| TTest { t, df, p: (2.0 * distribution.cdf(-t.abs())).min(1.0) })
}

/// Paired t-test of the mean difference against 0: `scipy.stats.ttest_1samp(differences, 0)`,
/// which is `ttest_rel` on the two columns. `None` as in [`one_sample_t`].
#[must_use]
pub fn paired_t(differences: &[f64]) -> Option<TTest> {
    one_sample_t(differences, 0.0)
}

/// Effect size of paired differences: their mean over their standard deviation (Cohen 1988, eq.
/// 2.3.5; `d_z` of Lakens 2013, eq. 6). `None` where there is no spread.
#[must_use]
pub fn cohens_dz(differences: &[f64]) -> Option<f64> {
    let spread = standard_deviation(differences)?;
    (spread > 0.0).then(|| mean(differences).map(|m| m / spread))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-9 * expected.abs(), "{got} is not {expected}");
    }

    #[test]
    fn one_sample_pinned_to_scipy() {
        // scipy.stats.ttest_1samp([.8123, .8034, .8201, .8177, .8090], 0.80)
        let test = one_sample_t(&[0.8123, 0.8034, 0.8201, 0.8177, 0.8090], 0.80).unwrap();
        close(test.t, 4.167_824_556_550_518);
        close(test.p, 0.014_055_892_354_073_918);
        assert_eq!(test.df, 4.0);
    }

    #[test]
    fn paired_pinned_to_scipy() {
        // scipy.stats.ttest_rel(b, a)
        let a = [0.71, 0.80, 0.65, 0.90, 0.77, 0.69];
        let b = [0.74, 0.79, 0.72, 0.93, 0.81, 0.75];
        let d: Vec<f64> = b.iter().zip(&a).map(|(b, a)| b - a).collect();
        let test = paired_t(&d).unwrap();
        close(test.t, 3.202_223_803_567_702_6);
        close(test.p, 0.023_935_637_025_535_417);
        assert_eq!(test.df, 5.0);
        // t = dz * sqrt(n)
        close(cohens_dz(&d).unwrap(), test.t / 6.0_f64.sqrt());
    }

    #[test]
    fn no_spread_is_no_test() {
        assert_eq!(paired_t(&[0.5, 0.5, 0.5]), None);
        assert_eq!(paired_t(&[0.5]), None);
        assert_eq!(cohens_dz(&[0.5, 0.5]), None);
        assert_eq!(paired_t(&[0.5, f64::INFINITY]), None);
        assert_eq!(one_sample_t(&[0.5, 0.6], f64::NAN), None);
    }
}
