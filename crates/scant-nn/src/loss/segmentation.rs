//! Segmentation losses on logits: soft Dice, soft IoU, binary and categorical cross-entropy.
//!
//! Formulas, for truth `y`, probability `p` and smoothing `e`:
//! - `dice = 1 - (2 Σ y p + e) / (Σ y + Σ p + e)`
//! - `iou  = 1 - (Σ y p + e) / (Σ y + Σ p - Σ y p + e)`
//! - `bce  = -mean(y log p + (1 - y) log(1 - p))`, computed as `(1 - y) x - log sigmoid(x)`
//! - `ce   = -mean(log softmax(x)[y])`, through log-sum-exp
//!
//! Reduction: `dice` and `iou` sum over pixels, and over the images of the batch too with
//! [`DiceOver::Batch`], then average over classes (over image-class pairs with
//! [`DiceOver::Image`]); `bce` averages over pixels, then over image-class pairs; `ce` averages
//! over pixels of the whole batch.
//! Probabilities: sigmoid for one channel, softmax for several; `bce` always treats every channel
//! as a yes/no question of its own.
//! Classes: `dice` and `iou` leave the background out unless asked; `bce` and `ce` use every
//! channel, for an untrained background logit would spoil the arg-max. With one channel `ce` is
//! `bce`, for the softmax over `(0, x)` is the sigmoid of `x`.
//! Empty target: every term is finite; `dice` and `iou` of an empty class are `Σ p / (Σ p + e)`,
//! so they ask for less foreground and reach 0 when there is none.
//! Range: `dice`, `iou` in `[0, 1]`; `bce`, `ce` in `[0, ∞)`. Lower is better.
//! Undrawn classes: an image-class pair that was not drawn takes no part in `dice`, `iou` and
//! `bce`; `ce` leaves out pixels whose id is a class that was not drawn on that image, which on
//! incomplete images includes the background. Without anything drawn the value is exactly 0.
//!
//! Source: "Feature discrepancy" supplement A, Eq. 5-7, with the weights `dice = bce = 1` of
//! `L_seg`; IoU as in the authors' released code, which also pools Dice over the batch.
//!
//! # Deviations
//! - The printed BCE adds `e` inside the sum, which only adds a constant; it is left out.
//! - The released CMUNet script feeds sigmoid outputs to a BCE that expects logits; ours does not.
//! - `e` is unspecified in the paper and 1e-7 in the code; the default here is 1e-6.

use burn::tensor::Tensor;
use scant_kernels::{PixelSums, Terms, segmentation_sums};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Logits, Target, mean_where};

/// What can be wrong with a [`SegmentationLossConfig`].
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SegmentationLossError {
    /// A weight is negative or not a number.
    #[error("loss weight `{term}` must be a finite number of at least 0, got {weight}")]
    Weight {
        /// Key of the weight.
        term: &'static str,
        /// Its value.
        weight: f64,
    },
    /// Nothing to descend.
    #[error("every segmentation loss weight is 0; set at least one of dice, bce, ce, iou")]
    NoTerm,
    /// The smoothing cannot prevent a division by zero.
    #[error("loss smoothing `smooth` must be a finite number above 0, got {0}")]
    Smooth(f64),
}

/// Over what the sums of Dice and IoU run before the ratio is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiceOver {
    /// The pixels of the whole batch (the released code): large objects weigh more.
    #[default]
    Batch,
    /// The pixels of one image: every image weighs the same.
    Image,
}

