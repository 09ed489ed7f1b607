//! Reading a study folder.

use std::path::{Component, Path, PathBuf};

use scant_core::{RunRecord, StudyRecord, StudyRun, StudyStatus};

use crate::load::read_json;
use crate::{ReportError, load_run};

/// Name of the record of a study in its folder.
const FILE: &str = "study.json";

/// A study with the records of its runs.
#[derive(Debug, Clone)]
pub struct LoadedStudy {
    /// The study folder.
    pub folder: PathBuf,
    /// The grid.
    pub record: StudyRecord,
    /// What each run of the grid left behind, in the order of the grid.
    pub runs: Vec<LoadedStudyRun>,
}

/// One run of the grid.
#[derive(Debug, Clone)]
pub struct LoadedStudyRun {
    /// Its place in the grid.
    pub run: StudyRun,
    /// Its record, where it finished and can be read.
    pub record: Option<RunRecord>,
    /// Why there is no record though the run is not merely waiting.
    pub trouble: Option<String>,
}

/// Whether `folder` is a study: it holds a `study.json`, or is one.
#[must_use]
pub fn is_study(folder: &Path) -> bool {
    folder.file_name().is_some_and(|n| n == FILE) || folder.join(FILE).is_file()
}

/// Reads `folder/study.json` and the record of every finished run.
///
/// A run whose record is missing or damaged is kept with the reason; the others are still worth
/// reading.
///
/// # Errors
/// When `study.json` is absent, is not JSON, has another layout version, or is not a study record.
pub fn load_study(folder: &Path) -> Result<LoadedStudy, ReportError> {
    let again = "give the command of the study again to write it anew";
    let (folder, path, value) = read_json(folder, FILE, StudyRecord::SCHEMA, again)?;
    let record: StudyRecord = serde_json::from_value(value)
        .map_err(|e| ReportError::Layout { path, message: e.to_string() })?;
    let runs = record.runs.iter().map(|run| load_one(&folder, run)).collect();
    Ok(LoadedStudy { folder, record, runs })
}

fn load_one(folder: &Path, run: &StudyRun) -> LoadedStudyRun {
    let read = || -> Result<RunRecord, String> {
        let below = Path::new(&run.folder);
        // A study from elsewhere must not be able to pull other files into a page that is shared.
        if !below.components().all(|c| matches!(c, Component::Normal(_))) {
            return Err(format!("{}: not a path inside the study folder", run.folder));
        }
        load_run(&folder.join(below)).map(|loaded| loaded.record).map_err(|e| e.to_string())
    };
    let (record, trouble) = match &run.status {
        StudyStatus::Waiting => (None, None),
        StudyStatus::Failed { why } => (None, Some(why.clone())),
        StudyStatus::Finished => match read() {
            Ok(record) => (Some(record), None),
            Err(why) => (None, Some(why)),
        },
    };
    LoadedStudyRun { run: run.clone(), record, trouble }
}
