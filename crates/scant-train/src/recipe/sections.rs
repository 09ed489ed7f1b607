//! The sections of a recipe besides its phases.

use scant_data::augment::AugmentConfig;
use scant_data::preprocess::harmonise::HarmoniseMethod;
use scant_data::preprocess::{Fit, Normalise, PreprocessConfig};
use scant_data::stream::{PatchConfig, Roles};
use scant_nn::Precision;
use serde::{Deserialize, Serialize};

use super::RecipeError;

/// How convolutions multiply while a network trains. Everything else is single precision always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionName {
    /// Single precision.
    #[default]
    Fp32,
    /// Operands rounded to bfloat16, sums in single precision; on the CPU only.
    Bf16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::Fp32 => Self::Single,
            PrecisionName::Bf16 => Self::Bfloat16,
        }
    }
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSection {
    /// Rows and columns every image is brought to, or `"keep"` (then `patches` is needed unless
    /// `batch` is 1).
    #[serde(with = "scant_data::preprocess::size_or_keep")]
    pub size: Option<[usize; 2]>,
    /// 1 (grey) or 3 (colour).
    pub channels: usize,
    /// Aspect ratio.
    pub fit: Fit,
    /// Intensities.
    pub normalise: Normalise,
    /// Images per step.
    pub batch: usize,
    /// Random changes of training images.
    pub augment: Augment,
    /// Train on patches instead of whole images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patches: Option<PatchConfig>,
    /// Draw every source equally often.
    pub balance_sources: bool,
    /// The roles whose training images are trained on.
    #[serde(skip_serializing_if = "is_default")]
    pub train_on: Roles,
    /// The roles whose validation images choose the best epoch.
    #[serde(skip_serializing_if = "is_default")]
    pub validate_on: Roles,
    /// Share of the training images of every novel source that takes part.
    #[serde(skip_serializing_if = "is_one")]
    pub novel_fraction: f64,
    /// Images of novel sources in every batch; 0 draws from all images alike.
    #[serde(skip_serializing_if = "is_default")]
    pub novel_per_batch: usize,
    /// Standard deviation of noise on training images, for intensities from 0 to 1.
    #[serde(skip_serializing_if = "is_default")]
    pub noise_sigma: f64,
    /// Make all images look like the base training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harmonise: Option<HarmoniseSection>,
    /// Loader threads besides the step.
    pub workers: usize,
    /// Memory for decoded images, MiB; 0 decodes anew each epoch.
    pub cache_mib: usize,
}

/// `harmonise = { method = "macenko" }`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarmoniseSection {
    /// How.
    pub method: HarmoniseMethod,
}

// What asks for nothing is not written, so that checkpoints of before such a key existed go on.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            size: Some([256, 256]),
            channels: 3,
            fit: Fit::default(),
            normalise: Normalise::default(),
            batch: 4,
            augment: Augment::Names(vec!["flip".into(), "rot90".into()]),
            patches: None,
            balance_sources: false,
            train_on: Roles::All,
            validate_on: Roles::All,
            novel_fraction: 1.0,
            novel_per_batch: 0,
            noise_sigma: 0.0,
            harmonise: None,
            workers: 1,
            cache_mib: 1024,
        }
    }
}

/// Augmentations by name (with their defaults) or in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Augment {
    /// `["flip", "rot90"]`
    Names(Vec<String>),
    /// `{ flips = { .. }, affine = { .. } }`
    Full(Box<AugmentConfig>),
}

impl Augment {
    /// The configuration behind it.
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn config(&self) -> Result<AugmentConfig, RecipeError> {
        match self {
            Self::Full(config) => Ok((**config).clone()),
            Self::Names(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                AugmentConfig::from_names(&names).map_err(|e| {
                    RecipeError::value("data.augment", format!("{names:?}"), &e.to_string())
                })
            }
        }
    }
}

impl DataSection {
    /// What happens to every image, in training and prediction alike, but for `harmonise`: that is fitted
    /// on the training images first.
    #[must_use]
    pub fn preprocess(&self) -> PreprocessConfig {
        PreprocessConfig {
            size: self.size,
            channels: self.channels,
            fit: self.fit,
            normalise: self.normalise,
            harmonise: None,
        }
    }

    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        if let Err(e) = self.preprocess().validate() {
            return Err(RecipeError::value("data", "{ .. }", &e.to_string()));
        }
        if self.batch == 0 {
            return Err(RecipeError::value("data.batch", 0, "at least 1"));
        }
        if self.size.is_none() && self.patches.is_none() && self.batch > 1 {
            let allowed = "images that keep their size need data.patches or batch = 1";
            return Err(RecipeError::value("data.batch", self.batch, allowed));
        }
        if !(0.0..=1.0).contains(&self.novel_fraction) {
            let allowed = "a share of the novel images, from 0 to 1";
            return Err(RecipeError::value("data.novel_fraction", self.novel_fraction, allowed));
        }
        if !(0.0..=1.0).contains(&self.noise_sigma) {
            let allowed = "a standard deviation from 0 to 1";
            return Err(RecipeError::value("data.noise_sigma", self.noise_sigma, allowed));
        }
        if let Some(HarmoniseSection { method }) = self.harmonise
            && method.needs_colour()
            && self.channels != 3
        {
            let allowed = "it works on colours: set data.channels = 3, or method = \"histogram\"";
            let value = format!("\"{}\"", method.name());
            return Err(RecipeError::value("data.harmonise.method", value, allowed));
        }
        self.augment.config().map(|_| ())
    }
}

