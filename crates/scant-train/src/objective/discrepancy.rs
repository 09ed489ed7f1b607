//! The feature discrepancy of a batch, tap by tap.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scant_core::Role;
use scant_nn::SegOutput;
use scant_nn::loss::discrepancy_config::{Exchangeable, FeatureDiscrepancyConfig};
use scant_nn::loss::exchangeable::{Pairing, Permutation, base_novel, shuffled};
use scant_nn::loss::feature_discrepancy::{
    Discrepancy, feature_discrepancy, tapped_region_features,
};
use scant_nn::loss::mask_pyramid::mask_pyramid;
use scant_nn::loss::{ForegroundMask, Target};

use super::{DeviceBatch, scalar};

/// `L_fd` and, where asked for, its exchanged term, of every tap that takes part.
pub(super) fn tap_terms(
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
