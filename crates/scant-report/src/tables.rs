//! Evaluations as tables: for a page, for a terminal, for Markdown and as CSV.

mod csv;
mod markdown;
mod text;

pub(crate) use csv::line as csv_line;
pub use csv::per_case_csv;
pub use markdown::summary_markdown;
pub(crate) use markdown::{escape as markdown_escape, table as markdown_table};
pub use text::summary_text;
pub(crate) use text::{plain, wrap};

use scant_metrics::stats::Interval;
use scant_metrics::{Metric, MetricSummary, Summary, SummaryRow};
use serde::Serialize;

use crate::metric_words::{digits, label};
use crate::numbers;

/// A table of the page; every text is escaped by the template.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Table {
    pub caption: String,
    pub head: Vec<Head>,
    pub rows: Vec<Row>,
    pub notes: Vec<String>,
}

/// A column head.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Head {
    pub text: String,
    pub sub: String,
    pub help: String,
    pub text_column: bool,
}

/// A row; its first cell names it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    pub class: &'static str,
    pub cells: Vec<Cell>,
}

/// A cell with an optional second, smaller line.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Cell {
    pub text: String,
    pub sub: String,
    /// A third line: how many of how many values.
    pub of: String,
    pub class: &'static str,
    pub help: String,
}

impl Head {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(crate) fn with_sub(text: impl Into<String>, sub: impl Into<String>) -> Self {
        Self { text: text.into(), sub: sub.into(), ..Self::default() }
    }
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(crate) fn with_sub(text: impl Into<String>, sub: impl Into<String>) -> Self {
        Self { text: text.into(), sub: sub.into(), ..Self::default() }
    }

    /// A count, in bold red where anything above zero is bad news.
    pub(crate) fn count(n: usize, alarming: bool) -> Self {
        let class = if alarming && n > 0 { "alert" } else { "" };
        Self { text: numbers::count(n as u64), class, ..Self::default() }
    }
}

/// `0.771–0.845`, `−0.02 to 0.04`, or nothing.
pub(crate) fn interval_text(interval: Option<Interval>, digits: usize) -> String {
    interval.map_or_else(String::new, |i| {
        // A dash between minus signs cannot be read.
        let between = if i.low < 0.0 || i.high < 0.0 { " to " } else { "–" };
        format!("{}{between}{}", numbers::fixed(i.low, digits), numbers::fixed(i.high, digits))
    })
}

/// The mean of a metric: a number, `∞`, or a dash.
pub(crate) fn mean_text(summary: &MetricSummary, metric: Metric) -> String {
    match summary.mean {
        _ if summary.n_infinite > 0 => "∞".into(),
        mean => numbers::fixed_opt(mean, digits(metric)),
    }
}

/// What a row is about, in words.
pub(crate) fn row_name(row: &SummaryRow) -> String {
    match (&row.source, &row.class) {
        (None, None) => "all".into(),
        (Some(s), None) => s.clone(),
        (None, Some(c)) => c.clone(),
        (Some(s), Some(c)) => format!("{s} / {c}"),
    }
}

/// Whether a mean over this row would mix millimetres with pixels.
pub(crate) fn mixes_units(row: &SummaryRow, metric: Metric) -> bool {
    metric.is_distance() && row.distance_unit == "mixed"
}

