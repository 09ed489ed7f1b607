//! The plots of a study.

use std::collections::BTreeMap;

use scant_core::{FRACTION_AXIS, NOISE_AXIS};
use scant_metrics::stats::Interval;
use scant_metrics::study::Estimate;

use super::findings::{Findings, METRICS, position};
use super::load::LoadedStudy;
use super::words::{signed, with_interval};
use crate::chart::curve::{Curve, CurveChart};
use crate::chart::forest::{Forest, Group, Row};
use crate::metric_words::label;

/// All plots, the curves first.
pub(super) fn all(study: &LoadedStudy, f: &Findings<'_>) -> Vec<String> {
    let mut out = Vec::new();
    let mut drawn = 0;
    for axis in &study.record.axes {
        let numeric = axis.values.len() > 1 && axis.values.iter().all(|v| position(v).is_some());
        if !numeric {
            continue;
        }
        let made = curves(f, &axis.name);
        drawn += made.len();
        out.extend(made);
    }
    if drawn == 0 {
        out.extend(scores(f));
    }
    out.extend(differences(f));
    out
}

/// Position of a method in the order of colours, which leaves out the reference.
fn colour(f: &Findings<'_>, method: usize) -> Option<usize> {
    let before = f.reference.is_some_and(|r| r < method);
    (f.reference != Some(method)).then(|| method - usize::from(before))
}

/// Score over one axis, a chart for every setting of the others.
fn curves(f: &Findings<'_>, axis: &str) -> Vec<String> {
    let metric = METRICS[0];
    let (title, x_label) = match axis {
        FRACTION_AXIS => ("Dice over added images", "fraction of the novel training images added"),
        NOISE_AXIS => ("Dice over noise", "standard deviation of the noise on training images"),
        other => ("Dice over the axis", other),
    };
    f.slices(axis)
        .into_iter()
        .filter_map(|(slice, points)| {
            let ticks: Vec<(f64, String)> =
                points.iter().map(|&(x, p)| (x, f.points[p].at[axis].clone())).collect();
            // The reference is drawn first and named first.
            let mut order: Vec<usize> = f.reference.into_iter().collect();
            order.extend((0..f.methods.len()).filter(|m| Some(*m) != f.reference));
            let curves = order
                .into_iter()
                .map(|m| Curve {
                    name: f.methods[m].clone(),
                    reference: Some(m) == f.reference,
                    points: points
                        .iter()
                        .filter_map(|&(x, p)| {
                            let row = f.row(m, p, metric)?;
                            let mean = row.mean.as_ref()?;
                            let difference = row.difference.as_ref().map(|d| &d.difference);
                            let interval = match difference {
                                None => mean.interval.filter(|_| {
                                    f.reference.is_none() || Some(m) == f.reference
                                }),
                                Some(d) => d.interval.map(|i| Interval {
                                    low: mean.value + i.low - d.value,
                                    high: mean.value + i.high - d.value,
                                }),
                            };
                            Some((x, mean.value, interval))
                        })
                        .collect(),
                })
                .filter(|c: &Curve| !c.points.is_empty())
                .collect();
            let note = match f.reference.map(|r| &f.methods[r]) {
                Some(r) => format!(
                    "mean over seeds; around {r} the interval of its mean, which is mostly the spread of \
                     patients that all methods share; around the others the interval of their paired \
                     difference to {r}"
                ),
                None => "mean over seeds with its interval".into(),
            };
            let title =
                if slice.is_empty() { title.to_string() } else { format!("{title}, {slice}") };
            CurveChart {
                title: &title,
                note: &note,
                x_label,
                y_label: label(metric),
                ticks: &ticks,
                curves,
            }
            .render()
        })
        .collect()
}

fn dots(e: &Estimate) -> Vec<(f64, String)> {
    e.by_seed.iter().map(|(seed, v)| (*v, format!("seed {seed}"))).collect()
}

/// Scores as rows of dots, grouped by point.
fn scores(f: &Findings<'_>) -> Option<String> {
    let metric = METRICS[0];
    let groups = grouped(f, |method, point| {
        let mean = f.row(method, point, metric)?.mean.as_ref()?;
        Some(Row {
            name: f.methods[method].clone(),
            colour: colour(f, method),
            dots: dots(mean),
            mean: mean.value,
            interval: mean.interval,
            words: with_interval(mean.value, mean.interval, 3),
        })
    });
    Forest {
        title: "Dice of every method",
        note: "dots are seeds, the diamond is their mean, the bar its interval",
        x_label: label(metric),
        zero: false,
        groups,
    }
    .render()
}

/// Paired differences as rows of dots, grouped by point.
fn differences(f: &Findings<'_>) -> Option<String> {
    let metric = METRICS[0];
    let reference = f.methods.get(f.reference?)?;
    let groups = grouped(f, |method, point| {
        let d = &f.row(method, point, metric)?.difference.as_ref()?.difference;
        let words = with_interval(d.value, d.interval, 3);
        let bracket = words.split_once(' ').map_or("", |w| w.1).to_string();
        Some(Row {
            name: f.methods[method].clone(),
            colour: colour(f, method),
            dots: dots(d),
            mean: d.value,
            interval: d.interval,
            words: format!("{} {bracket}", signed(d.value, 3)),
        })
    });
    Forest {
        title: "Paired differences, seed by seed",
        note: "dots are seeds, the diamond is their mean, the bar its interval",
        x_label: &format!("{}, method minus {reference}", label(metric)),
        zero: true,
        groups,
    }
    .render()
}

fn grouped(f: &Findings<'_>, row: impl Fn(usize, usize) -> Option<Row>) -> Vec<Group> {
    let mut out: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    for point in 0..f.points.len() {
        for method in 0..f.methods.len() {
            if let Some(row) = row(method, point) {
                out.entry(point).or_default().push(row);
            }
        }
    }
    let several = f.points.len() > 1;
    out.into_iter()
        .map(|(p, rows)| Group {
            heading: if several { f.points[p].label.clone() } else { String::new() },
            rows,
        })
        .collect()
}
