//! The first thing read: what was trained on what, how good it is, and where it is worst.

use std::collections::BTreeMap;

use scant_core::{Role, RunRecord};
use scant_metrics::{Metric, Summary, SummaryRow, case_score};
use serde::Serialize;

use crate::association;
use crate::numbers;
use crate::results::{main_evaluation, worst_source};
use crate::tables::{Cell, Head, Row, Table, interval_text};

/// A number in large type.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub name: String,
    pub value: String,
    pub note: String,
}

/// What is said about one source.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub who: String,
    pub says: String,
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Base => "base",
        Role::Novel => "novel",
        Role::Unlabelled => "unlabelled",
    }
}

fn total(counts: &BTreeMap<String, BTreeMap<String, usize>>, part: &str) -> usize {
    counts.get(part).map_or(0, |s| s.values().copied().fold(0, usize::saturating_add))
}

/// Sentences on model, data, time and result.
pub(crate) fn sentences(record: &RunRecord, summary: Option<&Summary>) -> Vec<String> {
    let sources: Vec<String> =
        record.pool.sources.iter().map(|s| format!("{} ({})", s.name, role(s.role))).collect();
    let classes: Vec<String> = record.pool.classes.names().iter().skip(1).cloned().collect();
    let unlabelled = total(&record.split.images, "unlabelled");
    let also = if unlabelled > 0 {
        format!(" and {}", numbers::plural(unlabelled, "unlabelled image", "unlabelled images"))
    } else {
        String::new()
    };
    let mut out = vec![format!(
        "{} ({} parameters) was trained to find {} on {} of {}{also}, from {}, pool \u{201c}{}\u{201d}.",
        record.model.name,
        numbers::parameters(record.model.parameters),
        numbers::list(&classes),
        numbers::plural(total(&record.split.images, "train"), "image", "images"),
        numbers::plural(total(&record.split.groups, "train"), "group", "groups"),
        numbers::list(&sources),
        record.pool.name
    )];
    let epochs: usize = record.phases.iter().map(|p| p.epochs.len()).sum();
    out.push(format!(
        "That took {} for {} in {}, on {} with {}, seed {}.",
        numbers::duration(record.timing.train_secs),
        numbers::plural(epochs, "epoch", "epochs"),
        numbers::plural(record.phases.len(), "phase", "phases"),
        record.device,
        numbers::plural(record.threads, "thread", "threads"),
        record.seed
    ));
    if let Some((summary, row)) = summary.and_then(|s| Some((s, s.row(None, None)?))) {
        out.push(format!(
            "On the {} part it reaches {}, over {} of {}.",
            summary.part,
            dice_words(summary, row),
            numbers::plural(row.cases, "case", "cases"),
            numbers::plural(row.groups, "group", "groups")
        ));
    }
    out
}

fn dice_words(summary: &Summary, row: &SummaryRow) -> String {
    let Some(dice) = row.metrics.get(&Metric::Dice).filter(|d| d.mean.is_some()) else {
        return "no defined Dice".into();
    };
    let interval = match interval_text(dice.interval, 3) {
        none if none.is_empty() => "no interval".into(),
        text => format!("{:.0} % interval {text}", summary.options.confidence * 100.0),
    };
    format!("a mean Dice of {} ({interval})", numbers::fixed_opt(dice.mean, 3))
}

/// The numbers in large type.
pub(crate) fn figures(record: &RunRecord, summary: Option<&Summary>) -> Vec<Figure> {
    let figure = |name: String, value: String, note: String| Figure { name, value, note };
    let mut out = Vec::new();
    if let Some((summary, row)) = summary.and_then(|s| Some((s, s.row(None, None)?))) {
        let note = |row: &SummaryRow| {
            interval_text(row.metrics.get(&Metric::Dice).and_then(|d| d.interval), 3)
        };
        let mean = |row: &SummaryRow| {
            numbers::fixed_opt(row.metrics.get(&Metric::Dice).and_then(|d| d.mean), 3)
        };
        out.push(figure(format!("Dice, {}", summary.part), mean(row), note(row)));
        if let Some(worst) = worst_source(summary).and_then(|(w, _)| summary.row(Some(w), None)) {
            let name = worst.source.clone().unwrap_or_default();
            out.push(figure(
                "Dice, worst source".into(),
                mean(worst),
                format!("{name}, {}", note(worst)),
            ));
        }
        if let Some(d) = row.metrics.get(&Metric::Hd95).filter(|_| row.distance_unit != "mixed") {
            let value = if d.n_infinite > 0 { "∞".into() } else { numbers::fixed_opt(d.mean, 2) };
            out.push(figure(
                format!("HD95, {}", row.distance_unit),
                value,
                interval_text(d.interval, 2),
            ));
        }
    }
    let best = record.phases.iter().filter_map(|p| p.best_val_dice).filter(|d| d.is_finite());
    if let Some(best) = best.reduce(f64::max) {
        out.push(figure(
            "Dice, validation".into(),
            numbers::fixed(best, 3),
            "best epoch; chosen, so optimistic".into(),
        ));
    }
    let t = &record.timing;
    let waited = if t.train_secs > 0.0 {
        format!(
            "{} % of it waiting for data",
            numbers::fixed(t.data_wait_secs / t.train_secs * 100.0, 1)
        )
    } else {
        String::new()
    };
    out.push(figure("Training time".into(), numbers::duration(t.train_secs), waited));
    if let Some(mib) = t.peak_memory_mib.filter(|m| m.is_finite()) {
        out.push(figure(
            "Peak memory".into(),
            format!("{} MiB", numbers::fixed(mib, 0)),
            "largest resident size".into(),
        ));
    }
    out
}

