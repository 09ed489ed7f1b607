//! `scant compare`

use scant_core::Evaluation;
use scant_metrics::{CompareOptions, Comparison, ComparisonScope, Metric, compare};
use scant_train::RunFolder;

use crate::args::CompareArgs;
use crate::exit::{Failure, Result};

pub(crate) fn run(args: &CompareArgs) -> Result {
    let metrics = args
        .metrics
        .iter()
        .map(|m| m.parse::<Metric>().map_err(Failure::usage))
        .collect::<Result<Vec<_>>>()?;
    let runs = args
        .runs
        .iter()
        .map(|path| {
            let record = RunFolder::open(path)?.read_record()?;
            let part = args.part.name();
            let evaluation = record.evaluations.into_iter().find(|e| e.part == part);
            let evaluation = evaluation.ok_or_else(|| {
                Failure::usage(format!(
                    "{} has no evaluation of the {part} part; run: scant evaluate {0} --split {part}",
                    path.display()
                ))
            })?;
            Ok((record.name, evaluation))
        })
        .collect::<Result<Vec<(String, Evaluation)>>>()?;
    let (name_a, a) = &runs[0];
    let mut all = Vec::new();
    for (name_b, b) in &runs[1..] {
        let found = compare(a, b, &metrics, &CompareOptions::default())?;
        if args.json {
            all.push(serde_json::json!({ "baseline": name_a, "run": name_b, "comparison": found }));
        } else {
            print!("{}", text(name_a, name_b, &found));
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all).map_err(Failure::failed)?);
    }
    Ok(())
}

fn text(a: &str, b: &str, c: &Comparison) -> String {
    let mut out = format!("{b} minus {a}\n");
    let mut scope = |title: &str, s: &ComparisonScope| {
        out += &format!("\n{title}: {} cases of {} groups\n", s.cases, s.groups);
        out += &format!(
            "  {:<12} {:>8} {:>8} {:>9} {:>21} {:>10} {:>10} {:>7}\n",
            "metric",
            a_short(a),
            a_short(b),
            "diff",
            "95 % interval",
            "Wilcoxon p",
            "t-test p",
            "d_z"
        );
        let number = |v: Option<f64>, digits: usize| {
            v.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
        };
        for m in &s.metrics {
            let interval = m
                .interval
                .as_ref()
                .map_or_else(|| "-".to_owned(), |i| format!("[{:+.4}, {:+.4}]", i.low, i.high));
            out += &format!(
                "  {:<12} {:>8} {:>8} {:>9} {interval:>21} {:>10} {:>10} {:>7}\n",
                m.metric.name(),
                number(m.mean_a, 4),
                number(m.mean_b, 4),
                m.mean_difference.map_or_else(|| "-".to_owned(), |v| format!("{v:+.4}")),
                number(m.wilcoxon_p_holm, 4),
                number(m.t_test_p_holm, 4),
                number(m.cohens_dz, 2),
            );
        }
    };
    scope("all paired cases", &c.overall);
    if let Some(s) = &c.worst_off {
        scope("worst-off quarter of the baseline", s);
    }
    if let Some(s) = &c.best_off {
        scope("best-off quarter of the baseline", s);
    }
    for (source, s) in &c.by_source {
        scope(source, s);
    }
    out += "\np-values after Holm's correction over the metrics of a table; tests are on groups.\n";
    out += &format!("{}\n", c.policy_text);
    for note in &c.notes {
        out += &format!("note: {note}\n");
    }
    for (name, only) in [(a, &c.only_a), (b, &c.only_b)] {
        if !only.is_empty() {
            out += &format!("{} case(s) only in {name}: in no number here\n", only.len());
        }
    }
    out
}

/// The end of a name, which is where runs differ.
fn a_short(name: &str) -> &str {
    let start = name.len().saturating_sub(8);
    name.get(start..).unwrap_or(name)
}