/// Metrics by rows with intervals and the count of every situation.
pub(crate) fn metric_table(
    caption: &str,
    first: &str,
    summary: &Summary,
    rows: &[(String, &'static str, &SummaryRow)],
) -> Table {
    let mut head = vec![Head::new(first), Head::with_sub("cases", "groups")];
    let situations = [
        ("both empty", "neither truth nor prediction has pixels"),
        ("false alarm", "the prediction has pixels, the truth none"),
        ("missed", "the truth has pixels, the prediction none"),
        ("failed", "could not be predicted; counts as 0 on shares"),
    ];
    let metric_head = |m: &Metric| Head {
        text: label(*m).into(),
        sub: unit_of(rows, *m),
        help: crate::metric_words::definition(*m, summary.nsd_tolerance),
        text_column: false,
    };
    // The first metric (Dice) and the situations come first: they are seen without scrolling.
    let split = summary.metrics.len().min(1);
    let (main, others) = summary.metrics.split_at(split);
    head.extend(main.iter().map(metric_head));
    head.extend(situations.map(|(t, help)| Head { help: help.into(), ..Head::new(t) }));
    head.extend(others.iter().map(metric_head));
    let rows = rows
        .iter()
        .map(|(name, class, row)| {
            let mut cells = vec![
                Cell::new(name),
                Cell::with_sub(numbers::count(row.cases as u64), numbers::count(row.groups as u64)),
            ];
            cells.extend(main.iter().map(|m| metric_cell(row, *m)));
            cells.extend([
                Cell::count(row.situations.both_empty, false),
                Cell::count(row.situations.false_alarm, true),
                Cell::count(row.situations.missed, true),
                Cell::count(row.situations.failed, true),
            ]);
            cells.extend(others.iter().map(|m| metric_cell(row, *m)));
            Row { class, cells }
        })
        .collect();
    let percent = summary.options.confidence * 100.0;
    let notes = vec![format!(
        "Means over one class on one case each; below them the {percent:.0} % bootstrap interval \
         (groups resampled) and, where some values are undefined, how many a mean has."
    )];
    Table { caption: caption.into(), head, rows, notes }
}

fn unit_of(rows: &[(String, &'static str, &SummaryRow)], metric: Metric) -> String {
    if !metric.is_distance() {
        return "0 to 1".into();
    }
    let mut units = rows.iter().map(|r| r.2.distance_unit.as_str());
    match units.next() {
        Some(first) if first != "mixed" && units.all(|u| u == first) => first.into(),
        _ => String::new(),
    }
}

fn metric_cell(row: &SummaryRow, metric: Metric) -> Cell {
    let Some(s) = row.metrics.get(&metric) else { return Cell::new(numbers::ABSENT) };
    if mixes_units(row, metric) {
        return Cell {
            text: numbers::ABSENT.into(),
            sub: "mm and px".into(),
            help: "a mean of millimetres and pixels means nothing".into(),
            ..Cell::default()
        };
    }
    let sub = interval_text(s.interval, digits(metric));
    let of = if s.n_undefined > 0 {
        format!("{} of {}", s.n, s.n + s.n_undefined)
    } else {
        String::new()
    };
    Cell {
        text: mean_text(s, metric),
        sub,
        of,
        class: "",
        help: format!(
            "median {}, sd {}, {} values, {} undefined, {} infinite{}",
            numbers::fixed_opt(s.median, digits(metric)),
            numbers::fixed_opt(s.sd, digits(metric)),
            s.n,
            s.n_undefined,
            s.n_infinite,
            if metric.is_distance() { format!(", {}", row.distance_unit) } else { String::new() }
        ),
    }
}

/// One row in full: every statistic of every metric.
pub(crate) fn full_table(summary: &Summary, row: &SummaryRow) -> Table {
    let head =
        ["metric", "values", "undefined", "mean", "interval", "sd", "median", "lowest", "highest"];
    let rows = summary
        .metrics
        .iter()
        .filter_map(|m| row.metrics.get(m).map(|s| (*m, s)))
        .map(|(m, s)| {
            let d = digits(m);
            let unit = if m.is_distance() { row.distance_unit.as_str() } else { "" };
            let mut cells = vec![
                Cell::with_sub(label(m), unit),
                Cell::count(s.n, false),
                Cell::count(s.n_undefined, false),
            ];
            if mixes_units(row, m) {
                cells.extend((0..6).map(|_| Cell::new(numbers::ABSENT)));
            } else {
                cells.push(Cell::new(mean_text(s, m)));
                cells.push(Cell::new(match interval_text(s.interval, d) {
                    t if t.is_empty() => numbers::ABSENT.into(),
                    t => t,
                }));
                for v in [s.sd, s.median, s.min, s.max] {
                    let infinite = v.is_some_and(f64::is_infinite);
                    cells.push(Cell::new(if infinite {
                        "∞".into()
                    } else {
                        numbers::fixed_opt(v, d)
                    }));
                }
            }
            Row { class: "", cells }
        })
        .collect();
    Table {
        caption: "Every metric in full, all sources and classes".into(),
        head: head.into_iter().map(Head::new).collect(),
        rows,
        notes: Vec::new(),
    }
}
