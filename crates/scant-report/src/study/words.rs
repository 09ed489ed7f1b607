//! The verdict of a study in plain words, and what it rests on.

use std::collections::BTreeSet;

use scant_metrics::stats::Interval;
use scant_metrics::study::{Estimate, MIN_SEEDS, PairedDifference, Tests};

use super::findings::{Findings, LEVEL, METRICS, range};
use super::load::LoadedStudy;
use crate::metric_words::label;
use crate::numbers;

/// `0.012 [0.003, 0.021]`.
pub(super) fn with_interval(value: f64, interval: Option<Interval>, digits: usize) -> String {
    let bracket = interval.map_or_else(String::new, |i| {
        format!(" [{}, {}]", numbers::fixed(i.low, digits), numbers::fixed(i.high, digits))
    });
    format!("{}{bracket}", numbers::fixed(value, digits))
}

/// With a plus sign where above 0.
pub(super) fn signed(value: f64, digits: usize) -> String {
    format!("{}{}", if value > 0.0 { "+" } else { "" }, numbers::fixed(value, digits))
}

pub(super) fn p_text(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.001 => "< 0.001".into(),
        p => numbers::fixed_opt(p, 3),
    }
}

/// The corrected p of tests that may be missing.
pub(super) fn corrected(tests: Option<Tests>) -> Option<f64> {
    tests.and_then(|t| t.p_holm)
}

/// Whether an interval leaves out 0 and the corrected p agrees.
pub(super) fn shown(estimate: &Estimate, tests: Option<Tests>) -> bool {
    let away = estimate.interval.is_some_and(|i| i.low > 0.0 || i.high < 0.0);
    away && corrected(tests).is_some_and(|p| p < LEVEL)
}

/// One verdict after the other: per point, then over the whole curve, under noise, and on the
/// worst-off cases.
pub(super) fn verdicts(study: &LoadedStudy, f: &Findings<'_>) -> Vec<String> {
    let Some((_, most)) = f.seeds() else {
        return vec!["No run of this study has finished: there is nothing to say yet.".into()];
    };
    let Some(reference) = f.reference else {
        return vec!["There is no reference to compare with, so nothing is claimed.".into()];
    };
    let name = &f.methods[reference];
    if most < MIN_SEEDS {
        return vec![format!(
            "{} so far: nothing is claimed. Intervals and tests are withheld below {MIN_SEEDS} seeds, \
             because a difference between two runs may be nothing but the luck of a seed.",
            numbers::plural(most, "seed", "seeds")
        )];
    }
    let mut out = Vec::new();
    // Points at which something differs, and methods that never do.
    let (mut loud, mut same) = (BTreeSet::new(), Vec::new());
    let (mut compared, mut tested) = (0, BTreeSet::new());
    for method in (0..f.methods.len()).filter(|m| *m != reference) {
        let here: Vec<(usize, &PairedDifference)> = f
            .rows
            .iter()
            .filter(|r| r.method == method && r.metric == METRICS[0])
            .filter_map(|r| Some((r.point, r.difference.as_ref()?)))
            .filter(|(_, d)| d.tests.is_some())
            .collect();
        compared += here.len();
        tested.extend(here.iter().map(|h| h.0));
        let clear: Vec<_> = here.iter().filter(|(_, d)| d.shown(LEVEL)).collect();
        loud.extend(clear.iter().map(|c| c.0));
        if clear.is_empty() && !here.is_empty() {
            same.push(f.methods[method].clone());
        }
        for better in [true, false] {
            let at: Vec<String> = clear
                .iter()
                .filter(|(_, d)| (d.gain() > 0.0) == better)
                .map(|(p, d)| by_how_much(&f.points[*p].label, d))
                .collect();
            if !at.is_empty() {
                let says = if better { "beats" } else { "is worse than" };
                let metric = label(METRICS[0]);
                let who = &f.methods[method];
                out.push(format!("{who} {says} {name} in {metric} at {}.", numbers::list(&at)));
            }
        }
    }
    let quiet: Vec<String> = tested.difference(&loud).map(|p| f.points[*p].label.clone()).collect();
    if !same.is_empty() && !loud.is_empty() {
        let verb = if same.len() == 1 { "is" } else { "are" };
        out.push(format!(
            "{} {verb} not distinguishable from {name} at any point.",
            numbers::list(&same)
        ));
    }
    if !quiet.is_empty() {
        out.push(format!("No method is distinguishable from {name} at {}.", numbers::list(&quiet)));
    }
    if compared > 1 {
        out.push(format!(
            "These are {compared} comparisons; their p-values are corrected for that number (Holm)."
        ));
    } else if compared == 0 {
        out.push(format!(
            "No method shares {MIN_SEEDS} seeds with {name} at any point, so nothing is claimed."
        ));
    }
    out.extend(bounds(f));
    out.extend(areas(f, name));
    out.extend(drops(f, name));
    out.extend(worst_off(study, f, name));
    out
}

