//! Resampling of seeds, groups and cases.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scant_core::SampleId;
use serde::{Deserialize, Serialize};

use super::MIN_SEEDS;
use crate::SummaryOptions;
use crate::stats::{self, Interval};

/// A value per seed and case.
pub type SeedValues = BTreeMap<u64, BTreeMap<SampleId, f64>>;

/// A number over seeds with what may be said about its uncertainty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean over seeds of the means over cases (or what was made of them).
    pub value: f64,
    /// Two-sided percentile interval; absent below [`MIN_SEEDS`] seeds.
    pub interval: Option<Interval>,
    /// One-sided bound: the value is above it with the confidence asked for.
    pub at_least: Option<f64>,
    /// One-sided bound: the value is below it with the confidence asked for.
    pub at_most: Option<f64>,
    /// The value of each seed.
    pub by_seed: BTreeMap<u64, f64>,
    /// Different groups over all seeds.
    pub groups: usize,
    /// Different cases over all seeds.
    pub cases: usize,
}

impl Estimate {
    /// Seeds it was made of.
    #[must_use]
    pub fn seeds(&self) -> usize {
        self.by_seed.len()
    }
}

/// Seeds, groups and cases of one or several columns of values ("arms") over the same runs.
///
/// Seeds that miss an arm take no part.
#[derive(Debug)]
pub(super) struct Design {
    seeds: Vec<u64>,
    /// Cases by group.
    groups: Vec<Vec<usize>>,
    cases: usize,
    /// Arm, seed, then `(case, value)`.
    arms: Vec<Vec<Vec<(usize, f64)>>>,
}

/// What a number is made of: per drawn seed the mean over cases of every arm.
pub(super) type Statistic<'a> = &'a dyn Fn(&[Vec<f64>]) -> Option<f64>;

impl Design {
    /// `None` when no seed has a value in every arm.
    pub(super) fn new(arms: &[&SeedValues]) -> Option<Self> {
        let filled = |arm: &SeedValues, seed: &u64| arm.get(seed).is_some_and(|v| !v.is_empty());
        let seeds: Vec<u64> = arms
            .first()?
            .keys()
            .filter(|seed| arms.iter().all(|arm| filled(arm, seed)))
            .copied()
            .collect();
        if seeds.is_empty() {
            return None;
        }
        let known: BTreeSet<&SampleId> =
            arms.iter().flat_map(|arm| seeds.iter().flat_map(|s| arm[s].keys())).collect();
        let number: BTreeMap<&SampleId, usize> =
            known.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let mut groups: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (id, &i) in &number {
            groups.entry((&id.source, &id.group)).or_default().push(i);
        }
        let column = |values: &BTreeMap<SampleId, f64>| {
            values.iter().map(|(id, &v)| (number[id], v)).collect::<Vec<_>>()
        };
        Some(Self {
            cases: number.len(),
            groups: groups.into_values().collect(),
            arms: arms.iter().map(|arm| seeds.iter().map(|s| column(&arm[s])).collect()).collect(),
            seeds,
        })
    }

    /// Means of every arm, seed by seed, each case once.
    fn plain(&self) -> Vec<Vec<f64>> {
        let once = vec![1.0; self.cases];
        (0..self.seeds.len()).filter_map(|s| self.means(s, &once)).collect()
    }

    /// Means of every arm in one seed under case weights; `None` when an arm has no weight.
    fn means(&self, seed: usize, weights: &[f64]) -> Option<Vec<f64>> {
        self.arms
            .iter()
            .map(|arm| {
                let (sum, weight) = arm[seed].iter().fold((0.0, 0.0), |(s, w), &(case, value)| {
                    (s + weights[case] * value, w + weights[case])
                });
                (weight > 0.0).then(|| sum / weight)
            })
            .collect()
    }

