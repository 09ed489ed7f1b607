//! Group distributionally robust optimisation: the weights of groups rise with their losses.
//!
//! Formula, for the groups `g` of a batch with losses `l_g`: `q_g ← q_g exp(step · (l_g + C / √n_g))`, then
//! `q ← q / Σ q` over all groups; descended is `Σ_g q_g l_g` over the groups of the batch, with the new
//! weights as constants. `n_g` are the training images of a group, `C` the adjustment.
//! Reduction: each `l_g` is the segmentation loss of the images of its group. Range and sign: as that.
//! Empty targets and undrawn classes: as there. A group without images in the batch keeps its weight but
//! for the division.
//!
//! Source: Sagawa et al. 2020, arXiv:1911.08731, Algorithm 1 (online exponentiated gradient) and section
//! 3.3 (generalisation adjustment). Reference: kohpangwei/group_DRO, `loss.py`.
//!
//! # Deviations
//! - The reference adds the adjustment to absent groups as well; here, as in Algorithm 1, only what was
//!   seen moves.
//! - Algorithm 1 draws groups equally often; here that is the choice of the recipe (`balance_sources`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Group DRO, as a recipe states it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupDroConfig {
    /// Step of the weights, `η_q` of the paper.
    pub step: f64,
    /// `C` of the paper; 0 leaves the adjustment out.
    pub adjustment: f64,
}

impl Default for GroupDroConfig {
    fn default() -> Self {
        Self { step: 0.01, adjustment: 0.0 }
    }
}

/// What is known of the groups: their weights and how many training images they have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    /// By name; together 1.
    pub weights: BTreeMap<String, f64>,
    /// Training images, by name.
    pub counts: BTreeMap<String, usize>,
}

impl Groups {
    /// Groups of equal weight.
    #[must_use]
    pub fn equal(counts: BTreeMap<String, usize>) -> Self {
        let each = 1.0 / counts.len().max(1) as f64;
        let weights = counts.keys().map(|name| (name.clone(), each)).collect();
        Self { weights, counts }
    }

    /// The weights after a batch with these losses by group. Losses that are no numbers move nothing.
    #[must_use]
    pub fn moved(&self, losses: &BTreeMap<String, f64>, config: GroupDroConfig) -> Self {
        let raised = |name: &String, weight: f64| {
            let Some(loss) = losses.get(name).filter(|loss| loss.is_finite()) else {
                return weight.ln();
            };
            let images = self.counts.get(name).copied().unwrap_or(1).max(1);
            weight.ln() + config.step * (loss + config.adjustment / (images as f64).sqrt())
        };
        // In logarithms, so that a long run cannot overflow.
        let logs: BTreeMap<&String, f64> =
            self.weights.iter().map(|(name, &w)| (name, raised(name, w))).collect();
        let largest = logs.values().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.values().map(|l| (l - largest).exp()).sum();
        let weights =
            logs.into_iter().map(|(name, l)| (name.clone(), (l - largest).exp() / sum)).collect();
        Self { weights, counts: self.counts.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_name(values: &[(&str, f64)]) -> BTreeMap<String, f64> {
        values.iter().map(|(name, v)| ((*name).to_owned(), *v)).collect()
    }

    fn groups() -> Groups {
        Groups::equal([("a".to_owned(), 4), ("b".to_owned(), 16)].into())
    }

    fn close(got: &BTreeMap<String, f64>, want: [f64; 2]) {
        assert!(
            (got["a"] - want[0]).abs() < 1e-12 && (got["b"] - want[1]).abs() < 1e-12,
            "{got:?}"
        );
    }

    /// By hand with a step of ln 2: a loss of 1 doubles a weight, a loss of 2 quadruples it.
    #[test]
    fn two_steps_by_hand() {
        let config = GroupDroConfig { step: 2.0_f64.ln(), adjustment: 0.0 };
        close(&groups().weights, [0.5, 0.5]);
        // 0.5 · 2 and 0.5 · 4: 1 and 2 of 3.
        let one = groups().moved(&by_name(&[("a", 1.0), ("b", 2.0)]), config);
        close(&one.weights, [1.0 / 3.0, 2.0 / 3.0]);
        // b was not in the batch: 8/3 and 2/3 of 10/3.
        let two = one.moved(&by_name(&[("a", 3.0)]), config);
        close(&two.weights, [0.8, 0.2]);
        assert_eq!(two.counts, groups().counts);
    }

    /// `C / √4 = 1` and `C / √16 = 0.5` with C = 2.
    #[test]
    fn the_adjustment_lifts_the_smaller_group() {
        let config = GroupDroConfig { step: 2.0_f64.ln(), adjustment: 2.0 };
        let got = groups().moved(&by_name(&[("a", 1.0), ("b", 1.5)]), config);
        close(&got.weights, [0.5, 0.5]);
        let got = groups().moved(&by_name(&[("a", 1.0), ("b", 0.5)]), config);
        close(&got.weights, [2.0 / 3.0, 1.0 / 3.0]);
    }

    #[test]
    fn weights_stay_a_distribution_over_a_long_run_and_ignore_what_is_no_number() {
        let config = GroupDroConfig { step: 0.5, adjustment: 0.0 };
        let mut groups = groups();
        for _ in 0..5000 {
            groups = groups.moved(&by_name(&[("a", 3.0), ("b", 2.0)]), config);
        }
        close(&groups.weights, [1.0, 0.0]);
        assert!(groups.weights.values().all(|w| w.is_finite()));
        // What fell to nothing can come back as far as numbers reach; a lost loss changes nothing.
        let same = groups.moved(&by_name(&[("a", f64::NAN)]), config);
        assert_eq!(same, groups);
    }
}
