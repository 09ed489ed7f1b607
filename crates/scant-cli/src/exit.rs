//! Exit codes, and which error deserves which.

use scant_data::DataError;
use scant_data::phantom::PhantomError;
use scant_data::stream::LoadError;
use scant_infer::ModelFileError;
use scant_report::ReportError;
use scant_train::study::StudyError;
use scant_train::{RecipeError, TrainError};

/// Done.
pub(crate) const SUCCESS: u8 = 0;
/// Something failed on the way.
pub(crate) const FAILED: u8 = 1;
/// Usage or configuration.
pub(crate) const USAGE: u8 = 2;
/// Data refused.
pub(crate) const DATA: u8 = 3;
/// Interrupted, after a checkpoint.
pub(crate) const INTERRUPTED: u8 = 130;

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(USAGE, anyhow::anyhow!("{message}"))
    }

    pub(crate) fn data(message: impl std::fmt::Display) -> Self {
        Self::new(DATA, anyhow::anyhow!("{message}"))
    }

    pub(crate) fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(FAILED, anyhow::anyhow!("{message}"))
    }
}

/// An output folder that cannot be made.
pub(crate) fn unwritable(folder: &std::path::Path, cause: &std::io::Error) -> Failure {
    let folder = folder.display();
    Failure::usage(format!("{folder}: cannot be made: {cause}; choose a writable place"))
}

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl From<DataError> for Failure {
    fn from(e: DataError) -> Self {
        Self::new(DATA, e)
    }
}

impl From<LoadError> for Failure {
    fn from(e: LoadError) -> Self {
        Self::new(DATA, e)
    }
}

impl From<RecipeError> for Failure {
    fn from(e: RecipeError) -> Self {
        Self::new(USAGE, e)
    }
}

impl From<StudyError> for Failure {
    fn from(e: StudyError) -> Self {
        Self::new(USAGE, e)
    }
}

impl From<ModelFileError> for Failure {
    fn from(e: ModelFileError) -> Self {
        Self::new(FAILED, e)
    }
}

impl From<PhantomError> for Failure {
    fn from(e: PhantomError) -> Self {
        let code = match &e {
            PhantomError::OutOfRange { .. } | PhantomError::NotEmpty { .. } => USAGE,
            _ => FAILED,
        };
        Self::new(code, e)
    }
}

impl From<scant_io::IoError> for Failure {
    fn from(e: scant_io::IoError) -> Self {
        Self::new(FAILED, e)
    }
}

impl From<ReportError> for Failure {
    fn from(e: ReportError) -> Self {
        let code = match &e {
            ReportError::NoRuns | ReportError::Read { .. } => USAGE,
            _ => FAILED,
        };
        Self::new(code, e)
    }
}

impl From<scant_metrics::MetricError> for Failure {
    fn from(e: scant_metrics::MetricError) -> Self {
        Self::new(FAILED, e)
    }
}

impl From<TrainError> for Failure {
    fn from(e: TrainError) -> Self {
        let code = match &e {
            TrainError::Recipe(_)
            | TrainError::Model(_)
            | TrainError::RunFolder { .. }
            | TrainError::NothingTaken { .. }
            | TrainError::Checkpoint { .. }
            | TrainError::PhasesFrom { .. } => USAGE,
            TrainError::Load(_) | TrainError::NoTrainingData => DATA,
            _ => FAILED,
        };
        Self::new(code, e)
    }
}
