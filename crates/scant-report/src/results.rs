//! Evaluations of one run: tables, distributions, failed cases, discrepancy against Dice.

use std::collections::{BTreeMap, BTreeSet};

use scant_core::{CaseRecord, Evaluation, RunRecord};
use scant_metrics::{
    EmptyPolicy, Metric, MetricError, Share, Summary, SummaryOptions, SummaryRow, best_off,
    case_score, subset, summarise, worst_off,
};
use serde::Serialize;

use crate::association::{self, Line};
use crate::chart::scatter::{Point, Scatter};
use crate::chart::strip;
use crate::curves::tap_order;
use crate::numbers;
use crate::tables::{self, Cell, Head, Row, Table};

/// Share of the cases shown as worst-off and best-off.
pub(crate) const TAIL: f64 = 0.25;

/// One evaluation on the page.
#[derive(Debug, Default, Serialize)]
pub(crate) struct EvaluationPage {
    pub title: String,
    pub part: String,
    pub intro: String,
    pub policy: String,
    pub tables: Vec<Table>,
    pub failed: Vec<Failed>,
    pub strip: Option<String>,
    pub alpha: Option<String>,
    pub scatters: Vec<String>,
    pub association: Table,
}

/// A case that could not be predicted.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub case: String,
    pub why: String,
}

/// The evaluation a headline is about: the test part, or the last one there is.
pub(crate) fn main_evaluation(record: &RunRecord) -> Option<&Evaluation> {
    let filled = || record.evaluations.iter().filter(|e| !e.cases.is_empty());
    filled().find(|e| e.part == "test").or_else(|| filled().next_back())
}

/// Everything the page says about `evaluation`. What cannot be summarised becomes a warning: the
/// rest of an intact run is still worth reading.
pub(crate) fn page(
    record: &RunRecord,
    evaluation: &Evaluation,
    warnings: &mut Vec<String>,
) -> EvaluationPage {
    let p = &evaluation.protocol;
    let mut page = EvaluationPage {
        title: format!("Evaluation on {}", evaluation.part),
        part: evaluation.part.clone(),
        intro: format!(
            "{}; threshold {}, test-time augmentation {}, NSD tolerance {} (unit of the case).",
            numbers::plural(evaluation.cases.len(), "case", "cases"),
            p.threshold,
            p.tta,
            p.nsd_tolerance
        ),
        policy: p.empty_policy.parse::<EmptyPolicy>().map_or_else(
            |_| format!("Empty masks: policy \u{201c}{}\u{201d}.", p.empty_policy),
            |known| known.describe().to_string(),
        ),
        failed: failed(evaluation),
        ..EvaluationPage::default()
    };
    if evaluation.cases.is_empty() {
        page.intro = "This part holds no cases.".into();
        warnings.push(format!("evaluation \"{}\" holds no cases", evaluation.part));
        return page;
    }
    match summary_tables(evaluation) {
        Ok((tables, notes)) => {
            page.tables = tables;
            warnings.extend(
                notes
                    .into_iter()
                    .filter(|n| *n != page.policy)
                    .map(|n| format!("{}: {n}", evaluation.part)),
            );
        }
        Err(e) => {
            warnings.push(format!("evaluation \"{}\" cannot be summarised: {e}", evaluation.part))
        }
    }
    page.strip = distribution(evaluation);
    discrepancy(record, evaluation, &mut page);
    page
}

fn failed(evaluation: &Evaluation) -> Vec<Failed> {
    let failed = evaluation.cases.iter().filter_map(|c| c.failure.as_ref().map(|why| (c, why)));
    failed.map(|(c, why)| Failed { case: c.id.to_string(), why: why.clone() }).collect()
}

