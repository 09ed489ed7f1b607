//! A method against the reference, case by case and seed by seed.

use std::collections::BTreeMap;

use scant_core::SampleId;
use serde::{Deserialize, Serialize};

use super::resample::{Cell, Design, Estimate, SeedValues, linear};
use super::two_way::two_way_t;
use super::{MIN_SEEDS, Runs, StudyOptions};
use crate::compare::pairing::Pairs;
use crate::stats::{self, SignFlip, TTest, Wilcoxon};
use crate::{Metric, MetricError};

/// The paired difference of a method, method minus reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// The metric.
    pub metric: Metric,
    /// Whether a positive difference means that the method is better.
    pub higher_is_better: bool,
    /// Mean of the reference over the paired cases, averaged over seeds.
    pub mean_reference: f64,
    /// Mean of the method over the same cases.
    pub mean_method: f64,
    /// The difference.
    pub difference: Estimate,
    /// What tests say about it; absent below [`MIN_SEEDS`] seeds.
    pub tests: Option<Tests>,
    /// Cases that only one of the two runs of a seed has, summed over seeds: in no number here.
    pub unpaired: usize,
    /// Cases in which the metric is undefined or infinite in one of the two or both, summed over
    /// seeds: in no number here.
    pub undefined: usize,
}

/// Tests of a difference against 0, all two-sided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tests {
    /// Signs of the contributions of every group in every seed flipped. It takes the trained networks
    /// as given: it says whether *they* differ.
    pub flips: Option<SignFlip>,
    /// t-test with the variance over seeds and over groups at once: it says whether other seeds
    /// and other patients would agree. Absent where nothing varies.
    pub two_way: Option<TTest>,
    /// Signed-rank test of the mean differences of every group in every seed, which like `flips` takes
    /// the networks as given; for reference.
    pub wilcoxon: Option<Wilcoxon>,
    /// The larger p of `flips` and `two_way`: a difference must pass both (an intersection-union test,
    /// Berger 1982). Where one of them is absent, the other.
    pub p: Option<f64>,
    /// `p` after Holm's correction over a table ([`correct`]).
    pub p_holm: Option<f64>,
}

impl PairedDifference {
    /// How much better the method is: the difference with the sign that makes more better.
    #[must_use]
    pub fn gain(&self) -> f64 {
        if self.higher_is_better { self.difference.value } else { -self.difference.value }
    }

    /// Whether the interval leaves out 0 and the corrected p is below `level`.
    #[must_use]
    pub fn shown(&self, level: f64) -> bool {
        let away = self.difference.interval.is_some_and(|i| i.low > 0.0 || i.high < 0.0);
        away && self.tests.and_then(|t| t.p_holm).is_some_and(|p| p < level)
    }
}

/// Differences of `method` minus `reference` over the seeds that both have.
///
/// `Ok(None)` when they share no seed or no case has a value in both.
///
/// # Errors
/// When two runs of a seed were judged under different policies, share no case, or hold one twice.
pub fn difference(
    reference: &Runs<'_>,
    method: &Runs<'_>,
    metric: Metric,
    options: &StudyOptions,
) -> Result<Option<PairedDifference>, MetricError> {
    Ok(paired(reference, method, metric)?.finish(metric, options))
}

/// Values of both on the cases that both have.
#[derive(Debug, Default)]
pub(super) struct Paired {
    pub(super) reference: SeedValues,
    pub(super) method: SeedValues,
    pub(super) difference: SeedValues,
    pub(super) unpaired: usize,
    pub(super) undefined: usize,
}

pub(super) fn paired(
    reference: &Runs<'_>,
    method: &Runs<'_>,
    metric: Metric,
) -> Result<Paired, MetricError> {
    let mut out = Paired::default();
    for (&seed, a) in reference {
        let Some(b) = method.get(&seed) else { continue };
        let pairs = Pairs::of(a, b)?;
        out.unpaired += pairs.only_a.len() + pairs.only_b.len();
        for case in &pairs.cases {
            let Some((x, y)) = case.values(metric).means() else {
                out.undefined += 1;
                continue;
            };
            let put = |values: &mut SeedValues, v: f64| {
                values.entry(seed).or_default().insert(case.id().clone(), v);
            };
            put(&mut out.reference, x);
            put(&mut out.method, y);
            put(&mut out.difference, y - x);
        }
    }
    Ok(out)
}

impl Paired {
    /// Only these cases of each seed.
    pub(super) fn only(&self, chosen: &BTreeMap<u64, Vec<SampleId>>) -> Self {
        let keep = |values: &SeedValues| -> SeedValues {
            let of = |seed: &u64, cases: &BTreeMap<SampleId, f64>| {
                let chosen = chosen.get(seed)?;
                let kept: BTreeMap<_, _> = chosen
                    .iter()
                    .filter_map(|id| cases.get_key_value(id))
                    .map(|(id, v)| (id.clone(), *v))
                    .collect();
                (!kept.is_empty()).then_some((*seed, kept))
            };
            values.iter().filter_map(|(seed, cases)| of(seed, cases)).collect()
        };
        Self {
            reference: keep(&self.reference),
            method: keep(&self.method),
            difference: keep(&self.difference),
            ..Self::default()
        }
    }

    pub(super) fn finish(
        &self,
        metric: Metric,
        options: &StudyOptions,
    ) -> Option<PairedDifference> {
        let design = Design::new(&[&self.difference])?;
        let difference = design.estimate(&options.summary, &linear(&[1.0]))?;
        Some(PairedDifference {
            metric,
            higher_is_better: metric.higher_is_better(),
            mean_reference: mean_of_means(&self.reference)?,
            mean_method: mean_of_means(&self.method)?,
            tests: Tests::of(&design, &[1.0], &difference, options),
            difference,
            unpaired: self.unpaired,
            undefined: self.undefined,
        })
    }
}

fn mean_of_means(values: &SeedValues) -> Option<f64> {
    let of = |cases: &BTreeMap<SampleId, f64>| {
        stats::mean(&cases.values().copied().collect::<Vec<f64>>())
    };
    stats::mean(&values.values().filter_map(of).collect::<Vec<f64>>())
}

impl Tests {
    pub(super) fn of(
        design: &Design,
        factors: &[f64],
        difference: &Estimate,
        options: &StudyOptions,
    ) -> Option<Self> {
        if difference.seeds() < MIN_SEEDS {
            return None;
        }
        let cells = design.cells(factors);
        let column = |f: fn(&Cell) -> f64| cells.iter().map(f).collect::<Vec<f64>>();
        let flips =
            stats::sign_flip(&column(|c| c.contribution), options.flips, options.summary.seed);
        let two_way = two_way_t(&cells);
        let p = match (flips, two_way) {
            (Some(flips), Some(two_way)) => Some(flips.p.max(two_way.p)),
            (flips, two_way) => flips.map(|f| f.p).or(two_way.map(|t| t.p)),
        };
        let wilcoxon = stats::wilcoxon(&column(|c| c.mean));
        Some(Self { flips, two_way, wilcoxon, p, p_holm: None })
    }
}

/// Holm's correction over all comparisons of one table that have a test.
pub fn correct<'a>(table: impl IntoIterator<Item = &'a mut Tests>) {
    let tests: Vec<&mut Tests> = table.into_iter().filter(|t| t.p.is_some()).collect();
    let raw: Vec<f64> = tests.iter().filter_map(|t| t.p).collect();
    for (test, p) in tests.into_iter().zip(stats::holm(&raw)) {
        test.p_holm = Some(p);
    }
}
