//! Losses: stateless arithmetic from network outputs to one number each.
//!
//! Legend: `B` batch · `K` logit channels · `C` feature channels · `H`, `W` pixels · `R` regions
//! (one for "all foreground", one per foreground class for one-vs-rest).
//!
//! What crosses the border of a loss has its own type, because two tensors of the same rank are
//! easily swapped: the published reference code hands mask and features over in the wrong order in
//! every call. The same arguments always give the same number; weights that change over time
//! ([`alpha`]) and random permutations ([`exchangeable`]) are decided by the caller.
//!
//! Shapes that do not fit are programming errors and panic with both shapes in the message;
//! configurations come from users and are checked by their `validate`.
//!
//! # Swapping does not compile
//!
//! Features and mask:
//! ```compile_fail,E0308
//! use burn::tensor::Tensor;
//! use scant_nn::loss::feature_discrepancy::{FdForm, region_features};
//! use scant_nn::loss::{Features, ForegroundMask};
//! fn swapped(features: Features, mask: ForegroundMask) {
//!     let _ = region_features(&mask, &features, FdForm::PaperSum);
//! }
//! ```
//! Logits and target:
//! ```compile_fail,E0308
//! use scant_nn::loss::segmentation::{SegmentationLossConfig, segmentation_loss};
//! use scant_nn::loss::{Logits, Target};
//! fn swapped(logits: Logits, target: Target) {
//!     let _ = segmentation_loss(&target, &logits, &SegmentationLossConfig::default());
//! }
//! ```
//! In the right order the same lines compile:
//! ```
//! use scant_nn::loss::feature_discrepancy::{FdForm, region_features};
//! use scant_nn::loss::segmentation::{SegmentationLossConfig, segmentation_loss};
//! use scant_nn::loss::{Features, ForegroundMask, Logits, Target};
//! fn straight(logits: Logits, target: Target, features: Features, mask: ForegroundMask) {
//!     let _ = segmentation_loss(&logits, &target, &SegmentationLossConfig::default());
//!     let _ = region_features(&features, &mask, FdForm::PaperSum);
//! }
//! ```

pub mod alpha;
pub mod auxiliary_logits;
pub mod deep_supervision;
pub mod discrepancy_config;
pub mod exchangeable;
pub mod feature_discrepancy;
pub mod group_dro;
pub mod local_contrast;
pub mod mask_pyramid;
pub mod pixel_contrast;
pub mod prototype;
pub mod region_weights;
pub mod segmentation;
#[cfg(test)]
mod slow_formulas;

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

/// Unnormalised scores of a network.
///
/// # Shapes
/// `[B, K, H, W]`; `K = 1` for a single foreground class (sigmoid), otherwise one channel per
/// class with the background first (softmax).
#[derive(Debug, Clone)]
pub struct Logits(pub Tensor<4>);

/// What was drawn.
///
/// # Shapes
/// - `classes`: `[B, H, W]` class ids, `0` is the background
/// - `annotated`: `[B, classes]`, `1.0` where the class was drawn on that image, else `0.0`; the
///   background counts as drawn only where every class was. A row of zeros is an image nobody
///   drew: no loss reads it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Class id of every pixel.
    pub classes: Tensor<3, Int>,
    /// Which classes were looked for.
    pub annotated: Tensor<2>,
}

/// One tapped feature map of a network.
///
/// # Shapes
/// `[B, C, H, W]`
#[derive(Debug, Clone)]
pub struct Features(pub Tensor<4>);

/// Which regions the features are asked to tell from the rest.
///
/// # Shapes
/// - `mask`: `[B, R, H, W]`, each value `0` or `1`
/// - `drawn`: `[B, R]`, `1.0` where the region is known on that image, else `0.0`
#[derive(Debug, Clone)]
pub struct ForegroundMask {
    /// Region indicator.
    pub mask: Tensor<4>,
    /// Whether the indicator means anything.
    pub drawn: Tensor<2>,
}

/// Which regions a multi-class target is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FdClasses {
    /// One region: every pixel that is not background. Known on images where every class was
    /// drawn; elsewhere a class nobody drew would be counted as background.
    #[default]
    Foreground,
    /// One region per foreground class, against everything else; known where that class was drawn.
    /// The papers are silent about several classes, this is our reading.
    OneVsRest,
}

impl ForegroundMask {
    /// A mask that is known on every image.
    ///
    /// # Shapes
    /// `mask`: `[B, R, H, W]`
    #[must_use]
    pub fn all_drawn(mask: Tensor<4>) -> Self {
        let [b, r, _, _] = mask.dims();
        let drawn = Tensor::ones([b, r], &mask.device());
        Self { mask, drawn }
    }

    /// The regions of a target, at its own resolution: `R = 1` for [`FdClasses::Foreground`],
    /// `R = classes - 1` for [`FdClasses::OneVsRest`].
    #[must_use]
    pub fn from_target(target: &Target, classes: FdClasses) -> Self {
        let [_, count] = target.annotated.dims();
        match classes {
            FdClasses::Foreground => Self {
                mask: target.classes.clone().greater_elem(0).float().unsqueeze_dim(1),
                drawn: target.annotated.clone().narrow(1, 0, 1),
            },
            FdClasses::OneVsRest => Self {
                mask: one_hot(target.classes.clone(), 1..count),
                drawn: target.annotated.clone().narrow(1, 1, count - 1),
            },
        }
    }
}

/// `[B, H, W]` ids to `[B, len, H, W]` indicators of the given class ids.
fn one_hot(classes: Tensor<3, Int>, ids: std::ops::Range<usize>) -> Tensor<4> {
    let planes = ids.map(|id| {
        let id = i64::try_from(id).expect("class ids fit in eight bits");
        classes.clone().equal_elem(id).float()
    });
    Tensor::stack(planes.collect(), 1)
}

/// Mean of `values` where `weights` is one; exactly `0`, without gradient, where it is one nowhere.
fn mean_where<const D: usize>(values: Tensor<D>, weights: Tensor<D>) -> Tensor<1> {
    let count = weights.clone().sum().clamp_min(1.0);
    (values * weights).sum() / count
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn target() -> Target {
        let device = Device::flex().autodiff();
        Target {
            classes: Tensor::from_ints([[[0, 1], [2, 1]], [[2, 0], [0, 0]]], &device),
            annotated: Tensor::from_floats([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]], &device),
        }
    }

    #[test]
    fn foreground_is_one_region_known_only_where_everything_was_drawn() {
        let mask = ForegroundMask::from_target(&target(), FdClasses::Foreground);
        assert_eq!(mask.mask.dims(), [2, 1, 2, 2]);
        let values: Vec<f32> = mask.mask.into_data().try_to_vec().unwrap();
        assert_eq!(values, [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(mask.drawn.into_data().try_to_vec::<f32>().unwrap(), [1.0, 0.0]);
    }

    #[test]
    fn one_vs_rest_has_a_region_per_class_known_where_that_class_was_drawn() {
        let mask = ForegroundMask::from_target(&target(), FdClasses::OneVsRest);
        assert_eq!(mask.mask.dims(), [2, 2, 2, 2]);
        let values: Vec<f32> = mask.mask.into_data().try_to_vec().unwrap();
        let [c1, c2] = [[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]];
        let [d1, d2] = [[0.0; 4], [1.0, 0.0, 0.0, 0.0]];
        assert_eq!(values, [c1, c2, d1, d2].concat());
        assert_eq!(mask.drawn.into_data().try_to_vec::<f32>().unwrap(), [1.0, 1.0, 0.0, 1.0]);
    }
}
