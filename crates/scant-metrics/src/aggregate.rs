//! Many cases in one table.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use scant_core::{CaseRecord, EmptySituation, Evaluation};
use serde::{Deserialize, Serialize};

use crate::{
    Metric, MetricError,
    score::{Observation, Reader, distance_unit},
    stats::{self, Cluster, Interval, IntervalMethod, cluster_mean_interval},
};

/// Below this many groups a percentile bootstrap interval is known to be too narrow.
pub(crate) const FEW_GROUPS: usize = 10;

/// How a summary is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummaryOptions {
    /// Bootstrap resamples; 0 for no intervals.
    pub bootstrap: usize,
    /// Seed of the resampling.
    pub seed: u64,
    /// Confidence of the intervals, in (0, 1).
    pub confidence: f64,
    /// Percentile, or corrected for bias and skewness.
    #[serde(default)]
    pub interval: IntervalMethod,
}

impl Default for SummaryOptions {
    /// 2000 resamples, seed 0, 95 %, percentiles.
    fn default() -> Self {
        Self { bootstrap: 2000, seed: 0, confidence: 0.95, interval: IntervalMethod::Percentile }
    }
}

impl SummaryOptions {
    pub(crate) fn check(&self) -> Result<(), MetricError> {
        let sound = self.confidence > 0.0 && self.confidence < 1.0;
        if sound { Ok(()) } else { Err(MetricError::Confidence(self.confidence)) }
    }
}

/// An evaluation in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Part of the split.
    pub part: String,
    /// Name of the empty-mask policy.
    pub policy: String,
    /// What that policy does: to be printed with every table.
    pub policy_text: String,
    /// Tolerance of NSD, in the unit of the case.
    pub nsd_tolerance: f64,
    /// How the intervals were made.
    pub options: SummaryOptions,
    /// Metrics of the rows, in the order of columns.
    pub metrics: Vec<Metric>,
    /// Overall, then per class, per source, and per source and class.
    pub rows: Vec<SummaryRow>,
    /// What the reader must know, in plain words.
    pub notes: Vec<String>,
}

impl Summary {
    /// The row of a source and class; `None` stands for all of them.
    #[must_use]
    pub fn row(&self, source: Option<&str>, class: Option<&str>) -> Option<&SummaryRow> {
        self.rows.iter().find(|r| r.source.as_deref() == source && r.class.as_deref() == class)
    }
}

/// One row of a summary. Its observations are pairs of a case and a class drawn on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// The source, or all.
    pub source: Option<String>,
    /// The class, or all.
    pub class: Option<String>,
    /// Cases.
    pub cases: usize,
    /// Groups (patients, slides) these cases belong to.
    pub groups: usize,
    /// What happened in the observations.
    pub situations: Situations,
    /// `mm`, `px`, or `mixed` when the distances cannot be averaged sensibly.
    pub distance_unit: String,
    /// Numbers per metric.
    pub metrics: BTreeMap<Metric, MetricSummary>,
}

/// Observations by situation; they add up to all observations of the row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situations {
    /// Truth and prediction have pixels.
    pub both_present: usize,
    /// Neither has.
    pub both_empty: usize,
    /// Only the prediction has.
    pub false_alarm: usize,
    /// Only the truth has.
    pub missed: usize,
    /// The case could not be predicted.
    pub failed: usize,
}

