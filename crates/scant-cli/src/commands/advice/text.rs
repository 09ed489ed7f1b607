//! The advice in plain words.

use std::fmt::Write as _;

use scant_metrics::stats::Separability;

use super::trained::Trained;
use super::verdict::Verdict;
use super::{Advice, SourceAdvice};

/// Everything that is said.
pub(crate) fn text(advice: &Advice) -> String {
    let mut out = format!(
        "{}: what to add to {}, judged by Dice on base test cases\n",
        advice.pool,
        advice.base.join(", ")
    );
    for source in &advice.advice {
        out += &one(source, advice);
    }
    out += "\nAUC: how well a small classifier tells a source from the base on groups it has not seen; 0.5 is \
            chance, 1 is always.\n";
    if advice.advice.iter().any(|a| a.trained.is_some()) {
        let _ = writeln!(
            out,
            "Differences: a method with the source minus the base alone, paired over {} seeds, groups and \
             cases; the intervals of a source hold together with 95 % (Bonferroni).",
            advice.seeds
        );
    } else {
        out += "This is the cheap answer; only training tells (without --quick).\n";
    }
    out
}

fn one(source: &SourceAdvice, advice: &Advice) -> String {
    let mut out = format!(
        "\n{} ({} images of {} groups)\n",
        source.sources.join(" + "),
        source.images,
        source.groups
    );
    let auc = |s: Option<Separability>| s.map_or("-".to_owned(), |s| format!("{:.2}", s.auc));
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "  AUC {} in pixel statistics, {} in features: {}",
        auc(source.cheap.pixels),
        auc(source.cheap.features),
        source.cheap.meaning
    );
    let Some(trained) = &source.trained else { return out };
    let _ = writeln!(out, "  => {}", verdict(trained, advice.margin));
    let width = trained.effects.iter().map(|e| e.method.len()).max().unwrap_or(0);
    for e in &trained.effects {
        let difference = e.difference.map_or("-".to_owned(), |d| format!("{d:+.4}"));
        let interval = e.interval.map_or("no interval: too few seeds or groups".to_owned(), |i| {
            format!("[{:+.4}, {:+.4}]", i.low, i.high)
        });
        let _ = writeln!(
            out,
            "     {:<width$}  fraction {:<6}  {difference:>7}  {interval}",
            e.method, e.fraction
        );
    }
    if !trained.failed.is_empty() {
        let failed = trained.failed.len();
        let _ = writeln!(
            out,
            "     {failed} run(s) failed and are in no number: {}",
            trained.failed[0]
        );
    }
    out
}

fn verdict(trained: &Trained, margin: f64) -> String {
    match &trained.verdict {
        Verdict::Add { method, fraction, plainly } => {
            let effect =
                trained.effects.iter().find(|e| e.method == *method && e.fraction == *fraction);
            let gain = effect.and_then(|e| Some((e.difference?, e.interval?)));
            let gain = gain.map_or(String::new(), |(d, i)| {
                format!(": {d:+.4} Dice, [{:+.4}, {:+.4}]", i.low, i.high)
            });
            let part = if fraction == "1" { String::new() } else { format!(", {fraction} of it") };
            let as_well = match (method.as_str(), plainly) {
                ("plain", _) => "",
                (_, true) => "; plain pooling helps as well",
                (_, false) => "; plain pooling has not been shown to help",
            };
            match method.as_str() {
                "plain" => format!("add it{part}{gain}"),
                _ => format!("add it with {method}{part}{gain}{as_well}"),
            }
        }
        Verdict::LeaveOut => format!(
            "leave it out: added in some way it harms, and in none does it help by more than {margin} Dice"
        ),
        Verdict::NoDifference => format!(
            "no clear difference: adding it neither helps nor hurts by more than {margin} Dice"
        ),
        Verdict::CannotTell { harmful } if harmful.is_empty() => {
            "not enough data to tell: the intervals reach from harm to help".into()
        }
        Verdict::CannotTell { harmful } => format!(
            "not enough data to tell whether some way helps; shown to harm: {}",
            harmful.join(", ")
        ),
    }
}
