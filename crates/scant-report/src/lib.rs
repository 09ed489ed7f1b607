//! RunRecord -> tables, plots, overlays, heatmaps and one self-contained HTML page.
//!
//! The only inputs are run records and the pictures they name inside their run folders: no network
//! (of either kind) is ever needed, so an old run can be reported again anywhere.

mod association;
mod chart;
mod curves;
mod error;
mod gallery;
mod grids;
mod headline;
mod load;
mod methods;
mod metric_words;
mod movement;
mod nonfinite;
mod numbers;
mod page;
mod picture;
mod results;
mod side_by_side;
mod study;
pub mod tables;
mod write;

pub use error::ReportError;
pub use load::{LoadedRun, load_run};
pub use page::render;
pub use study::{
    LoadedStudy, LoadedStudyRun, is_study, load_study, render_study, study_csv, study_markdown,
    study_text, write_study,
};
pub use write::write_report;

/// Version of this program, printed in every report.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
