//! The segmentation loss of some images: at full size, and at the auxiliary logits of networks that
//! have them.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use scant_nn::SegOutput;
use scant_nn::loss::segmentation::{SegmentationLossConfig, segmentation_loss};
use scant_nn::loss::{Logits, Target, deep_supervision};

use super::scalar;

/// What is held against a target.
#[derive(Debug, Clone)]
pub(super) struct Scores {
    /// `[B, K, H, W]`
    pub(super) logits: Tensor<4>,
    /// As in [`SegOutput`].
    aux: Vec<Tensor<4>>,
    padding: Vec<usize>,
}

impl Scores {
    /// Those of a network of images.
    pub(super) fn of(output: &SegOutput) -> Self {
        Self {
            logits: output.logits.clone(),
            aux: output.aux.clone(),
            padding: output.padding.clone(),
        }
    }

    /// Without auxiliary logits.
    pub(super) fn plain(logits: Tensor<4>) -> Self {
        Self { logits, aux: Vec::new(), padding: Vec::new() }
    }

    /// Those of some images of the batch, by position.
    pub(super) fn select(&self, images: &Tensor<1, burn::tensor::Int>) -> Self {
        let of = |t: &Tensor<4>| t.clone().select(0, images.clone());
        Self {
            logits: of(&self.logits),
            aux: self.aux.iter().map(of).collect(),
            padding: self.padding.clone(),
        }
    }
}

/// What is descended, and every term before its weight; `deep_supervision` is all stages of a network
/// with auxiliary logits together.
pub(super) fn supervised(
    scores: &Scores,
    target: &Target,
    config: &SegmentationLossConfig,
) -> (Tensor<1>, BTreeMap<String, f64>) {
    let segmentation = segmentation_loss(&Logits(scores.logits.clone()), target, config);
    let named = |(name, value): &(&'static str, Tensor<1>)| ((*name).to_owned(), scalar(value));
    let mut terms: BTreeMap<String, f64> = segmentation.terms.iter().map(named).collect();
    let mut total = segmentation.total;
    if !scores.aux.is_empty() {
        let weights = deep_supervision::weights(scores.aux.len());
        total = total * weights[0];
        // The coarsest comes first, and has no weight where there are others.
        for (aux, weight) in scores.aux.iter().rev().zip(&weights[1..]) {
            if *weight > 0.0 {
                let padding = &scores.padding;
                let (aux, target) = deep_supervision::at_stage(aux.clone(), target, padding);
                total = total + segmentation_loss(&Logits(aux), &target, config).total * *weight;
            }
        }
        terms.insert("deep_supervision".into(), scalar(&total));
    }
    (total, terms)
}
