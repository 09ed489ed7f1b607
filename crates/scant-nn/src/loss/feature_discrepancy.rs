//! Feature discrepancy `L_fd`: how far apart foreground and background are in a feature map.
//!
//! For a feature map `F` and a region `m` (`0` or `1` per pixel, at the map's resolution), the
//! region features are `F_g = Σ F m` and `B_g = Σ F (1 - m)`, vectors over channels, and
//! `L_fd = -log(‖F_g - B_g‖² + eps)`. Minimising it pushes the two apart.
//!
//! Reduction: per image, then mean over the images that contribute, then mean over the regions that
//! any image contributes to ([`FdForm::ReleasedCode`] differs, see there). The value carries no
//! weight; `alpha` times it enters the total loss.
//! Empty foreground: `F_g = 0` is a value like another for the sum and pixel-mean forms;
//! [`FdForm::RegionMean`] skips the image. An image whose region was not drawn is always skipped.
//! Without any contribution the value is exactly 0 and so is the gradient.
//! Range and sign: unbounded on both sides. Sums over large maps give negative values, means give
//! positive ones; the sign decides what descent on `alpha` would do (see [`super::alpha`]).
//! Except for the scalar and the relative form, growing a map by a factor `c` lowers the value by `2 log c`
//! for free: log the norm of the maps beside it.
//! Gradient: to the features only; the mask is a constant.
//!
//! Source: Definition 1 and Eq. 1 of the feature-discrepancy paper; Eq. 10 of its proof; the
//! authors' released Keras code (`AyushRoy2001/Exchangeable-feature-disentanglement`).
//!
//! # Deviations
//! - Definition 1 sums `F_g` over channels but not `B_g`; both are vectors here.
//! - `eps` is ours: the paper has none, and a region that equals its background would be infinite.
//!   It is added to the *squared* distance, and the distance form is half the logarithm of that, so
//!   both have the same safe gradient: zero where the two coincide.

use burn::tensor::Tensor;
use scant_kernels::Tap;
use serde::{Deserialize, Serialize};

use super::{Features, ForegroundMask, mean_where};

/// What "foreground feature minus background feature" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FdForm {
    /// Definition 1: sums over pixels, a vector over channels.
    #[default]
    PaperSum,
    /// Sums divided by the pixels of the map: [`FdForm::PaperSum`] plus `2 log(HW)`, with the same
    /// gradient to the features.
    PixelMean,
    /// Mean over the region minus mean over the rest: not dominated by the larger of the two.
    RegionMean,
    /// [`FdForm::RegionMean`] over the size of both: `‖f - b‖² / (‖f‖² + ‖b‖²)`. Blind to the scale of the
    /// features and at most 1 for non-negative ones, so that growing a layer gains nothing and the
    /// value does not fall below 0, where the two share no channel. Ours.
    Relative,
    /// [`FdForm::RegionMean`] told apart by the prototypes of other images, see
    /// [`prototype`](super::prototype): not a distance, and nothing for a batch of one. Ours.
    Prototype,
    /// Eq. 10: `|Σ_k (F_g - B_g)_k| / |Σ_k (F_g + B_g)_k|`. Scale-free and at most 1 for
    /// non-negative features, but channels may cancel.
    ScalarNormalised,
    /// The released code, swapped arguments included: `F_g = mean(m F)`, `B_g = mean(m (1 - F))`,
    /// the norm runs over the images of the *batch*, and the mean over channels comes last.
    /// Looks inside the foreground only. For comparison with that code.
    ReleasedCode,
}

/// The logarithm of a distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinusLog {
    /// `-log(d² + eps)` when true, half of it (`-log d`) when false.
    pub squared: bool,
    /// Added to the squared distance, and to the squared activation of the scalar form; above 0.
    pub eps: f64,
}

impl MinusLog {
    fn of<const D: usize>(self, squared_distance: Tensor<D>) -> Tensor<D> {
        let factor = if self.squared { -1.0 } else { -0.5 };
        (squared_distance + self.eps).log() * factor
    }
}

/// An unweighted loss value of one tap.
#[derive(Debug, Clone)]
pub struct Discrepancy {
    /// The value, `[1]`.
    pub value: Tensor<1>,
    /// How many images (or pairs of images) contributed to at least one region, `[1]`; left on the
    /// device because reading it waits for the device.
    pub contributions: Tensor<1>,
}

impl Discrepancy {
    /// Reads [`Discrepancy::contributions`]; waits for the device.
    #[must_use]
    pub fn contributed(&self) -> usize {
        // A count of images: small, whole, non-negative.
        self.contributions.clone().into_scalar::<f32>().round() as usize
    }

    /// A term that nothing contributes to.
    pub(super) fn none(like: &Tensor<3>) -> Self {
        let zero = Tensor::zeros([1], &like.device());
        Self { value: zero.clone(), contributions: zero }
    }
}

/// Foreground and background features of every image and region of a batch.
///
/// # Shapes
/// - `fg`, `bg`: `[B, C, R]`
/// - `valid`: `[B, R]`, `1.0` where the pair means something
#[derive(Debug, Clone)]
pub struct RegionFeatures {
    pub(super) fg: Tensor<3>,
    pub(super) bg: Tensor<3>,
    pub(super) valid: Tensor<2>,
    pub(super) form: FdForm,
}

