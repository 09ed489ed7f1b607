//! One evaluation against another, case by case.

pub(crate) mod pairing;

use std::collections::BTreeMap;

use rayon::prelude::*;
use scant_core::{Evaluation, SampleId};
use serde::{Deserialize, Serialize};

use crate::{
    Metric, MetricError, Share, SummaryOptions,
    aggregate::FEW_GROUPS,
    select::{best_off, worst_off},
    stats::{self, Cluster, Interval, TTest, Wilcoxon},
};
use pairing::{PairedCase, Pairs};

/// What a test takes for one independent observation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestUnit {
    /// The mean difference of a group (patient, slide).
    #[default]
    Group,
    /// The difference of a case, as most papers do; too sure of itself when groups have several.
    Case,
}

/// How a comparison is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareOptions {
    /// Resampling.
    pub summary: SummaryOptions,
    /// The unit of the tests.
    pub unit: TestUnit,
    /// How many cases are the worst-off and the best-off, by the Dice of the first evaluation.
    pub extremes: Share,
}

impl Default for CompareOptions {
    /// Groups are tested, and the worst-off and best-off quarters are shown.
    fn default() -> Self {
        Self {
            summary: SummaryOptions::default(),
            unit: TestUnit::default(),
            extremes: Share::Fraction(0.25),
        }
    }
}

/// Two evaluations of the same cases. Differences are the second (b) minus the first (a).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Part of the split of a.
    pub part_a: String,
    /// Part of the split of b.
    pub part_b: String,
    /// What the empty-mask policy does: to be printed with every table.
    pub policy_text: String,
    /// How it was made.
    pub options: CompareOptions,
    /// Cases only a has; they are in no number here.
    pub only_a: Vec<SampleId>,
    /// Cases only b has; they are in no number here.
    pub only_b: Vec<SampleId>,
    /// Every paired case.
    pub overall: ComparisonScope,
    /// The same per source, each corrected for its own number of tests.
    pub by_source: BTreeMap<String, ComparisonScope>,
    /// The cases a is worst at; absent when a has no Dice on any paired case.
    pub worst_off: Option<ComparisonScope>,
    /// The cases a is best at; absent when a has no Dice on any paired case.
    pub best_off: Option<ComparisonScope>,
    /// What the reader must know, in plain words.
    pub notes: Vec<String>,
}

/// Differences over some of the paired cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonScope {
    /// Paired cases.
    pub cases: usize,
    /// Groups they belong to.
    pub groups: usize,
    /// One entry per metric asked for, in that order.
    pub metrics: Vec<MetricComparison>,
}

impl ComparisonScope {
    /// The entry of a metric.
    #[must_use]
    pub fn metric(&self, metric: Metric) -> Option<&MetricComparison> {
        self.metrics.iter().find(|m| m.metric == metric)
    }
}

/// One metric of both evaluations over the same cases and classes.
///
/// A case contributes the mean difference over its classes where both values are defined and
/// finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricComparison {
    /// The metric.
    pub metric: Metric,
    /// Whether a positive difference means b is better.
    pub higher_is_better: bool,
    /// Cases with a difference.
    pub n: usize,
    /// Groups they belong to.
    pub groups: usize,
    /// Pairs of case and class that only a has a value for: in no difference.
    pub defined_in_a_only: usize,
    /// Pairs of case and class that only b has a value for: in no difference.
    pub defined_in_b_only: usize,
    /// Pairs of case and class neither has a value for.
    pub defined_in_neither: usize,
    /// Pairs of case and class where a value is infinite: in no difference.
    pub infinite: usize,
    /// Mean of a over these cases.
    pub mean_a: Option<f64>,
    /// Mean of b over these cases.
    pub mean_b: Option<f64>,
    /// Mean difference, b minus a.
    pub mean_difference: Option<f64>,
    /// Bootstrap interval of the mean difference, resampling groups.
    pub interval: Option<Interval>,
    /// Cases where b is better.
    pub b_better: usize,
    /// Cases where a is better.
    pub a_better: usize,
    /// Cases without a difference.
    pub equal: usize,
    /// Differences the tests saw: groups or cases.
    pub test_n: usize,
    /// Signed-rank test; its effect size is the rank-biserial correlation.
    pub wilcoxon: Option<Wilcoxon>,
    /// Its p-value after Holm's correction over the metrics of this scope.
    pub wilcoxon_p_holm: Option<f64>,
    /// Paired t-test.
    pub t_test: Option<TTest>,
    /// Its p-value after Holm's correction over the metrics of this scope.
    pub t_test_p_holm: Option<f64>,
    /// Mean over standard deviation of the differences the tests saw.
    pub cohens_dz: Option<f64>,
}

