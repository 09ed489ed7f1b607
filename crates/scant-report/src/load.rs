//! Reading a run folder: `record.json` into a [`RunRecord`], with clear words when it cannot be.

use std::fs;
use std::path::{Path, PathBuf};

use scant_core::RunRecord;
use serde_json::Value;

use crate::ReportError;
use crate::nonfinite::NonFinite;

/// A run record with the folder its pictures are relative to.
#[derive(Debug, Clone)]
pub struct LoadedRun {
    /// The run folder.
    pub folder: PathBuf,
    /// What the run left behind.
    pub record: RunRecord,
    /// What the reader noticed and the user should know.
    pub notes: Vec<String>,
}

/// Reads `folder/record.json`.
///
/// JSON has no word for NaN or infinity and writers put `null` there. Such places in the training
/// table are read as NaN and named in [`LoadedRun::notes`] instead of making the run unreadable: a
/// run that diverged is the one its user most wants to see.
///
/// # Errors
/// When the file is absent, is not JSON, has another layout version, or is not a run record.
pub fn load_run(folder: &Path) -> Result<LoadedRun, ReportError> {
    let resume = "resume the run with `scant train --resume` to write it again";
    let (folder, path, mut value) = read_json(folder, "record.json", RunRecord::SCHEMA, resume)?;
    let nonfinite = NonFinite::take(&mut value);
    let mut record: RunRecord = serde_json::from_value(value)
        .map_err(|e| ReportError::Layout { path, message: e.to_string() })?;
    nonfinite.put_back(&mut record);
    let notes = nonfinite.notes(&record);
    Ok(LoadedRun { folder, record, notes })
}

/// A record as JSON of the layout `schema`, with its folder and its path. `again` says how it is written
/// anew.
pub(crate) fn read_json(
    folder: &Path,
    file: &str,
    schema: u32,
    again: &'static str,
) -> Result<(PathBuf, PathBuf, Value), ReportError> {
    // A user may well name the record itself.
    let (folder, path) = if folder.file_name().is_some_and(|n| n == file) {
        (folder.parent().unwrap_or(Path::new("")).to_path_buf(), folder.to_path_buf())
    } else {
        (folder.to_path_buf(), folder.join(file))
    };
    let bytes =
        fs::read(&path).map_err(|source| ReportError::Read { path: path.clone(), source })?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| ReportError::Damaged {
        path: path.clone(),
        line: e.line(),
        column: e.column(),
        message: if e.is_eof() { "the file ends too early".into() } else { e.to_string() },
        again,
    })?;
    let found = value.get("schema").and_then(Value::as_u64).ok_or_else(|| ReportError::Layout {
        path: path.clone(),
        message: "it has no \"schema\" number".into(),
    })?;
    if found != u64::from(schema) {
        let writer = value.get("scant_version").and_then(Value::as_str).map(str::to_string);
        return Err(ReportError::Schema { path, found, known: schema, writer });
    }
    Ok((folder, path, value))
}
