//! The page: everything a run has to say, put into the template.

use minijinja::{AutoEscape, Environment, context};
use scant_core::GalleryItem;
use scant_metrics::{Summary, SummaryOptions, summarise};
use serde::Serialize;

use crate::headline::{self, Figure, Verdict};
use crate::load::LoadedRun;
use crate::methods::{self, Definition};
use crate::results::{self, EvaluationPage, main_evaluation};
use crate::side_by_side;
use crate::tables::Table;
use crate::{ReportError, curves, gallery, picture};

/// A colour and what it stands for.
#[derive(Debug, Serialize)]
struct Key {
    colour: String,
    name: String,
}

/// A place to jump to.
#[derive(Debug, Serialize)]
struct Section {
    id: &'static str,
    title: &'static str,
}

#[derive(Debug, Serialize)]
struct RunPage {
    key: String,
    name: String,
    sections: Vec<Section>,
    warnings: Vec<String>,
    headline: Vec<String>,
    figures: Vec<Figure>,
    verdict_title: String,
    verdicts: Vec<Verdict>,
    data: Table,
    phases: Vec<String>,
    curves: Vec<String>,
    evaluations: Vec<EvaluationPage>,
    gallery: Vec<gallery::Case>,
    outline_keys: Vec<Key>,
    difference_keys: Vec<Key>,
    methods: Vec<Definition>,
    recipe: String,
    config: String,
}

/// Renders one run, or several beside each other with the first as the baseline, as one HTML page
/// that needs no network, no script and no other file.
///
/// Pictures are read from the run folders; one that is missing or damaged leaves a visible gap and
/// a warning at the top of the page.
///
/// # Errors
/// When no run is given, or the template fails (a fault of this program).
pub fn render(runs: &[LoadedRun]) -> Result<String, ReportError> {
    if runs.is_empty() {
        return Err(ReportError::NoRuns);
    }
    let names = distinct_names(runs);
    let pages: Vec<RunPage> = runs
        .iter()
        .zip(&names)
        .enumerate()
        .map(|(i, (run, name))| run_page(i, run, name))
        .collect();
    let comparison = (runs.len() > 1).then(|| side_by_side::page(runs, &names));
    let title = if runs.len() > 1 {
        format!("{} against {}", names[1..].join(", "), names[0])
    } else {
        names[0].clone()
    };
    let environment = environment()?;
    let page = environment.get_template("report.html")?.render(context! {
        version => crate::VERSION,
        css => include_str!("../templates/style.css"),
        title,
        runs => pages,
        comparison,
    })?;
    Ok(page)
}

/// The templates of all pages.
pub(crate) fn environment() -> Result<Environment<'static>, ReportError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::SemiStrict);
    environment.add_template("table.html", include_str!("../templates/table.html"))?;
    environment.add_template("report.html", include_str!("../templates/report.html"))?;
    environment.add_template("study.html", include_str!("../templates/study.html"))?;
    Ok(environment)
}

/// Run names; where two are the same, with their place in the list.
fn distinct_names(runs: &[LoadedRun]) -> Vec<String> {
    let name = |r: &LoadedRun| {
        if r.record.name.trim().is_empty() {
            "unnamed run".to_string()
        } else {
            r.record.name.clone()
        }
    };
    let all: Vec<String> = runs.iter().map(name).collect();
    all.iter()
        .enumerate()
        .map(|(i, n)| {
            let twice = all.iter().filter(|m| *m == n).count() > 1;
            if twice { format!("{n} ({})", i + 1) } else { n.clone() }
        })
        .collect()
}

fn run_page(i: usize, run: &LoadedRun, name: &str) -> RunPage {
    let record = &run.record;
    let key = format!("r{}", i + 1);
    let mut warnings = record.warnings.clone();
    warnings.extend(run.notes.iter().cloned());
    warnings.extend(curves::warnings(record));
    let main = main_evaluation(record);
    match main {
        None => warnings
            .push("this run has no evaluated cases: nothing is known about new images".into()),
        Some(e) if e.part != "test" => warnings.push(format!(
            "there is no test evaluation: the headline is about \"{}\"{}",
            e.part,
            if e.part == "validation" {
                ", which chose the best epoch and flatters the model"
            } else {
                ""
            }
        )),
        Some(_) => {}
    }
    let evaluations = record
        .evaluations
        .iter()
        .map(|e| results::page(record, e, &mut warnings))
        .collect::<Vec<_>>();
    // What went wrong here is already a warning of that evaluation.
    let summary: Option<Summary> = main.and_then(|e| summarise(e, &SummaryOptions::default()).ok());
    let gallery = gallery::cases(run, &key, &mut warnings);
    let mut sections = vec![
        Section { id: "summary", title: "Summary" },
        Section { id: "training", title: "Training" },
        Section { id: "results", title: "Results" },
    ];
    if !gallery.is_empty() {
        sections.push(Section { id: "cases", title: "Worst and best cases" });
    }
    sections.push(Section { id: "methods", title: "Methods" });
    RunPage {
        name: name.to_string(),
        sections,
        headline: headline::sentences(record, summary.as_ref()),
        figures: headline::figures(record, summary.as_ref()),
        verdict_title: summary
            .as_ref()
            .map_or_else(String::new, |s| format!("Source by source, {}", s.part)),
        verdicts: summary.as_ref().map_or_else(Vec::new, |s| headline::verdicts(record, s)),
        data: headline::data_table(record),
        phases: curves::phase_sentences(record),
        curves: curves::charts(record),
        evaluations,
        outline_keys: outline_keys(record.pool.classes.names()),
        difference_keys: difference_keys(record.pool.classes.len() > 2, &record.gallery),
        gallery,
        methods: methods::definitions(record),
        recipe: record.recipe.clone(),
        config: serde_json::to_string_pretty(&record.model.config).unwrap_or_default(),
        warnings,
        key,
    }
}

/// The colours of class outlines, `o0`.. of the style sheet.
fn outline_keys(classes: &[String]) -> Vec<Key> {
    const COLOURS: [&str; 6] = ["#56b4e9", "#f0e442", "#ff8c4a", "#e79ac9", "#2fc79a", "#ffffff"];
    classes
        .iter()
        .skip(1)
        .zip(COLOURS.iter().cycle())
        .map(|(name, colour)| Key { colour: (*colour).into(), name: name.clone() })
        .collect()
}

fn difference_keys(several_classes: bool, gallery: &[GalleryItem]) -> Vec<Key> {
    let shown = if gallery.is_empty() { 0 } else { 3 + usize::from(several_classes) };
    picture::DIFFERENCE
        .iter()
        .take(shown)
        .map(|(name, [r, g, b])| Key {
            colour: format!("#{r:02x}{g:02x}{b:02x}"),
            name: (*name).into(),
        })
        .collect()
}
