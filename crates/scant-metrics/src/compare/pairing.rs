//! Bringing the cases of two evaluations together.

use std::collections::BTreeMap;

use scant_core::{CaseRecord, Evaluation, SampleId};

use crate::{
    EmptyPolicy, Metric, MetricError,
    score::{Observation, Reader},
};

/// The cases two evaluations share.
#[derive(Debug)]
pub(crate) struct Pairs<'a> {
    pub(crate) policy: EmptyPolicy,
    /// In the order of ids.
    pub(crate) cases: Vec<PairedCase<'a>>,
    pub(crate) only_a: Vec<SampleId>,
    pub(crate) only_b: Vec<SampleId>,
}

/// One case in both evaluations.
#[derive(Debug)]
pub(crate) struct PairedCase<'a> {
    record_a: &'a CaseRecord,
    a: BTreeMap<&'a str, Observation<'a>>,
    b: BTreeMap<&'a str, Observation<'a>>,
}

/// Values of one metric on one case, class by class.
#[derive(Debug, Default)]
pub(crate) struct PairedValues {
    both: Vec<(f64, f64)>,
    pub(crate) a_only: usize,
    pub(crate) b_only: usize,
    pub(crate) neither: usize,
    pub(crate) infinite: usize,
}

impl<'a> Pairs<'a> {
    pub(crate) fn of(a: &'a Evaluation, b: &'a Evaluation) -> Result<Self, MetricError> {
        same_protocol(a, b)?;
        let reader = Reader::new(a, Some(b))?;
        let mut rest: BTreeMap<&SampleId, &'a CaseRecord> =
            b.cases.iter().map(|c| (&c.id, c)).collect();
        let mut cases = Vec::new();
        let mut only_a = Vec::new();
        for record_a in &a.cases {
            let Some(record_b) = rest.remove(&record_a.id) else {
                only_a.push(record_a.id.clone());
                continue;
            };
            let measured = record_a.failure.is_none() && record_b.failure.is_none();
            if measured && record_a.distance_unit != record_b.distance_unit {
                return Err(MetricError::DifferentProtocol {
                    what: format!("the unit of distance of case {}", record_a.id),
                    a: record_a.distance_unit.clone(),
                    b: record_b.distance_unit.clone(),
                });
            }
            cases.push(PairedCase::of(&reader, record_a, record_b));
        }
        if cases.is_empty() {
            let (a, b) = (a.part.clone(), b.part.clone());
            return Err(MetricError::NothingPaired { a, b });
        }
        cases.sort_by(|x, y| x.id().cmp(y.id()));
        only_a.sort();
        let only_b = rest.into_keys().cloned().collect();
        Ok(Self { policy: reader.policy, cases, only_a, only_b })
    }

    /// The first evaluation with its paired cases only.
    pub(crate) fn paired_a(&self, a: &Evaluation) -> Evaluation {
        Evaluation {
            part: a.part.clone(),
            protocol: a.protocol.clone(),
            cases: self.cases.iter().map(|c| c.record_a.clone()).collect(),
        }
    }
}

impl<'a> PairedCase<'a> {
    fn of(reader: &Reader<'a>, record_a: &'a CaseRecord, record_b: &'a CaseRecord) -> Self {
        let [mut a, mut b] = [record_a, record_b].map(|record| {
            let observations = reader.observations(record);
            observations.into_iter().map(|o| (o.class, o)).collect::<BTreeMap<_, _>>()
        });
        adopt_classes(&mut a, &b);
        adopt_classes(&mut b, &a);
        Self { record_a, a, b }
    }

    pub(crate) fn id(&self) -> &'a SampleId {
        &self.record_a.id
    }

    pub(crate) fn cluster(&self) -> (&'a str, &'a str) {
        (&self.record_a.id.source, &self.record_a.id.group)
    }

    pub(crate) fn values(&self, metric: Metric) -> PairedValues {
        let mut values = PairedValues::default();
        let classes: std::collections::BTreeSet<&str> =
            self.a.keys().chain(self.b.keys()).copied().collect();
        for class in classes {
            let of = |side: &BTreeMap<&str, Observation<'_>>| {
                side.get(class).and_then(|o| o.value(metric))
            };
            match (of(&self.a), of(&self.b)) {
                (Some(a), Some(b)) if a.is_finite() && b.is_finite() => values.both.push((a, b)),
                (Some(_), Some(_)) => values.infinite += 1,
                (Some(_), None) => values.a_only += 1,
                (None, Some(_)) => values.b_only += 1,
                (None, None) => values.neither += 1,
            }
        }
        values
    }
}

/// Where a case failed, the other side tells which classes were drawn on it.
fn adopt_classes<'a>(
    failed: &mut BTreeMap<&'a str, Observation<'a>>,
    other: &BTreeMap<&'a str, Observation<'a>>,
) {
    let stand_in = failed.values().next().copied().filter(Observation::failed);
    let Some(stand_in) = stand_in.filter(|_| !other.is_empty()) else { return };
    failed.retain(|class, _| other.contains_key(class));
    for &class in other.keys() {
        failed.entry(class).or_insert_with(|| stand_in.without_result(class));
    }
}

impl PairedValues {
    /// Mean over classes of both sides; `None` where no class has both values.
    pub(crate) fn means(&self) -> Option<(f64, f64)> {
        if self.both.is_empty() {
            return None;
        }
        let n = self.both.len() as f64;
        let sum = self.both.iter().fold((0.0, 0.0), |s, v| (s.0 + v.0, s.1 + v.1));
        Some((sum.0 / n, sum.1 / n))
    }
}

/// Numbers of different definitions are not compared.
fn same_protocol(a: &Evaluation, b: &Evaluation) -> Result<(), MetricError> {
    let differ = |what: &str, a: String, b: String| {
        let what = what.to_string();
        if a == b { Ok(()) } else { Err(MetricError::DifferentProtocol { what, a, b }) }
    };
    let (p, q) = (&a.protocol, &b.protocol);
    differ("the empty-mask policy", p.empty_policy.clone(), q.empty_policy.clone())?;
    differ("the NSD tolerance", p.nsd_tolerance.to_string(), q.nsd_tolerance.to_string())
}
