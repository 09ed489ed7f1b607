//! Tables outside the page.

#![allow(clippy::unwrap_used, missing_docs, clippy::cast_precision_loss)]

#[path = "support/fake_run.rs"]
mod fake_run;

use fake_run::Fake;
use scant_core::Evaluation;
use scant_metrics::{Metric, SummaryOptions, summarise};
use scant_report::tables::{per_case_csv, summary_markdown, summary_text};

fn evaluation(fake: &Fake) -> Evaluation {
    let folder = tempfile::tempdir().unwrap();
    fake_run::write(folder.path(), fake).evaluations.remove(0)
}

/// A reader of RFC 4180, so that quoting is tested by what comes back.
fn parse(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.push(chars.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    assert!(!quoted && field.is_empty());
    rows
}

#[test]
fn every_value_comes_back_from_the_csv() {
    let name = "odd, \"quoted\"\nname".to_string();
    let evaluation = evaluation(&Fake { sources: [name.clone(), "b".into()], ..Fake::default() });
    let rows = parse(&per_case_csv(&evaluation));
    let (head, body) = rows.split_first().unwrap();
    assert!(body.iter().all(|r| r.len() == head.len()));
    let at = |n: &str| head.iter().position(|h| h == n).unwrap();
    let pairs: Vec<_> =
        evaluation.cases.iter().flat_map(|c| c.classes.iter().map(move |k| (c, k))).collect();
    // The failed case has a line of its own.
    assert_eq!(body.len(), pairs.len() + 1);
    for (row, (case, class)) in body.iter().zip(&pairs) {
        assert_eq!(row[at("source")], case.id.source);
        assert_eq!(row[at("class")], class.class);
        assert_eq!(row[at("fn")].parse::<u64>().unwrap(), class.fn_);
        for metric in Metric::ALL {
            let field = &row[at(metric.name())];
            assert_eq!(field.parse::<f64>().ok(), class.metrics[metric.name()]);
        }
        let tap = row[at("discrepancy_enc1")].parse::<f64>().unwrap();
        assert_eq!(tap, case.discrepancy["enc1"]);
    }
    let failed = body.last().unwrap();
    assert!(failed[at("failure")].contains("ends in the middle") && failed[at("class")].is_empty());
}

#[test]
fn the_terminal_table_fits_and_counts() {
    let fakes = [
        Fake::default(),
        Fake {
            sources: ["a source with a very long name indeed".into(), "\u{1b}[31mred".into()],
            classes: ["x".into(), "left ventricular myocardium".into()],
            ..Fake::default()
        },
    ];
    for fake in fakes {
        let summary = summarise(&evaluation(&fake), &SummaryOptions::default()).unwrap();
        let text = summary_text(&summary);
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
            assert!(!line.chars().any(char::is_control));
        }
        assert!(text.contains("Empty masks (policy scant)"));
        let all = text.lines().find(|l| l.starts_with("all")).unwrap();
        let s = summary.rows[0].situations;
        let counts: Vec<usize> =
            all.split_whitespace().rev().take(4).map(|n| n.parse().unwrap()).collect();
        assert_eq!(counts, [s.failed, s.both_empty, s.false_alarm, s.missed]);
        let dice = summary.rows[0].metrics[&Metric::Dice];
        assert!(all.contains(&format!("{:.3}", dice.mean.unwrap())));
        assert!(all.contains(&format!("[{:.3}, ", dice.interval.unwrap().low)));
    }
}

#[test]
fn markdown_keeps_its_columns_whatever_the_names() {
    let fake = Fake { sources: ["a|b".into(), "<i>`c`</i>\n| x".into()], ..Fake::default() };
    let summary = summarise(&evaluation(&fake), &SummaryOptions::default()).unwrap();
    let text = summary_markdown(&summary);
    let lines: Vec<&str> = text.lines().take_while(|l| l.starts_with('|')).collect();
    assert_eq!(lines.len(), summary.rows.len() + 2);
    let columns = |l: &str| l.replace("\\|", "").matches('|').count();
    assert!(lines.iter().all(|l| columns(l) == columns(lines[0])));
    assert!(!text.contains("<i>"));
    assert!(text.contains("- Empty masks (policy scant)"));
}
