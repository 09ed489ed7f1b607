//! Everything a run is in the middle of, in one file.
//!
//! `last.safetensors` holds the network, what stands beside it, the optimiser, the moving average and, as JSON metadata,
//! the position and every number that has been logged. Streams and augmentation are pure functions
//! of (seed, epoch, case), so no random state needs keeping.

use std::collections::BTreeMap;
use std::path::Path;

use scant_core::PhaseRecord;
use scant_nn::loss::alpha::AlphaState;
use scant_nn::loss::group_dro::Groups;
use scant_nn::weights::Weights;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::means::Means;
use crate::schedule::Schedule;

/// Position and logs of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// The recipe without its limits, to refuse another run's checkpoint.
    pub(crate) fingerprint: String,
    /// Current phase.
    pub(crate) phase: usize,
    /// Epochs finished in this phase.
    pub(crate) epoch: usize,
    /// Batches finished in the current epoch.
    pub(crate) batch: usize,
    /// Optimiser steps of the run and of the phase.
    pub(crate) step: u64,
    pub(crate) phase_step: u64,
    /// Per tap.
    pub(crate) alpha: BTreeMap<String, AlphaState>,
    /// Weights of the sources under group DRO.
    #[serde(default)]
    pub(crate) groups: Groups,
    pub(crate) schedule: Schedule,
    /// Of the current epoch.
    pub(crate) means: Means,
    /// Epochs without a better validation Dice.
    pub(crate) waited: usize,
    /// Whether any alpha of this phase has been above 0.
    pub(crate) alpha_active: bool,
    pub(crate) optimizer_updates: u64,
    pub(crate) ema_updates: u64,
    pub(crate) phases: Vec<PhaseRecord>,
    pub(crate) warnings: Vec<String>,
    pub(crate) train_secs: f64,
    pub(crate) data_wait_secs: f64,
    /// Seconds of the current epoch so far.
    pub(crate) epoch_secs: f64,
    pub(crate) images: u64,
    /// Whether the whole run is over.
    pub(crate) finished: bool,
}

/// A checkpoint in memory.
pub(crate) struct Checkpoint {
    pub(crate) state: State,
    pub(crate) model: Weights,
    pub(crate) heads: Weights,
    /// Of other sources than the home one.
    pub(crate) norms: Weights,
    pub(crate) optimizer: Weights,
    pub(crate) ema: Weights,
}

impl Checkpoint {
    pub(crate) fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut all = Weights::new();
        for (prefix, tensors) in [
            ("model", &self.model),
            ("heads", &self.heads),
            ("norms", &self.norms),
            ("optimizer", &self.optimizer),
            ("ema", &self.ema),
        ] {
            all.extend(tensors.iter().map(|(k, v)| (format!("{prefix}/{k}"), v.clone())));
        }
        let json = serde_json::to_string(&self.state).expect("a state is plain data");
        let bytes = scant_infer::to_bytes(&all, BTreeMap::from([("state".to_owned(), json)]));
        Ok(scant_io::write_atomic(path, &bytes)?)
    }

    pub(crate) fn load(path: &Path) -> Result<Self, TrainError> {
        let (tensors, metadata) = scant_infer::load_tensors(path)?;
        let wrong = |reason: String| TrainError::Checkpoint { path: path.into(), reason };
        let json = metadata.get("state").ok_or_else(|| wrong("it is not a checkpoint".into()))?;
        let state: State = serde_json::from_str(json)
            .map_err(|e| wrong(format!("it was written by another version of scant ({e})")))?;
        let part = |prefix: &str| -> Weights {
            let strip = |k: &String| k.strip_prefix(prefix)?.strip_prefix('/').map(str::to_owned);
            tensors.iter().filter_map(|(k, v)| Some((strip(k)?, v.clone()))).collect()
        };
        Ok(Self {
            state,
            model: part("model"),
            heads: part("heads"),
            norms: part("norms"),
            optimizer: part("optimizer"),
            ema: part("ema"),
        })
    }
}