/// Weights of the segmentation terms; a term of weight 0 is not computed.
///
/// [`Default`] is the paper's `L_seg`: Dice and binary cross-entropy at weight 1. In a file a
/// weight that is not written is 0, so that `{ dice = 1.0, ce = 1.0 }` means what it says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentationLossConfig {
    /// Weight of soft Dice.
    #[serde(default)]
    pub dice: f64,
    /// Weight of binary cross-entropy.
    #[serde(default)]
    pub bce: f64,
    /// Weight of categorical cross-entropy.
    #[serde(default)]
    pub ce: f64,
    /// Weight of soft IoU.
    #[serde(default)]
    pub iou: f64,
    /// Pooling of Dice and IoU.
    #[serde(default)]
    pub dice_over: DiceOver,
    /// Whether Dice and IoU count the background as a class (several channels only).
    #[serde(default)]
    pub include_background: bool,
    /// Smoothing `e` of Dice and IoU, pixels.
    #[serde(default = "default_smooth")]
    pub smooth: f64,
}

fn default_smooth() -> f64 {
    1e-6
}

impl Default for SegmentationLossConfig {
    fn default() -> Self {
        Self {
            dice: 1.0,
            bce: 1.0,
            ce: 0.0,
            iou: 0.0,
            dice_over: DiceOver::Batch,
            include_background: false,
            smooth: default_smooth(),
        }
    }
}

impl SegmentationLossConfig {
    /// Names and weights, in the order of [`SegmentationTerms::terms`].
    #[must_use]
    pub fn weights(&self) -> [(&'static str, f64); 4] {
        [("dice", self.dice), ("bce", self.bce), ("ce", self.ce), ("iou", self.iou)]
    }

    /// Checks what a user may have written.
    ///
    /// # Errors
    /// When a weight is negative or not finite, all weights are 0, or `smooth` is not above 0.
    pub fn validate(&self) -> Result<(), SegmentationLossError> {
        for (term, weight) in self.weights() {
            if !weight.is_finite() || weight < 0.0 {
                return Err(SegmentationLossError::Weight { term, weight });
            }
        }
        if self.weights().iter().all(|&(_, weight)| weight == 0.0) {
            return Err(SegmentationLossError::NoTerm);
        }
        if !self.smooth.is_finite() || self.smooth <= 0.0 {
            return Err(SegmentationLossError::Smooth(self.smooth));
        }
        Ok(())
    }
}

/// The segmentation loss of a batch, with its parts for the log.
#[derive(Debug, Clone)]
pub struct SegmentationTerms {
    /// Weighted sum, `[1]`: what is descended.
    pub total: Tensor<1>,
    /// Every term of non-zero weight, before its weight, `[1]` each.
    pub terms: Vec<(&'static str, Tensor<1>)>,
}

/// Segmentation loss from logits.
///
/// # Shapes
/// - `logits`: `[B, K, H, W]`, `K = 1` or one channel per class
/// - `target.classes`: `[B, H, W]`, `target.annotated`: `[B, classes]`
/// - result: `[1]` each
///
/// # Panics
/// When the shapes do not fit each other, or every weight is 0 (see
/// [`SegmentationLossConfig::validate`]).
#[must_use]
pub fn segmentation_loss(
    logits: &Logits,
    target: &Target,
    config: &SegmentationLossConfig,
) -> SegmentationTerms {
    let pairs = Pairs::new(logits, target, config);
    let mut terms = Vec::new();
    if config.dice != 0.0 || config.iou != 0.0 {
        let overlap = Overlap::new(&pairs, config);
        if config.dice != 0.0 {
            terms.push(("dice", config.dice, overlap.dice()));
        }
        if config.iou != 0.0 {
            terms.push(("iou", config.iou, overlap.iou()));
        }
    }
    if config.bce != 0.0 {
        terms.push(("bce", config.bce, pairs.binary_cross_entropy()));
    }
    if config.ce != 0.0 {
        terms.push(("ce", config.ce, pairs.cross_entropy()));
    }
    let order = |name: &str| config.weights().iter().position(|&(n, _)| n == name);
    terms.sort_by_key(|&(name, _, _)| order(name));
    let total = terms
        .iter()
        .map(|(_, weight, value)| value.clone() * *weight)
        .reduce(|a, b| a + b)
        .expect("at least one segmentation loss weight is not 0");
    SegmentationTerms { total, terms: terms.into_iter().map(|(n, _, v)| (n, v)).collect() }
}

/// The image-class pairs of a batch: every term is made of sums over the pixels of one.
struct Pairs {
    sums: PixelSums,
    /// `[B, K]`: whether the class of the channel was drawn on the image.
    drawn: Tensor<2>,
    /// Pixels of an image.
    pixels: usize,
}

impl Pairs {
    fn new(logits: &Logits, target: &Target, config: &SegmentationLossConfig) -> Self {
        let [b, k, h, w] = logits.0.dims();
        let [_, classes] = target.annotated.dims();
        assert_eq!(
            (target.classes.dims(), target.annotated.dims()),
            ([b, h, w], [b, classes]),
            "target of logits [{b}, {k}, {h}, {w}] must have classes [B, H, W] and annotated \
             [B, classes]"
        );
        let drawn = if k == 1 {
            assert_eq!(classes, 2, "a single logit channel needs background and one class");
            target.annotated.clone().narrow(1, 1, 1)
        } else {
            assert_eq!(k, classes, "logit channels must be one per class");
            target.annotated.clone()
        };
        let ce = config.ce != 0.0;
        let terms = Terms {
            overlap: config.dice != 0.0 || config.iou != 0.0,
            bce: config.bce != 0.0 || (ce && k == 1),
            ce: ce && k > 1,
        };
        let sums = segmentation_sums(logits.0.clone(), target.classes.clone(), terms);
        Self { sums, drawn, pixels: h * w }
    }

