//! The methods section: every definition behind the numbers of a run.

use std::collections::BTreeSet;

use scant_core::RunRecord;
use scant_metrics::{EmptyPolicy, Metric, SummaryOptions};
use serde::Serialize;

use crate::metric_words::{definition, label};
use crate::numbers;

/// A term and what it means here.
#[derive(Debug, Serialize)]
pub(crate) struct Definition {
    pub term: String,
    pub text: String,
}

/// All definitions for `record`.
pub(crate) fn definitions(record: &RunRecord) -> Vec<Definition> {
    let mut out = Vec::new();
    let mut say = |term: &str, text: String| out.push(Definition { term: term.into(), text });
    say("Split", format!("{}; SHA-256 of the split file {}.", record.split.how, record.split.hash));
    let present: BTreeSet<&str> = record
        .evaluations
        .iter()
        .flat_map(|e| &e.cases)
        .flat_map(|c| &c.classes)
        .flat_map(|c| c.metrics.keys().map(String::as_str))
        .collect();
    let tolerances: BTreeSet<String> =
        record.evaluations.iter().map(|e| e.protocol.nsd_tolerance.to_string()).collect();
    for metric in Metric::ALL.into_iter().filter(|m| present.contains(m.name())) {
        let mut text = definition(metric, 0.0);
        if metric == Metric::Nsd {
            let tolerance = tolerances.iter().cloned().collect::<Vec<_>>().join(" or ");
            text = text.replacen("within 0 ", &format!("within {tolerance} "), 1);
        }
        say(label(metric), text);
    }
    say(
        "Distances",
        "between border pixels (pixels of the mask with a 4-neighbour, in volumes a 6-neighbour, \
         outside it), with the pixel spacing; in mm where the spacing is known, else in pixels. \
         Percentiles interpolate linearly."
            .into(),
    );
    let policies: BTreeSet<&str> =
        record.evaluations.iter().map(|e| e.protocol.empty_policy.as_str()).collect();
    for policy in policies {
        say(
            "Empty masks",
            match policy.parse::<EmptyPolicy>() {
                Ok(known) => known.describe().to_string(),
                Err(e) => e.to_string(),
            },
        );
    }
    say(
        "Means",
        "are over one class on one case each, for classes that were drawn there. A failed case \
         counts as 0 on Dice, IoU, precision, recall and NSD. Validation Dice in the curves is the \
         same hard Dice, averaged over validation cases and foreground classes."
            .into(),
    );
    let o = SummaryOptions::default();
    say(
        "Intervals",
        format!(
            "{:.0} % percentile bootstrap of the mean, {} resamples of whole groups (patients, \
             slides), seed {}; too narrow below about ten groups (Davison and Hinkley 1997, \
             section 3.8).",
            o.confidence * 100.0,
            numbers::count(o.bootstrap as u64),
            o.seed
        ),
    );
    say(
        "Worst-off, best-off",
        "the quarter of the cases with the lowest and highest Dice (mean over the classes of a \
         case)."
            .into(),
    );
    say(
        "L_fd",
        "the feature discrepancy of a tap in the form the recipe names, before its weight α. The \
         correlation with Dice is Pearson’s; the partial correlation holds the foreground share \
         of the truth (or its logarithm) fixed: (r_xy − r_xz r_yz) / √((1 − r_xz²)(1 − r_yz²)). \
         Correlations are over cases, so cases of one group count as independent."
            .into(),
    );
    say(
        "Pictures",
        "are reduced to 512 pixels a side by whole factors. Heatmaps are the channel mean of a \
         tap, scaled to its own range, in viridis (Smith and van der Walt 2015). Difference \
         colours are of Okabe and Ito (2008)."
            .into(),
    );
    say(
        "Software",
        format!(
            "trained by scant {} (record layout {}), reported by scant {}; device {}, {}, seed {}.",
            record.scant_version,
            record.schema,
            crate::VERSION,
            record.device,
            numbers::plural(record.threads, "thread", "threads"),
            record.seed
        ),
    );
    say("Taps", numbers::list(&record.model.taps));
    out
}
