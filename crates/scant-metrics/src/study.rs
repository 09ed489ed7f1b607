//! Statistics of a study: methods against each other over several seeds.
//!
//! A run of a study is one method at one point of the grid under one seed. The unit of every number is
//! the mean over the judged test cases of a run; runs of one seed and point share their split, so
//! methods are paired case by case. Three things vary and all three are resampled: the seed (split,
//! initial weights, order of batches), the groups that happen to be tested, and their cases. See
//! docs/metrics.md for the formulas.

mod area;
mod difference;
mod noise;
mod resample;
mod single_value;
mod two_way;
mod worst_off;

#[cfg(test)]
mod fixtures;

use std::collections::BTreeMap;

use scant_core::{Evaluation, PoolSummary, Role};
use serde::{Deserialize, Serialize};

pub use area::{AreaDifference, area, area_difference, trapezoid_weights};
pub use difference::{PairedDifference, Tests, correct, difference};
pub use noise::{Drop, DropRatio, drop_ratio};
pub use resample::{Estimate, SeedValues};
pub use single_value::{SingleValueTest, single_value_test};
pub use worst_off::{WorstOff, worst_off_difference};

use crate::{Metric, MetricError, Share, SummaryOptions, case_score};
use resample::{Design, linear};

/// Below this many seeds nothing is said about uncertainty: no interval, no test.
pub const MIN_SEEDS: usize = 3;

/// How the statistics of a study are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyOptions {
    /// Resampling; intervals are always percentiles.
    pub summary: SummaryOptions,
    /// Sign patterns tried at most.
    pub flips: usize,
    /// How many cases are the worst-off.
    pub worst_off: Share,
}

impl Default for StudyOptions {
    /// 2000 resamples at 95 %, 10 000 sign patterns, the lowest quarter.
    fn default() -> Self {
        Self { summary: SummaryOptions::default(), flips: 10_000, worst_off: Share::Fraction(0.25) }
    }
}

/// The runs of one method at one point, by seed: their evaluations, already cut to the cases that the
/// study is judged by ([`judged`]).
pub type Runs<'a> = BTreeMap<u64, &'a Evaluation>;

/// The cases of `evaluation` that a study is judged by.
///
/// `judge` is `all`, a role (`base`, `novel`), or the name of a source.
///
/// # Errors
/// When `judge` is neither a role nor a source of `pool`, or no case belongs to it.
pub fn judged(
    evaluation: &Evaluation,
    pool: &PoolSummary,
    judge: &str,
) -> Result<Evaluation, MetricError> {
    let of_role = |role: Role| -> Vec<&str> {
        pool.sources.iter().filter(|s| s.role == role).map(|s| s.name.as_str()).collect()
    };
    let sources = match judge {
        "all" => pool.sources.iter().map(|s| s.name.as_str()).collect(),
        "base" => of_role(Role::Base),
        "novel" => of_role(Role::Novel),
        name if pool.sources.iter().any(|s| s.name == name) => vec![name],
        _ => {
            let sources = pool.sources.iter().map(|s| s.name.as_str());
            let known: Vec<&str> = ["all", "base", "novel"].into_iter().chain(sources).collect();
            return Err(MetricError::UnknownJudge { judge: judge.into(), known: known.join(", ") });
        }
    };
    let cases: Vec<_> = evaluation
        .cases
        .iter()
        .filter(|case| sources.contains(&case.id.source.as_str()))
        .cloned()
        .collect();
    if cases.is_empty() {
        let part = evaluation.part.clone();
        return Err(MetricError::NothingJudged { part, judge: judge.into() });
    }
    Ok(Evaluation { part: evaluation.part.clone(), protocol: evaluation.protocol.clone(), cases })
}

/// Mean over cases of a metric, and how many cases have it; `None` when none has.
///
/// A case counts with the mean over its classes ([`case_score`]): a failed case with 0 on shares, one the
/// empty-mask policy leaves undefined not at all. Infinite distances are left out.
#[must_use]
pub fn run_score(evaluation: &Evaluation, metric: Metric) -> Option<(f64, usize)> {
    let values: Vec<f64> = scores(evaluation, metric).into_values().collect();
    crate::stats::mean(&values).map(|mean| (mean, values.len()))
}

fn scores(evaluation: &Evaluation, metric: Metric) -> BTreeMap<scant_core::SampleId, f64> {
    let score = |case| case_score(case, metric).filter(|v| v.is_finite());
    evaluation.cases.iter().filter_map(|c| Some((c.id.clone(), score(c)?))).collect()
}

/// Mean of the run scores of a method at a point, with an interval over seeds, groups and cases.
///
/// `None` when no run has a value.
#[must_use]
pub fn mean_score(runs: &Runs<'_>, metric: Metric, options: &StudyOptions) -> Option<Estimate> {
    let values = values(runs, metric);
    Design::new(&[&values])?.estimate(&options.summary, &linear(&[1.0]))
}

fn values(runs: &Runs<'_>, metric: Metric) -> SeedValues {
    runs.iter().map(|(&seed, evaluation)| (seed, scores(evaluation, metric))).collect()
}

#[cfg(test)]
mod tests;
