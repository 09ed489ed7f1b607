//! Choosing cases of an evaluation.

use std::collections::BTreeSet;

use scant_core::{Evaluation, SampleId};
use serde::{Deserialize, Serialize};

use crate::{Metric, MetricError, case_score};

/// How many of the cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// This share of them, in (0, 1], rounded up.
    Fraction(f64),
    /// This many, or all if there are fewer.
    Count(usize),
}

impl Share {
    pub(crate) fn of(self, cases: usize) -> Result<usize, MetricError> {
        match self {
            Self::Fraction(f) if f > 0.0 && f <= 1.0 => {
                // At most `cases`, so the cast keeps its value; the margin keeps 0.1 * 30 at 3.
                Ok((f * cases as f64 - 1e-9).ceil().max(1.0) as usize)
            }
            Self::Count(n) if n > 0 => Ok(n.min(cases)),
            Self::Fraction(f) => Err(MetricError::Share(f)),
            Self::Count(n) => Err(MetricError::Share(n as f64)),
        }
    }
}

/// The cases a baseline does worst on: lowest mean Dice over classes first, ties by id.
///
/// Failed cases count as Dice 0. Cases whose Dice is undefined (nothing there, nothing predicted)
/// are left out before the share is taken. Read a later improvement on these cases with care: they
/// were chosen for a low score, so part of any gain is regression to the mean.
///
/// # Errors
/// When there are no cases or the share selects none.
pub fn worst_off(baseline: &Evaluation, share: Share) -> Result<Vec<SampleId>, MetricError> {
    let ranked = ranked(baseline)?;
    let keep = share.of(ranked.len())?;
    Ok(ranked.into_iter().take(keep).cloned().collect())
}

/// The cases a baseline does best on: the other end of the ranking of [`worst_off`], best first.
///
/// # Errors
/// When there are no cases or the share selects none.
pub fn best_off(baseline: &Evaluation, share: Share) -> Result<Vec<SampleId>, MetricError> {
    let ranked = ranked(baseline)?;
    let keep = share.of(ranked.len())?;
    Ok(ranked.into_iter().rev().take(keep).cloned().collect())
}

/// Cases with a Dice, lowest first.
fn ranked(evaluation: &Evaluation) -> Result<Vec<&SampleId>, MetricError> {
    if evaluation.cases.is_empty() {
        return Err(MetricError::NoCases(evaluation.part.clone()));
    }
    let mut ranked: Vec<(f64, &SampleId)> = evaluation
        .cases
        .iter()
        .filter_map(|case| Some((case_score(case, Metric::Dice)?, &case.id)))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    Ok(ranked.into_iter().map(|(_, id)| id).collect())
}

/// The evaluation with only these cases, in its own order.
///
/// # Errors
/// When one of them is not in the evaluation.
pub fn subset(evaluation: &Evaluation, ids: &[SampleId]) -> Result<Evaluation, MetricError> {
    let wanted: BTreeSet<&SampleId> = ids.iter().collect();
    let have: BTreeSet<&SampleId> = evaluation.cases.iter().map(|c| &c.id).collect();
    if let Some(missing) = wanted.difference(&have).next() {
        let (id, part) = ((*missing).clone(), evaluation.part.clone());
        return Err(MetricError::UnknownCase { id, part });
    }
    let cases = evaluation.cases.iter().filter(|c| wanted.contains(&c.id)).cloned().collect();
    Ok(Evaluation { part: evaluation.part.clone(), protocol: evaluation.protocol.clone(), cases })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixtures::{case, empty_agreement, evaluation, failed};

    fn five() -> Evaluation {
        evaluation(vec![
            case("s", "g1", "a", &[("x", 0.9)]),
            case("s", "g1", "b", &[("x", 0.2), ("y", 0.6)]),
            failed("s", "g2", "c"),
            empty_agreement("s", "g3", "d"),
            case("s", "g4", "e", &[("x", 0.4)]),
        ])
    }

    fn stems(ids: &[SampleId]) -> Vec<&str> {
        ids.iter().map(|id| id.stem.as_str()).collect()
    }

    #[test]
    fn failures_come_first_and_undefined_cases_never() {
        let all = worst_off(&five(), Share::Fraction(1.0)).unwrap();
        // b (mean 0.4) and e (0.4) tie and are ordered by id.
        assert_eq!(stems(&all), ["c", "b", "e", "a"]);
        assert_eq!(stems(&worst_off(&five(), Share::Count(2)).unwrap()), ["c", "b"]);
        assert_eq!(stems(&worst_off(&five(), Share::Fraction(0.26)).unwrap()), ["c", "b"]);
        assert_eq!(stems(&worst_off(&five(), Share::Fraction(0.25)).unwrap()), ["c"]);
        assert_eq!(worst_off(&five(), Share::Count(99)).unwrap().len(), 4);
        assert_eq!(stems(&best_off(&five(), Share::Fraction(0.5)).unwrap()), ["a", "e"]);
    }

    #[test]
    fn shares_of_nothing_are_refused() {
        for share in [Share::Fraction(0.0), Share::Fraction(1.5), Share::Count(0)] {
            assert!(matches!(worst_off(&five(), share), Err(MetricError::Share(_))));
        }
        let nobody = worst_off(&evaluation(vec![]), Share::Count(1));
        assert!(matches!(nobody, Err(MetricError::NoCases(_))));
    }

    #[test]
    fn a_subset_keeps_order_and_knows_strangers() {
        let all = five();
        let ids = [all.cases[4].id.clone(), all.cases[0].id.clone()];
        let some = subset(&all, &ids).unwrap();
        assert_eq!(some.cases, [all.cases[0].clone(), all.cases[4].clone()]);
        let stranger = SampleId { stem: "z".into(), ..ids[0].clone() };
        let error = subset(&all, &[stranger]).unwrap_err();
        assert!(error.to_string().contains("s/z"), "{error}");
    }
}
