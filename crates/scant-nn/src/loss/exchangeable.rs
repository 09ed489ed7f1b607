//! Exchangeable feature discrepancy: foreground of one image against background of *another*.
//!
//! Two published forms:
//! - [`shuffled`], Algorithm 1: `-log ‖F_g(i) - B_g(π(i))‖` with a permutation `π` of the batch;
//!   needs no knowledge of where an image came from.
//! - [`base_novel`], Definition 2: `-log(‖F_g(b) - B_g(n)‖² + ‖F_g(n) - B_g(b)‖²)` for a base
//!   image `b` and a novel image `n`.
//!
//! Reduction: mean over pairs whose both images are valid, then over regions; the distance itself
//! follows the [`FdForm`](super::feature_discrepancy::FdForm) the features were pooled with. For
//! the scalar form the total activation is that of the pair, `|Σ (F_g(i) + B_g(j))|`, which is Eq.
//! 10 when `i = j` and keeps the ratio at most 1 for non-negative features. For the released code
//! the norm runs over pairs.
//! Nothing to exchange (a batch of one; only one dataset in the batch): exactly 0, no gradient.
//! Weight: the `alpha` of the same tap, shared with `L_fd`.
//!
//! The losses draw nothing at random: the caller hands in the permutation or the matching, so that
//! a step can be replayed.
//!
//! Source: Definition 2 (Eq. 4) and Algorithm 1 of the feature-discrepancy paper; the independent
//! permutations of foreground and background are what the authors' README shows.

use burn::tensor::Tensor;
use scant_core::Role;

use super::feature_discrepancy::{Discrepancy, MinusLog, RegionFeatures, minus_log_distance};
use super::mask_pyramid::index;

/// Which background every foreground is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permutation {
    /// Background of image `(i + k) mod B`; `k` in `1..B`, so that no image meets itself. The
    /// paper's index `i + k`.
    CyclicShift {
        /// How far.
        k: usize,
    },
    /// Foreground `fg[i]` against background `bg[i]`, both permutations of `0..B` (README). An
    /// image may meet itself, which repeats its `L_fd`.
    Independent {
        /// Order of the foregrounds.
        fg: Vec<usize>,
        /// Order of the backgrounds.
        bg: Vec<usize>,
    },
}

impl Permutation {
    /// Foreground and background image of every pair in a batch of `n > 1`.
    fn pairs(&self, n: usize) -> (Vec<usize>, Vec<usize>) {
        match self {
            Self::CyclicShift { k } => {
                assert!((1..n).contains(k), "cyclic shift must be in 1..{n}, got {k}");
                ((0..n).collect(), (0..n).map(|i| (i + k) % n).collect())
            }
            Self::Independent { fg, bg } => {
                for order in [fg, bg] {
                    let mut sorted = order.clone();
                    sorted.sort_unstable();
                    assert!(
                        sorted.into_iter().eq(0..n),
                        "{order:?} is not a permutation of the {n} images of the batch"
                    );
                }
                (fg.clone(), bg.clone())
            }
        }
    }
}

/// How base and novel images are brought together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pairing {
    /// Every base image with every novel one.
    AllPairs,
    /// The mean features of the base images with those of the novel images: one pair. Images whose
    /// region is not valid are left out of the means.
    DatasetMean,
    /// Given pairs of positions in the batch, `(base, novel)`.
    Matched(Vec<(usize, usize)>),
}

/// Algorithm 1's exchanged term of one tap; 0 for a batch of one.
///
/// # Shapes
/// - result: `[1]`; contributions count pairs
///
/// # Panics
/// When the permutation is none of the images of the batch.
#[must_use]
pub fn shuffled(regions: &RegionFeatures, permutation: &Permutation, log: MinusLog) -> Discrepancy {
    let [n, _] = regions.valid.dims();
    if n < 2 {
        return Discrepancy::none(&regions.fg);
    }
    let (foregrounds, backgrounds) = permutation.pairs(n);
    let i = Rows::pick(regions, &foregrounds);
    let j = Rows::pick(regions, &backgrounds);
    minus_log_distance(&[(i.fg, j.bg)], i.valid * j.valid, regions.form, log)
}

/// Definition 2's term of one tap; 0 when the batch holds only one of base and novel.
///
/// `roles` has one entry per image of the batch; unlabelled images take no part.
///
/// # Shapes
/// - result: `[1]`; contributions count pairs
///
/// # Panics
/// When `roles` is not one per image, or a matched pair is not a base and a novel image of the
/// batch.
#[must_use]
pub fn base_novel(
    regions: &RegionFeatures,
    roles: &[Role],
    pairing: &Pairing,
    log: MinusLog,
) -> Discrepancy {
    let [n, _] = regions.valid.dims();
    assert_eq!(roles.len(), n, "one role per image of the batch is needed");
    let of = |role: Role| -> Vec<usize> { (0..n).filter(|&i| roles[i] == role).collect() };
    let (base, novel) = (of(Role::Base), of(Role::Novel));
    if base.is_empty() || novel.is_empty() {
        return Discrepancy::none(&regions.fg);
    }
    let (b, v) = match pairing {
        Pairing::DatasetMean => (Rows::mean(regions, &base), Rows::mean(regions, &novel)),
        Pairing::AllPairs => {
            let pairs: Vec<_> =
                base.iter().flat_map(|&b| novel.iter().map(move |&v| (b, v))).collect();
            Rows::pick_pairs(regions, &pairs)
        }
        Pairing::Matched(pairs) => {
            for &(b, v) in pairs {
                assert!(
                    base.contains(&b) && novel.contains(&v),
                    "({b}, {v}) is not a base and a novel image of a batch of roles {roles:?}"
                );
            }
            if pairs.is_empty() {
                return Discrepancy::none(&regions.fg);
            }
            Rows::pick_pairs(regions, pairs)
        }
    };
    let distances = [(b.fg, v.bg), (v.fg, b.bg)];
    minus_log_distance(&distances, b.valid * v.valid, regions.form, log)
}

/// Region features of chosen images: `fg`, `bg` `[P, C, R]`, `valid` `[P, R]`.
struct Rows {
    fg: Tensor<3>,
    bg: Tensor<3>,
    valid: Tensor<2>,
}

impl Rows {
    fn pick(regions: &RegionFeatures, images: &[usize]) -> Self {
        let rows = index(images.iter().copied(), &regions.fg.device());
        Self {
            fg: regions.fg.clone().select(0, rows.clone()),
            bg: regions.bg.clone().select(0, rows.clone()),
            valid: regions.valid.clone().select(0, rows),
        }
    }

    fn pick_pairs(regions: &RegionFeatures, pairs: &[(usize, usize)]) -> (Self, Self) {
        let (base, novel): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
        (Self::pick(regions, &base), Self::pick(regions, &novel))
    }

    /// One row: the mean over the valid ones of the chosen images.
    fn mean(regions: &RegionFeatures, images: &[usize]) -> Self {
        let rows = Self::pick(regions, images);
        let [p, r] = rows.valid.dims();
        let count = rows.valid.clone().sum_dim(0); // [1, R]
        let weights = (rows.valid / count.clone().clamp_min(1.0)).reshape([p, 1, r]);
        Self {
            fg: (rows.fg * weights.clone()).sum_dim(0),
            bg: (rows.bg * weights).sum_dim(0),
            valid: count.clamp_max(1.0),
        }
    }
}

#[cfg(test)]
mod tests;
