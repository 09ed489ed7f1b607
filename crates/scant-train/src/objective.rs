//! From a batch to the number that is descended, with every part of it for the log.

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scant_core::Role;
use scant_data::stream::Batch;
use scant_nn::loss::deep_supervision;
use scant_nn::loss::discrepancy_config::{Exchangeable, FeatureDiscrepancyConfig};
use scant_nn::loss::exchangeable::{Pairing, Permutation, base_novel, shuffled};
use scant_nn::loss::feature_discrepancy::{
    Discrepancy, feature_discrepancy, tapped_region_features,
};
use scant_nn::loss::mask_pyramid::mask_pyramid;
use scant_nn::loss::segmentation::segmentation_loss;
use scant_nn::loss::{ForegroundMask, Logits, Target};
use scant_nn::{Model, SegOutput};

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
    if let (Some(config), Some(output)) = (&loss.feature_discrepancy, &output) {
        let mut weighted = 0.0;
        for (tap, term) in tap_terms(output, batch, config, draw) {
            let weight = alpha.get(&tap).copied().unwrap_or(0.0);
            let contributed = term.iter().any(|t| t.contributed() > 0);
            let sum = term.into_iter().map(|t| t.value).reduce(|a, b| a + b);
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
    Objective { total, terms, discrepancy }
}

/// `L_fd` and, where asked for, its exchanged term, of every tap that takes part.
fn tap_terms(
    output: &SegOutput,
    batch: &DeviceBatch,
    config: &FeatureDiscrepancyConfig,
    draw: u64,
) -> Vec<(String, Vec<Discrepancy>)> {
    let names = output.tap_names();
    let chosen = config.layers.select(&names).expect("layers are checked before training");
    let masks = tap_masks(output, &batch.target, config, &chosen);
    let pairing = Exchange::draw(config.exchangeable, &batch.roles, draw);
    chosen
        .into_iter()
        .zip(masks)
        .map(|(i, mask)| {
            let regions = tapped_region_features(&output.taps[i].moments, &mask, config.form);
            let mut terms = vec![feature_discrepancy(&regions, config.log())];
            match &pairing {
                Exchange::None => {}
                Exchange::Shuffled(p) => terms.push(shuffled(&regions, p, config.log())),
                Exchange::BaseNovel(p) => {
                    terms.push(base_novel(&regions, &batch.roles, p, config.log()));
                }
            }
            (names[i].clone(), terms)
        })
        .collect()
}

/// The target mask at the resolution of each chosen tap, padded as the network padded its input.
fn tap_masks(
    output: &SegOutput,
    target: &Target,
    config: &FeatureDiscrepancyConfig,
    chosen: &[usize],
) -> Vec<ForegroundMask> {
    let mut mask = ForegroundMask::from_target(target, config.classes);
    let [rows, columns] = output.padding[..] else { unreachable!("images have two axes") };
    if [rows, columns] != [0, 0] {
        mask.mask = mask.mask.pad((0, columns, 0, rows), 0.0);
    }
    let sizes: Vec<[usize; 2]> = chosen
        .iter()
        .map(|&i| {
            let [_, _, h, w] = output.taps[i].features.dims();
            [h, w]
        })
        .collect();
    mask_pyramid(&mask, &sizes)
}

/// Unweighted `L_fd` per tap of one evaluated case, without exchange.
pub(crate) fn discrepancy_per_tap(
    output: &SegOutput,
    target: &Target,
    config: &FeatureDiscrepancyConfig,
) -> BTreeMap<String, f64> {
    let all: Vec<usize> = (0..output.taps.len()).collect();
    let masks = tap_masks(output, target, config, &all);
    output
        .taps
        .iter()
        .zip(masks)
        .filter_map(|(tap, mask)| {
            let regions = tapped_region_features(&tap.moments, &mask, config.form);
            let term = feature_discrepancy(&regions, config.log());
            (term.contributed() > 0).then(|| (tap.name.clone(), scalar(&term.value)))
        })
        .collect()
}

/// The pairing of one step; the same for all taps.
enum Exchange {
    None,
    Shuffled(Permutation),
    BaseNovel(Pairing),
}

impl Exchange {
    fn draw(kind: Exchangeable, roles: &[Role], seed: u64) -> Self {
        let n = roles.len();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut shuffle = |mut order: Vec<usize>| {
            order.shuffle(&mut rng);
            order
        };
        match kind {
            Exchangeable::None => Self::None,
            // One image has nothing to be exchanged with; the term itself is then 0.
            Exchangeable::Shuffled if n < 2 => Self::None,
            Exchangeable::Shuffled => {
                let k = ChaCha8Rng::seed_from_u64(seed).random_range(1..n);
                Self::Shuffled(Permutation::CyclicShift { k })
            }
            Exchangeable::ShuffledIndependent => Self::Shuffled(Permutation::Independent {
                fg: shuffle((0..n).collect()),
                bg: shuffle((0..n).collect()),
            }),
            Exchangeable::BaseNovel => Self::BaseNovel(Pairing::AllPairs),
            Exchangeable::BaseNovelMean => Self::BaseNovel(Pairing::DatasetMean),
            Exchangeable::BaseNovelMatched => {
                let of = |role| (0..n).filter(|&i| roles[i] == role).collect::<Vec<_>>();
                let (base, novel) = (shuffle(of(Role::Base)), shuffle(of(Role::Novel)));
                Self::BaseNovel(Pairing::Matched(base.into_iter().zip(novel).collect()))
            }
        }
    }
}

/// The value of a one-element tensor.
pub(crate) fn scalar(t: &Tensor<1>) -> f64 {
    f64::from(t.clone().into_scalar::<f32>())
}
