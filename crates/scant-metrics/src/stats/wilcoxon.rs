//! Wilcoxon's signed-rank test.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// How a p-value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WilcoxonMethod {
    /// All sign assignments counted.
    Exact,
    /// Normal approximation with tie correction, no continuity correction.
    Normal,
    /// Every difference is zero, so there is nothing to rank.
    NoDifference,
}

/// Result of a two-sided signed-rank test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wilcoxon {
    /// The smaller of the two rank sums.
    pub statistic: f64,
    /// Two-sided p-value.
    pub p: f64,
    /// Differences that are not zero.
    pub n: usize,
    /// How `p` was found.
    pub method: WilcoxonMethod,
    /// Matched-pairs rank-biserial correlation, `(positive - negative) / all` rank sums, in
    /// `[-1, 1]` (Kerby 2014); 0 where every difference is zero.
    pub rank_biserial: f64,
}

/// Largest sample that is counted exactly when no difference is zero or tied.
const EXACT_LIMIT: usize = 50;
/// Largest sample that is counted exactly otherwise.
const EXACT_LIMIT_TIED: usize = 13;

/// Wilcoxon signed-rank test of paired differences (Wilcoxon 1945), two-sided, with the defaults of
/// `scipy.stats.wilcoxon` 1.17: zeros are dropped, p is exact up to 50 differences without zeros or
/// ties and up to 13 with them, and normal with tie correction beyond.
///
/// `None` without differences or when one is not finite. Where every difference is zero, p is 1.
#[must_use]
pub fn wilcoxon(differences: &[f64]) -> Option<Wilcoxon> {
    if differences.is_empty() || differences.iter().any(|d| !d.is_finite()) {
        return None;
    }
    let mut nonzero: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    nonzero.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = nonzero.len();
    if n == 0 {
        let method = WilcoxonMethod::NoDifference;
        return Some(Wilcoxon { statistic: 0.0, p: 1.0, n, method, rank_biserial: 0.0 });
    }
    let ranks = DoubledRanks::of(&nonzero);
    let sum = |positive: bool| -> usize {
        let of_sign = nonzero.iter().zip(&ranks.ranks).filter(|(d, _)| (**d > 0.0) == positive);
        of_sign.map(|(_, r)| r).sum()
    };
    let (plus, minus) = (sum(true), sum(false));
    let plain = n == differences.len() && ranks.tie_term == 0.0;
    let limit = if plain { EXACT_LIMIT } else { EXACT_LIMIT_TIED };
    let (p, method) = if differences.len() <= limit {
        (exact(&ranks.ranks, plus.min(minus)), WilcoxonMethod::Exact)
    } else {
        (normal(n, plus, ranks.tie_term)?, WilcoxonMethod::Normal)
    };
    Some(Wilcoxon {
        statistic: plus.min(minus) as f64 / 2.0,
        p,
        n,
        method,
        rank_biserial: (plus as f64 - minus as f64) / (plus + minus) as f64,
    })
}

/// Ranks times two, so that the middle ranks of ties are whole numbers.
struct DoubledRanks {
    ranks: Vec<usize>,
    /// Sum of `t^3 - t` over runs of ties.
    tie_term: f64,
}

impl DoubledRanks {
    fn of(sorted_by_size: &[f64]) -> Self {
        let mut ranks = Vec::with_capacity(sorted_by_size.len());
        let mut tie_term = 0.0;
        for run in sorted_by_size.chunk_by(|a, b| a.abs() == b.abs()) {
            let (first, last) = (ranks.len() + 1, ranks.len() + run.len());
            ranks.extend(std::iter::repeat_n(first + last, run.len()));
            let t = run.len() as f64;
            tie_term += t.powi(3) - t;
        }
        Self { ranks, tie_term }
    }
}