fn summary_tables(evaluation: &Evaluation) -> Result<(Vec<Table>, Vec<String>), MetricError> {
    let options = SummaryOptions::default();
    let summary = summarise(evaluation, &options)?;
    let mut out = Vec::new();

    let worst = worst_source(&summary).map(|(name, _)| name.to_string());
    let rows = |keep: &dyn Fn(&SummaryRow) -> bool| {
        summary
            .rows
            .iter()
            .filter(|r| keep(r))
            .map(|r| {
                let class = match &r.source {
                    _ if r.source.is_none() && r.class.is_none() => "total",
                    Some(s) if r.class.is_none() && Some(s) == worst.as_ref() => "worst",
                    _ => "",
                };
                (tables::row_name(r), class, r)
            })
            .collect::<Vec<_>>()
    };
    let overall = summary.row(None, None);
    let mut by_source = rows(&|r| r.source.is_some() && r.class.is_none());
    by_source.extend(overall.map(|r| ("all sources".to_string(), "total", r)));
    out.push(tables::metric_table("By source", "source", &summary, &by_source));

    let mut by_class = rows(&|r| r.source.is_none() && r.class.is_some());
    let both = rows(&|r| r.source.is_some() && r.class.is_some());
    if both.len() > by_class.len() {
        by_class.extend(both);
    }
    if !by_class.is_empty() {
        let mut table = tables::metric_table("By class", "class", &summary, &by_class);
        table.notes.clear();
        out.push(table);
    }
    if let Some(table) = tails(evaluation, &options)? {
        out.push(table);
    }
    if let Some(row) = overall {
        out.push(tables::full_table(&summary, row));
    }
    Ok((out, summary.notes.clone()))
}

/// The source with the lowest mean Dice and by how much the best is higher; `None` below two.
pub(crate) fn worst_source(summary: &Summary) -> Option<(&str, f64)> {
    let mut means: Vec<(&str, f64)> = summary
        .rows
        .iter()
        .filter(|r| r.class.is_none())
        .filter_map(|r| Some((r.source.as_deref()?, r.metrics.get(&Metric::Dice)?.mean?)))
        .collect();
    means.sort_by(|a, b| a.1.total_cmp(&b.1));
    match means.as_slice() {
        [(worst, low), .., (_, high)] => Some((worst, high - low)),
        _ => None,
    }
}

/// The quarter of the cases with the lowest and with the highest Dice.
fn tails(evaluation: &Evaluation, options: &SummaryOptions) -> Result<Option<Table>, MetricError> {
    let share = Share::Fraction(TAIL);
    let (worst, best) = (worst_off(evaluation, share)?, best_off(evaluation, share)?);
    // Below four cases a quarter is one case or the same case twice.
    if evaluation.cases.len() < 4 || worst.is_empty() || best.is_empty() {
        return Ok(None);
    }
    let low = summarise(&subset(evaluation, &worst)?, options)?;
    let high = summarise(&subset(evaluation, &best)?, options)?;
    let (Some(low_row), Some(high_row)) = (low.row(None, None), high.row(None, None)) else {
        return Ok(None);
    };
    let rows = [
        ("worst-off (lowest 25 % by Dice)".to_string(), "", low_row),
        ("best-off (highest 25 % by Dice)".to_string(), "", high_row),
    ];
    let mut table = tables::metric_table("Worst-off and best-off cases", "cases", &low, &rows);
    table.notes = vec![
        "Cases are ranked by this run’s own Dice (mean over classes; a failed case ranks as 0, a \
         case without any defined Dice is left out), so these rows show the spread, not a gain."
            .into(),
    ];
    Ok(Some(table))
}

/// Cases by source, in order of first appearance.
fn by_source(evaluation: &Evaluation) -> Vec<(&str, Vec<&CaseRecord>)> {
    let mut out: Vec<(&str, Vec<&CaseRecord>)> = Vec::new();
    for case in &evaluation.cases {
        match out.iter_mut().find(|(s, _)| *s == case.id.source) {
            Some((_, cases)) => cases.push(case),
            None => out.push((&case.id.source, vec![case])),
        }
    }
    out
}

fn distribution(evaluation: &Evaluation) -> Option<String> {
    let rows: Vec<strip::Row> = by_source(evaluation)
        .into_iter()
        .map(|(name, cases)| strip::Row {
            name: name.into(),
            scores: cases
                .iter()
                .filter_map(|c| Some((case_score(c, Metric::Dice)?, c.id.to_string())))
                .collect(),
        })
        .collect();
    strip::render(
        "Dice of every case",
        "mean over classes; the band holds the middle half, the bar is the median; a failed case counts as 0",
        "Dice",
        &rows,
    )
}

/// Share of the pixels that truth calls foreground, over all classes drawn on the case.
pub(crate) fn foreground_fraction(case: &CaseRecord) -> Option<f64> {
    let total = case
        .classes
        .iter()
        .map(|c| [c.tp, c.fp, c.fn_, c.tn].into_iter().fold(0, u64::saturating_add))
        .max()?;
    let truth = case.classes.iter().flat_map(|c| [c.tp, c.fn_]).fold(0, u64::saturating_add);
    #[expect(clippy::cast_precision_loss, reason = "pixel counts are far below 2^52")]
    (total > 0).then(|| truth as f64 / total as f64)
}

