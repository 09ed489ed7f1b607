//! One training phase and its loss.

use scant_data::stream::TrainOn;
use scant_nn::loss::discrepancy_config::FeatureDiscrepancyConfig;
use scant_nn::loss::segmentation::{DiceOver, SegmentationLossConfig};
use serde::{Deserialize, Serialize};

use super::{RecipeError, ScheduleName};

/// Which weights a phase starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The epoch of the previous phase with the best validation Dice (the last one where there is no
    /// validation part). The first phase starts from the initial weights.
    #[default]
    Best,
    /// The last epoch of the previous phase.
    Last,
    /// The initial weights again.
    Scratch,
}

/// A stretch of training with one loss. The optimiser and the alphas start anew in each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name in logs and reports.
    pub name: String,
    /// Passes over the training images.
    pub epochs: usize,
    /// Starting weights.
    #[serde(default)]
    pub from: From,
    /// Stop when validation Dice has not improved for this many epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<usize>,
    /// Learning rate of this phase; `optim.lr` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Schedule of this phase; `optim.schedule` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleName>,
    /// The roles trained on in this phase; `data.train_on` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_on: Option<TrainOn>,
    /// Images of novel sources in every batch of this phase; `data.novel_per_batch` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novel_per_batch: Option<usize>,
    /// What is descended.
    #[serde(default)]
    pub loss: PhaseLoss,
}

/// Weights of the terms; what is not written is not used. An empty table is Dice + BCE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseLoss {
    /// Soft Dice.
    #[serde(default)]
    pub dice: f64,
    /// Binary cross-entropy from logits.
    #[serde(default)]
    pub bce: f64,
    /// Categorical cross-entropy from logits.
    #[serde(default)]
    pub ce: f64,
    /// Soft IoU.
    #[serde(default)]
    pub iou: f64,
    /// Pooling of Dice and IoU.
    #[serde(default)]
    pub dice_over: DiceOver,
    /// Layer-wise feature discrepancy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_discrepancy: Option<FeatureDiscrepancyConfig>,
}

impl Default for PhaseLoss {
    fn default() -> Self {
        Self {
            dice: 1.0,
            bce: 1.0,
            ce: 0.0,
            iou: 0.0,
            dice_over: DiceOver::Batch,
            feature_discrepancy: None,
        }
    }
}

impl PhaseLoss {
    /// The segmentation part.
    #[must_use]
    pub fn segmentation(&self) -> SegmentationLossConfig {
        SegmentationLossConfig {
            dice: self.dice,
            bce: self.bce,
            ce: self.ce,
            iou: self.iou,
            dice_over: self.dice_over,
            ..SegmentationLossConfig::default()
        }
    }
}

impl Phase {
    pub(super) fn resolve(&mut self) {
        if let Some(fd) = &mut self.loss.feature_discrepancy {
            *fd = fd.resolved();
        }
    }

    pub(super) fn validate(&self, index: usize) -> Result<(), RecipeError> {
        let key = |field: &str| format!("phase.{index}.{field}");
        let bad = |field: &str, value: String, allowed: &str| {
            Err(RecipeError::value(&key(field), value, allowed))
        };
        if self.name.trim().is_empty() {
            return bad("name", "\"\"".into(), "give the phase a name");
        }
        if self.epochs == 0 {
            return bad("epochs", "0".into(), "at least 1");
        }
        if self.early_stop == Some(0) {
            return bad("early_stop", "0".into(), "at least 1 epoch of patience");
        }
        if let Some(lr) = self.lr
            && !(lr.is_finite() && lr > 0.0)
        {
            return bad("lr", lr.to_string(), "above 0");
        }
        if let Err(e) = self.loss.segmentation().validate() {
            return bad("loss", "{ .. }".into(), &e.to_string());
        }
        if let Some(fd) = &self.loss.feature_discrepancy
            && let Err(e) = fd.validate()
        {
            return bad("loss.feature_discrepancy", "{ .. }".into(), &e.to_string());
        }
        Ok(())
    }
}
