//! How batches are made.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::augment::{AugmentConfig, AugmentError};
use crate::preprocess::{PreprocessConfig, PreprocessError};

/// Why no stream can be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamError {
    /// A number out of its range.
    #[error("{0}")]
    Config(String),
    /// The preprocessing cannot work.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The augmentation cannot work.
    #[error(transparent)]
    Augment(#[from] AugmentError),
    /// Nothing to stream.
    #[error("there are no cases to train on: check the split and the roles of the pool")]
    NoCases,
    /// A selection that leaves nothing.
    #[error(
        "nothing is selected: there are {there_are}, of the novel ones novel_fraction = {fraction} takes part"
    )]
    NothingSelected {
        /// Roles with their numbers.
        there_are: String,
        /// Share of the novel cases that may take part.
        fraction: String,
    },
    /// Batches of base and novel cases, and one of the roles is missing.
    #[error(
        "batches of base and novel images need both, there are {there_are}: \
         set novel_per_batch = 0, or add images of the other role"
    )]
    OneRole {
        /// Roles with their numbers.
        there_are: String,
    },
    /// Everything would be dropped.
    #[error(
        "{cases} case(s) do not fill one batch of {batch} and drop_last leaves the rest out: \
         lower the batch or switch drop_last off"
    )]
    NoBatches {
        /// Cases in an epoch.
        cases: usize,
        /// Cases in a batch.
        batch: usize,
    },
}

/// Training on pieces of the (preprocessed) images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchConfig {
    /// Rows and columns of a piece; smaller images are padded with 0 below and to the right.
    pub size: [usize; 2],
    /// Share of pieces centred on a drawn structure: first a class present in the image is chosen,
    /// each equally likely, then one of its pixels. The other pieces lie anywhere.
    #[serde(default)]
    pub foreground: f64,
}

/// How batches are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// Cases in a batch.
    pub batch: usize,
    /// How images are made fit for the network.
    pub preprocess: PreprocessConfig,
    /// How images are varied; see [`crate::augment`].
    pub augment: AugmentConfig,
    /// Train on pieces, one per case and epoch.
    pub patches: Option<PatchConfig>,
    /// Seed of order, pieces and augmentation.
    pub seed: u64,
    /// Threads that decode and augment; 0 does the work on the consumer's thread. Changes the
    /// speed only, never a batch.
    pub workers: usize,
    /// Keep preprocessed cases in memory, up to `cache_bytes`.
    pub cache: bool,
    /// Most bytes kept; what comes later is decoded anew every epoch.
    pub cache_bytes: usize,
    /// Leave out an incomplete last batch.
    pub drop_last: bool,
    /// Draw every source as often as the largest one, repeating cases (with other augmentations)
    /// of the smaller ones.
    pub balance_sources: bool,
    /// Cases of novel sources in every batch, beside `batch - novel_per_batch` of base sources; 0
    /// draws from all cases alike. An epoch passes once over the base cases.
    pub novel_per_batch: usize,
    /// Standard deviation of the noise on training images, for intensities from 0 to 1; see the header
    /// of `stream/noise.rs`.
    pub noise_sigma: f64,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            batch: 4,
            preprocess: PreprocessConfig::default(),
            augment: AugmentConfig::default(),
            patches: None,
            seed: 0,
            workers: 2,
            cache: true,
            cache_bytes: 2 << 30,
            drop_last: false,
            balance_sources: false,
            novel_per_batch: 0,
            noise_sigma: 0.0,
        }
    }
}

impl StreamConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// Names the first one that is out of its range.
    pub fn validate(&self) -> Result<(), StreamError> {
        let refuse = |message: String| Err(StreamError::Config(message));
        if self.batch == 0 {
            return refuse("batch = 0 is not possible: a batch has at least 1 case".into());
        }
        if self.workers > 1024 {
            return refuse(format!("workers = {} is not possible: at most 1024", self.workers));
        }
        if self.novel_per_batch > 0 && self.novel_per_batch >= self.batch {
            return refuse(format!(
                "novel_per_batch = {} is not possible in a batch of {}: at least one image of each \
                 batch is of a base source",
                self.novel_per_batch, self.batch
            ));
        }
        if self.novel_per_batch > 0 && self.balance_sources {
            return refuse(
                "novel_per_batch and balance_sources both decide what a batch holds: choose one"
                    .into(),
            );
        }
        if !(0.0..=1.0).contains(&self.noise_sigma) {
            return refuse(format!(
                "noise_sigma = {} is not possible: a standard deviation from 0 to 1",
                self.noise_sigma
            ));
        }
        if let Some(PatchConfig { size, foreground }) = &self.patches {
            if size.iter().any(|n| !(1..=65_536).contains(n)) {
                return refuse(format!(
                    "patches.size = [{}, {}] is not possible: rows and columns lie between 1 and \
                     65536",
                    size[0], size[1]
                ));
            }
            if !(0.0..=1.0).contains(foreground) {
                return refuse(format!(
                    "patches.foreground = {foreground} is not possible: a share lies between 0 \
                     and 1"
                ));
            }
        }
        self.preprocess.validate()?;
        self.augment.validate()?;
        Ok(())
    }
}