/// Twice the share of sign assignments whose positive rank sum is at most `smaller`.
///
/// At most 50 ranks, so the counts stay below 2^53 and are exact.
fn exact(doubled_ranks: &[usize], smaller: usize) -> f64 {
    let total: usize = doubled_ranks.iter().sum();
    let mut ways = vec![0.0_f64; total + 1];
    ways[0] = 1.0;
    for &rank in doubled_ranks {
        for sum in (rank..=total).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let at_most: f64 = ways[..=smaller].iter().sum();
    (2.0 * at_most / ways.iter().sum::<f64>()).min(1.0)
}

fn normal(n: usize, doubled_plus: usize, tie_term: f64) -> Option<f64> {
    let n = n as f64;
    let centre = n * (n + 1.0) / 4.0;
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - tie_term / 2.0) / 24.0;
    let z = (doubled_plus as f64 / 2.0 - centre) / variance.sqrt();
    Some((2.0 * Normal::new(0.0, 1.0).ok()?.cdf(-z.abs())).min(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn check(differences: &[f64], statistic: f64, p: f64, method: WilcoxonMethod) {
        let got = wilcoxon(differences).unwrap();
        assert!((got.p - p).abs() <= 1e-8 * p, "{got:?}, expected p {p}");
        assert_eq!((got.statistic, got.method), (statistic, method));
    }

    /// `[((i * 37) % 61 - 22) / 10 + 0.001 * i for i in range(n)]`, without ties or zeros.
    fn spread(n: i32) -> Vec<f64> {
        (0..n).map(|i| f64::from((i * 37) % 61 - 22) / 10.0 + 0.001 * f64::from(i)).collect()
    }

    // Every literal: r = scipy.stats.wilcoxon(d); r.statistic, r.pvalue  (SciPy 1.17.1)
    #[test]
    fn exact_pinned_to_scipy() {
        let d = [0.03, -0.01, 0.05, 0.02, -0.04, 0.07, 0.11, 0.06];
        check(&d, 5.0, 0.078_125, WilcoxonMethod::Exact);
        check(&spread(50), 361.0, 0.006_941_379_579_762_596_6, WilcoxonMethod::Exact);
        check(&[0.5], 0.0, 1.0, WilcoxonMethod::Exact);
        check(&[0.5, 0.25], 0.0, 0.5, WilcoxonMethod::Exact);
    }

    #[test]
    fn small_with_ties_and_zeros_pinned_to_scipy() {
        let d = [1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 0.0, -4.0, 5.0, 5.0];
        check(&d, 9.0, 0.128_906_25, WilcoxonMethod::Exact);
    }

    #[test]
    fn normal_pinned_to_scipy() {
        check(&spread(60), 486.0, 0.001_587_859_914_567_907_6, WilcoxonMethod::Normal);
        let d = [1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 0.0, -4.0, 5.0, 5.0, 6.0, 7.0, -2.0, 3.0, 8.0, 0.0];
        check(&d, 16.0, 0.021_618_414_301_100_255, WilcoxonMethod::Normal);
    }

    #[test]
    fn nothing_to_rank() {
        check(&[0.0, 0.0, 0.0], 0.0, 1.0, WilcoxonMethod::NoDifference);
        assert_eq!(wilcoxon(&[]), None);
        assert_eq!(wilcoxon(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn rank_biserial_by_hand() {
        // Ranks 1..4; positive 2 + 3 + 4, negative 1.
        let got = wilcoxon(&[-0.1, 0.2, 0.3, 0.4]).unwrap();
        assert!((got.rank_biserial - 0.8).abs() < 1e-15);
        assert_eq!(wilcoxon(&[0.2, 0.3]).unwrap().rank_biserial, 1.0);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_sign_only_turns_the_effect(
            d in vec(-5i32..6, 1..30),
            turn in 0usize..30,
        ) {
            let d: Vec<f64> = d.into_iter().map(f64::from).collect();
            let got = wilcoxon(&d).unwrap();
            let mut turned = d.clone();
            turned.rotate_left(turn % d.len());
            prop_assert_eq!(wilcoxon(&turned).unwrap(), got);
            let negated: Vec<f64> = d.iter().map(|v| -v).collect();
            let mirrored = wilcoxon(&negated).unwrap();
            prop_assert!((mirrored.p - got.p).abs() < 1e-12);
            prop_assert!((mirrored.rank_biserial + got.rank_biserial).abs() < 1e-15);
            prop_assert!((0.0..=1.0).contains(&got.p));
        }
    }
}
