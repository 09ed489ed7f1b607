//! Segmentation losses on stages of the decoder, by heads beside the network.

use burn::tensor::Tensor;
use scant_nn::SegOutput;
use scant_nn::heads::Heads;
use scant_nn::loss::auxiliary_logits::{AuxiliaryConfig, at_image_size};
use scant_nn::loss::segmentation::{SegmentationLossConfig, segmentation_loss};
use scant_nn::loss::{Logits, Target};

/// What the names of the heads start with; the tap follows.
pub(super) const HEADS: &str = "deep_supervision/";

/// The weighted sum over the heads at a share of the phase.
pub(super) fn deep_supervision(
    output: &SegOutput,
    heads: &Heads,
    target: &Target,
    phase: &SegmentationLossConfig,
    config: &AuxiliaryConfig,
    progress: f64,
) -> Tensor<1> {
    let [_, rows, columns] = target.classes.dims();
    let heads: Vec<_> = heads.below(HEADS).collect();
    let weights = config.weights(heads.len(), progress);
    let terms = SegmentationLossConfig { dice_over: phase.dice_over, ..config.loss.terms() };
    let stage = |(head, weight): (&&scant_nn::heads::Head, f64)| {
        let features = super::tap(output, head.tap());
        let logits = at_image_size(head.forward(features), [rows, columns], &output.padding);
        segmentation_loss(&Logits(logits), target, &terms).total * weight
    };
    let sum = heads.iter().zip(weights).map(stage).reduce(|a, b| a + b);
    sum.expect("a phase with deep supervision has its heads")
}
