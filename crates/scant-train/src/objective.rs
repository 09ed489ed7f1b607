//! From a batch to the number that is descended, with every part of it for the log.

mod discrepancy;

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use scant_core::Role;
use scant_data::stream::Batch;
use scant_nn::loss::alpha::AlphaSeen;
use scant_nn::loss::deep_supervision;
use scant_nn::loss::segmentation::segmentation_loss;
use scant_nn::loss::{Logits, Target};
use scant_nn::{Model, Watch};

use discrepancy::TapTerms;
pub(crate) use discrepancy::discrepancy_per_tap;

use crate::recipe::PhaseLoss;

/// What a network is shown.
#[derive(Debug)]
pub(crate) enum Pixels {
    /// `[B, C, H, W]`
    Images(Tensor<4>),
    /// `[B, C, D, H, W]`
    Volumes(Tensor<5>),
}

/// A batch on the device.
#[derive(Debug)]
pub(crate) struct DeviceBatch {
    pub(crate) pixels: Pixels,
    /// The slices of a volume one below the other.
    pub(crate) target: Target,
    roles: Vec<Role>,
}

impl DeviceBatch {
    pub(crate) fn new(batch: &Batch, device: &Device) -> Self {
        let (b, c, h, w) = batch.images.dim();
        let pixels: Vec<f32> = batch.images.iter().copied().collect();
        let ids: Vec<i32> = batch.labels.iter().map(|&v| i32::from(v)).collect();
        let classes = batch.annotated.first().map_or(0, |a| a.flags().len());
        let drawn: Vec<f32> = batch
            .annotated
            .iter()
            .flat_map(|a| a.flags().iter().map(|&d| f32::from(u8::from(d))))
            .collect();
        Self {
            pixels: Pixels::Images(Tensor::from_data(
                TensorData::new(pixels, [b, c, h, w]),
                device,
            )),
            target: Target {
                classes: Tensor::<3, Int>::from_data(TensorData::new(ids, [b, h, w]), device),
                annotated: Tensor::from_data(TensorData::new(drawn, [b, classes]), device),
            },
            roles: batch.roles.clone(),
        }
    }

    /// The images of a batch as the slices of volumes of `depth` slices each.
    pub(crate) fn stacked(batch: &Batch, depth: usize, device: &Device) -> Self {
        let planar = Self::new(batch, device);
        let Pixels::Images(images) = planar.pixels else { unreachable!("made of images above") };
        let [slices, c, h, w] = images.dims();
        let count = slices / depth;
        let volumes = images.reshape([count, depth, c, h, w]).swap_dims(1, 2);
        Self {
            pixels: Pixels::Volumes(volumes),
            target: Target {
                classes: planar.target.classes.reshape([count, depth * h, w]),
                annotated: planar.target.annotated.slice(0..count),
            },
            roles: planar.roles.into_iter().step_by(depth).collect(),
        }
    }
}

/// The loss of one batch.
pub(crate) struct Objective {
    /// What is descended.
    pub(crate) total: Tensor<1>,
    /// Named parts, before their weights, with `total`; `feature_discrepancy` is the weighted sum
    /// over taps.
    pub(crate) terms: BTreeMap<String, f64>,
    /// Unweighted discrepancy per tap with its exchanged term; `None` where no image contributed.
    pub(crate) discrepancy: BTreeMap<String, Option<f64>>,
    /// Taps whose gradients the backward pass compares.
    pub(crate) watched: Vec<(String, Watch)>,
}

impl Objective {
    /// After the backward pass: what the rules of the alphas go by.
    pub(crate) fn seen(&self) -> BTreeMap<String, AlphaSeen> {
        let pull = |tap: &String| self.watched.iter().find(|(name, _)| name == tap)?.1.ratio();
        let seen = |(tap, value): (&String, &Option<f64>)| {
            (tap.clone(), AlphaSeen { discrepancy: *value, pull: pull(tap) })
        };
        self.discrepancy.iter().map(seen).collect()
    }
}

/// Forward pass and loss. `alpha` holds the weight of every tap that takes part; `draw` seeds the
/// random pairing of an exchanged term.
pub(crate) fn objective(
    model: &Model,
    batch: &DeviceBatch,
    loss: &PhaseLoss,
    alpha: &BTreeMap<String, f64>,
    draw: u64,
) -> Objective {
    let (logits, output) = match &batch.pixels {
        Pixels::Images(images) => {
            let output = model.forward(images.clone());
            (output.logits.clone(), Some(output))
        }
        Pixels::Volumes(volumes) => {
            let logits = model.forward_volume(volumes.clone()).logits;
            let [b, k, d, h, w] = logits.dims();
            (logits.reshape([b, k, d * h, w]), None)
        }
    };
    let config = loss.segmentation();
    let segmentation = segmentation_loss(&Logits(logits), &batch.target, &config);
    let mut terms: BTreeMap<String, f64> = segmentation
        .terms
        .iter()
        .map(|(name, value)| ((*name).to_owned(), scalar(value)))
        .collect();
    let mut total = segmentation.total;
    if let Some(output) = output.as_ref().filter(|output| !output.aux.is_empty()) {
        let weights = deep_supervision::weights(output.aux.len());
        total = total * weights[0];
        // The coarsest comes first, and has no weight where there are others.
        for (aux, weight) in output.aux.iter().rev().zip(&weights[1..]) {
            if *weight > 0.0 {
                let padding = &output.padding;
                let (aux, target) = deep_supervision::at_stage(aux.clone(), &batch.target, padding);
                total = total + segmentation_loss(&Logits(aux), &target, &config).total * *weight;
            }
        }
        terms.insert("deep_supervision".into(), scalar(&total));
    }
    let mut discrepancy = BTreeMap::new();
    let mut watched = Vec::new();
    if let (Some(config), Some(output)) = (&loss.feature_discrepancy, &output) {
        let mut weighted = 0.0;
        for TapTerms { tap, terms, watch } in discrepancy::tap_terms(output, batch, config, draw) {
            let weight = alpha.get(&tap).copied().unwrap_or(0.0);
            let contributed = terms.iter().any(|t| t.contributed() > 0);
            watched.extend(watch.map(|watch| (tap.clone(), watch)));
            let sum = terms.into_iter().map(|t| t.value).reduce(|a, b| a + b);
            let Some(sum) = sum.filter(|_| contributed) else {
                discrepancy.insert(tap, None);
                continue;
            };
            let value = scalar(&sum);
            weighted += weight * value;
            if weight != 0.0 {
                total = total + sum * weight;
            }
            discrepancy.insert(tap, Some(value));
        }
        terms.insert("feature_discrepancy".into(), weighted);
    }
    terms.insert("total".into(), scalar(&total));
    Objective { total, terms, discrepancy, watched }
}

/// The value of a one-element tensor.
pub(crate) fn scalar(t: &Tensor<1>) -> f64 {
    f64::from(t.clone().into_scalar::<f32>())
}