/// `fraction 1/4 by 0.012 [0.003, 0.021] (corrected p 0.030)`.
fn by_how_much(at: &str, d: &PairedDifference) -> String {
    let interval = d.difference.interval.map(|i| {
        if d.difference.value < 0.0 { Interval { low: -i.high, high: -i.low } } else { i }
    });
    format!(
        "{at} by {} (corrected p {})",
        with_interval(d.difference.value.abs(), interval, 3),
        p_text(corrected(d.tests))
    )
}

/// How bad each method could be at its worst point.
fn bounds(f: &Findings<'_>) -> Option<String> {
    let lowest = |method: usize| {
        let rows = f.rows.iter().filter(|r| r.method == method && r.metric == METRICS[0]);
        let found =
            rows.filter_map(|r| Some((r.point, r.difference.as_ref()?.difference.at_least?)));
        found.min_by(|a, b| a.1.total_cmp(&b.1))
    };
    let words: Vec<String> = (0..f.methods.len())
        .filter_map(|m| lowest(m).map(|(p, low)| (m, p, low)))
        .map(|(m, p, low)| {
            let at = match f.points.len() {
                1 => String::new(),
                _ => format!(" ({})", f.points[p].label),
            };
            format!("{} {}{at}", f.methods[m], signed(low, 3))
        })
        .collect();
    let percent = f.options.summary.confidence * 100.0;
    (!words.is_empty()).then(|| {
        format!(
            "One-sided {percent:.0} % bounds, each on its own: the difference is above this at every \
             point, {}.",
            numbers::list(&words)
        )
    })
}

fn areas(f: &Findings<'_>, reference: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut open = Vec::new();
    for row in &f.areas {
        let Some(d) = row.difference.as_ref().filter(|d| d.tests.is_some()) else { continue };
        let slice = if row.slice.is_empty() { String::new() } else { format!(" at {}", row.slice) };
        if shown(&d.difference, d.tests) {
            let side = if d.difference.value > 0.0 { "above" } else { "below" };
            out.push(format!(
                "Over the whole curve{slice}, {} lies {side} {reference}: area under Dice over fraction \
                 {}, corrected p {}.",
                f.methods[row.method],
                with_interval(d.difference.value, d.difference.interval, 3),
                p_text(corrected(d.tests))
            ));
        } else {
            open.push(format!("{}{slice}", f.methods[row.method]));
        }
    }
    if !open.is_empty() {
        out.push(format!(
            "Over the whole curve, {} cannot be told from {reference}.",
            numbers::list(&open)
        ));
    }
    out
}