/// Pools a feature map over the regions of a mask.
///
/// # Shapes
/// - `features`: `[B, C, H, W]`
/// - `mask.mask`: `[B, R, H, W]`, the same `B`, `H` and `W`
///
/// # Panics
/// When batch or resolution of the two differ.
#[must_use]
pub fn region_features(features: &Features, mask: &ForegroundMask, form: FdForm) -> RegionFeatures {
    tapped_region_features(&Tap::untied(features.0.clone()), mask, form)
}

/// [`region_features`] of a map that was [tapped](scant_kernels::tap) on its way through the network,
/// which makes its gradient cheaper.
///
/// # Panics
/// When batch or resolution of the two differ.
#[must_use]
pub fn tapped_region_features(tap: &Tap<4>, mask: &ForegroundMask, form: FdForm) -> RegionFeatures {
    let [b, _, h, w] = tap.features().dims();
    let [mask_b, r, mask_h, mask_w] = mask.mask.dims();
    assert_eq!([mask_b, mask_h, mask_w], [b, h, w], "mask and features differ in [B, H, W]");
    assert_eq!(mask.drawn.dims(), [b, r], "`drawn` must be [B, R]");
    let count = (h * w) as f64;
    let inside_area = || -> Tensor<3> {
        let area = mask.mask.clone().reshape([b, r, h * w]).sum_dim(2);
        area.swap_dims(1, 2) // [B, 1, R]
    };
    let mut valid = mask.drawn.clone();

    // Every form is linear in the features and needs the same sums. Areas divide the sums, not the
    // masks: weights such as 1/3 would leave a rounding residue where the two regions are equal, and
    // the logarithm turns any residue into a large gradient.
    let (inside, outside) = tap.masked_sums(mask.mask.clone());
    let (fg, bg) = match form {
        FdForm::PaperSum | FdForm::ScalarNormalised => (inside, outside),
        FdForm::PixelMean => (inside / count, outside / count),
        FdForm::RegionMean | FdForm::Relative | FdForm::Prototype => {
            let inside_area = inside_area();
            let outside_area = -inside_area.clone() + count;
            let both = inside_area.clone().clamp_max(1.0) * outside_area.clone().clamp_max(1.0);
            valid = valid * both.reshape([b, r]);
            (inside / inside_area.clamp_min(1.0), outside / outside_area.clamp_min(1.0))
        }
        FdForm::ReleasedCode => {
            let rest = inside_area() - inside.clone();
            (inside / count, rest / count)
        }
    };
    RegionFeatures { fg, bg, valid, form }
}

/// `L_fd` of one tap.
///
/// # Shapes
/// - result: `[1]`; contributions count images
#[must_use]
pub fn feature_discrepancy(regions: &RegionFeatures, log: MinusLog) -> Discrepancy {
    let distances = [(regions.fg.clone(), regions.bg.clone())];
    minus_log_distance(&distances, regions.valid.clone(), regions.form, log)
}

/// `-log` of the summed squared distances between the `fg` and `bg` of each row `[P, C, R]`, where
/// `valid` is `[P, R]`: mean over valid rows, then over regions that have any.
pub(super) fn minus_log_distance(
    distances: &[(Tensor<3>, Tensor<3>)],
    valid: Tensor<2>,
    form: FdForm,
    log: MinusLog,
) -> Discrepancy {
    let [p, r] = valid.dims();
    let squared = distances
        .iter()
        .map(|(fg, bg)| squared_distance(fg.clone(), bg.clone(), form, log.eps))
        .reduce(|a, b| a + b)
        .expect("at least one distance is given"); // [P, C or 1, R]
    let rows = valid.clone().sum_dim(0); // [1, R]
    let per_region: Tensor<2> = if form == FdForm::ReleasedCode {
        let over_batch = (squared * valid.clone().reshape([p, 1, r])).sum_dim(0); // [1, C, R]
        log.of(over_batch).mean_dim(1).reshape([1, r])
    } else {
        let per_row = log.of(squared.reshape([p, r])) * valid.clone();
        per_row.sum_dim(0) / rows.clone().clamp_min(1.0)
    };
    Discrepancy {
        value: mean_where(per_region, rows.clamp_max(1.0)),
        contributions: valid.max_dim(1).sum(),
    }
}

/// `[P, 1, R]`; `[P, C, R]` for the released code, which sums over the batch instead of channels.
fn squared_distance(fg: Tensor<3>, bg: Tensor<3>, form: FdForm, eps: f64) -> Tensor<3> {
    match form {
        FdForm::PaperSum | FdForm::PixelMean | FdForm::RegionMean => (fg - bg).square().sum_dim(1),
        // One image by itself has no prototypes: the reading that is nearest to them.
        FdForm::Relative | FdForm::Prototype => {
            let size = fg.clone().square().sum_dim(1) + bg.clone().square().sum_dim(1);
            (fg - bg).square().sum_dim(1) / (size + eps)
        }
        FdForm::ScalarNormalised => {
            let difference = (fg.clone() - bg.clone()).sum_dim(1);
            let activation = (fg + bg).sum_dim(1);
            // A map without any activation has distance 0, not 0 / 0.
            difference.square() / (activation.square() + eps)
        }
        FdForm::ReleasedCode => (fg - bg).square(),
    }
}

#[cfg(test)]
mod tests;
