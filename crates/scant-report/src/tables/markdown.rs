//! A summary as a Markdown table.

use std::fmt::Write as _;

use scant_metrics::Summary;

use super::{Table, interval_text, mean_text, mixes_units, row_name};
use crate::metric_words::{digits, label};
use crate::numbers;

/// One line per row of the summary: every metric with its interval, the count of every situation,
/// and below it the notes (the empty-mask policy among them).
#[must_use]
pub fn summary_markdown(summary: &Summary) -> String {
    let mut head = vec!["".to_string(), "cases".into(), "groups".into()];
    head.extend(summary.metrics.iter().map(|m| label(*m).to_string()));
    head.extend(["unit", "both empty", "false alarm", "missed", "failed"].map(String::from));
    let mut out = String::new();
    line(&head, &mut out);
    let rule: Vec<String> =
        (0..head.len()).map(|i| if i == 0 { ":--" } else { "--:" }.to_string()).collect();
    line(&rule, &mut out);
    for row in &summary.rows {
        let mut cells = vec![escape(&row_name(row)), row.cases.to_string(), row.groups.to_string()];
        for m in &summary.metrics {
            cells.push(match row.metrics.get(m) {
                Some(s) if !mixes_units(row, *m) => {
                    let interval = interval_text(s.interval, digits(*m));
                    let mean = mean_text(s, *m);
                    if interval.is_empty() { mean } else { format!("{mean} ({interval})") }
                }
                _ => numbers::ABSENT.into(),
            });
        }
        let s = &row.situations;
        cells.push(escape(&row.distance_unit));
        cells.extend([s.both_empty, s.false_alarm, s.missed, s.failed].map(|n| n.to_string()));
        line(&cells, &mut out);
    }
    out.push('\n');
    for note in &summary.notes {
        let _ = writeln!(out, "- {}", escape(note));
    }
    out
}

/// A table of a page: its caption as a heading, smaller lines of a cell in brackets, notes below.
pub(crate) fn table(table: &Table, out: &mut String) {
    let _ = writeln!(out, "## {}\n", escape(&table.caption));
    let words = |parts: [&String; 3]| {
        let [text, rest @ ..] = parts.map(|p| escape(p));
        let rest: Vec<String> = rest.into_iter().filter(|r| !r.is_empty()).collect();
        if rest.is_empty() { text } else { format!("{text} ({})", rest.join("; ")) }
    };
    let none = String::new();
    line(&table.head.iter().map(|h| words([&h.text, &h.sub, &none])).collect::<Vec<_>>(), out);
    let rule = |i: usize| if i == 0 { ":--" } else { "--:" }.to_string();
    line(&(0..table.head.len()).map(rule).collect::<Vec<_>>(), out);
    for row in &table.rows {
        let cell = |c: &super::Cell| {
            let text = words([&c.text, &c.sub, &c.of]);
            if c.class == "shown" { format!("**{text}**") } else { text }
        };
        line(&row.cells.iter().map(cell).collect::<Vec<_>>(), out);
    }
    out.push('\n');
    for note in &table.notes {
        let _ = writeln!(out, "{}\n", escape(note));
    }
}

fn line(cells: &[String], out: &mut String) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

/// Names come from files and folders: they must stay inside their cell and stay plain text.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}
