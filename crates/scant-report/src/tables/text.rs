//! A summary for a terminal of 100 columns.

use std::fmt::Write as _;

use scant_metrics::{Metric, Summary, SummaryRow};

use super::{mean_text, mixes_units, row_name};
use crate::metric_words::{digits, label};
use crate::numbers;

/// Columns of the terminal the table is made for.
const WIDTH: usize = 100;
/// Metrics that fit; all of them are in the report and in `--json`.
const SHOWN: [Metric; 5] = [Metric::Dice, Metric::Iou, Metric::Hd95, Metric::Assd, Metric::Nsd];

/// The main metrics of every row, Dice with its interval, the count of every situation, and the
/// notes (the empty-mask policy among them), at most 100 characters wide, ending in a newline.
#[must_use]
pub fn summary_text(summary: &Summary) -> String {
    let metrics: Vec<Metric> = SHOWN.into_iter().filter(|m| summary.metrics.contains(m)).collect();
    let name_width =
        summary.rows.iter().map(|r| row_name(r).chars().count()).max().unwrap_or(3).clamp(6, 17);
    let mut out = String::new();
    let _ = write!(out, "{:<name_width$} {:>5}", "", "cases");
    for m in &metrics {
        let _ = match m {
            Metric::Dice => write!(out, " {:<20}", " Dice"),
            m => write!(out, " {:>6}", label(*m)),
        };
    }
    out.push_str(" unit  miss alarm empty fail\n");
    for row in &summary.rows {
        write_row(row, &metrics, name_width, &mut out);
    }
    out.push('\n');
    let percent = summary.options.confidence * 100.0;
    let bracket =
        format!("In brackets: {percent:.0} % bootstrap interval of the mean, groups resampled.");
    for note in summary.notes.iter().chain([&bracket]) {
        wrap(&plain(note), &mut out);
    }
    out
}

fn write_row(row: &SummaryRow, metrics: &[Metric], name_width: usize, out: &mut String) {
    let name = cut(&plain(&row_name(row)), name_width);
    let _ = write!(out, "{name:<name_width$} {:>5}", row.cases);
    for &m in metrics {
        let value = match row.metrics.get(&m) {
            Some(s) if !mixes_units(row, m) => mean_text(s, m),
            _ => numbers::ABSENT.into(),
        };
        if m == Metric::Dice {
            let interval = row.metrics.get(&m).and_then(|s| s.interval).map(|i| {
                format!(
                    " [{}, {}]",
                    numbers::fixed(i.low, digits(m)),
                    numbers::fixed(i.high, digits(m))
                )
            });
            let _ = write!(out, " {:<20}", format!("{value:>5}{}", interval.unwrap_or_default()));
        } else {
            // A distance of a thousand pixels must not push the table over the edge.
            let value = if value.chars().count() > 6 {
                numbers::fixed_opt(row.metrics.get(&m).and_then(|s| s.mean), 0)
            } else {
                value
            };
            let _ = write!(out, " {:>6}", cut(&value, 6));
        }
    }
    let s = &row.situations;
    let _ = writeln!(
        out,
        " {:<5} {:>4} {:>5} {:>5} {:>4}",
        cut(&row.distance_unit, 5),
        s.missed,
        s.false_alarm,
        s.both_empty,
        s.failed
    );
}

/// Without control characters, which a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        text.to_string()
    } else {
        text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    }
}

/// Lines of at most [`WIDTH`] characters.
pub(crate) fn wrap(text: &str, out: &mut String) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let word = cut(word, WIDTH);
        let len = word.chars().count();
        if column > 0 && column + 1 + len > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(&word);
        column += len;
    }
    out.push('\n');
}