fn discrepancy(record: &RunRecord, evaluation: &Evaluation, page: &mut EvaluationPage) {
    let present: BTreeSet<&str> =
        evaluation.cases.iter().flat_map(|c| c.discrepancy.keys().map(String::as_str)).collect();
    let taps = tap_order(record, &present);
    let sources: Vec<String> =
        by_source(evaluation).into_iter().map(|(s, _)| s.to_string()).collect();
    let mut rows = Vec::new();
    let mut means: BTreeMap<&str, f64> = BTreeMap::new();
    for tap in &taps {
        let mut points = Vec::new();
        let mut triples = Vec::new();
        let mut values = Vec::new();
        for case in evaluation.cases.iter().filter(|c| c.failure.is_none()) {
            let Some(x) = case.discrepancy.get(tap).copied().filter(|x| x.is_finite()) else {
                continue;
            };
            values.push(x);
            let Some(y) = case_score(case, Metric::Dice).filter(|y| y.is_finite()) else {
                continue;
            };
            let series = sources.iter().position(|s| *s == case.id.source).unwrap_or(0);
            let name = format!(
                "{}: L_fd {}, Dice {}",
                case.id,
                numbers::fixed(x, 2),
                numbers::fixed(y, 3)
            );
            points.push(Point { x, y, series, name, label: String::new() });
            if let Some(f) = foreground_fraction(case) {
                triples.push((x, y, f));
            }
        }
        if let Some(mean) = association::mean(values.iter().copied()) {
            means.insert(tap, mean);
        }
        let pairs: Vec<(f64, f64)> = points.iter().map(|p| (p.x, p.y)).collect();
        let r = association::pearson(&pairs);
        let given_size = association::partial(&triples);
        let logs: Vec<_> =
            triples.iter().filter(|t| t.2 > 0.0).map(|t| (t.0, t.1, t.2.ln())).collect();
        let given_log_size = association::partial(&logs);
        rows.push(Row {
            class: "",
            cells: vec![
                Cell::new(tap),
                Cell::count(pairs.len(), false),
                Cell::new(numbers::fixed_opt(means.get(tap.as_str()).copied(), 2)),
                Cell::new(numbers::fixed_opt(r, 2)),
                Cell::new(numbers::fixed_opt(given_size, 2)),
                Cell::with_sub(
                    numbers::fixed_opt(given_log_size, 2),
                    format!("{} cases", logs.len()),
                ),
            ],
        });
        let plot = Scatter {
            title: tap,
            note: &format!(
                "r = {}, given object size {}",
                numbers::fixed_opt(r, 2),
                numbers::fixed_opt(given_size, 2)
            ),
            x_label: "L_fd",
            y_label: "Dice",
            line: Line::fit(&pairs),
            points,
            series: sources.clone(),
            square_unit: false,
            unit_y: true,
        };
        page.scatters.extend(plot.render());
    }
    page.alpha = alpha_against_discrepancy(record, &means, &taps);
    page.association = Table {
        caption: "L_fd and Dice over cases, per tap".into(),
        head: vec![
            Head::new("tap"),
            Head::new("cases"),
            Head::new("mean L_fd"),
            Head::with_sub("r", "Pearson"),
            Head::with_sub("partial r", "given foreground share"),
            Head::with_sub("partial r", "given its logarithm"),
        ],
        rows,
        notes: Vec::new(),
    };
}

/// Final weight of each tap against its mean discrepancy on the evaluated cases.
fn alpha_against_discrepancy(
    record: &RunRecord,
    means: &BTreeMap<&str, f64>,
    taps: &[String],
) -> Option<String> {
    let last =
        record.phases.iter().rev().flat_map(|p| p.epochs.last()).find(|e| !e.alpha.is_empty())?;
    let points = taps
        .iter()
        .filter_map(|tap| {
            let (x, y) = (*last.alpha.get(tap)?, *means.get(tap.as_str())?);
            let name = format!("{tap}: α {}, L_fd {}", numbers::fixed(x, 3), numbers::fixed(y, 2));
            Some(Point { x, y, series: 0, name, label: tap.clone() })
        })
        .collect();
    Scatter {
        title: "Final α and mean L_fd",
        note: "one dot per tap",
        x_label: "α at the end of training",
        y_label: "mean L_fd of the cases",
        points,
        series: Vec::new(),
        line: None,
        square_unit: false,
        unit_y: false,
    }
    .render()
}
