//! A study for a terminal of 100 columns.

use std::fmt::Write as _;

use super::findings::{Findings, METRICS};
use super::load::LoadedStudy;
use super::words::{self, corrected, p_text, signed, with_interval};
use crate::metric_words::label;
use crate::numbers;
use crate::tables::{plain, wrap};

pub(super) fn of(study: &LoadedStudy, f: &Findings<'_>) -> String {
    let metric = METRICS[0];
    let mut out = String::new();
    wrap(&plain(&format!("{}: {}", study.record.name, study.record.purpose)), &mut out);
    let width = f.methods.iter().map(|m| m.chars().count()).max().unwrap_or(6).clamp(6, 24);
    for (point, at) in f.points.iter().enumerate() {
        let rows: Vec<_> =
            f.rows.iter().filter(|r| r.point == point && r.metric == metric).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}", plain(&at.label));
        let _ = writeln!(
            out,
            "  {:<width$} {:<23} {:<26} {:>7}  seeds",
            "",
            label(metric),
            "difference",
            "p"
        );
        for row in rows {
            let Some(mean) = &row.mean else { continue };
            let name: String = plain(&f.methods[row.method]).chars().take(width).collect();
            let mean_words = with_interval(mean.value, mean.interval, 3);
            let (difference, p) = match &row.difference {
                Some(d) => {
                    let bracket = with_interval(d.difference.value, d.difference.interval, 3);
                    let bracket = bracket.split_once(' ').map_or("", |b| b.1).to_string();
                    let words = format!("{} {bracket}", signed(d.difference.value, 3));
                    (words, p_text(corrected(d.tests)))
                }
                None if Some(row.method) == f.reference => ("reference".into(), String::new()),
                None => (numbers::ABSENT.into(), numbers::ABSENT.into()),
            };
            let _ = writeln!(
                out,
                "  {name:<width$} {mean_words:<23} {difference:<26} {p:>7}  {}",
                mean.seeds()
            );
        }
    }
    out.push('\n');
    for line in words::verdicts(study, f) {
        wrap(&plain(&line), &mut out);
    }
    wrap(&plain(&words::budget(f)), &mut out);
    for trouble in &f.troubles {
        wrap(&plain(&format!("{}: {}", trouble.run, trouble.why)), &mut out);
    }
    for warning in &f.warnings {
        wrap(&plain(&format!("note: {warning}")), &mut out);
    }
    if f.waiting > 0 {
        let _ = writeln!(out, "{} not finished", numbers::plural(f.waiting, "run", "runs"));
    }
    out
}
