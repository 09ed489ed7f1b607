//! A study on one page: what was asked, what the runs say, and how sure one may be.

mod charts;
mod csv;
mod findings;
mod load;
mod markdown;
mod page;
mod tables;
mod text;
mod words;

use std::path::Path;

pub use load::{LoadedStudy, LoadedStudyRun, is_study, load_study};

use crate::ReportError;
use crate::write::write_file;
use findings::Findings;

/// Reads `study.json` and the record of every finished run, and writes the report to `out`, with
/// `table.md` and `table.csv` beside it.
///
/// Runs that failed, are missing or cannot be read are named on the page; the rest is reported.
///
/// # Errors
/// When the study record cannot be read or understood, or a file cannot be written.
pub fn write_study(study_folder: &Path, out: &Path) -> Result<(), ReportError> {
    let study = load_study(study_folder)?;
    let findings = Findings::of(&study);
    write_file(out, &page::render(&study, &findings)?)?;
    write_file(&out.with_file_name("table.md"), &markdown::of(&study, &findings))?;
    write_file(&out.with_file_name("table.csv"), &csv::of(&study, &findings))
}

/// The page of a study as HTML: one file that needs no network, no script and no other file.
///
/// # Errors
/// When the template fails (a fault of this program).
pub fn render_study(study: &LoadedStudy) -> Result<String, ReportError> {
    page::render(study, &Findings::of(study))
}

/// The verdict and the tables of a study in Markdown.
#[must_use]
pub fn study_markdown(study: &LoadedStudy) -> String {
    markdown::of(study, &Findings::of(study))
}

/// The verdict of a study and its table of means for a terminal.
#[must_use]
pub fn study_text(study: &LoadedStudy) -> String {
    text::of(study, &Findings::of(study))
}

/// Every number of a study: one line per method, point and metric.
#[must_use]
pub fn study_csv(study: &LoadedStudy) -> String {
    csv::of(study, &Findings::of(study))
}