fn drops(f: &Findings<'_>, reference: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (method, name) in f.methods.iter().enumerate().filter(|m| Some(m.0) != f.reference) {
        let found: Vec<String> = f
            .drops
            .iter()
            .filter(|r| r.method == method)
            .filter_map(|row| {
                let (ratio, interval) = (row.found.ratio?, row.found.interval?);
                let clear = shown(&row.found.difference, row.found.tests);
                Some(format!(
                    "{} at {}{}",
                    with_interval(ratio, Some(interval), 2),
                    f.points[row.point].label,
                    if clear { "" } else { " (not shown to differ)" }
                ))
            })
            .collect();
        if !found.is_empty() {
            out.push(format!(
                "What {name} loses to noise, in units of what {reference} loses: {}.",
                numbers::list(&found)
            ));
        }
    }
    out
}

fn worst_off(study: &LoadedStudy, f: &Findings<'_>, reference: &str) -> Vec<String> {
    let clear: Vec<String> = f
        .worst
        .iter()
        .filter_map(|row| {
            let d = row.found.by_other_seeds.as_ref().filter(|d| d.shown(LEVEL))?;
            Some(format!(
                "{} at {}: {}",
                f.methods[row.method],
                f.points[row.point].label,
                with_interval(d.difference.value, d.difference.interval, 3)
            ))
        })
        .collect();
    let judged = f.worst.iter().filter(|r| r.found.by_other_seeds.is_some()).count();
    match (judged, clear.is_empty()) {
        (0, _) => Vec::new(),
        (_, false) => vec![format!(
            "On the worst-off quarter of the cases ({}, chosen by runs that are not judged), a difference \
             in Dice to {reference} is shown for {}.",
            judge_words(&study.record.judge),
            numbers::list(&clear)
        )],
        (_, true) => vec![format!(
            "On the worst-off quarter of the cases, chosen by runs that are not judged, no method is \
             distinguishable from {reference}."
        )],
    }
}

/// Whose cases are meant.
pub(super) fn judge_words(judge: &str) -> String {
    match judge {
        "all" => "all test cases".into(),
        "base" => "test cases of the base sources".into(),
        "novel" => "test cases of the novel sources".into(),
        source => format!("test cases of {source}"),
    }
}

/// What was run with how much: seeds, epochs, size, network.
pub(super) fn budget(f: &Findings<'_>) -> String {
    let set =
        |of: &dyn Fn(usize) -> usize| -> BTreeSet<usize> { (0..f.judged.len()).map(of).collect() };
    let epochs = set(&|i| f.judged[i].record.phases.iter().map(|p| p.epochs.len()).sum());
    let train = set(&|i| {
        let parts = &f.judged[i].record.split.images;
        parts.get("train").map_or(0, |s| s.values().copied().fold(0, usize::saturating_add))
    });
    let words = |of: &dyn Fn(usize) -> Option<String>| -> String {
        let all: BTreeSet<String> = (0..f.judged.len()).filter_map(of).collect();
        all.into_iter().collect::<Vec<_>>().join(" or ")
    };
    let models = words(&|i| {
        let m = &f.judged[i].record.model;
        Some(format!("{} with {} parameters", m.name, numbers::parameters(m.parameters)))
    });
    let sizes = words(&|i| size(&f.judged[i].record.recipe));
    let pools = words(&|i| Some(format!("\u{201c}{}\u{201d}", f.judged[i].record.pool.name)));
    let seeds = match f.seeds() {
        Some((a, b)) if a != b => format!("{a} to {b} seeds"),
        Some((a, _)) => numbers::plural(a, "seed", "seeds"),
        None => "no seed".into(),
    };
    let size = if sizes.is_empty() { String::new() } else { format!(" at {sizes} pixels") };
    format!(
        "The budget behind these numbers: {seeds} per method and point, {} epochs, {models}{size}, splits \
         with {} training images, pool {pools}. A larger budget may give another answer.",
        range(&epochs),
        range(&train)
    )
}

