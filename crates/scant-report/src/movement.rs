//! What a method did to cases and taps: distributions before and after, movements of every case, and
//! the weights of the taps.

use std::collections::{BTreeMap, BTreeSet};

use scant_core::{CaseRecord, Evaluation, RunRecord, SampleId};
use scant_metrics::{Metric, case_score};

use crate::association::mean;
use crate::chart::arrows::{Arrow, Arrows};
use crate::chart::histogram::{Histogram, Series};
use crate::chart::scatter::{Point, Scatter};
use crate::curves::tap_order;
use crate::numbers;

/// Dice and L_fd (mean over taps) of a case; either may be missing.
type Values = (Option<f64>, Option<f64>);

/// Cases of one or several evaluations, values averaged over those that have the case.
fn averaged(evaluations: &[&Evaluation]) -> BTreeMap<SampleId, Values> {
    let mut all: BTreeMap<&SampleId, Vec<&CaseRecord>> = BTreeMap::new();
    for case in evaluations.iter().flat_map(|e| &e.cases).filter(|c| c.failure.is_none()) {
        all.entry(&case.id).or_default().push(case);
    }
    let of = |cases: &[&CaseRecord], f: fn(&CaseRecord) -> Option<f64>| {
        mean(cases.iter().filter_map(|c| f(c)).filter(|v| v.is_finite()))
    };
    all.into_iter()
        .map(|(id, cases)| {
            (id.clone(), (of(&cases, |c| case_score(c, Metric::Dice)), of(&cases, discrepancy)))
        })
        .collect()
}

/// Mean over taps of the unweighted discrepancy of a case.
fn discrepancy(case: &CaseRecord) -> Option<f64> {
    mean(case.discrepancy.values().copied().filter(|v| v.is_finite()))
}

/// Histograms of Dice and L_fd before (`a`) and after (`b`), and the movement of every case that both
/// have (published Figures 2b and 8).
pub(crate) fn charts(
    (a_name, a): (&str, &[&Evaluation]),
    (b_name, b): (&str, &[&Evaluation]),
) -> Vec<String> {
    let (before, after) = (averaged(a), averaged(b));
    let both: Vec<(&SampleId, Values, Values)> =
        before.iter().filter_map(|(id, x)| Some((id, *x, *after.get(id)?))).collect();
    let several = if a.len() > 1 {
        "; a case tested under several seeds counts once, with its mean"
    } else {
        ""
    };
    let histogram = |title: &str, x_label: &str, unit: bool, pick: fn(&Values) -> Option<f64>| {
        let series = |name: &str, class: &str, values: Vec<f64>| Series {
            name: name.into(),
            class: class.into(),
            values,
        };
        let columns: (Vec<f64>, Vec<f64>) =
            both.iter().filter_map(|(_, x, y)| Some((pick(x)?, pick(y)?))).unzip();
        Histogram {
            title,
            note: &format!("{}{several}", numbers::plural(columns.0.len(), "case", "cases")),
            x_label,
            unit,
            series: vec![series(a_name, "ref", columns.0), series(b_name, "c0", columns.1)],
        }
        .render()
    };
    let arrows = both
        .iter()
        .filter_map(|(id, x, y)| {
            let (from, to) = ((x.1?, x.0?), (y.1?, y.0?));
            let name = format!(
                "{id}: Dice {} to {}, L_fd {} to {}",
                numbers::fixed(from.1, 3),
                numbers::fixed(to.1, 3),
                numbers::fixed(from.0, 2),
                numbers::fixed(to.0, 2)
            );
            Some(Arrow { from, to, name })
        })
        .collect();
    let movement = Arrows {
        title: "Movement of every case",
        note: &format!("from {a_name} to {b_name}{several}"),
        x_label: "L_fd, mean over taps",
        y_label: "Dice",
        arrows,
    };
    [
        histogram("Dice before and after", "Dice", true, |v| v.0),
        histogram("L_fd before and after", "L_fd, mean over taps", false, |v| v.1),
        movement.render(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Final weight of every tap against its mean L_fd on the test cases: a labelled point per tap (the mean
/// over runs) and a small one per run (published Figure 2a).
pub(crate) fn weights(title: &str, runs: &[(u64, &RunRecord, &Evaluation)]) -> Option<String> {
    let mut taps: BTreeMap<String, Vec<(u64, f64, f64)>> = BTreeMap::new();
    for (seed, record, evaluation) in runs {
        let epochs = record.phases.iter().rev().filter_map(|p| p.epochs.last());
        let Some(last) = epochs.into_iter().find(|e| !e.alpha.is_empty()) else { continue };
        for (tap, alpha) in &last.alpha {
            let cases = evaluation.cases.iter().filter(|c| c.failure.is_none());
            let values = cases.filter_map(|c| c.discrepancy.get(tap).copied());
            if let Some(l) = mean(values.filter(|v| v.is_finite())) {
                taps.entry(tap.clone()).or_default().push((*seed, *alpha, l));
            }
        }
    }
    let present: BTreeSet<&str> = taps.keys().map(String::as_str).collect();
    let order = tap_order(runs.first()?.1, &present);
    let (mut points, mut means) = (Vec::new(), Vec::new());
    for tap in &order {
        let found = &taps[tap];
        let point = |who: String, x: f64, y: f64, series: usize, label: String| Point {
            x,
            y,
            series,
            name: format!("{who}: α {}, L_fd {}", numbers::fixed(x, 3), numbers::fixed(y, 2)),
            label,
        };
        if found.len() > 1 {
            let each = found.iter();
            points.extend(
                each.map(|&(seed, x, y)| {
                    point(format!("{tap}, seed {seed}"), x, y, 1, String::new())
                }),
            );
        }
        let (x, y) = (mean(found.iter().map(|f| f.1))?, mean(found.iter().map(|f| f.2))?);
        means.push(point(tap.clone(), x, y, 0, tap.clone()));
    }
    // Means last, so that no seed hides them.
    points.extend(means);
    let series = if points.len() > order.len() {
        vec!["mean over seeds".to_string(), "a seed".into()]
    } else {
        Vec::new()
    };
    Scatter {
        title,
        note: "final α and mean L_fd on the test cases, by tap",
        x_label: "α at the end of training",
        y_label: "mean L_fd of the cases",
        points,
        series,
        line: None,
        square_unit: false,
        unit_y: false,
    }
    .render()
}
