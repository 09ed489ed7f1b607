//! Several runs on one page: the same tables beside each other and paired comparisons.

use std::collections::{BTreeMap, BTreeSet};

use scant_core::{Evaluation, RunRecord};
use scant_metrics::{
    CompareOptions, Comparison, ComparisonScope, EmptyPolicy, Metric, MetricComparison, Summary,
    SummaryOptions, TestUnit, case_score, compare, stats, summarise,
};
use serde::Serialize;

use crate::chart::lines::{LineChart, Series, Timeline};
use crate::chart::scatter::{Point, Scatter};
use crate::curves;
use crate::grids::{Grid, grids};
use crate::load::LoadedRun;
use crate::metric_words::{digits, label};
use crate::movement;
use crate::numbers;
use crate::results::main_evaluation;
use crate::tables::{self, Cell, Head, Row, Table, interval_text};

/// The comparison at the top of a page of several runs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ComparisonPage {
    pub sentences: Vec<String>,
    pub warnings: Vec<String>,
    pub tables: Vec<Table>,
    pub charts: Vec<String>,
    pub grids: Vec<Grid>,
}

/// Compares every further run with the first, the baseline.
pub(crate) fn page(runs: &[LoadedRun], names: &[String]) -> ComparisonPage {
    let mut page = ComparisonPage {
        warnings: differences(runs, names),
        grids: grids(runs, names),
        ..ComparisonPage::default()
    };
    let evaluations: Vec<Option<&Evaluation>> =
        runs.iter().map(|r| main_evaluation(&r.record)).collect();
    tables_beside(&evaluations, names, &mut page);
    if let Some(chart) = validation_curves(runs, names) {
        page.charts.push(chart);
    }
    let Some(a) = evaluations[0] else {
        page.warnings
            .push(format!("{} has not been evaluated: nothing can be paired with it", names[0]));
        return page;
    };
    let options = CompareOptions::default();
    let mut made: Vec<(&str, &Evaluation, Comparison)> = Vec::new();
    for (b, name) in evaluations.iter().zip(names).skip(1) {
        let Some(b) = b else {
            page.warnings.push(format!("{name} has not been evaluated and is in no comparison"));
            continue;
        };
        match compare(a, b, &shared_metrics(a, b), &options) {
            Ok(comparison) => made.push((name, b, comparison)),
            Err(e) => page.warnings.push(format!("{name} cannot be paired with {}: {e}", names[0])),
        }
    }
    let corrected = correct(&made);
    for ((name, b, comparison), p) in made.iter().zip(corrected) {
        describe(&names[0], name, comparison, &p, &mut page);
        page.charts.extend(paired_plot(&names[0], name, a, b));
        page.charts.extend(movement::charts((&names[0], &[a]), (name, &[b])));
    }
    page
}

fn shared_metrics(a: &Evaluation, b: &Evaluation) -> Vec<Metric> {
    let of = |e: &Evaluation| {
        let classes = e.cases.iter().flat_map(|c| &c.classes);
        classes.flat_map(|c| c.metrics.keys().cloned()).collect::<BTreeSet<String>>()
    };
    let (a, b) = (of(a), of(b));
    Metric::ALL.into_iter().filter(|m| a.contains(m.name()) && b.contains(m.name())).collect()
}

/// What differs between the runs besides what may be the question.
fn differences(runs: &[LoadedRun], names: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut differ = |what: &str, f: &dyn Fn(&RunRecord) -> String, why: &str| {
        let values: Vec<String> = runs.iter().map(|r| f(&r.record)).collect();
        if values.iter().any(|v| *v != values[0]) {
            let listed: Vec<String> =
                names.iter().zip(&values).map(|(n, v)| format!("{n}: {v}")).collect();
            out.push(format!("{what} differ ({}); {why}", listed.join(", ")));
        }
    };
    differ(
        "splits",
        &|r| r.split.hash.chars().take(12).collect(),
        "a case may be trained on in one run and tested on in another",
    );
    differ("pools", &|r| r.pool.name.clone(), "the question is not the same");
    differ(
        "epochs of training",
        &|r| r.phases.iter().map(|p| p.epochs.len()).sum::<usize>().to_string(),
        "part of any gain may be longer training",
    );
    differ(
        "evaluated parts",
        &|r| main_evaluation(r).map_or_else(|| "none".into(), |e| e.part.clone()),
        "they are set beside each other all the same",
    );
    differ(
        "empty-mask policies",
        &|r| main_evaluation(r).map_or_else(|| "none".into(), |e| e.protocol.empty_policy.clone()),
        "their means are not comparable",
    );
    differ(
        "NSD tolerances",
        &|r| {
            main_evaluation(r)
                .map_or_else(|| "none".into(), |e| e.protocol.nsd_tolerance.to_string())
        },
        "their NSD is not comparable",
    );
    out
}

