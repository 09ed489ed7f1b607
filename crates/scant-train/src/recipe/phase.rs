//! One training phase and its loss.

use scant_data::stream::Roles;
use scant_nn::loss::auxiliary_logits::AuxiliaryConfig;
use scant_nn::loss::discrepancy_config::FeatureDiscrepancyConfig;
use scant_nn::loss::group_dro::GroupDroConfig;
use scant_nn::loss::local_contrast::LocalContrastConfig;
use scant_nn::loss::pixel_contrast::PixelContrastConfig;
use scant_nn::loss::segmentation::{DiceOver, SegmentationLossConfig, SegmentationLossError};
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
    pub train_on: Option<Roles>,
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
    /// Segmentation losses on stages of the decoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deep_supervision: Option<AuxiliaryConfig>,
    /// Local contrast between two copies of every image, without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_contrast: Option<LocalContrastConfig>,
    /// Contrast of pixels by their classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_contrast: Option<PixelContrastConfig>,
    /// Weights of the sources that rise with their losses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_dro: Option<GroupDroConfig>,
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
            deep_supervision: None,
            local_contrast: None,
            pixel_contrast: None,
            group_dro: None,
        }
    }
}

impl PhaseLoss {
    /// Whether any term holds logits against masks.
    #[must_use]
    pub fn segments(&self) -> bool {
        self.segmentation().weights().iter().any(|&(_, weight)| weight != 0.0)
    }

    /// The key of a term that needs images and cannot take volumes, if there is one.
    #[must_use]
    pub fn for_images_only(&self) -> Option<&'static str> {
        let terms = [
            ("feature_discrepancy", self.feature_discrepancy.is_some()),
            ("deep_supervision", self.deep_supervision.is_some()),
            ("local_contrast", self.local_contrast.is_some()),
            ("pixel_contrast", self.pixel_contrast.is_some()),
        ];
        terms.iter().find(|(_, asked)| *asked).map(|(key, _)| *key)
    }

    /// Whether the network sees the images as they are, and not only changed copies of them.
    #[must_use]
    pub fn shows_images(&self) -> bool {
        self.segments() || self.pixel_contrast.is_some() || self.feature_discrepancy.is_some()
    }

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
        let loss = &self.loss;
        // A phase may train features alone, by contrast.
        let contrast = loss.local_contrast.is_some() || loss.pixel_contrast.is_some();
        match loss.segmentation().validate() {
            Err(SegmentationLossError::NoTerm) if contrast => {}
            Err(e) => return bad("loss", "{ .. }".into(), &e.to_string()),
            Ok(()) => {}
        }
        let needs = "needs a segmentation term beside it: dice, bce, ce or iou";
        if !loss.segments() && loss.deep_supervision.is_some() {
            return bad("loss.deep_supervision", "{ .. }".into(), needs);
        }
        if !loss.segments() && loss.group_dro.is_some() {
            return bad("loss.group_dro", "{ .. }".into(), needs);
        }
        if let Some(fd) = &loss.feature_discrepancy
            && let Err(e) = fd.validate()
        {
            return bad("loss.feature_discrepancy", "{ .. }".into(), &e.to_string());
        }
        if let Some(aux) = &loss.deep_supervision
            && !(aux.weight.is_finite() && aux.weight > 0.0)
        {
            return bad("loss.deep_supervision.weight", aux.weight.to_string(), "above 0");
        }
        if let Some(contrast) = &loss.local_contrast
            && let Err(e) = contrast.validate()
        {
            return bad("loss.local_contrast", "{ .. }".into(), &e.to_string());
        }
        if let Some(contrast) = &loss.pixel_contrast
            && let Err(e) = contrast.validate()
        {
            return bad("loss.pixel_contrast", "{ .. }".into(), &e.to_string());
        }
        if let Some(dro) = &loss.group_dro {
            if !(dro.step.is_finite() && dro.step > 0.0) {
                return bad("loss.group_dro.step", dro.step.to_string(), "above 0");
            }
            if !(dro.adjustment.is_finite() && dro.adjustment >= 0.0) {
                let allowed = "at least 0 (0 = off)";
                return bad("loss.group_dro.adjustment", dro.adjustment.to_string(), allowed);
            }
        }
        Ok(())
    }
}
