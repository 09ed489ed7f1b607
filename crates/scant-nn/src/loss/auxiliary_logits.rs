//! A segmentation loss on stages of the decoder, through heads of their own.
//!
//! Formula: `Σ_i η_i L(up(z_i), y)`, with `z_i` the logits of a 1x1 convolution on stage `i`, `up` bilinear
//! up-sampling to the size of the image, and `η_i = weight · i / n · (1 - t)` for the `n` stages counted
//! from the deepest (`i = 1`) to the one nearest the output (`i = n`) at share `t` of the phase.
//! Reduction: that of the segmentation loss. Logits in. Classes, background, empty targets and undrawn
//! classes: as there. Range `[0, ∞)`; lower is better.
//!
//! Source: Dou et al. 2016, arXiv:1607.00582, eq. 4: auxiliary heads on two hidden layers, weights 0.3 and
//! 0.4 that decay while training goes on. Roy et al. 2025, arXiv:2507.19575, compare with "deep
//! supervision \[which\] applies BCE to decoder outputs".
//!
//! # Deviations
//! - Every stage of the decoder but the last takes part, so that one rule fits every network; the largest
//!   weight is Dou's 0.4 at the stage nearest the output and falls evenly towards the deepest.
//! - Dou leaves the decay open; here it is linear to 0 over the phase, or none.
//! - Dou up-samples by learned deconvolutions; here it is bilinear, so that a head is one convolution.

use scant_kernels::upsample_bilinear2d;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use burn::tensor::{Slice, Tensor};

use super::segmentation::SegmentationLossConfig;

/// What the heads descend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuxiliaryLoss {
    /// Binary cross-entropy.
    #[default]
    Bce,
    /// Soft Dice and binary cross-entropy.
    DiceBce,
}

impl AuxiliaryLoss {
    /// Its terms.
    #[must_use]
    pub fn terms(self) -> SegmentationLossConfig {
        let dice = if self == Self::DiceBce { 1.0 } else { 0.0 };
        SegmentationLossConfig { dice, ..SegmentationLossConfig::default() }
    }
}

/// How the weights fall over a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Straight to 0 at its end.
    #[default]
    Linear,
    /// Not at all.
    None,
}

/// Which stages get a head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Supervised {
    /// Every stage of the decoder but the one nearest the output, which the logits are made of.
    #[default]
    Decoder,
    /// The taps of these names.
    Named(Vec<String>),
}

impl Serialize for Supervised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Decoder => serializer.serialize_str("decoder"),
            Self::Named(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Supervised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum WordOrNames {
            Word(String),
            Names(Vec<String>),
        }
        let wrong = || de::Error::custom("taps is \"decoder\" or a list of tap names");
        match WordOrNames::deserialize(deserializer).map_err(|_| wrong())? {
            WordOrNames::Word(word) if word == "decoder" => Ok(Self::Decoder),
            WordOrNames::Word(_) => Err(wrong()),
            WordOrNames::Names(names) => Ok(Self::Named(names)),
        }
    }
}

/// Deep supervision, as a recipe states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuxiliaryConfig {
    /// Weight of the stage nearest the output, at the start.
    pub weight: f64,
    /// How the weights fall.
    pub decay: Decay,
    /// What each head descends.
    pub loss: AuxiliaryLoss,
    /// Which stages.
    pub taps: Supervised,
}

impl Default for AuxiliaryConfig {
    fn default() -> Self {
        Self {
            weight: 0.4,
            decay: Decay::Linear,
            loss: AuxiliaryLoss::Bce,
            taps: Supervised::Decoder,
        }
    }
}

impl AuxiliaryConfig {
    /// Weight of each of `stages` heads, the deepest first, at a share of the phase from 0 to 1.
    #[must_use]
    pub fn weights(&self, stages: usize, progress: f64) -> Vec<f64> {
        let now = match self.decay {
            Decay::Linear => self.weight * (1.0 - progress.clamp(0.0, 1.0)),
            Decay::None => self.weight,
        };
        (1..=stages).map(|i| now * i as f64 / stages as f64).collect()
    }
}

/// Logits of a stage at the size of the image.
///
/// # Shapes
/// - stage: `[B, K, h, w]`, of a network whose input `[H, W]` got `padding` at its end
/// - result: `[B, K, H, W]`
#[must_use]
pub fn at_image_size(
    stage: Tensor<4>,
    [rows, columns]: [usize; 2],
    padding: &[usize],
) -> Tensor<4> {
    let [b, k, h, w] = stage.dims();
    let padded = [rows + padding[0], columns + padding[1]];
    let full = if [h, w] == padded { stage } else { upsample_bilinear2d(stage, padded, false) };
    if padded == [rows, columns] {
        return full;
    }
    let kept = |n: usize| Slice::from(0..n);
    full.slice([kept(b), kept(k), kept(rows), kept(columns)])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn weights_rise_towards_the_output_and_fall_to_nothing() {
        let config = AuxiliaryConfig::default();
        let close = |got: Vec<f64>, want: &[f64]| {
            let far = got.iter().zip(want).any(|(a, b)| (a - b).abs() > 1e-12);
            assert!(got.len() == want.len() && !far, "{got:?} instead of {want:?}");
        };
        close(config.weights(1, 0.0), &[0.4]);
        close(config.weights(4, 0.0), &[0.1, 0.2, 0.3, 0.4]);
        close(config.weights(2, 0.25), &[0.15, 0.3]);
        close(config.weights(2, 1.0), &[0.0, 0.0]);
        close(config.weights(2, 1.5), &[0.0, 0.0]);
        let constant = AuxiliaryConfig { decay: Decay::None, ..config };
        close(constant.weights(2, 0.75), &[0.2, 0.4]);
    }

    /// Values and gradient of PyTorch's `interpolate(mode="bilinear", align_corners=False)`, then cut.
    #[test]
    fn a_stage_is_brought_to_the_image_and_its_padding_cut() {
        let device = Device::flex().autodiff();
        let stage = Tensor::<1>::from_floats([0.0, 4.0, 8.0, 4.0], &device);
        let stage = stage.reshape([1, 1, 2, 2]).require_grad();
        let full = at_image_size(stage.clone(), [4, 3], &[0, 1]);
        assert_eq!(full.dims(), [1, 1, 4, 3]);
        let values: Vec<f32> = full.to_data().iter::<f32>().collect();
        let want = [0.0, 1.0, 3.0, 2.0, 2.5, 3.5, 6.0, 5.5, 4.5, 8.0, 7.0, 5.0];
        for (a, b) in values.iter().zip(want) {
            assert!((a - b).abs() < 1e-6, "{values:?}");
        }
        let gradients = full.sum().backward();
        let gradient: Vec<f32> = stage.grad(&gradients).unwrap().to_data().iter::<f32>().collect();
        for (a, b) in gradient.iter().zip([4.0, 2.0, 4.0, 2.0]) {
            assert!((a - b).abs() < 1e-6, "{gradient:?}");
        }
        let same = at_image_size(stage.clone(), [2, 2], &[0, 0]);
        assert_eq!(same.to_data(), stage.to_data());
    }

    #[test]
    fn the_default_terms_are_those_of_the_paper() {
        let terms = AuxiliaryLoss::Bce.terms();
        assert_eq!(terms.weights().map(|w| w.1), [0.0, 1.0, 0.0, 0.0]);
        let terms = AuxiliaryLoss::DiceBce.terms();
        assert_eq!(terms.weights().map(|w| w.1), [1.0, 1.0, 0.0, 0.0]);
    }
}