/// `[split]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitSection {
    /// Share of images held out for the final judgement.
    pub test: f64,
    /// Share of images that choose the best epoch.
    pub validation: f64,
    /// Number of cross-validation folds; 0 draws one split.
    pub folds: usize,
    /// Which fold is the test part, from 0.
    pub fold: usize,
    /// Seed of the split, so that runs of other seeds share it; the seed of the run when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Keep near-duplicate images of different groups in one part.
    pub keep_duplicates_together: bool,
}

impl Default for SplitSection {
    fn default() -> Self {
        Self {
            test: 0.2,
            validation: 0.1,
            folds: 0,
            fold: 0,
            seed: None,
            keep_duplicates_together: true,
        }
    }
}

impl SplitSection {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        for (key, v) in [("split.test", self.test), ("split.validation", self.validation)] {
            if !(0.0..1.0).contains(&v) {
                return Err(RecipeError::value(key, v, "from 0 to below 1"));
            }
        }
        if self.test + self.validation >= 1.0 {
            let sum = self.test + self.validation;
            return Err(RecipeError::value("split.test + split.validation", sum, "below 1"));
        }
        if self.folds == 1 {
            return Err(RecipeError::value("split.folds", 1, "0 (one split) or at least 2"));
        }
        if self.folds > 0 && self.fold >= self.folds {
            return Err(RecipeError::value("split.fold", self.fold, "below split.folds"));
        }
        Ok(())
    }
}

/// Optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Kingma and Ba 2015, arXiv:1412.6980; weight decay is added to the gradient.
    #[default]
    Adam,
    /// Loshchilov and Hutter 2019, arXiv:1711.05101; decoupled weight decay.
    Adamw,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// Learning-rate schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// The same rate throughout.
    #[default]
    Constant,
    /// `lr (1 - t/T)^0.9` per step.
    Poly,
    /// Half a cosine from `lr` to 0 per step.
    Cosine,
    /// A tenth whenever validation Dice has not improved for `plateau_patience` epochs.
    Plateau,
}

/// `[optim]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimSection {
    /// Which.
    pub name: OptimizerName,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay; not applied to biases and batch norm.
    pub weight_decay: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Nesterov's form of it.
    pub nesterov: bool,
    /// Schedule.
    pub schedule: ScheduleName,
    /// Epochs of patience of the plateau schedule.
    pub plateau_patience: usize,
    /// Scale the gradient down to this norm; 0 leaves it alone.
    pub clip_norm: f64,
    /// Batches whose gradients are averaged for one step.
    pub accumulate: usize,
}

impl Default for OptimSection {
    fn default() -> Self {
        Self {
            name: OptimizerName::Adam,
            lr: 1e-3,
            weight_decay: 0.0,
            momentum: 0.9,
            nesterov: true,
            schedule: ScheduleName::Constant,
            plateau_patience: 10,
            clip_norm: 0.0,
            accumulate: 1,
        }
    }
}

impl OptimSection {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        let check = |key: &str, v: f64, ok: bool, allowed: &str| {
            if v.is_finite() && ok { Ok(()) } else { Err(RecipeError::value(key, v, allowed)) }
        };
        check("optim.lr", self.lr, self.lr > 0.0, "above 0")?;
        check("optim.weight_decay", self.weight_decay, self.weight_decay >= 0.0, "at least 0")?;
        let m = self.momentum;
        check("optim.momentum", m, (0.0..1.0).contains(&m), "from 0 to below 1")?;
        check("optim.clip_norm", self.clip_norm, self.clip_norm >= 0.0, "at least 0 (0 = off)")?;
        if self.accumulate == 0 {
            return Err(RecipeError::value("optim.accumulate", 0, "at least 1"));
        }
        if self.plateau_patience == 0 {
            return Err(RecipeError::value("optim.plateau_patience", 0, "at least 1"));
        }
        Ok(())
    }
}

/// `[ema]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmaSection {
    /// Share of the old average kept at each step; ramped up as `min(decay, (1 + t) / (10 + t))`.
    pub decay: f64,
}

impl EmaSection {
    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        if self.decay > 0.0 && self.decay < 1.0 {
            Ok(())
        } else {
            Err(RecipeError::value("ema.decay", self.decay, "above 0 and below 1"))
        }
    }
}

/// `[limit]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSection {
    /// Optimiser steps of the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Minutes of the whole run. A run that ends by the clock cannot be repeated bit for bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
}
