//! The page of a study.

use minijinja::context;
use serde::Serialize;

use super::findings::Findings;
use super::load::LoadedStudy;
use super::{charts, tables, words};
use crate::ReportError;
use crate::methods::Definition;
use crate::numbers;

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
    let all = tables::all(f);
    let (main, more) = all.split_at(all.len().min(2));
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
            main => main,
            more => more,
            definitions,
            policies => f.policies.clone(),
        })
        .map_err(ReportError::from)
}
