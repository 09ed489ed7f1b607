//! Beginning a run with the phases of another one.
//!
//! Runs of a study differ in their last phase more often than in their first. A finished run whose
//! phases are the first phases of a new one has done that part of its work already, to the bit: the
//! checkpoint at its end is the state in which the new run would change phases.

use std::path::Path;

use scant_nn::source_norm::SourceNorms;

use super::Run;
use super::start::empty_phase;
use crate::TrainError;
use crate::checkpoint::Checkpoint;
use crate::recipe::{Difference, Recipe};
use crate::run_folder::RunFolder;

/// What decides the bits of a run besides its recipe.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Text of its pool file, with absolute paths.
    pub pool: &'a str,
    /// Text of its split file.
    pub split: &'a str,
    /// Version of scant.
    pub scant_version: &'a str,
    /// Device.
    pub device: &'a str,
    /// Worker threads.
    pub threads: usize,
}

/// Whether a new run may begin with all phases of a finished one; how many these are.
///
/// # Errors
/// When the other run is not finished, or differs in anything that decides its bits; the message names
/// the key.
pub fn check_phases(
    recipe: &Recipe,
    source: &RunFolder,
    here: Surroundings<'_>,
) -> Result<usize, TrainError> {
    let refuse = |reason: String| refused(source, reason);
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|e| refuse(format!("{} cannot be read: {e}", path.display())))
    };
    let theirs = Recipe::parse(&read(&source.recipe())?, &[])?;
    let differs = |d: Difference| {
        let value = |v: Option<String>| v.unwrap_or_else(|| "not set".into());
        refuse(format!(
            "{} is {} there and {} here; train them anew, or make the recipes agree",
            d.key,
            value(d.first),
            value(d.second)
        ))
    };
    if let Some(difference) = theirs.difference_of_setting(recipe) {
        return Err(differs(difference));
    }
    let taken = theirs.phase.len();
    for index in 0..taken {
        if let Some(difference) = theirs.difference_of_phase(recipe, index) {
            return Err(differs(difference));
        }
    }
    if taken == recipe.phase.len() {
        return Err(refuse(
            "phase: this recipe has no phase beyond those; evaluate that run instead".into(),
        ));
    }
    if theirs.model_config(1)? != recipe.model_config(1)? {
        return Err(refuse("model: a later phase of this recipe needs another network".into()));
    }
    if read(&source.pool())? != here.pool {
        return Err(refuse("pool.toml differs; both runs need the same pool".into()));
    }
    if read(&source.split())? != here.split {
        let advice = format!("give --split {}", source.split().display());
        return Err(refuse(format!("split.toml differs; {advice}")));
    }
    let record = source.read_record()?;
    for (what, there, here) in [
        ("--device", record.device, here.device.to_owned()),
        ("--threads", record.threads.to_string(), here.threads.to_string()),
        ("the version of scant", record.scant_version, here.scant_version.to_owned()),
    ] {
        if there != here {
            return Err(refuse(format!(
                "{what} is {there} there and {here} here, so the bits would differ"
            )));
        }
    }
    let state = finished(source)?.state;
    if let Some(phase) = state.phases.iter().find(|p| p.ended.as_deref().is_none_or(by_limit)) {
        return Err(refuse(format!(
            "its phase \"{}\" was cut short by a limit; train it without limits",
            phase.name
        )));
    }
    if let Some(steps) = recipe.limit.steps.filter(|&s| s <= state.step) {
        let done = state.step;
        return Err(refuse(format!("limit.steps = {steps}, and they took {done} steps already")));
    }
    Ok(taken)
}

fn by_limit(ended: &str) -> bool {
    ended.ends_with("limit")
}

fn refused(source: &RunFolder, reason: String) -> TrainError {
    TrainError::PhasesFrom { path: source.root().into(), reason }
}

/// The last checkpoint of a run that is over.
fn finished(source: &RunFolder) -> Result<Checkpoint, TrainError> {
    if !source.last().is_file() {
        return Err(refused(source, "it has no checkpoint; train it first, or anew".into()));
    }
    let checkpoint = Checkpoint::load(&source.last())?;
    if checkpoint.state.finished {
        return Ok(checkpoint);
    }
    let root = source.root().display();
    Err(refused(source, format!("it is not finished; first: scant train --resume {root}")))
}

impl Run<'_> {
    /// Begins with the phases of another run, as if they had been trained here; see [`check_phases`].
    pub(super) fn take_phases(&mut self, source: &RunFolder) -> Result<(), TrainError> {
        let checkpoint = finished(source)?;
        let mut state = checkpoint.state;
        let taken = state.phases.len();
        state.fingerprint.clone_from(&self.state.fingerprint);
        state.phases.extend(self.recipe.phase[taken..].iter().map(|p| empty_phase(&p.name)));
        state.finished = false;
        self.state = state;
        let model = self.rebuild(&checkpoint.model)?;
        let path = source.last();
        self.learners.norms = SourceNorms::copies(&model, &self.away)
            .import(&model, &checkpoint.norms)
            .map_err(|source| TrainError::Weights { path, source })?;
        self.learners.model = model;
        for index in 0..taken {
            let (tensors, _) = scant_infer::load_tensors(&source.best(index))?;
            // Under the name of this run.
            scant_infer::save(&self.folder.best(index), &self.card(index), &tensors)?;
        }
        let phases = if taken == 1 { "phase is" } else { "phases are" };
        let from = source.root().display();
        self.observer.note(&format!("the first {taken} {phases} taken over from {from}"));
        self.enter_phase(taken)
    }
}
