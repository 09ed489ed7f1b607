//! Studies: a grid of runs, planned from one file.
//!
//! Planning is arithmetic on text: nothing here reads a pool, starts a run or prints. The program
//! executes the [`PlannedRun`]s, each in a process of its own.

mod file;
mod grid;
mod sharing;

use thiserror::Error;

pub use file::{Axis, Keep, Method, RunOptions, StudyFile, Value};
pub use grid::{PlannedRun, Point, plan_runs};
pub use sharing::{SharedPhases, Sharing, share_phases};

use crate::RecipeError;

/// What can be wrong with a study.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StudyError {
    /// Not TOML, or a key or value that does not belong.
    #[error("study: {0}")]
    Parse(String),
    /// A value that is not possible.
    #[error("study: {key} = {value} is not possible: {allowed}")]
    Value {
        /// Dotted key.
        key: String,
        /// As written.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The recipe of one run is not possible.
    #[error("study: method \"{method}\" at {point}: {source}")]
    Recipe {
        /// The method.
        method: String,
        /// Where on the grid.
        point: String,
        /// What is wrong.
        source: Box<RecipeError>,
    },
    /// The study was begun with another file.
    #[error(
        "this study was begun with another file: {0}. Methods, seeds and values may be added, nothing \
         else may change: choose another folder with -o"
    )]
    Changed(String),
}

impl StudyError {
    pub(crate) fn value(key: &str, value: impl ToString, allowed: impl ToString) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), allowed: allowed.to_string() }
    }
}
