//! Intervals by resampling.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::percentile;

/// How the ends of a bootstrap interval are read off the resampled means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntervalMethod {
    /// Their percentiles (Efron 1979).
    #[default]
    Percentile,
    /// Their percentiles, corrected for bias and skewness (Efron 1987), with leave-one-cluster-out
    /// acceleration; `scipy.stats.bootstrap(method="BCa")`.
    Bca,
}

/// An interval of plausible values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The values of one group (patient, slide), as much as a mean needs of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cluster {
    /// Sum of the values.
    pub sum: f64,
    /// How many there are.
    pub n: usize,
}

impl Cluster {
    /// Adds one value.
    pub fn push(&mut self, value: f64) {
        self.sum += value;
        self.n += 1;
    }
}

/// Bootstrap interval of the mean of all values, resampling whole clusters.
///
/// Images of one patient resemble each other; resampling images would pretend they do not and make
/// the interval too narrow. Each of `resamples` rounds draws as many clusters as there are, with
/// replacement, and takes the mean over all values in them (Davison and Hinkley 1997, section 3.8,
/// strategy 1). Clusters without values are left out.
///
/// `None` when the interval says nothing: fewer than two clusters, no resamples, a value that is
/// not finite, or a `confidence` outside (0, 1). Below about ten clusters it is known to be too
/// narrow. The same seed gives the same interval.
#[must_use]
pub fn cluster_mean_interval(
    clusters: &[Cluster],
    resamples: usize,
    seed: u64,
    confidence: f64,
    method: IntervalMethod,
) -> Option<Interval> {
    let clusters: Vec<Cluster> = clusters.iter().copied().filter(|c| c.n > 0).collect();
    let usable = clusters.len() >= 2
        && resamples > 0
        && confidence > 0.0
        && confidence < 1.0
        && clusters.iter().all(|c| c.sum.is_finite());
    if !usable {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| {
            let mut drawn = Cluster::default();
            for _ in 0..clusters.len() {
                let one = clusters[rng.random_range(0..clusters.len())];
                drawn.sum += one.sum;
                drawn.n += one.n;
            }
            drawn.sum / drawn.n as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    let (low, high) = match method {
        IntervalMethod::Percentile => (tail, 1.0 - tail),
        IntervalMethod::Bca => corrected_tails(&clusters, &means, tail)?,
    };
    Some(Interval { low: percentile(&means, 100.0 * low), high: percentile(&means, 100.0 * high) })
}

/// Where BCa reads the sorted `means` instead of at `tail` and `1 - tail` (Efron 1987, eq. 2.3).
///
/// `None` when every resampled mean lies on one side of the observed one.
fn corrected_tails(clusters: &[Cluster], means: &[f64], tail: f64) -> Option<(f64, f64)> {
    let total = clusters
        .iter()
        .fold(Cluster::default(), |t, c| Cluster { sum: t.sum + c.sum, n: t.n + c.n });
    let observed = total.sum / total.n as f64;
    let below = means.partition_point(|&m| m < observed);
    let not_above = means.partition_point(|&m| m <= observed);
    let share = (below + not_above) as f64 / (2 * means.len()) as f64;

    let left_out: Vec<f64> =
        clusters.iter().map(|c| (total.sum - c.sum) / (total.n - c.n) as f64).collect();
    let centre = left_out.iter().sum::<f64>() / left_out.len() as f64;
    let moment = |power: i32| left_out.iter().map(|m| (centre - m).powi(power)).sum::<f64>();
    let spread = moment(2);
    let acceleration = if spread > 0.0 { moment(3) / (6.0 * spread.powf(1.5)) } else { 0.0 };

    let normal = Normal::new(0.0, 1.0).ok()?;
    let bias = normal.inverse_cdf(share);
    let shifted = |level: f64| {
        let z = bias + normal.inverse_cdf(level);
        normal.cdf(bias + z / (1.0 - acceleration * z))
    };
    let tails = (shifted(tail), shifted(1.0 - tail));
    (bias.is_finite() && tails.0.is_finite() && tails.1.is_finite()).then_some(tails)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERCENTILE: IntervalMethod = IntervalMethod::Percentile;

    fn singles(values: &[f64]) -> Vec<Cluster> {
        values.iter().map(|&sum| Cluster { sum, n: 1 }).collect()
    }

    #[test]
    fn near_scipy_up_to_the_noise_of_resampling() {
        let values: Vec<f64> = (0..40).map(|i| f64::from((i * 37) % 41) / 10.0).collect();
        let got = cluster_mean_interval(&singles(&values), 20_000, 1, 0.95, PERCENTILE).unwrap();
        // scipy.stats.bootstrap((x,), np.mean, n_resamples=200000, method="percentile",
        //     rng=np.random.default_rng(0)).confidence_interval
        // with x = [((i * 37) % 41) / 10 for i in range(40)]
        let (low, high) = SCIPY_40;
        assert!((got.low - low).abs() < 0.02, "{got:?}");
        assert!((got.high - high).abs() < 0.02, "{got:?}");
    }

    const SCIPY_40: (f64, f64) = (1.6775, 2.4025);

    #[test]
    fn bca_near_scipy_where_percentiles_are_not() {
        let values: Vec<f64> = (0..25).map(|i| f64::from((i * 37) % 41).powi(3) / 1000.0).collect();
        let with =
            |method| cluster_mean_interval(&singles(&values), 40_000, 1, 0.95, method).unwrap();
        let (bca, plain) = (with(IntervalMethod::Bca), with(PERCENTILE));
        // scipy.stats.bootstrap((x,), np.mean, n_resamples=400000, method="BCa",
        //     rng=np.random.default_rng(0)).confidence_interval
        // with x = [((i * 37) % 41) ** 3 / 1000 for i in range(25)]
        let (low, high) = (11.592_75, 26.494_04);
        assert!((bca.low - low).abs() < 0.2 && (bca.high - high).abs() < 0.2, "{bca:?}");
        // The same with method="percentile".
        let (low, high) = (11.098_36, 25.841_36);
        assert!((plain.low - low).abs() < 0.2 && (plain.high - high).abs() < 0.2, "{plain:?}");
    }

    #[test]
    fn bca_tails_pinned_to_scipy() {
        // scipy.stats._resampling._bca_interval(([1, 2, 3, 10],), np.mean, axis=-1, alpha=0.05,
        //     theta_hat_b=[i / 10 for i in range(100)], batch=None, xp=np)[:2]
        let means: Vec<f64> = (0..100).map(|i| f64::from(i) / 10.0).collect();
        let got = corrected_tails(&singles(&[1.0, 2.0, 3.0, 10.0]), &means, 0.05).unwrap();
        assert!(
            (got.0 - 0.031_041_160_375).abs() < 1e-9 && (got.1 - 0.912_133_392_127).abs() < 1e-9,
            "{got:?}"
        );
        // Every resampled mean above the observed one: nothing to correct by.
        let above: Vec<f64> = means.iter().map(|m| m + 5.0).collect();
        assert_eq!(corrected_tails(&singles(&[1.0, 2.0, 3.0, 10.0]), &above, 0.05), None);
    }

    #[test]
    fn bca_of_equal_values_is_a_point() {
        let got = cluster_mean_interval(&singles(&[0.5; 4]), 50, 0, 0.9, IntervalMethod::Bca);
        assert_eq!(got, Some(Interval { low: 0.5, high: 0.5 }));
    }

    #[test]
    fn repeated_images_of_a_patient_add_nothing() {
        let patients = [0.9, 0.5, 0.7, 0.2, 0.8, 0.6];
        let once = cluster_mean_interval(&singles(&patients), 500, 3, 0.9, PERCENTILE).unwrap();
        let tenfold: Vec<Cluster> =
            patients.iter().map(|v| Cluster { sum: 10.0 * v, n: 10 }).collect();
        let ten = cluster_mean_interval(&tenfold, 500, 3, 0.9, PERCENTILE).unwrap();
        assert!((once.low - ten.low).abs() < 1e-12 && (once.high - ten.high).abs() < 1e-12);
    }

    #[test]
    fn deterministic_and_seeded() {
        let clusters = singles(&[0.1, 0.4, 0.35, 0.8, 0.77, 0.2]);
        let with = |seed| cluster_mean_interval(&clusters, 300, seed, 0.95, PERCENTILE);
        assert_eq!(with(5), with(5));
        assert_ne!(with(5), with(6));
    }

    #[test]
    fn refuses_what_says_nothing() {
        let two = singles(&[0.1, 0.4]);
        assert!(cluster_mean_interval(&two, 10, 0, 0.95, PERCENTILE).is_some());
        assert_eq!(cluster_mean_interval(&two[..1], 10, 0, 0.95, PERCENTILE), None);
        assert_eq!(cluster_mean_interval(&two, 0, 0, 0.95, PERCENTILE), None);
        assert_eq!(cluster_mean_interval(&two, 10, 0, 1.0, PERCENTILE), None);
        assert_eq!(
            cluster_mean_interval(&singles(&[0.1, f64::INFINITY]), 10, 0, 0.95, PERCENTILE),
            None
        );
        let with_empty = [two[0], Cluster::default()];
        assert_eq!(cluster_mean_interval(&with_empty, 10, 0, 0.95, PERCENTILE), None);
    }
}