fn tables_beside(evaluations: &[Option<&Evaluation>], names: &[String], page: &mut ComparisonPage) {
    let mut summaries: Vec<(&str, Summary)> = Vec::new();
    for (evaluation, name) in evaluations.iter().zip(names) {
        let Some(evaluation) = evaluation else { continue };
        match summarise(evaluation, &SummaryOptions::default()) {
            Ok(summary) => summaries.push((name, summary)),
            Err(e) => page.warnings.push(format!("{name} cannot be summarised: {e}")),
        }
    }
    let Some((_, first)) = summaries.first() else { return };
    // Columns of every run, so that a metric only one of them has is not lost.
    let mut columns = first.clone();
    columns.metrics = Metric::ALL
        .into_iter()
        .filter(|m| summaries.iter().any(|(_, s)| s.metrics.contains(m)))
        .collect();
    let overall: Vec<_> = summaries
        .iter()
        .filter_map(|(n, s)| Some(((*n).to_string(), "", s.row(None, None)?)))
        .collect();
    let mut table = tables::metric_table("All sources and classes", "run", &columns, &overall);
    let policies: BTreeSet<&str> = evaluations
        .iter()
        .flatten()
        .filter_map(|e| e.protocol.empty_policy.parse::<EmptyPolicy>().ok())
        .map(EmptyPolicy::describe)
        .collect();
    table.notes.extend(policies.into_iter().map(String::from));
    page.tables.push(table);

    let sources: BTreeSet<&str> =
        summaries.iter().flat_map(|(_, s)| &s.rows).filter_map(|r| r.source.as_deref()).collect();
    let mut rows = Vec::new();
    for source in &sources {
        for (name, summary) in &summaries {
            if let Some(row) = summary.row(Some(source), None) {
                rows.push((format!("{source}: {name}"), "", row));
            }
        }
    }
    if sources.len() > 1 {
        page.tables.push(tables::metric_table("By source", "source: run", &columns, &rows));
    }
}

/// Wilcoxon p-values of the overall tables, Holm-corrected over every comparison on the page.
fn correct(made: &[(&str, &Evaluation, Comparison)]) -> Vec<Vec<Option<f64>>> {
    let raw: Vec<Vec<Option<f64>>> = made
        .iter()
        .map(|(_, _, c)| c.overall.metrics.iter().map(|m| m.wilcoxon.map(|w| w.p)).collect())
        .collect();
    let all: Vec<f64> = raw.iter().flatten().flatten().copied().collect();
    let mut adjusted = stats::holm(&all).into_iter();
    raw.into_iter()
        .map(|row| row.into_iter().map(|p| p.and_then(|_| adjusted.next())).collect())
        .collect()
}

fn describe(a: &str, b: &str, c: &Comparison, p: &[Option<f64>], page: &mut ComparisonPage) {
    let dice = c.overall.metrics.iter().position(|m| m.metric == Metric::Dice);
    if let Some(i) = dice {
        page.sentences.push(verdict(a, b, &c.overall.metrics[i], p.get(i).copied().flatten()));
    }
    let mut overall =
        scope_table(&format!("{b} against {a}: all paired cases"), a, b, &c.overall, Some(p));
    let unit = match c.options.unit {
        TestUnit::Group => "mean differences of groups",
        TestUnit::Case => "differences of cases",
    };
    overall.notes.push(format!(
        "Differences are {b} minus {a}, means over cases; intervals resample groups, tests see {unit}. \
         p of the Wilcoxon signed-rank test is corrected after Holm over all metrics and \
         comparisons of this page’s overall tables."
    ));
    overall.notes.extend(c.notes.iter().cloned());
    page.tables.push(overall);
    for (scope, at) in [(&c.worst_off, "worst"), (&c.best_off, "best")] {
        if let Some(scope) = scope {
            let caption = format!("{b} against {a}: the quarter of the cases {a} is {at} at");
            page.tables.push(scope_table(&caption, a, b, scope, None));
        }
    }
    if c.by_source.len() > 1 {
        let mut table =
            scope_table(&format!("{b} against {a}: Dice by source"), a, b, &c.overall, None);
        table.rows.clear();
        table.head[0] = Head::new("source");
        for (source, scope) in &c.by_source {
            if let Some(m) = scope.metric(Metric::Dice) {
                let mut row = metric_row(m, m.wilcoxon_p_holm);
                row.cells[0] = Cell::new(source);
                table.rows.push(row);
            }
        }
        table.notes = vec!["p is corrected over the metrics of one source.".into()];
        page.tables.push(table);
    }
}

/// One sentence that claims no more than interval and test together allow.
fn verdict(a: &str, b: &str, m: &MetricComparison, p: Option<f64>) -> String {
    let Some(difference) = m.mean_difference else {
        return format!("{b} against {a}: no case has a Dice in both.");
    };
    let interval = match interval_text(m.interval, 3) {
        none if none.is_empty() => "no interval".to_string(),
        text => format!("interval {text}"),
    };
    let shown =
        m.interval.is_some_and(|i| i.low > 0.0 || i.high < 0.0) && p.is_some_and(|p| p < 0.05);
    let says = match (shown, difference > 0.0) {
        (true, true) => "is better",
        (true, false) => "is worse",
        (false, _) => "is not shown to differ",
    };
    format!(
        "{b} {says} in Dice than {a}: mean difference {}{} ({interval}) over {} of {}, higher on {}, \
         lower on {}; corrected p {}.",
        if difference > 0.0 { "+" } else { "" },
        numbers::fixed(difference, 3),
        numbers::plural(m.n, "case", "cases"),
        numbers::plural(m.groups, "group", "groups"),
        m.b_better,
        m.a_better,
        p_text(p)
    )
    .replace("is not shown to differ in Dice than", "is not shown to differ in Dice from")
}

