//! Every number of a study as CSV (RFC 4180, UTF-8, `\n` line ends).

use scant_metrics::study::Estimate;

use super::findings::Findings;
use super::load::LoadedStudy;
use crate::tables::csv_line;

/// One line per method, point and metric.
///
/// Columns: `method`, the axes of the grid, `metric`, `seeds`, `groups`, `cases`, `mean`, `low`, `high`,
/// then of the paired difference to the reference `difference`, `difference_low`, `difference_high`,
/// `at_least`, `at_most` (one-sided), `p_flips`, `p_two_way`, `p_wilcoxon`, `p`, `p_holm`, and the values
/// of the seeds, `scores_by_seed` and `differences_by_seed`, as `seed:value` separated by blanks. Empty
/// fields are absent values.
pub(super) fn of(study: &LoadedStudy, f: &Findings<'_>) -> String {
    let axes: Vec<&str> = study.record.axes.iter().map(|a| a.name.as_str()).collect();
    let mut out = String::new();
    let mut head = vec!["method".to_string()];
    head.extend(axes.iter().map(|a| (*a).to_string()));
    head.extend(
        "metric,seeds,groups,cases,mean,low,high,difference,difference_low,difference_high,at_least,\
         at_most,p_flips,p_two_way,p_wilcoxon,p,p_holm,scores_by_seed,differences_by_seed"
            .split(',')
            .map(String::from),
    );
    csv_line(&head, &mut out);
    for row in &f.rows {
        let Some(mean) = &row.mean else { continue };
        let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        let mut line = vec![f.methods[row.method].clone()];
        let at = &f.points[row.point].at;
        line.extend(axes.iter().map(|a| at.get(*a).cloned().unwrap_or_default()));
        line.push(row.metric.name().to_string());
        line.extend([mean.seeds(), mean.groups, mean.cases].map(|n| n.to_string()));
        line.push(mean.value.to_string());
        line.extend([number(mean.interval.map(|i| i.low)), number(mean.interval.map(|i| i.high))]);
        let d = row.difference.as_ref().map(|d| &d.difference);
        let tests = row.difference.as_ref().and_then(|d| d.tests);
        line.extend([
            number(d.map(|d| d.value)),
            number(d.and_then(|d| d.interval).map(|i| i.low)),
            number(d.and_then(|d| d.interval).map(|i| i.high)),
            number(d.and_then(|d| d.at_least)),
            number(d.and_then(|d| d.at_most)),
            number(tests.and_then(|t| t.flips).map(|t| t.p)),
            number(tests.and_then(|t| t.two_way).map(|t| t.p)),
            number(tests.and_then(|t| t.wilcoxon).map(|t| t.p)),
            number(tests.and_then(|t| t.p)),
            number(tests.and_then(|t| t.p_holm)),
            by_seed(mean),
            d.map_or_else(String::new, by_seed),
        ]);
        csv_line(&line, &mut out);
    }
    out
}

fn by_seed(e: &Estimate) -> String {
    e.by_seed.iter().map(|(s, v)| format!("{s}:{v}")).collect::<Vec<_>>().join(" ")
}
