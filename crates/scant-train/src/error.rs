//! What can go wrong while training.

use std::path::PathBuf;

use scant_data::stream::LoadError;
use scant_infer::{ModelFileError, PredictError};
use scant_io::IoError;
use scant_nn::ModelError;
use scant_nn::weights::WeightError;
use thiserror::Error;

use crate::RecipeError;

/// Why a run stopped or could not start.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The recipe asks for something impossible.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The network cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A case could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] IoError),
    /// A case could not be predicted.
    #[error("{case}: {source}")]
    Predict {
        /// The case.
        case: String,
        /// Why.
        source: PredictError,
    },
    /// A checkpoint or model file is unusable.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    /// A checkpoint does not belong to this run.
    #[error("{path} does not continue this run: {reason}")]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The phases of another run are not those this run begins with.
    #[error("the phases of {path} cannot be taken over: {reason}")]
    PhasesFrom {
        /// The other run.
        path: PathBuf,
        /// What differs, and what to do.
        reason: String,
    },
    /// Stored weights do not fit the network.
    #[error("{path}: {source}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: WeightError,
    },
    /// None of the tensors in a file fits the network.
    #[error(
        "none of the tensors in {path} fits the network of the recipe by name and shape; \
         `scant models import` brings foreign weights to its names"
    )]
    NothingTaken {
        /// The file.
        path: PathBuf,
    },
    /// The loss is not a number any more.
    #[error(
        "the loss became {value} in phase \"{phase}\", epoch {epoch}, step {step}, on the batch {batch}; \
         checkpoints written before stay as they are. Look at these files, lower optim.lr, or set optim.clip_norm"
    )]
    NotFinite {
        /// The value.
        value: f64,
        /// Phase.
        phase: String,
        /// Epoch, 1-based.
        epoch: usize,
        /// Step of the run.
        step: u64,
        /// Cases of the batch.
        batch: String,
    },
    /// A file of the run folder could not be read.
    #[error("{path}: {reason}")]
    RunFolder {
        /// File or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// There is nothing to train on.
    #[error("the split has no training images; lower split.test and split.validation, or add data")]
    NoTrainingData,
}
