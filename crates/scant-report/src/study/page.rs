//! The page of a study.

use minijinja::context;
use scant_core::Evaluation;
use scant_metrics::study::Runs;
use serde::Serialize;

use super::findings::Findings;
use super::load::LoadedStudy;
use super::{charts, tables, words};
use crate::ReportError;
use crate::methods::Definition;
use crate::{movement, numbers};

/// A run that gave nothing.
#[derive(Debug, Serialize)]
struct Trouble {
    run: String,
    why: String,
}

pub(super) fn render(study: &LoadedStudy, f: &Findings<'_>) -> Result<String, ReportError> {
    let record = &study.record;
    let troubles: Vec<Trouble> =
        f.troubles.iter().map(|t| Trouble { run: t.run.clone(), why: t.why.clone() }).collect();
    let mut warnings = f.warnings.clone();
    if f.waiting > 0 {
        warnings.push(format!(
            "{} of {} have not finished; this page is about the others",
            numbers::plural(f.waiting, "run", "runs"),
            record.runs.len()
        ));
    }
    let definitions: Vec<Definition> = words::methods(f)
        .into_iter()
        .map(|(term, text)| Definition { term: term.into(), text })
        .collect();
    crate::page::environment()?
        .get_template("study.html")?
        .render(context! {
            version => crate::VERSION,
            css => include_str!("../../templates/style.css"),
            title => record.name.clone(),
            purpose => record.purpose.clone(),
            judged => words::judge_words(&record.judge),
            reference => record.reference.clone(),
            planned => record.scant_version.clone(),
            runs => record.runs.len(),
            finished => f.judged.len(),
            verdicts => words::verdicts(study, f),
            budget => words::budget(f),
            warnings,
            troubles,
            charts => charts::all(study, f),
            main => tables::main(f),
            more => tables::further(f),
            beside => tables::beside(f),
            analyses => analyses(f),
            definitions,
            policies => f.policies.clone(),
        })
        .map_err(ReportError::from)
}

/// What one method did to cases and taps.
#[derive(Debug, Serialize)]
struct Analysis {
    title: String,
    charts: Vec<String>,
}

/// Every method beside the reference at the last point of the grid: weights of taps, histograms and
/// movements, over all seeds that both have.
fn analyses(f: &Findings<'_>) -> Vec<Analysis> {
    let Some(reference) = f.reference else { return Vec::new() };
    let mut out = Vec::new();
    for method in (0..f.methods.len()).filter(|m| *m != reference) {
        let both = |p: &usize| {
            let (a, b) = (f.runs(reference, *p), f.runs(method, *p));
            a.keys().any(|seed| b.contains_key(seed))
        };
        let Some(point) = (0..f.points.len()).rev().find(both) else { continue };
        let (a, b) = (f.runs(reference, point), f.runs(method, point));
        // The seeds that both have, so that a case is averaged over the same ones on both sides.
        let (before, after) = (shared(&a, &b), shared(&b, &a));
        let here = f.judged.iter().filter(|j| j.method == method && j.point == point);
        let runs: Vec<_> = here.map(|j| (j.seed, j.record, &j.evaluation)).collect();
        let name = &f.methods[method];
        let mut charts: Vec<String> =
            movement::weights("Weights of the taps", &runs).into_iter().collect();
        charts.extend(movement::charts((&f.methods[reference], &before), (name, &after)));
        if !charts.is_empty() {
            out.push(Analysis { title: format!("{name} at {}", f.points[point].label), charts });
        }
    }
    out
}

/// Evaluations of the seeds that `other` has too.
fn shared<'a>(runs: &Runs<'a>, other: &Runs<'_>) -> Vec<&'a Evaluation> {
    runs.iter().filter(|(seed, _)| other.contains_key(seed)).map(|(_, e)| *e).collect()
}
