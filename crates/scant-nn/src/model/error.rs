//! What can be wrong with the sizes of a network.

use std::ops::RangeInclusive;

use thiserror::Error;

/// Why a network cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    /// A size outside what the architecture allows.
    #[error("{model}: {field} must be {allowed}, got {got}")]
    Config {
        /// Architecture.
        model: &'static str,
        /// Field of the configuration.
        field: &'static str,
        /// Allowed values, in words.
        allowed: String,
        /// The value given.
        got: String,
    },
    /// There is no such architecture.
    #[error("there is no network \"{0}\"; `scant models` lists what there is")]
    Unknown(String),
    /// Tensors that tell the sizes of the network are missing.
    #[error("the tensors are not those of {model}: none tells its sizes; is it another network?")]
    Foreign {
        /// Architecture.
        model: &'static str,
    },
}

/// Checks that a size is in its range.
pub(super) fn check(
    model: &'static str,
    field: &'static str,
    got: usize,
    allowed: RangeInclusive<usize>,
) -> Result<(), ModelError> {
    if allowed.contains(&got) {
        return Ok(());
    }
    let allowed = format!("{} to {}", allowed.start(), allowed.end());
    Err(ModelError::Config { model, field, allowed, got: got.to_string() })
}

/// Checks that a probability of dropping leaves something.
pub(super) fn check_dropout(model: &'static str, got: f64) -> Result<(), ModelError> {
    if (0.0..1.0).contains(&got) {
        return Ok(());
    }
    let allowed = "at least 0 and less than 1".to_owned();
    Err(ModelError::Config { model, field: "dropout", allowed, got: got.to_string() })
}
