//! The segmentation loss by sources, weighted by what group DRO makes of it.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use scant_nn::loss::Target;
use scant_nn::loss::group_dro::{GroupDroConfig, Groups};
use scant_nn::loss::segmentation::SegmentationLossConfig;

use super::segmentation::{Scores, supervised};
use super::{DeviceBatch, positions, scalar};

/// The loss of a batch of several sources.
pub(super) struct BySource {
    /// What is descended.
    pub(super) total: Tensor<1>,
    /// The terms of the segmentation loss as means over images, `group_dro`, which is the total, and loss
    /// and weight of every source.
    pub(super) terms: BTreeMap<String, f64>,
    /// The weights it was made with, for the next step.
    pub(super) groups: Groups,
}

/// Moves the weights by the losses of the batch, and weighs these losses with them.
pub(super) fn by_source(
    scores: &Scores,
    batch: &DeviceBatch,
    segmentation: &SegmentationLossConfig,
    config: GroupDroConfig,
    groups: &Groups,
) -> BySource {
    let count = batch.sources.len() as f64;
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, source) in batch.sources.iter().enumerate() {
        members.entry(source).or_default().push(i);
    }
    let mut terms: BTreeMap<String, f64> = BTreeMap::new();
    let mut losses = BTreeMap::new();
    let mut parts = Vec::new();
    for (source, images) in members {
        let share = images.len() as f64 / count;
        let at = positions(images.iter().copied(), &scores.logits.device());
        let target = Target {
            classes: batch.target.classes.clone().select(0, at.clone()),
            annotated: batch.target.annotated.clone().select(0, at.clone()),
        };
        let (loss, named) = supervised(&scores.select(&at), &target, segmentation);
        for (name, value) in named {
            *terms.entry(name).or_default() += share * value;
        }
        let value = scalar(&loss);
        terms.insert(format!("group_loss/{source}"), value);
        losses.insert(source.to_owned(), value);
        parts.push((source, loss));
    }
    let groups = groups.moved(&losses, config);
    let weighted = |(source, loss): (&str, Tensor<1>)| {
        loss * groups.weights.get(source).copied().unwrap_or(0.0)
    };
    let total = parts.into_iter().map(weighted).reduce(|a, b| a + b);
    let total = total.expect("a batch has at least one image");
    terms.insert("group_dro".into(), scalar(&total));
    for (source, weight) in &groups.weights {
        terms.insert(format!("group_weight/{source}"), *weight);
    }
    BySource { total, terms, groups }
}
