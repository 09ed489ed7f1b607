//! The t-test behind a difference between methods: over seeds and over groups at once.

use std::collections::BTreeMap;

use super::resample::Cell;
use crate::stats::{self, TTest};

/// t-test against 0 with variance clustered both by seed and by group (Cameron, Gelbach and Miller
/// 2011, Journal of Business & Economic Statistics 29(2), eq. 2.11), two-sided.
///
/// With `e` the contribution of a group in a seed less its share of the estimate,
///
/// ```text
/// V = V_seed + V_group - V_cell,   V_c = n_c / (n_c - 1) * sum over clusters c of (sum of e in c)^2
/// ```
///
/// and `min(seeds, groups) - 1` degrees of freedom. Where every seed tests its own groups, this is the
/// paired t-test of the means of the seeds. Where all seeds test the same groups, that test would
/// forget that other patients could have been tested. Deviation: V is never taken below `V_seed` or
/// `V_group`, which the difference of the three can be by chance.
pub(super) fn two_way_t(cells: &[Cell]) -> Option<TTest> {
    let estimate: f64 = cells.iter().map(|c| c.contribution).sum();
    let rest = |c: &Cell| c.contribution - c.share * estimate;
    let clustered = |by: &dyn Fn(&Cell) -> (usize, usize)| {
        let mut sums: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        for cell in cells {
            *sums.entry(by(cell)).or_default() += rest(cell);
        }
        let n = sums.len() as f64;
        let squares: f64 = sums.values().map(|v| v * v).sum();
        (sums.len(), if n > 1.0 { n / (n - 1.0) * squares } else { 0.0 })
    };
    let (seeds, by_seed) = clustered(&|c| (c.seed, 0));
    let (groups, by_group) = clustered(&|c| (0, c.group));
    let (_, by_cell) = clustered(&|c| (c.seed, c.group));
    let variance = (by_seed + by_group - by_cell).max(by_seed).max(by_group);
    stats::t_of(estimate, variance.sqrt(), seeds.min(groups).checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(seed: usize, group: usize, contribution: f64, share: f64) -> Cell {
        Cell { seed, group, contribution, share, mean: 0.0 }
    }

    #[test]
    fn own_groups_give_the_paired_t_of_the_seeds() {
        // Seeds with the means 0.1, 0.3 and 0.2, each of two groups of its own.
        let means = [0.1, 0.3, 0.2];
        let cells: Vec<Cell> = (0..6)
            .map(|i| {
                let (seed, sign) = (i / 2, if i % 2 == 0 { 1.0 } else { -1.0 });
                cell(seed, i, (means[seed] + sign * 0.05) / 6.0, 1.0 / 6.0)
            })
            .collect();
        let (got, want) = (two_way_t(&cells).unwrap(), stats::paired_t(&means).unwrap());
        assert!((got.t - want.t).abs() < 1e-9 && (got.p - want.p).abs() < 1e-9, "{got:?} {want:?}");
        assert_eq!(got.df, 2.0);
    }

    #[test]
    fn shared_groups_count_as_groups_by_hand() {
        // Two groups whose difference is 0.1 and 0.3 in all three seeds: nothing varies over seeds,
        // so the groups alone must speak: the paired t of (0.1, 0.3), t = 0.2 / 0.1, df 1.
        let cells: Vec<Cell> =
            (0..6).map(|i| cell(i / 2, i % 2, [0.1, 0.3][i % 2] / 6.0, 1.0 / 6.0)).collect();
        let got = two_way_t(&cells).unwrap();
        // V_seed = 0, V_group = 2 * (0.05^2 + 0.05^2) = 0.01, V_cell = 6/5 * 6 * (0.1/6)^2 = 0.002.
        assert!((got.t - 2.0).abs() < 1e-9, "{got:?}");
        assert_eq!(got.df, 1.0);
    }

    #[test]
    fn nothing_varies() {
        let cells = [cell(0, 0, 0.1, 0.5), cell(1, 1, 0.1, 0.5)];
        assert_eq!(two_way_t(&cells), None);
        assert_eq!(two_way_t(&[]), None);
    }
}