/// Image size named in the `[data]` of a resolved recipe: `128 x 128`.
fn size(recipe: &str) -> Option<String> {
    let data = recipe.split("[data]").nth(1)?;
    let data = data.split("\n[").next()?;
    let value = data.lines().enumerate().find_map(|(i, line)| {
        let (key, _) = line.split_once('=')?;
        (key.trim() == "size").then_some(i)
    })?;
    let rest: String = data.lines().skip(value).collect::<Vec<_>>().join(" ");
    let inside = rest.split_once('[')?.1.split_once(']')?.0;
    let sides: Vec<&str> =
        inside.split(',').map(str::trim).filter(|s| s.parse::<u32>().is_ok()).collect();
    (!sides.is_empty()).then(|| sides.join(" x "))
}

/// How the numbers were made, for every place they are shown at.
pub(super) fn methods(f: &Findings<'_>) -> Vec<(&'static str, String)> {
    let o = &f.options;
    let percent = format!("{:.0} %", o.summary.confidence * 100.0);
    vec![
        (
            "Score of a run",
            "the mean over the judged test cases; a case counts with the mean over its classes, a failed \
             case with 0, a case without a defined value not at all. The score of a method at a point is \
             the mean over seeds, each counting the same."
                .into(),
        ),
        (
            "Difference",
            "method minus reference, taken case by case between runs of the same seed and point, which \
             share their split; then the mean over the cases of a seed, then over seeds."
                .into(),
        ),
        (
            "Intervals",
            format!(
                "{percent} percentile bootstrap, {} resamples, seed {}: seeds are drawn with replacement; \
                 groups (patients, slides) once for all seeds, so that a patient tested under several \
                 seeds is drawn under all of them or none (Owen 2007); then cases within groups. One-sided \
                 bounds are read off the same resamples. Withheld below {MIN_SEEDS} seeds; with few seeds or \
                 groups still somewhat too narrow.",
                numbers::count(o.summary.bootstrap as u64),
                o.summary.seed
            ),
        ),
        (
            "p",
            format!(
                "the larger of two: sign flips of what every group contributes in every seed (all patterns \
                 up to {}, else that many drawn), which says whether these trained networks differ; and a \
                 t-test with variance clustered by seed and by group (Cameron, Gelbach and Miller 2011), \
                 which says whether other seeds and patients would agree. Corrected after Holm over all \
                 comparisons of a table. A difference is called one where the corrected p is below {LEVEL} \
                 and the interval leaves out 0.",
                numbers::count(o.flips as u64)
            ),
        ),
        (
            "Area",
            "under Dice over the fraction of added images, by the trapezoidal rule over the actual \
             fractions, divided by their range: a mean Dice over fractions. Only seeds that have every \
             fraction count."
                .into(),
        ),
        (
            "Worst-off",
            "the quarter of the test cases of a seed with the lowest Dice of the reference, the same cases \
             for both. Chosen by the very run that is compared with, part of any gain is regression to the \
             mean: those cases are low partly by the bad luck of that run. The second ranking is by the \
             mean Dice of the reference under all other seeds that tested the case, which is free of it."
                .into(),
        ),
        (
            "Loss to noise",
            "score without noise minus score with it, case by case; the ratio is withheld where the loss of \
             the reference is not clearly above 0."
                .into(),
        ),
        ("Published test", scant_metrics::study::SingleValueTest::TOO_GENEROUS.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_read_from_a_resolved_recipe() {
        let inline =
            "[model]\nsize = 3\n[data]\nbatch = 4\nsize = [96, 128]\n[optim]\nsize = [1, 1]\n";
        assert_eq!(size(inline).as_deref(), Some("96 x 128"));
        let long = "[data]\nsize = [\n    96,\n    128,\n]\n\n[split]\n";
        assert_eq!(size(long).as_deref(), Some("96 x 128"));
        assert_eq!(size("[data]\nbatch = 4\n\n[optim]\nsize = [1, 1]\n"), None);
        assert_eq!(size(""), None);
    }
}
