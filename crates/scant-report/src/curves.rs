//! The training table as curves: losses, validation Dice, schedule, and what each tap did.

use std::collections::{BTreeMap, BTreeSet};

use scant_core::{EpochRecord, RunRecord};

use crate::chart::lines::{LineChart, Series, Timeline};
use crate::numbers;

/// Every epoch with its number counted over the whole run.
pub(crate) fn epochs(record: &RunRecord) -> Vec<(f64, &EpochRecord)> {
    let mut before = 0usize;
    let mut all = Vec::new();
    for phase in &record.phases {
        all.extend(phase.epochs.iter().map(|e| (whole(before.saturating_add(e.epoch)), e)));
        before = before.saturating_add(phase.epochs.iter().map(|e| e.epoch).max().unwrap_or(0));
    }
    all
}

#[expect(clippy::cast_precision_loss, reason = "epochs are counted in thousands")]
fn whole(epoch: usize) -> f64 {
    epoch as f64
}

/// Where phases begin and end, and their best epochs.
pub(crate) fn timeline(record: &RunRecord) -> Timeline {
    let mut timeline = Timeline::default();
    let mut before = 0usize;
    for phase in &record.phases {
        let Some(longest) = phase.epochs.iter().map(|e| e.epoch).max() else { continue };
        timeline.phases.push((
            phase.name.clone(),
            whole(before.saturating_add(1)),
            whole(before.saturating_add(longest)),
        ));
        if let (Some(best), Some(dice)) = (phase.best_epoch, phase.best_val_dice)
            && dice.is_finite()
        {
            timeline.best.push((whole(before.saturating_add(best)), dice, phase.name.clone()));
        }
        before = before.saturating_add(longest);
    }
    timeline
}

/// Tap names in the model's order, then any the model does not list.
pub(crate) fn tap_order(record: &RunRecord, present: &BTreeSet<&str>) -> Vec<String> {
    let listed = record.model.taps.iter().filter(|t| present.contains(t.as_str())).cloned();
    let others = present.iter().filter(|t| !record.model.taps.iter().any(|m| m == *t));
    listed.chain(others.map(|t| (*t).to_string())).collect()
}

/// All charts of the training section, as figures; empty when no epoch was finished.
pub(crate) fn charts(record: &RunRecord) -> Vec<String> {
    let epochs = epochs(record);
    let timeline = timeline(record);
    let scalar = |name: &str, f: &dyn Fn(&EpochRecord) -> Option<f64>| Series {
        name: name.into(),
        points: epochs.iter().filter_map(|(x, e)| f(e).map(|y| (*x, y))).collect(),
    };
    let chart = |title, note, y_label, series, mark_best, log_when_wide| {
        LineChart { title, note, y_label, series, timeline: &timeline, mark_best, log_when_wide }
            .render()
    };

    let mut losses = by_name(&epochs, |e| &e.loss, None);
    // The sum that was descended comes first.
    losses.sort_by_key(|s| s.name != "total");
    let mut dice = vec![scalar("all sources", &|e| e.val_dice)];
    let per_source = by_name(&epochs, |e| &e.val_dice_by_source, None);
    if per_source.len() > 1 {
        dice.extend(per_source);
    }
    let taps = |f: fn(&EpochRecord) -> &BTreeMap<String, f64>| {
        let present = epochs.iter().flat_map(|(_, e)| f(e).keys().map(String::as_str)).collect();
        by_name(&epochs, f, Some(tap_order(record, &present)))
    };

    [
        chart("Loss", "mean of each term over the epoch", "loss", losses, false, false),
        chart("Validation Dice", "hard, per case, foreground classes", "Dice", dice, true, false),
        chart(
            "Weight of the discrepancy per tap",
            "α at the end of the epoch",
            "α",
            taps(|e| &e.alpha),
            false,
            false,
        ),
        chart(
            "Discrepancy per tap",
            "unweighted, mean over the epoch; lower is further apart",
            "L_fd",
            taps(|e| &e.discrepancy),
            false,
            false,
        ),
        chart(
            "Learning rate",
            "at the end of the epoch",
            "learning rate",
            vec![scalar("learning rate", &|e| Some(e.lr))],
            false,
            true,
        ),
        chart(
            "Gradient norm",
            "before clipping, mean over the epoch",
            "norm",
            vec![scalar("gradient norm", &|e| Some(e.grad_norm))],
            false,
            true,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn by_name(
    epochs: &[(f64, &EpochRecord)],
    f: fn(&EpochRecord) -> &BTreeMap<String, f64>,
    order: Option<Vec<String>>,
) -> Vec<Series> {
    let names = order.unwrap_or_else(|| {
        epochs
            .iter()
            .flat_map(|(_, e)| f(e).keys().cloned())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    });
    names
        .into_iter()
        .map(|name| {
            let points = epochs.iter().filter_map(|(x, e)| f(e).get(&name).map(|y| (*x, *y)));
            Series { points: points.collect(), name }
        })
        .collect()
}

/// One sentence per phase: how long, how it ended, how good.
pub(crate) fn phase_sentences(record: &RunRecord) -> Vec<String> {
    record
        .phases
        .iter()
        .map(|phase| {
            let seconds: f64 = phase.epochs.iter().map(|e| e.seconds).sum();
            let best = match (phase.best_val_dice.filter(|d| d.is_finite()), phase.best_epoch) {
                (Some(dice), Some(epoch)) => {
                    format!("best validation Dice {} in epoch {epoch}", numbers::fixed(dice, 3))
                }
                _ => "no validation Dice".into(),
            };
            let ended =
                phase.ended.as_deref().unwrap_or("not finished when the record was written");
            format!(
                "Phase \u{201c}{}\u{201d}: {} in {}, {best}; {ended}.",
                phase.name,
                numbers::plural(phase.epochs.len(), "epoch", "epochs"),
                numbers::duration(seconds)
            )
        })
        .collect()
}

/// What the training table shows that the user should know.
pub(crate) fn warnings(record: &RunRecord) -> Vec<String> {
    let mut out = Vec::new();
    for phase in &record.phases {
        let Some(last) = phase.epochs.last() else {
            out.push(format!("phase \"{}\" has no finished epoch", phase.name));
            continue;
        };
        if phase.ended.is_none() {
            out.push(format!(
                "phase \"{}\" had not ended when the record was written: the run was interrupted \
                 or is still going",
                phase.name
            ));
        }
        let silent = |f: fn(&EpochRecord) -> &BTreeMap<String, f64>, name: &str| {
            phase.epochs.iter().all(|e| f(e).get(name).is_none_or(|v| *v == 0.0))
        };
        for term in last.loss.keys().filter(|t| silent(|e| &e.loss, t)) {
            out.push(format!(
                "loss term \"{term}\" was 0 in every epoch of phase \"{}\": it was asked for but \
                 contributed nothing",
                phase.name
            ));
        }
        if !last.alpha.is_empty() && last.alpha.keys().all(|t| silent(|e| &e.alpha, t)) {
            out.push(format!(
                "every discrepancy weight α stayed 0 through phase \"{}\": the discrepancy was \
                 measured but never trained on",
                phase.name
            ));
        }
    }
    out
}
