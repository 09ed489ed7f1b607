//! What a study is made of: which runs, at which point of the grid, and where their records lie.
//!
//! The numbers are in the [`RunRecord`](crate::RunRecord)s of the runs; a study only says how they
//! belong together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Axis of the grid that says which share of the novel training images took part, from 0 to 1.
pub const FRACTION_AXIS: &str = "fraction";
/// Axis of the grid that says how noisy the training images were: the standard deviation of the noise
/// on intensities from 0 to 1.
pub const NOISE_AXIS: &str = "noise";

/// A grid of runs: methods x points x seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyRecord {
    /// Version of this layout.
    pub schema: u32,
    /// Version of scant that planned the study.
    pub scant_version: String,
    /// Name of the study.
    pub name: String,
    /// The question it is to answer, in a sentence.
    pub purpose: String,
    /// Whose test cases the headline is about: `"base"`, `"novel"`, `"all"`, or the name of a source.
    pub judge: String,
    /// The method that all others are compared with, at the same point and seed.
    pub reference: String,
    /// Methods in the order they are shown.
    pub methods: Vec<String>,
    /// Axes of the grid besides methods and seeds, in the order they are shown; values as written.
    pub axes: Vec<StudyAxis>,
    /// All runs of the grid, finished or not.
    pub runs: Vec<StudyRun>,
}

/// One axis of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyAxis {
    /// Its name, e.g. [`FRACTION_AXIS`].
    pub name: String,
    /// Its values, in order.
    pub values: Vec<String>,
}

/// One run of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyRun {
    /// Its folder below that of the study, with `/` between parts.
    pub folder: String,
    /// What was done.
    pub method: String,
    /// Value on each axis.
    pub at: BTreeMap<String, String>,
    /// Seed of the run. Runs of one seed and point share their split and their initial weights.
    pub seed: u64,
    /// How far it is.
    pub status: StudyStatus,
}

/// How far a run of a study is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", deny_unknown_fields)]
pub enum StudyStatus {
    /// Not finished.
    Waiting,
    /// Its record holds a test evaluation.
    Finished,
    /// It stopped with an error.
    Failed {
        /// What it said.
        why: String,
    },
}

impl StudyRecord {
    /// Version of the layout written now.
    pub const SCHEMA: u32 = 1;

    /// Runs that finished.
    pub fn finished(&self) -> impl Iterator<Item = &StudyRun> {
        self.runs.iter().filter(|run| run.status == StudyStatus::Finished)
    }
}
