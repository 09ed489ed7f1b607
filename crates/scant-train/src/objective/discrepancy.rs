//! The feature discrepancy of a batch, tap by tap.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scant_core::Role;
use scant_nn::loss::Logits;
use scant_nn::loss::discrepancy_config::{Exchangeable, FeatureDiscrepancyConfig};
use scant_nn::loss::exchangeable::{Pairing, Permutation, base_novel, shuffled};
use scant_nn::loss::feature_discrepancy::{
    Discrepancy, FdForm, RegionFeatures, feature_discrepancy, tapped_region_features,
};
use scant_nn::loss::mask_pyramid::mask_pyramid;
use scant_nn::loss::prototype::prototype_discrepancy;
use scant_nn::loss::region_weights::{FdPixels, RegionWeights, weighted_region_features};
use scant_nn::loss::{ForegroundMask, Target};
use scant_nn::{SegOutput, Tap, Watch};

use super::{DeviceBatch, scalar};

/// The discrepancy of one tap.
pub(super) struct TapTerms {
    pub(super) tap: String,
    /// `L_fd` and, where asked for, its exchanged term.
    pub(super) terms: Vec<Discrepancy>,
    /// Of the gradients that meet at the tap, where the rule of alpha goes by them.
    pub(super) watch: Option<Watch>,
}

/// What every tap that takes part contributes.
pub(super) fn tap_terms(
    output: &SegOutput,
    batch: &DeviceBatch,
    config: &FeatureDiscrepancyConfig,
    draw: u64,
) -> Vec<TapTerms> {
    let names = output.tap_names();
    let chosen = config.layers.select(&names).expect("layers are checked before training");
    let regions = tap_regions(output, &batch.target, config, &chosen);
    let exchange = Exchange::draw(config, &batch.roles, draw);
    let log = config.log();
    chosen
        .into_iter()
        .zip(regions)
        .map(|(i, regions)| {
            let own = || feature_discrepancy(&regions, log);
            let terms = match &exchange {
                Exchange::None => vec![own()],
                Exchange::Shuffled(p) => vec![own(), shuffled(&regions, p, log)],
                Exchange::BaseNovel(p) => {
                    vec![own(), base_novel(&regions, &batch.roles, p, log)]
                }
                Exchange::Prototypes(peers) => {
                    vec![prototype_discrepancy(&regions, peers, config.temperature)]
                }
            };
            let watch = config.alpha_rule().needs_pull().then(|| output.taps[i].moments.watch());
            TapTerms { tap: names[i].clone(), terms, watch }
        })
        .collect()
}

/// Whose prototypes each image is held against: those of the other data set, where that is asked for
/// and there is one in the batch, else those of all other images.
fn peers(exchangeable: Exchangeable, roles: &[Role]) -> Vec<Vec<usize>> {
    let across = exchangeable == Exchangeable::BaseNovel
        && roles.contains(&Role::Base)
        && roles.contains(&Role::Novel);
    let other = |i: usize, j: usize| if across { roles[i] != roles[j] } else { i != j };
    (0..roles.len()).map(|i| (0..roles.len()).filter(|&j| other(i, j)).collect()).collect()
}

/// Mean features of foreground and background at each chosen tap.
fn tap_regions(
    output: &SegOutput,
    target: &Target,
    config: &FeatureDiscrepancyConfig,
    chosen: &[usize],
) -> Vec<RegionFeatures> {
    let taps = chosen.iter().map(|&i| &output.taps[i]);
    if config.pixels == FdPixels::Errors {
        let mask = ForegroundMask::from_target(target, config.classes);
        let logits = Logits(output.logits.clone());
        let weights = RegionWeights::errors(&mask, &logits, config.classes);
        let weights = RegionWeights {
            inside: padded(weights.inside, output),
            outside: padded(weights.outside, output),
            drawn: weights.drawn,
        };
        let resized = |tap: &Tap| weights.resized(size(tap));
        return taps
            .map(|tap| weighted_region_features(&tap.moments, &resized(tap), config.form))
            .collect();
    }
    let masks = tap_masks(output, target, config, chosen);
    taps.zip(masks)
        .map(|(tap, mask)| match config.pixels {
            FdPixels::Boundary => {
                let weights = RegionWeights::boundary(&mask);
                weighted_region_features(&tap.moments, &weights, config.form)
            }
            _ => tapped_region_features(&tap.moments, &mask, config.form),
        })
        .collect()
}

fn size(tap: &Tap) -> [usize; 2] {
    let [_, _, h, w] = tap.features.dims();
    [h, w]
}

/// With the padding that the network gave its input.
fn padded(x: Tensor<4>, output: &SegOutput) -> Tensor<4> {
    let [rows, columns] = output.padding[..] else { unreachable!("images have two axes") };
    if [rows, columns] == [0, 0] { x } else { x.pad((0, columns, 0, rows), 0.0) }
}

/// The target mask at the resolution of each chosen tap, padded as the network padded its input.
fn tap_masks(
    output: &SegOutput,
    target: &Target,
    config: &FeatureDiscrepancyConfig,
    chosen: &[usize],
) -> Vec<ForegroundMask> {
    let mut mask = ForegroundMask::from_target(target, config.classes);
    mask.mask = padded(mask.mask, output);
    let sizes: Vec<[usize; 2]> = chosen.iter().map(|&i| size(&output.taps[i])).collect();
    mask_pyramid(&mask, &sizes)
}

/// Unweighted `L_fd` per tap of one evaluated case, without exchange.
pub(crate) fn discrepancy_per_tap(
    output: &SegOutput,
    target: &Target,
    config: &FeatureDiscrepancyConfig,
) -> BTreeMap<String, f64> {
    let all: Vec<usize> = (0..output.taps.len()).collect();
    let regions = tap_regions(output, target, config, &all);
    output
        .taps
        .iter()
        .zip(regions)
        .filter_map(|(tap, regions)| {
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
    /// Whose images each image is held against, in place of a term of its own.
    Prototypes(Vec<Vec<usize>>),
}

impl Exchange {
    fn draw(config: &FeatureDiscrepancyConfig, roles: &[Role], seed: u64) -> Self {
        let kind = config.exchangeable;
        if config.form == FdForm::Prototype {
            return Self::Prototypes(peers(kind, roles));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_of_the_other_data_set_where_there_is_one() {
        use Role::{Base, Novel};
        let of = |kind, roles: &[Role]| peers(kind, roles);
        let mixed = [Base, Novel, Base];
        assert_eq!(of(Exchangeable::BaseNovel, &mixed), [vec![1], vec![0, 2], vec![1]]);
        assert_eq!(of(Exchangeable::None, &mixed), [vec![1, 2], vec![0, 2], vec![0, 1]]);
        assert_eq!(of(Exchangeable::BaseNovel, &[Base, Base]), [vec![1], vec![0]]);
        assert_eq!(of(Exchangeable::None, &[Base]), [Vec::<usize>::new()]);
    }
}
