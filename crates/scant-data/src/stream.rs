//! Batches for training, prepared ahead of the consumer.
//!
//! The order of cases and every augmentation are pure functions of (seed, epoch, case, copy). A
//! run therefore sees the same batches whatever the number of workers, and a resumed run sees the
//! batches the interrupted one would have seen.
//!
//! Legend: B batch · C channels · H, W pixels.

mod config;
mod noise;
mod order;
mod patch;
mod prefetch;
mod prepare;
mod reference;
mod subset;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use ndarray::{Array3, Array4, s};
use scant_core::{Annotated, Role, Sample, SampleId};

pub use config::{PatchConfig, StreamConfig, StreamError};
pub use order::Draw;
pub use prefetch::EpochBatches;
use prepare::{Prepared, Preparer};
pub use reference::{Fitted, fit_harmonise};
pub use subset::{Roles, Selection, Subset};

/// Why a case could not be delivered; the message names the case or its file.
#[derive(Debug)]
pub struct LoadError {
    what: String,
    cause: Box<dyn Error + Send + Sync>,
}

impl LoadError {
    /// `what` names the file or the case, `cause` says what is wrong with it.
    pub fn new(what: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: what.into(), cause: cause.into() }
    }

    /// What was wrong.
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.cause)
    }
}

// The cause is part of the message, so it is not repeated as `source`.
impl Error for LoadError {}

/// Cases that can be loaded by position, from several threads at once.
pub trait CaseSource: Send + Sync {
    /// Number of cases.
    fn len(&self) -> usize;

    /// The name of a case; `case < len()`.
    fn id(&self, case: usize) -> &SampleId;

    /// What the source of a case is for; `case < len()`.
    fn role(&self, case: usize) -> Role;

    /// Reads a case.
    ///
    /// # Errors
    /// When a file cannot be read or understood; the message names it.
    fn load(&self, case: usize) -> Result<Sample, LoadError>;

    /// Whether there are no cases.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Some cases, stacked.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Intensities, `[B, C, H, W]`.
    pub images: Array4<f32>,
    /// Class ids, `[B, H, W]`; 0 everywhere for a case without a label.
    pub labels: Array3<u8>,
    /// Which classes were drawn, per case. An all-zero label of an unlabelled case says nothing.
    pub annotated: Vec<Annotated>,
    /// Names.
    pub ids: Vec<SampleId>,
    /// Positions of the sources in the pool.
    pub sources: Vec<usize>,
    /// What the sources are for.
    pub roles: Vec<Role>,
}

impl Batch {
    /// Stacks cases of one size.
    fn stack(cases: Vec<Prepared>) -> Result<Self, LoadError> {
        let first = cases.first().ok_or_else(|| LoadError::new("batch", "there are no cases"))?;
        let (channels, rows, columns) = first.image.dim();
        let (count, first) = (cases.len(), first.id.clone());
        let mut batch = Self {
            images: Array4::zeros((count, channels, rows, columns)),
            labels: Array3::zeros((count, rows, columns)),
            annotated: Vec::with_capacity(count),
            ids: Vec::with_capacity(count),
            sources: Vec::with_capacity(count),
            roles: Vec::with_capacity(count),
        };
        for (i, case) in cases.into_iter().enumerate() {
            let (_, h, w) = case.image.dim();
            if (h, w) != (rows, columns) {
                return Err(LoadError::new(
                    case.id.to_string(),
                    format!(
                        "its {h} x {w} pixels cannot share a batch with the {rows} x {columns} \
                         of {first}: set a size, use patches, or a batch of 1"
                    ),
                ));
            }
            batch.images.slice_mut(s![i, .., .., ..]).assign(&case.image);
            if let Some(label) = &case.label {
                batch.labels.slice_mut(s![i, .., ..]).assign(label);
            }
            batch.annotated.push(case.annotated);
            batch.ids.push(case.id);
            batch.sources.push(case.source);
            batch.roles.push(case.role);
        }
        Ok(batch)
    }

    /// Number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no cases; a stream never delivers such a batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Endless supply of batches, one epoch at a time.
pub struct BatchStream {
    preparer: Arc<Preparer>,
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream")
            .field("cases", &self.preparer.source.len())
            .field("config", &self.preparer.config)
            .finish()
    }
}

impl BatchStream {
    /// Checks the configuration; nothing is loaded yet.
    ///
    /// # Errors
    /// When the configuration is invalid, there are no cases, or `drop_last` would drop them all.
    pub fn new(source: Arc<dyn CaseSource>, config: StreamConfig) -> Result<Self, StreamError> {
        config.validate()?;
        let preparer = Preparer::new(source, config);
        if preparer.source.is_empty() {
            return Err(StreamError::NoCases);
        }
        order::check_roles(&*preparer.source, &preparer.config)?;
        let stream = Self { preparer: Arc::new(preparer) };
        if stream.batches_per_epoch() == 0 {
            return Err(StreamError::NoBatches {
                cases: stream.order(0).len(),
                batch: stream.config().batch,
            });
        }
        Ok(stream)
    }

    /// The cases it draws from.
    #[must_use]
    pub fn cases(&self) -> &dyn CaseSource {
        &*self.preparer.source
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &StreamConfig {
        &self.preparer.config
    }

    /// Batches in every epoch.
    #[must_use]
    pub fn batches_per_epoch(&self) -> usize {
        let cases = order::epoch_length(&*self.preparer.source, self.config());
        let batch = self.config().batch;
        if self.config().drop_last { cases / batch } else { cases.div_ceil(batch) }
    }

    /// Which case is drawn when, in an epoch; batches take them from the front.
    #[must_use]
    pub fn order(&self, epoch: u64) -> Vec<Draw> {
        order::order(&*self.preparer.source, epoch, self.config())
    }

    /// The batches of an epoch. Workers start at once and stay a few cases ahead.
    ///
    /// After an error the iterator ends. Dropping it early stops the workers; it waits for the
    /// cases they are working on.
    #[must_use]
    pub fn epoch(&self, epoch: u64) -> EpochBatches {
        self.epoch_from(epoch, 0)
    }

    /// The batches of an epoch without the first `first_batch`, which are not even loaded.
    #[must_use]
    pub fn epoch_from(&self, epoch: u64, first_batch: usize) -> EpochBatches {
        let batch = self.config().batch;
        let mut draws = self.order(epoch);
        draws.truncate(self.batches_per_epoch() * batch);
        draws.drain(..(first_batch.saturating_mul(batch)).min(draws.len()));
        EpochBatches::start(Arc::clone(&self.preparer), draws, epoch)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod throughput;
