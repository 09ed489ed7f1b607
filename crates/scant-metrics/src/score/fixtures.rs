//! Small evaluations for tests.

use std::collections::BTreeMap;

use scant_core::{
    CaseClassResult, CaseRecord, EmptySituation, Evaluation, EvaluationProtocol, SampleId,
};

use crate::Metric;

pub(crate) fn evaluation(cases: Vec<CaseRecord>) -> Evaluation {
    let protocol = EvaluationProtocol {
        empty_policy: "scant".into(),
        nsd_tolerance: 2.0,
        threshold: 0.5,
        tta: "none".into(),
    };
    Evaluation { part: "test".into(), protocol, cases }
}

fn record(source: &str, group: &str, stem: &str, classes: Vec<CaseClassResult>) -> CaseRecord {
    CaseRecord {
        id: SampleId { source: source.into(), group: group.into(), stem: stem.into() },
        distance_unit: "px".into(),
        classes,
        discrepancy: BTreeMap::new(),
        failure: None,
    }
}

pub(crate) fn class(
    name: &str,
    situation: EmptySituation,
    metrics: &[(Metric, Option<f64>)],
) -> CaseClassResult {
    CaseClassResult {
        class: name.into(),
        tp: 1,
        fp: 1,
        fn_: 1,
        tn: 1,
        situation,
        metrics: metrics.iter().map(|(m, v)| (m.name().to_string(), *v)).collect(),
    }
}

/// A case with the given Dice per class and `hd95 = 10 (1 - dice)`.
pub(crate) fn case(source: &str, group: &str, stem: &str, dice: &[(&str, f64)]) -> CaseRecord {
    let result = |(name, d): &(&str, f64)| {
        let values = [(Metric::Dice, Some(*d)), (Metric::Hd95, Some(10.0 * (1.0 - d)))];
        class(name, EmptySituation::BothPresent, &values)
    };
    record(source, group, stem, dice.iter().map(result).collect())
}

/// A case of class `x` with this situation and values.
pub(crate) fn single(
    stem: &str,
    situation: EmptySituation,
    metrics: &[(Metric, Option<f64>)],
) -> CaseRecord {
    record("s", stem, stem, vec![class("x", situation, metrics)])
}

pub(crate) fn empty_agreement(source: &str, group: &str, stem: &str) -> CaseRecord {
    let values = [(Metric::Dice, None), (Metric::Hd95, None)];
    record(source, group, stem, vec![class("x", EmptySituation::BothEmpty, &values)])
}

pub(crate) fn failed(source: &str, group: &str, stem: &str) -> CaseRecord {
    let mut case = record(source, group, stem, Vec::new());
    case.failure = Some("the image could not be read".into());
    case
}