impl Situations {
    fn of(observations: &[Observation<'_>]) -> Self {
        let mut counts = Self::default();
        for observation in observations {
            *match observation.situation() {
                Some(EmptySituation::BothPresent) => &mut counts.both_present,
                Some(EmptySituation::BothEmpty) => &mut counts.both_empty,
                Some(EmptySituation::FalseAlarm) => &mut counts.false_alarm,
                Some(EmptySituation::Missed) => &mut counts.missed,
                None => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// All observations.
    #[must_use]
    pub fn total(&self) -> usize {
        self.both_present + self.both_empty + self.false_alarm + self.missed + self.failed
    }
}

/// One metric over the observations of a row.
///
/// A mean can be infinite under the MONAI policies; JSON then holds null, and `n_infinite` tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// Observations with a value, infinite ones included.
    pub n: usize,
    /// Observations the policy leaves undefined, or failed ones without a distance.
    pub n_undefined: usize,
    /// Infinite values among `n`.
    pub n_infinite: usize,
    /// Groups with at least one value.
    pub groups: usize,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Standard deviation with `n - 1`.
    pub sd: Option<f64>,
    /// Median.
    pub median: Option<f64>,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Bootstrap interval of the mean, resampling groups; absent for fewer than two groups.
    pub interval: Option<Interval>,
}

impl MetricSummary {
    fn of(observations: &[Observation<'_>], metric: Metric, options: &SummaryOptions) -> Self {
        let mut values = Vec::with_capacity(observations.len());
        let mut clusters: BTreeMap<(&str, &str), Cluster> = BTreeMap::new();
        for observation in observations {
            if let Some(value) = observation.value(metric) {
                values.push(value);
                clusters.entry(observation.cluster()).or_default().push(value);
            }
        }
        let clusters: Vec<Cluster> = clusters.into_values().collect();
        Self {
            n: values.len(),
            n_undefined: observations.len() - values.len(),
            n_infinite: values.iter().filter(|v| v.is_infinite()).count(),
            groups: clusters.len(),
            mean: stats::mean(&values),
            sd: stats::standard_deviation(&values),
            median: stats::median(&values),
            min: values.iter().copied().reduce(f64::min),
            max: values.iter().copied().reduce(f64::max),
            interval: cluster_mean_interval(
                &clusters,
                options.bootstrap,
                options.seed,
                options.confidence,
                options.interval,
            ),
        }
    }
}

/// Summarises an evaluation.
///
/// The unit of every mean is one class on one case. A failed case counts as 0 on every share
/// (Dice, IoU, precision, recall, NSD) for each class that was drawn in its source: it is never
/// dropped. Intervals resample groups, the same resamples for every metric and row of equal size.
///
/// # Errors
/// When there are no cases, a case or class stands twice, the policy of the protocol is unknown, or
/// the confidence is not in (0, 1).
pub fn summarise(
    evaluation: &Evaluation,
    options: &SummaryOptions,
) -> Result<Summary, MetricError> {
    options.check()?;
    if evaluation.cases.is_empty() {
        return Err(MetricError::NoCases(evaluation.part.clone()));
    }
    let reader = Reader::new(evaluation, None)?;
    let observations: Vec<Observation<'_>> =
        evaluation.cases.iter().flat_map(|case| reader.observations(case)).collect();
    let metrics = Reader::metrics(&evaluation.cases);
    let sources: BTreeSet<&str> = evaluation.cases.iter().map(|c| c.id.source.as_str()).collect();

    let mut scopes: Vec<(Option<&str>, Option<&str>)> = vec![(None, None)];
    scopes.extend(reader.classes.iter().map(|&class| (None, Some(class))));
    scopes.extend(sources.iter().map(|&source| (Some(source), None)));
    for &source in &sources {
        scopes.extend(reader.classes.iter().map(|&class| (Some(source), Some(class))));
    }
    let rows: Vec<SummaryRow> = scopes
        .into_par_iter()
        .filter_map(|(source, class)| {
            let within: Vec<Observation<'_>> = observations
                .iter()
                .filter(|o| source.is_none_or(|s| o.case.id.source == s))
                .filter(|o| class.is_none_or(|c| o.class == c))
                .copied()
                .collect();
            // A class nobody drew in a source has no row there; the overall row always stands.
            (!within.is_empty() || (source.is_none() && class.is_none()))
                .then(|| row(source, class, &within, &metrics, options))
        })
        .collect();
    let notes = notes(evaluation, reader.policy.describe(), &observations, &rows);
    Ok(Summary {
        part: evaluation.part.clone(),
        policy: reader.policy.name().to_string(),
        policy_text: reader.policy.describe().to_string(),
        nsd_tolerance: evaluation.protocol.nsd_tolerance,
        options: *options,
        metrics,
        rows,
        notes,
    })
}

fn row(
    source: Option<&str>,
    class: Option<&str>,
    observations: &[Observation<'_>],
    metrics: &[Metric],
    options: &SummaryOptions,
) -> SummaryRow {
    let cases: BTreeSet<_> = observations.iter().map(|o| &o.case.id).collect();
    let groups: BTreeSet<_> = observations.iter().map(Observation::cluster).collect();
    SummaryRow {
        source: source.map(str::to_string),
        class: class.map(str::to_string),
        cases: cases.len(),
        groups: groups.len(),
        situations: Situations::of(observations),
        distance_unit: distance_unit(observations.iter().map(|o| o.case)),
        metrics: metrics
            .iter()
            .map(|&m| (m, MetricSummary::of(observations, m, options)))
            .collect(),
    }
}

fn notes(
    evaluation: &Evaluation,
    policy: &str,
    observations: &[Observation<'_>],
    rows: &[SummaryRow],
) -> Vec<String> {
    let mut notes = vec![policy.to_string()];
    let failed: Vec<&CaseRecord> =
        evaluation.cases.iter().filter(|c| c.failure.is_some()).collect();
    if !failed.is_empty() {
        let names: Vec<String> = failed.iter().take(5).map(|c| c.id.to_string()).collect();
        let more = if failed.len() > names.len() { ", ..." } else { "" };
        notes.push(format!(
            "{} of {} cases could not be predicted ({}{more}). They count as 0 on Dice, IoU, \
             precision, recall and NSD; a distance they have none of is counted as undefined, so \
             means of distances are over fewer cases.",
            failed.len(),
            evaluation.cases.len(),
            names.join(", "),
        ));
    }
    let measured: BTreeSet<_> = observations.iter().map(|o| &o.case.id).collect();
    if measured.len() < evaluation.cases.len() {
        notes.push(format!(
            "{} of {} cases have no class that was drawn and are in no mean.",
            evaluation.cases.len() - measured.len(),
            evaluation.cases.len(),
        ));
    }
    let Some(overall) = rows.first() else { return notes };
    if overall.distance_unit == "mixed" {
        notes.push(
            "Some distances are in mm and some in pixels; read distances per source only."
                .to_string(),
        );
    }
    if overall.groups < 2 {
        notes.push("All cases are of one group, so no interval can be given.".to_string());
    } else if overall.groups < FEW_GROUPS {
        notes.push(format!(
            "Only {} groups: bootstrap intervals of so few are too narrow.",
            overall.groups
        ));
    }
    for (metric, summary) in &overall.metrics {
        if summary.n_infinite > 0 {
            notes.push(format!(
                "{metric} is infinite in {} of {} observations, so its mean is infinite.",
                summary.n_infinite, summary.n
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests;