    /// The statistic on resampled seeds, groups and cases, ascending.
    ///
    /// Each round draws seeds with replacement; groups with replacement, **once for all seeds**, so
    /// that a patient who is tested under several seeds is drawn under all of them or none (the
    /// pigeonhole bootstrap of Owen 2007, Annals of Applied Statistics 1(2)); and within each drawn
    /// group its cases with replacement. A drawn seed none of whose groups were drawn is left out
    /// of that round.
    pub(super) fn resampled(&self, options: &SummaryOptions, statistic: Statistic<'_>) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut out = Vec::with_capacity(options.bootstrap);
        let mut weights = vec![0.0; self.cases];
        for _ in 0..options.bootstrap {
            let seeds: Vec<usize> =
                self.seeds.iter().map(|_| rng.random_range(0..self.seeds.len())).collect();
            weights.fill(0.0);
            for _ in 0..self.groups.len() {
                let group = &self.groups[rng.random_range(0..self.groups.len())];
                for _ in 0..group.len() {
                    weights[group[rng.random_range(0..group.len())]] += 1.0;
                }
            }
            let means: Vec<Vec<f64>> =
                seeds.into_iter().filter_map(|s| self.means(s, &weights)).collect();
            out.extend(statistic(&means).filter(|v| v.is_finite()));
        }
        out.sort_by(f64::total_cmp);
        out
    }

    /// The statistic with its interval; `None` where it is not defined on the data themselves.
    pub(super) fn estimate(
        &self,
        options: &SummaryOptions,
        statistic: Statistic<'_>,
    ) -> Option<Estimate> {
        let plain = self.plain();
        let value = statistic(&plain).filter(|v| v.is_finite())?;
        let each = self.seeds.iter().zip(&plain);
        let by_seed: BTreeMap<u64, f64> = each
            .filter_map(|(&seed, means)| Some((seed, statistic(std::slice::from_ref(means))?)))
            .collect();
        let drawn = if self.seeds.len() < MIN_SEEDS {
            Vec::new()
        } else {
            self.resampled(options, statistic)
        };
        // A statistic that half of the rounds do not have is not described by the other half.
        let usable = options.bootstrap > 0 && drawn.len() * 2 > options.bootstrap;
        let at = |share: f64| stats::percentile(&drawn, 100.0 * share);
        let tail = 1.0 - options.confidence;
        Some(Estimate {
            value,
            interval: usable.then(|| Interval { low: at(tail / 2.0), high: at(1.0 - tail / 2.0) }),
            at_least: usable.then(|| at(tail)),
            at_most: usable.then(|| at(1.0 - tail)),
            by_seed,
            groups: self.groups.len(),
            cases: self.cases,
        })
    }

    /// What each group contributes in each seed to `sum of factors x arm`, averaged over seeds.
    pub(super) fn cells(&self, factors: &[f64]) -> Vec<Cell> {
        let mut group_of = vec![0; self.cases];
        for (g, cases) in self.groups.iter().enumerate() {
            for &case in cases {
                group_of[case] = g;
            }
        }
        let mut cells: BTreeMap<(usize, usize), Vec<(f64, usize)>> = BTreeMap::new();
        for (k, arm) in self.arms.iter().enumerate() {
            for (seed, values) in arm.iter().enumerate() {
                for &(case, value) in values {
                    let cell = cells.entry((seed, group_of[case])).or_default();
                    cell.resize(self.arms.len(), (0.0, 0));
                    cell[k].0 += value;
                    cell[k].1 += 1;
                }
            }
        }
        let runs = (self.arms.len() * self.seeds.len()) as f64;
        let finish = |((seed, group), sums): ((usize, usize), Vec<(f64, usize)>)| {
            let mut cell = Cell { seed, group, contribution: 0.0, share: 0.0, mean: 0.0 };
            for (k, (sum, n)) in sums.into_iter().enumerate().filter(|(_, (_, n))| *n > 0) {
                let all = self.arms[k][seed].len() as f64;
                cell.contribution += factors[k] * sum / (all * self.seeds.len() as f64);
                cell.share += n as f64 / (all * runs);
                cell.mean += factors[k] * sum / n as f64;
            }
            cell
        };
        cells.into_iter().map(finish).collect()
    }
}

/// One group in one seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub(super) seed: usize,
    pub(super) group: usize,
    /// Its part of the estimate; the parts of all cells add up to it.
    pub(super) contribution: f64,
    /// Its weight; the weights of all cells add up to 1.
    pub(super) share: f64,
    /// Its own value.
    pub(super) mean: f64,
}

/// The mean over seeds of `sum of factors x arm`.
pub(super) fn linear(factors: &[f64]) -> impl Fn(&[Vec<f64>]) -> Option<f64> + '_ {
    move |seeds| {
        let each: Vec<f64> = seeds
            .iter()
            .map(|means| means.iter().zip(factors).map(|(mean, factor)| mean * factor).sum())
            .collect();
        stats::mean(&each)
    }
}
