//! What a run leaves behind: written while training, read by the report and by comparisons.
//!
//! A record is complete in itself: an old run can be re-reported on a machine that has neither
//! the images nor the network.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{LabelSpace, Role, SampleId};

/// Everything known about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this layout.
    pub schema: u32,
    /// Version of scant that wrote it.
    pub scant_version: String,
    /// Name of the run (its folder).
    pub name: String,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Device the run used.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
    /// The network.
    pub model: ModelSummary,
    /// The data.
    pub pool: PoolSummary,
    /// Who was trained on, validated on and tested on.
    pub split: SplitSummary,
    /// One entry per training phase, in order.
    pub phases: Vec<PhaseRecord>,
    /// Finished evaluations (validation, test, ...).
    pub evaluations: Vec<Evaluation>,
    /// Cases chosen for pictures.
    pub gallery: Vec<GalleryItem>,
    /// Everything the user should know, in plain words.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub timing: Timing,
}

impl RunRecord {
    /// Current value of [`RunRecord::schema`].
    pub const SCHEMA: u32 = 1;
}

/// The network of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Architecture name, e.g. `attention-unet`.
    pub name: String,
    /// Trainable parameters.
    pub parameters: u64,
    /// Full configuration.
    pub config: serde_json::Value,
    /// Names of the taps, encoder to decoder.
    pub taps: Vec<String>,
}

/// The data of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// Name of the pool.
    pub name: String,
    /// Its classes.
    pub classes: LabelSpace,
    /// Its sources.
    pub sources: Vec<SourceSummary>,
}

/// One source of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Images.
    pub images: usize,
    /// Groups (patients, slides).
    pub groups: usize,
    /// Classes drawn there.
    pub annotated: Vec<String>,
}

/// How the cases were divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// SHA-256 of the canonical split file.
    pub hash: String,
    /// Images per part (`train`, `validation`, `test`, `unlabelled`) and source.
    pub images: BTreeMap<String, BTreeMap<String, usize>>,
    /// Groups per part and source.
    pub groups: BTreeMap<String, BTreeMap<String, usize>>,
    /// How the division was made, in plain words.
    pub how: String,
}

/// One training phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Name in the recipe.
    pub name: String,
    /// Training images it draws from, by source; empty before it begins and in older records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, usize>,
    /// One entry per finished epoch.
    pub epochs: Vec<EpochRecord>,
    /// Epoch (1-based, within the phase) with the best validation Dice.
    pub best_epoch: Option<usize>,
    /// Validation Dice there.
    pub best_val_dice: Option<f64>,
    /// Why the phase ended: `finished`, `early stop`, `time limit`, `step limit`.
    pub ended: Option<String>,
}

/// One epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// 1-based, within the phase.
    pub epoch: usize,
    /// Optimiser steps done in the whole run at the end of the epoch.
    pub step: u64,
    /// Learning rate at the end of the epoch.
    pub lr: f64,
    /// Mean of every loss term over the epoch; `total` is the weighted sum that was descended.
    pub loss: BTreeMap<String, f64>,
    /// Weight of the discrepancy per tap at the end of the epoch.
    pub alpha: BTreeMap<String, f64>,
    /// Unweighted discrepancy per tap, mean over the epoch.
    pub discrepancy: BTreeMap<String, f64>,
    /// Euclidean norm of the gradient before clipping, mean over the epoch.
    pub grad_norm: f64,
    /// Mean hard Dice over validation cases and foreground classes.
    pub val_dice: Option<f64>,
    /// The same per source.
    pub val_dice_by_source: BTreeMap<String, f64>,
    /// Wall-clock seconds of the epoch with its validation.
    pub seconds: f64,
}

/// How numbers of an evaluation were defined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationProtocol {
    /// Name of the empty-mask policy.
    pub empty_policy: String,
    /// Tolerance of NSD, in the unit of the case.
    pub nsd_tolerance: f64,
    /// Threshold on the probability of a single foreground class.
    pub threshold: f64,
    /// Test-time augmentation, e.g. `none`, `flips`.
    pub tta: String,
}

/// Results on one part of the split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Part of the split (`validation`, `test`), or the name of another pool.
    pub part: String,
    /// Definitions behind the numbers.
    pub protocol: EvaluationProtocol,
    /// One entry per case.
    pub cases: Vec<CaseRecord>,
}

/// Results on one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseRecord {
    /// The case.
    pub id: SampleId,
    /// `mm` or `px`, for every distance of this case.
    pub distance_unit: String,
    /// One entry per foreground class that was drawn on this case.
    pub classes: Vec<CaseClassResult>,
    /// Unweighted discrepancy per tap on this case alone, where the model was evaluated by scant.
    pub discrepancy: BTreeMap<String, f64>,
    /// Set when the case could not be predicted; it then counts as failed, never as absent.
    pub failure: Option<String>,
}

/// Results for one class on one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseClassResult {
    /// Class name.
    pub class: String,
    /// True positives, pixels.
    pub tp: u64,
    /// False positives, pixels.
    pub fp: u64,
    /// False negatives, pixels.
    pub fn_: u64,
    /// True negatives, pixels.
    pub tn: u64,
    /// Which side, if any, is empty.
    pub situation: EmptySituation,
    /// Metric name to value; `None` where the policy leaves it undefined. Names: `dice`, `iou`,
    /// `precision`, `recall`, `hd`, `hd95` (larger directed percentile), `hd95_pooled`, `assd`,
    /// `nsd`.
    pub metrics: BTreeMap<String, Option<f64>>,
}

/// Which of truth and prediction is empty: the situations every mean must be read beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptySituation {
    /// Both have pixels.
    BothPresent,
    /// Neither has.
    BothEmpty,
    /// Truth is empty, the prediction is not: a false alarm.
    FalseAlarm,
    /// Truth has pixels, the prediction has none: a miss.
    Missed,
}

/// Why a case is in the gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GalleryKind {
    /// Among the lowest Dice.
    Worst,
    /// Among the highest Dice.
    Best,
}

/// Pictures of one case, as files in the run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GalleryItem {
    /// The case.
    pub id: SampleId,
    /// Part of the split it belongs to.
    pub part: String,
    /// Why it was chosen.
    pub kind: GalleryKind,
    /// Mean Dice over its classes.
    pub dice: Option<f64>,
    /// Image, 8-bit PNG (grey or RGB), path relative to the run folder.
    pub image: String,
    /// Truth, 8-bit grey PNG of class ids, same size.
    pub truth: String,
    /// Prediction, 8-bit grey PNG of class ids, same size.
    pub prediction: String,
    /// Channel-mean activation per named tap, 8-bit grey PNG (min-max scaled), any size.
    pub heatmaps: BTreeMap<String, String>,
}

/// Where the time went, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Training with validation.
    pub train_secs: f64,
    /// Evaluation after training.
    pub evaluate_secs: f64,
    /// Time the step waited for data.
    pub data_wait_secs: f64,
    /// Images passed through the network in training.
    pub images: u64,
    /// Largest resident memory of the process, MiB, where the system tells.
    pub peak_memory_mib: Option<f64>,
}
