//! The per-case table as CSV (RFC 4180, UTF-8, `\n` line ends).

use std::collections::BTreeSet;

use scant_core::{CaseClassResult, CaseRecord, EmptySituation, Evaluation};
use scant_metrics::Metric;

/// One line per case and class, with every count and metric as recorded.
///
/// Columns: `part, source, group, stem, class, situation, tp, fp, fn, tn, distance_unit`, the
/// metrics (known ones in table order, then others by name), `failure`, and `discrepancy_<tap>`.
/// Empty fields are undefined values. A failed case without results has one line and no class.
/// Numbers are written so that reading them back gives the same value.
#[must_use]
pub fn per_case_csv(evaluation: &Evaluation) -> String {
    let mut present: BTreeSet<&str> = BTreeSet::new();
    for class in evaluation.cases.iter().flat_map(|c| &c.classes) {
        present.extend(class.metrics.keys().map(String::as_str));
    }
    let mut metrics: Vec<&str> = Vec::new();
    metrics.extend(Metric::ALL.iter().map(|m| m.name()).filter(|m| present.contains(m)));
    let known = metrics.len();
    for name in present {
        if !metrics[..known].contains(&name) {
            metrics.push(name);
        }
    }
    let taps: BTreeSet<&str> =
        evaluation.cases.iter().flat_map(|c| c.discrepancy.keys().map(String::as_str)).collect();

    let mut out = String::new();
    let fixed = "part,source,group,stem,class,situation,tp,fp,fn,tn,distance_unit";
    let mut header: Vec<String> = fixed.split(',').map(String::from).collect();
    header.extend(metrics.iter().map(|m| (*m).to_string()));
    header.push("failure".into());
    header.extend(taps.iter().map(|t| format!("discrepancy_{t}")));
    line(&header, &mut out);
    for case in &evaluation.cases {
        let results: Vec<Option<&CaseClassResult>> = if case.classes.is_empty() {
            vec![None]
        } else {
            case.classes.iter().map(Some).collect()
        };
        for result in results {
            line(&fields(evaluation, case, result, &metrics, &taps), &mut out);
        }
    }
    out
}

fn fields(
    evaluation: &Evaluation,
    case: &CaseRecord,
    result: Option<&CaseClassResult>,
    metrics: &[&str],
    taps: &BTreeSet<&str>,
) -> Vec<String> {
    let mut f = vec![
        evaluation.part.clone(),
        case.id.source.clone(),
        case.id.group.clone(),
        case.id.stem.clone(),
    ];
    match result {
        Some(r) => {
            f.extend([r.class.clone(), situation(r.situation).to_string()]);
            f.extend([r.tp, r.fp, r.fn_, r.tn].map(|n| n.to_string()));
        }
        None => f.extend(std::iter::repeat_n(String::new(), 6)),
    }
    f.push(case.distance_unit.clone());
    for m in metrics {
        let value = result.and_then(|r| r.metrics.get(*m).copied().flatten());
        f.push(value.map_or_else(String::new, |v| v.to_string()));
    }
    f.push(case.failure.clone().unwrap_or_default());
    f.extend(taps.iter().map(|t| {
        case.discrepancy.get(*t).map_or_else(String::new, std::string::ToString::to_string)
    }));
    f
}

fn situation(s: EmptySituation) -> &'static str {
    match s {
        EmptySituation::BothPresent => "both_present",
        EmptySituation::BothEmpty => "both_empty",
        EmptySituation::FalseAlarm => "false_alarm",
        EmptySituation::Missed => "missed",
    }
}

/// One line, with quotes where a field needs them.
pub(crate) fn line(fields: &[String], out: &mut String) {
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if field.contains([',', '"', '\n', '\r']) {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(field);
        }
    }
    out.push('\n');
}