/// One sentence per source, worst first.
pub(crate) fn verdicts(record: &RunRecord, summary: &Summary) -> Vec<Verdict> {
    let worst = worst_source(summary);
    let mut rows: Vec<&SummaryRow> =
        summary.rows.iter().filter(|r| r.source.is_some() && r.class.is_none()).collect();
    let dice = |r: &SummaryRow| r.metrics.get(&Metric::Dice).and_then(|d| d.mean);
    rows.sort_by(|a, b| {
        dice(a).unwrap_or(f64::INFINITY).total_cmp(&dice(b).unwrap_or(f64::INFINITY))
    });
    rows.into_iter()
        .filter_map(|row| {
            let name = row.source.clone()?;
            let mut parts = vec![format!(
                "{} over {} of {}",
                dice_words(summary, row),
                numbers::plural(row.cases, "case", "cases"),
                numbers::plural(row.groups, "group", "groups")
            )];
            if let Some((_, gap)) = worst.filter(|(w, _)| *w == name) {
                parts.push(format!("the worst source, {} below the best", numbers::fixed(gap, 3)));
            }
            if let Some(quarter) = lower_quartile(record, &name) {
                parts.push(format!(
                    "a quarter of its cases score {} or less",
                    numbers::fixed(quarter, 3)
                ));
            }
            let s = &row.situations;
            let bad: Vec<String> = [
                (s.missed, format!("{} missed", s.missed)),
                (s.false_alarm, numbers::plural(s.false_alarm, "false alarm", "false alarms")),
                (s.failed, format!("{} failed", s.failed)),
            ]
            .into_iter()
            .filter_map(|(n, words)| (n > 0).then_some(words))
            .collect();
            parts.push(if bad.is_empty() {
                "nothing missed, no false alarms".into()
            } else {
                format!("of {} results (a class on a case) {}", s.total(), numbers::list(&bad))
            });
            Some(Verdict { who: name, says: format!("{}.", parts.join("; ")) })
        })
        .collect()
}

fn lower_quartile(record: &RunRecord, source: &str) -> Option<f64> {
    let cases = main_evaluation(record)?.cases.iter().filter(|c| c.id.source == source);
    let mut scores: Vec<f64> = cases.filter_map(|c| case_score(c, Metric::Dice)).collect();
    scores.sort_by(f64::total_cmp);
    (scores.len() >= 4).then(|| association::quantile(&scores, 0.25)).flatten()
}

/// Sources, their roles and how their images were divided.
pub(crate) fn data_table(record: &RunRecord) -> Table {
    let parts: Vec<&String> = {
        let known = ["train", "validation", "test", "unlabelled"];
        let mut parts: Vec<&String> = record.split.images.keys().collect();
        parts.sort_by_key(|p| known.iter().position(|k| k == p).unwrap_or(known.len()));
        parts
    };
    let mut head = vec![Head::new("source"), Head::new("role"), Head::with_sub("images", "groups")];
    head.extend(parts.iter().map(|p| Head::with_sub(p.as_str(), "groups")));
    head.push(Head { text_column: true, ..Head::new("classes drawn") });
    let rows = record.pool.sources.iter().map(|s| {
        let mut cells = vec![
            Cell::new(&s.name),
            Cell::new(role(s.role)),
            Cell::with_sub(numbers::count(s.images as u64), numbers::count(s.groups as u64)),
        ];
        cells.extend(parts.iter().map(|p| {
            let of = |m: &BTreeMap<String, BTreeMap<String, usize>>| {
                m.get(*p).and_then(|x| x.get(&s.name)).copied().unwrap_or(0)
            };
            Cell::with_sub(
                numbers::count(of(&record.split.images) as u64),
                numbers::count(of(&record.split.groups) as u64),
            )
        }));
        let drawn = if s.annotated.is_empty() { "none".into() } else { s.annotated.join(", ") };
        cells.push(Cell { class: "text", ..Cell::new(drawn) });
        Row { class: "", cells }
    });
    Table {
        caption: "Data".into(),
        head,
        rows: rows.collect(),
        notes: vec![format!("How it was divided: {}.", record.split.how)],
    }
}