fn p_text(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.001 => "< 0.001".into(),
        p => numbers::fixed_opt(p, 3),
    }
}

fn scope_table(
    caption: &str,
    a: &str,
    b: &str,
    scope: &ComparisonScope,
    p: Option<&[Option<f64>]>,
) -> Table {
    let head = vec![
        Head::new("metric"),
        Head::with_sub("cases", "groups"),
        Head::with_sub("mean", a),
        Head::with_sub("mean", b),
        Head::with_sub("difference", "interval"),
        Head::with_sub("better / worse", "/ equal, cases"),
        Head::with_sub("p", "Wilcoxon, Holm"),
        Head::with_sub("p", "t-test, Holm"),
        Head::with_sub("effect", "rank-biserial"),
    ];
    let rows = scope
        .metrics
        .iter()
        .enumerate()
        .map(|(i, m)| {
            let wilcoxon = p.map_or(m.wilcoxon_p_holm, |p| p.get(i).copied().flatten());
            metric_row(m, wilcoxon)
        })
        .collect();
    Table { caption: caption.into(), head, rows, notes: Vec::new() }
}

fn metric_row(m: &MetricComparison, wilcoxon_p: Option<f64>) -> Row {
    let d = digits(m.metric);
    let arrow = if m.higher_is_better { "↑ is better" } else { "↓ is better" };
    let mut name = Cell::with_sub(label(m.metric), arrow);
    name.help = format!(
        "{} undefined in one or both",
        m.defined_in_a_only + m.defined_in_b_only + m.defined_in_neither
    );
    let difference = m.mean_difference.map_or_else(
        || numbers::ABSENT.to_string(),
        |v| format!("{}{}", if v > 0.0 { "+" } else { "" }, numbers::fixed(v, d)),
    );
    Row {
        class: "",
        cells: vec![
            name,
            Cell::with_sub(numbers::count(m.n as u64), numbers::count(m.groups as u64)),
            Cell::new(numbers::fixed_opt(m.mean_a, d)),
            Cell::new(numbers::fixed_opt(m.mean_b, d)),
            Cell::with_sub(difference, interval_text(m.interval, d)),
            Cell::new(format!("{} / {} / {}", m.b_better, m.a_better, m.equal)),
            Cell::new(p_text(wilcoxon_p)),
            Cell::new(p_text(m.t_test_p_holm)),
            Cell::new(numbers::fixed_opt(m.wilcoxon.map(|w| w.rank_biserial), 2)),
        ],
    }
}

fn paired_plot(a_name: &str, b_name: &str, a: &Evaluation, b: &Evaluation) -> Option<String> {
    let others: BTreeMap<_, _> = b.cases.iter().map(|c| (&c.id, c)).collect();
    let sources: BTreeSet<&str> = a.cases.iter().map(|c| c.id.source.as_str()).collect();
    let sources: Vec<String> = sources.into_iter().map(String::from).collect();
    let points = a
        .cases
        .iter()
        .filter_map(|case| {
            let other = others.get(&case.id)?;
            let (x, y) = (case_score(case, Metric::Dice)?, case_score(other, Metric::Dice)?);
            let name =
                format!("{}: {} and {}", case.id, numbers::fixed(x, 3), numbers::fixed(y, 3));
            let series = sources.iter().position(|s| *s == case.id.source).unwrap_or(0);
            Some(Point { x, y, series, name, label: String::new() })
        })
        .collect();
    Scatter {
        title: "Dice of every paired case",
        note: &format!("above the diagonal {b_name} is better"),
        x_label: &format!("Dice, {a_name}"),
        y_label: &format!("Dice, {b_name}"),
        points,
        series: sources,
        line: None,
        square_unit: true,
        unit_y: true,
    }
    .render()
}

fn validation_curves(runs: &[LoadedRun], names: &[String]) -> Option<String> {
    let series: Vec<Series> = runs
        .iter()
        .zip(names)
        .map(|(run, name)| Series {
            name: name.clone(),
            points: curves::epochs(&run.record)
                .into_iter()
                .filter_map(|(x, e)| e.val_dice.map(|y| (x, y)))
                .collect(),
        })
        .collect();
    let last = series.iter().flat_map(|s| s.points.iter().map(|p| p.0)).fold(1.0, f64::max);
    let timeline = Timeline { phases: vec![(String::new(), 1.0, last)], best: Vec::new() };
    LineChart {
        title: "Validation Dice",
        note: "epochs counted over all phases",
        y_label: "Dice",
        series,
        timeline: &timeline,
        mark_best: false,
        log_when_wide: false,
    }
    .render()
}