    fn channels(&self) -> usize {
        let [_, k] = self.drawn.dims();
        k
    }

    fn binary_cross_entropy(&self) -> Tensor<1> {
        mean_where(self.sums.bce.clone() / self.pixels as f64, self.drawn.clone())
    }

    fn cross_entropy(&self) -> Tensor<1> {
        if self.channels() == 1 {
            return self.binary_cross_entropy();
        }
        let used = (self.sums.truth.clone() * self.drawn.clone()).sum().clamp_min(1.0);
        (self.sums.ce.clone() * self.drawn.clone()).sum() / used
    }
}

/// Sums behind Dice and IoU, `[1, k]` or `[B, k]`.
struct Overlap {
    both: Tensor<2>,
    truth: Tensor<2>,
    predicted: Tensor<2>,
    counted: Tensor<2>,
    smooth: f64,
}

impl Overlap {
    fn new(pairs: &Pairs, config: &SegmentationLossConfig) -> Self {
        let k = pairs.channels();
        let first = usize::from(k > 1 && !config.include_background);
        let len = k - first;
        let drawn = pairs.drawn.clone().narrow(1, first, len); // [B, k]
        let per_pair = |sums: &Tensor<2>| -> Tensor<2> {
            let sums = sums.clone().narrow(1, first, len) * drawn.clone();
            match config.dice_over {
                DiceOver::Batch => sums.sum_dim(0), // [1, k]
                DiceOver::Image => sums,            // [B, k]
            }
        };
        let counted = match config.dice_over {
            DiceOver::Batch => drawn.clone().max_dim(0),
            DiceOver::Image => drawn.clone(),
        };
        Self {
            both: per_pair(&pairs.sums.both),
            truth: per_pair(&pairs.sums.truth),
            predicted: per_pair(&pairs.sums.predicted),
            counted,
            smooth: config.smooth,
        }
    }

    fn dice(&self) -> Tensor<1> {
        let sums = self.truth.clone() + self.predicted.clone() + self.smooth;
        // One minus the ratio, as a single fraction: a sum near its target loses no digits.
        let missed = self.truth.clone() + self.predicted.clone() - self.both.clone() * 2.0;
        mean_where(missed / sums, self.counted.clone())
    }

    fn iou(&self) -> Tensor<1> {
        let union = self.truth.clone() + self.predicted.clone() - self.both.clone();
        let missed = union.clone() - self.both.clone();
        mean_where(missed / (union + self.smooth), self.counted.clone())
    }
}

#[cfg(test)]
mod tests;
