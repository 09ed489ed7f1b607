//! What can go wrong between a run folder and a report.

use std::path::PathBuf;

use thiserror::Error;

/// Why no report could be written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// No run was named.
    #[error("no run folder was given; name at least one folder that holds a record.json")]
    NoRuns,
    /// A record could not be read from disk.
    #[error(
        "cannot read {}: {source}; give the run folder itself (the one that holds record.json)",
        path.display()
    )]
    Read {
        /// The record that was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A record is not JSON, or ends too early.
    #[error(
        "{} is damaged at line {line}, column {column}: {message}; \
         {again}, or restore it from a backup",
        path.display()
    )]
    Damaged {
        /// The record.
        path: PathBuf,
        /// Line, 1-based.
        line: usize,
        /// Column, 1-based.
        column: usize,
        /// What the parser met.
        message: String,
        /// How to have it written again.
        again: &'static str,
    },
    /// A record is JSON but not a run record of the known layout.
    #[error(
        "{} is not a record that this version understands: {message}; \
         check that the folder is a run or a study written by scant",
        path.display()
    )]
    Layout {
        /// The record.
        path: PathBuf,
        /// What is missing or of the wrong kind.
        message: String,
    },
    /// A record has a layout version that is not known here.
    #[error(
        "{} has layout version {found}, this scant reads version {known}; \
         report it with the scant that wrote it{}",
        path.display(),
        writer.as_ref().map(|w| format!(" ({w})")).unwrap_or_default()
    )]
    Schema {
        /// The record.
        path: PathBuf,
        /// Version found.
        found: u64,
        /// Version read by this build.
        known: u32,
        /// Version of scant named by the record.
        writer: Option<String>,
    },
    /// The report could not be written.
    #[error("cannot write {}: {source}; check that the folder exists and has room", path.display())]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The page template failed; a fault of this program.
    #[error("the report template failed: {0}; this is a fault in scant, please report it")]
    Template(#[from] minijinja::Error),
}