/// Compares `b` with the baseline `a` on the cases both have.
///
/// # Errors
/// When the two were made under different empty-mask policies, NSD tolerances or units, have no
/// case in common, hold a case or class twice, or an option makes no sense.
pub fn compare(
    a: &Evaluation,
    b: &Evaluation,
    metrics: &[Metric],
    options: &CompareOptions,
) -> Result<Comparison, MetricError> {
    options.summary.check()?;
    let pairs = Pairs::of(a, b)?;
    let all: Vec<&PairedCase<'_>> = pairs.cases.iter().collect();
    let mut by_source: BTreeMap<String, Vec<&PairedCase<'_>>> = BTreeMap::new();
    for &case in &all {
        by_source.entry(case.id().source.clone()).or_default().push(case);
    }
    let paired_a = pairs.paired_a(a);
    let extreme = |ids: Vec<SampleId>| {
        let chosen: Vec<&PairedCase<'_>> =
            all.iter().filter(|c| ids.contains(c.id())).copied().collect();
        (!chosen.is_empty()).then(|| scope(&chosen, metrics, options))
    };

    let mut comparison = Comparison {
        part_a: a.part.clone(),
        part_b: b.part.clone(),
        policy_text: pairs.policy.describe().to_string(),
        options: *options,
        overall: scope(&all, metrics, options),
        by_source: by_source
            .into_iter()
            .map(|(source, cases)| (source, scope(&cases, metrics, options)))
            .collect(),
        worst_off: extreme(worst_off(&paired_a, options.extremes)?),
        best_off: extreme(best_off(&paired_a, options.extremes)?),
        only_a: pairs.only_a,
        only_b: pairs.only_b,
        notes: Vec::new(),
    };
    comparison.notes = notes(&comparison, a, b);
    Ok(comparison)
}

