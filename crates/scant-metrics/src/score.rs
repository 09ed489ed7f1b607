//! Reading values out of records so that nothing which went wrong gets lost.

use std::collections::{BTreeMap, BTreeSet};

use scant_core::{CaseClassResult, CaseRecord, EmptySituation, Evaluation};

use crate::{EmptyPolicy, Fill, Metric, MetricError};

/// Stands for the class of a failed case when no case tells which classes there are.
const UNKNOWN_CLASS: &str = "(class unknown)";

/// Mean of `metric` over the classes of one case where it is defined.
///
/// A failed case scores 0 on everything that is a share; its distances are what the record says,
/// if anything. `None` where no class has a value.
#[must_use]
pub fn case_score(case: &CaseRecord, metric: Metric) -> Option<f64> {
    if case.failure.is_some() && !metric.is_distance() {
        return Some(0.0);
    }
    let values: Vec<f64> = case.classes.iter().filter_map(|c| recorded(c, metric)).collect();
    crate::stats::mean(&values)
}

fn recorded(result: &CaseClassResult, metric: Metric) -> Option<f64> {
    result.metrics.get(metric.name()).copied().flatten().filter(|v| !v.is_nan())
}

/// One class on one case: the unit of every table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation<'a> {
    pub(crate) case: &'a CaseRecord,
    pub(crate) class: &'a str,
    /// Absent when the case failed before it could be measured.
    result: Option<&'a CaseClassResult>,
    policy: EmptyPolicy,
}

impl<'a> Observation<'a> {
    /// What resampling draws: the group within its source.
    pub(crate) fn cluster(&self) -> (&'a str, &'a str) {
        (&self.case.id.source, &self.case.id.group)
    }

    /// The same failed case standing for another class.
    pub(crate) fn without_result(self, class: &'a str) -> Self {
        Self { class, result: None, ..self }
    }

    pub(crate) fn failed(&self) -> bool {
        self.case.failure.is_some()
    }

    /// Which side is empty; `None` for a failed case.
    pub(crate) fn situation(&self) -> Option<EmptySituation> {
        if self.failed() { None } else { self.result.map(|r| r.situation) }
    }

    /// The value of `metric`: 0 for a share of a failed case, possibly infinite for a distance.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        if self.failed() && !metric.is_distance() {
            return Some(0.0);
        }
        let result = self.result?;
        recorded(result, metric).or_else(|| {
            // JSON has no infinity: a record that was read back holds null in its place.
            let lost = result.metrics.contains_key(metric.name())
                && self.policy.fill(metric, result.situation) == Fill::Infinite;
            lost.then_some(f64::INFINITY)
        })
    }
}

/// Knows the policy and the classes of some evaluations of the same protocol.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) policy: EmptyPolicy,
    /// Classes in order of first appearance.
    pub(crate) classes: Vec<&'a str>,
    by_source: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Reader<'a> {
    /// Learns the classes of `evaluations` and checks that no case or class stands twice. The
    /// policy is that of the first; at least one must be given.
    pub(crate) fn new(
        first: &'a Evaluation,
        more: Option<&'a Evaluation>,
    ) -> Result<Self, MetricError> {
        let policy = first.protocol.empty_policy.parse()?;
        let mut reader = Self { policy, classes: Vec::new(), by_source: BTreeMap::new() };
        for evaluation in std::iter::once(first).chain(more) {
            reader.learn(evaluation)?;
        }
        Ok(reader)
    }

    fn learn(&mut self, evaluation: &'a Evaluation) -> Result<(), MetricError> {
        let mut cases = BTreeSet::new();
        for case in &evaluation.cases {
            if !cases.insert(&case.id) {
                let part = evaluation.part.clone();
                return Err(MetricError::DuplicateCase { id: case.id.clone(), part });
            }
            let of_source = self.by_source.entry(&case.id.source).or_default();
            let mut names = BTreeSet::new();
            for CaseClassResult { class, .. } in &case.classes {
                if !names.insert(class) {
                    let (id, class) = (case.id.clone(), class.clone());
                    return Err(MetricError::DuplicateClass { id, class });
                }
                for list in [&mut *of_source, &mut self.classes] {
                    if !list.contains(&class.as_str()) {
                        list.push(class);
                    }
                }
            }
        }
        Ok(())
    }

    /// The observations of one case.
    ///
    /// A failed case without results stands for every class that was drawn in its source, else for
    /// every class anywhere, so that it weighs as much as a case that was predicted.
    pub(crate) fn observations(&self, case: &'a CaseRecord) -> Vec<Observation<'a>> {
        let policy = self.policy;
        if case.failure.is_none() || !case.classes.is_empty() {
            let of = |r: &'a CaseClassResult| Observation {
                case,
                class: &r.class,
                result: Some(r),
                policy,
            };
            return case.classes.iter().map(of).collect();
        }
        let of_source = self.by_source.get(case.id.source.as_str()).filter(|c| !c.is_empty());
        let drawn: &[&str] = match of_source.unwrap_or(&self.classes).as_slice() {
            [] => &[UNKNOWN_CLASS],
            known => known,
        };
        drawn.iter().map(|class| Observation { case, class, result: None, policy }).collect()
    }

    /// Metrics that at least one case of the evaluations was measured by; all when none was.
    pub(crate) fn metrics(cases: &[CaseRecord]) -> Vec<Metric> {
        let mut known = cases.iter().flat_map(|c| &c.classes).peekable();
        if known.peek().is_none() {
            return Metric::ALL.to_vec();
        }
        let names: BTreeSet<&str> =
            known.flat_map(|c| c.metrics.keys().map(String::as_str)).collect();
        Metric::ALL.into_iter().filter(|m| names.contains(m.name())).collect()
    }
}

/// The one unit of distance of `cases`, or `mixed`.
pub(crate) fn distance_unit<'a>(cases: impl IntoIterator<Item = &'a CaseRecord>) -> String {
    let units: BTreeSet<&str> = cases.into_iter().map(|c| c.distance_unit.as_str()).collect();
    let mut units = units.into_iter();
    match (units.next(), units.next()) {
        (Some(only), None) => only.to_string(),
        (None, _) => String::new(),
        _ => "mixed".to_string(),
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
