//! The cases the reference does worst on.

use std::collections::BTreeMap;

use scant_core::SampleId;
use serde::{Deserialize, Serialize};

use super::difference::{Paired, PairedDifference, paired};
use super::{Runs, StudyOptions};
use crate::{Metric, MetricError, stats};

/// Differences on the worst-off cases, chosen in two ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstOff {
    /// Chosen by the reference run of the same seed, as published.
    ///
    /// Part of any gain here is regression to the mean: a case is among the lowest partly because this
    /// very run had bad luck with it, and another run need not have.
    pub by_same_run: Option<PairedDifference>,
    /// Highest score of the reference among the cases chosen so, averaged over seeds: the threshold
    /// that published tables print.
    pub threshold: Option<f64>,
    /// Chosen by the reference runs of the *other* seeds, among the cases that some other seed has in
    /// its test part too: the run that chooses is not the one that is judged.
    pub by_other_seeds: Option<PairedDifference>,
}

/// Compares `method` with `reference` on the cases with the lowest score of the reference, the share
/// that `options` names, chosen seed by seed.
///
/// Cases are ranked and compared by `metric` on the cases that both runs of a seed have.
///
/// # Errors
/// As in [`super::difference()`], and when the share selects no case.
pub fn worst_off_difference(
    reference: &Runs<'_>,
    method: &Runs<'_>,
    metric: Metric,
    options: &StudyOptions,
) -> Result<WorstOff, MetricError> {
    let pairs = paired(reference, method, metric)?;
    let lowest = |scores: &BTreeMap<u64, BTreeMap<SampleId, f64>>| {
        scores
            .iter()
            .map(|(&seed, cases)| Ok((seed, worst(cases, metric, options)?)))
            .collect::<Result<BTreeMap<u64, Vec<SampleId>>, MetricError>>()
    };
    let same = lowest(&pairs.reference)?;
    let thresholds: Vec<f64> = same
        .iter()
        .filter_map(|(seed, ids)| pairs.reference[seed].get(ids.last()?).copied())
        .collect();
    let others = lowest(&elsewhere(reference, &pairs, metric))?;
    let finish = |chosen| pairs.only(chosen).finish(metric, options);
    Ok(WorstOff {
        by_same_run: finish(&same),
        threshold: stats::mean(&thresholds),
        by_other_seeds: finish(&others),
    })
}

/// The share of the cases with the worst score, worst first; ties by id.
fn worst(
    cases: &BTreeMap<SampleId, f64>,
    metric: Metric,
    options: &StudyOptions,
) -> Result<Vec<SampleId>, MetricError> {
    let mut ranked: Vec<(&SampleId, f64)> = cases.iter().map(|(id, v)| (id, *v)).collect();
    let sign = if metric.higher_is_better() { 1.0 } else { -1.0 };
    ranked.sort_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)).then_with(|| a.0.cmp(b.0)));
    let keep = options.worst_off.of(ranked.len())?;
    Ok(ranked.into_iter().take(keep).map(|(id, _)| id.clone()).collect())
}

/// Per seed and case, the mean score of the reference under all other seeds that tested the case.
fn elsewhere(
    reference: &Runs<'_>,
    pairs: &Paired,
    metric: Metric,
) -> BTreeMap<u64, BTreeMap<SampleId, f64>> {
    let scores = super::values(reference, metric);
    let mut out: BTreeMap<u64, BTreeMap<SampleId, f64>> = BTreeMap::new();
    for (&seed, cases) in &pairs.reference {
        for id in cases.keys() {
            let others: Vec<f64> = scores
                .iter()
                .filter(|(other, _)| **other != seed)
                .filter_map(|(_, cases)| cases.get(id).copied())
                .collect();
            if let Some(mean) = stats::mean(&others) {
                out.entry(seed).or_default().insert(id.clone(), mean);
            }
        }
    }
    out
}