fn scope(
    cases: &[&PairedCase<'_>],
    metrics: &[Metric],
    options: &CompareOptions,
) -> ComparisonScope {
    let mut entries: Vec<MetricComparison> =
        metrics.par_iter().map(|&metric| one_metric(cases, metric, options)).collect();
    let corrected = adjust(&entries, |e| e.wilcoxon.map(|w| w.p));
    for (entry, p) in entries.iter_mut().zip(corrected) {
        entry.wilcoxon_p_holm = p;
    }
    let corrected = adjust(&entries, |e| e.t_test.map(|t| t.p));
    for (entry, p) in entries.iter_mut().zip(corrected) {
        entry.t_test_p_holm = p;
    }
    let groups: std::collections::BTreeSet<_> = cases.iter().map(|c| c.cluster()).collect();
    ComparisonScope { cases: cases.len(), groups: groups.len(), metrics: entries }
}

/// Holm over the tests that could be made.
fn adjust(
    entries: &[MetricComparison],
    p: impl Fn(&MetricComparison) -> Option<f64>,
) -> Vec<Option<f64>> {
    let raw: Vec<Option<f64>> = entries.iter().map(p).collect();
    let made: Vec<f64> = raw.iter().flatten().copied().collect();
    let mut adjusted = stats::holm(&made).into_iter();
    raw.into_iter().map(|p| p.and_then(|_| adjusted.next())).collect()
}

fn one_metric(
    cases: &[&PairedCase<'_>],
    metric: Metric,
    options: &CompareOptions,
) -> MetricComparison {
    let mut entry = MetricComparison::new(metric);
    let (mut sum_a, mut sum_b) = (0.0, 0.0);
    let mut differences = Vec::new();
    let mut clusters: BTreeMap<(&str, &str), Cluster> = BTreeMap::new();
    for case in cases {
        let pair = case.values(metric);
        entry.defined_in_a_only += pair.a_only;
        entry.defined_in_b_only += pair.b_only;
        entry.defined_in_neither += pair.neither;
        entry.infinite += pair.infinite;
        let Some((value_a, value_b)) = pair.means() else { continue };
        let difference = value_b - value_a;
        sum_a += value_a;
        sum_b += value_b;
        let gain = if metric.higher_is_better() { difference } else { -difference };
        *if gain > 0.0 {
            &mut entry.b_better
        } else if gain < 0.0 {
            &mut entry.a_better
        } else {
            &mut entry.equal
        } += 1;
        differences.push(difference);
        clusters.entry(case.cluster()).or_default().push(difference);
    }
    let clusters: Vec<Cluster> = clusters.into_values().collect();
    entry.n = differences.len();
    entry.groups = clusters.len();
    if entry.n > 0 {
        entry.mean_a = Some(sum_a / entry.n as f64);
        entry.mean_b = Some(sum_b / entry.n as f64);
    }
    entry.mean_difference = stats::mean(&differences);
    let SummaryOptions { bootstrap, seed, confidence, interval } = options.summary;
    entry.interval = stats::cluster_mean_interval(&clusters, bootstrap, seed, confidence, interval);
    let tested = match options.unit {
        TestUnit::Case => differences,
        TestUnit::Group => clusters.iter().map(|c| c.sum / c.n as f64).collect(),
    };
    entry.test_n = tested.len();
    entry.wilcoxon = stats::wilcoxon(&tested);
    entry.t_test = stats::paired_t(&tested);
    entry.cohens_dz = stats::cohens_dz(&tested);
    entry
}

impl MetricComparison {
    fn new(metric: Metric) -> Self {
        Self {
            metric,
            higher_is_better: metric.higher_is_better(),
            n: 0,
            groups: 0,
            defined_in_a_only: 0,
            defined_in_b_only: 0,
            defined_in_neither: 0,
            infinite: 0,
            mean_a: None,
            mean_b: None,
            mean_difference: None,
            interval: None,
            b_better: 0,
            a_better: 0,
            equal: 0,
            test_n: 0,
            wilcoxon: None,
            wilcoxon_p_holm: None,
            t_test: None,
            t_test_p_holm: None,
            cohens_dz: None,
        }
    }
}

fn notes(comparison: &Comparison, a: &Evaluation, b: &Evaluation) -> Vec<String> {
    let mut notes = vec![comparison.policy_text.clone()];
    if !comparison.only_a.is_empty() || !comparison.only_b.is_empty() {
        notes.push(format!(
            "{} cases are in the first evaluation only and {} in the second only; no number here \
             includes them.",
            comparison.only_a.len(),
            comparison.only_b.len()
        ));
    }
    for (what, value_a, value_b) in [
        ("threshold", a.protocol.threshold.to_string(), b.protocol.threshold.to_string()),
        ("test-time augmentation", a.protocol.tta.clone(), b.protocol.tta.clone()),
    ] {
        if value_a != value_b {
            notes.push(format!(
                "The two differ in {what} ({value_a} and {value_b}), which may explain a \
                 difference."
            ));
        }
    }
    if comparison.overall.groups < FEW_GROUPS {
        notes.push(format!(
            "Only {} groups: intervals are too narrow and tests can hardly reject anything.",
            comparison.overall.groups
        ));
    }
    for m in &comparison.overall.metrics {
        if m.defined_in_a_only + m.defined_in_b_only + m.infinite > 0 {
            notes.push(format!(
                "{}: {} values exist in the first evaluation only, {} in the second only (a false \
                 alarm of one where the other rightly stays empty is such a case) and {} pairs \
                 are infinite; none of them is in the difference.",
                m.metric, m.defined_in_a_only, m.defined_in_b_only, m.infinite
            ));
        }
    }
    if comparison.worst_off.is_some() {
        notes.push(
            "The worst-off and best-off cases were chosen by the Dice of the first evaluation, so \
             part of a gain of the worst and of a loss of the best is regression to the mean."
                .to_string(),
        );
    }
    notes
}

#[cfg(test)]
mod tests;
