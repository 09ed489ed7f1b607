//! Which pixels of foreground and background speak for them.
//!
//! A whole background is mostly pixels that nobody would mistake: its mean says little about the edge,
//! where segmentations fail. These weights let the features of *some* pixels stand for each side.
//! They are constants: no gradient flows through them.
//!
//! Source: ours.

use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::module::adaptive_avg_pool2d;
use scant_kernels::{Tap, max_pool2d};
use serde::{Deserialize, Serialize};

use super::feature_discrepancy::{FdForm, RegionFeatures};
use super::{FdClasses, ForegroundMask, Logits};

/// Pixels whose features are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FdPixels {
    /// All of them, as published.
    #[default]
    All,
    /// Of the background only what lies within [`REACH`] pixels of the foreground, at the resolution of
    /// the layer.
    Boundary,
    /// Every pixel by how wrong the network is about it: missed foreground against false alarms.
    Errors,
}

/// Pixels of a layer that a boundary reaches into the background.
pub const REACH: usize = 2;

/// Weights of the pixels of each region and of what it is compared with.
///
/// # Shapes
/// - `inside`, `outside`: `[B, R, h, w]`, at least 0
/// - `drawn`: `[B, R]`
#[derive(Debug, Clone)]
pub struct RegionWeights {
    /// Weights within the region.
    pub inside: Tensor<4>,
    /// Weights outside of it.
    pub outside: Tensor<4>,
    /// Whether the region means anything.
    pub drawn: Tensor<2>,
}

impl RegionWeights {
    /// The mask against a band of [`REACH`] pixels around it.
    #[must_use]
    pub fn boundary(mask: &ForegroundMask) -> Self {
        let side = 2 * REACH + 1;
        let grown = max_pool2d(mask.mask.clone(), [side, side], [1, 1], [REACH, REACH]);
        let outside = grown - mask.mask.clone();
        Self { inside: mask.mask.clone(), outside, drawn: mask.drawn.clone() }
    }

    /// `mask · (1 - p)` against `(1 - mask) · p`, with `p` the probability of the region.
    ///
    /// # Panics
    /// When the logits are not those of the regions of `classes`, or of another size.
    #[must_use]
    pub fn errors(mask: &ForegroundMask, logits: &Logits, classes: FdClasses) -> Self {
        let p = region_probability(logits, classes);
        assert_eq!(p.dims(), mask.mask.dims(), "regions of the logits and of the mask");
        let m = mask.mask.clone();
        let inside = m.clone() * (-p.clone() + 1.0);
        Self { inside, outside: (-m + 1.0) * p, drawn: mask.drawn.clone() }
    }

    /// The same weights, averaged, at another resolution.
    #[must_use]
    pub fn resized(&self, size: [usize; 2]) -> Self {
        let to = |x: &Tensor<4>| {
            let [_, _, h, w] = x.dims();
            if [h, w] == size { x.clone() } else { adaptive_avg_pool2d(x.clone(), size) }
        };
        Self { inside: to(&self.inside), outside: to(&self.outside), drawn: self.drawn.clone() }
    }
}

/// `[B, R, H, W]`, without gradient.
fn region_probability(logits: &Logits, classes: FdClasses) -> Tensor<4> {
    let x = logits.0.clone().detach();
    let [_, channels, _, _] = x.dims();
    if channels == 1 {
        return sigmoid(x);
    }
    let p = softmax(x, 1);
    match classes {
        FdClasses::Foreground => -p.narrow(1, 0, 1) + 1.0,
        FdClasses::OneVsRest => p.narrow(1, 1, channels - 1),
    }
}

/// Weighted mean features on both sides. An image counts where each side weighs at least as much as one
/// pixel.
///
/// # Panics
/// When batch or resolution of features and weights differ.
#[must_use]
pub fn weighted_region_features(
    tap: &Tap<4>,
    weights: &RegionWeights,
    form: FdForm,
) -> RegionFeatures {
    let [b, _, h, w] = tap.features().dims();
    let [_, r, _, _] = weights.inside.dims();
    let total = |x: &Tensor<4>| -> Tensor<3> {
        x.clone().reshape([b, r, h * w]).sum_dim(2).swap_dims(1, 2) // [B, 1, R]
    };
    let (inside, outside) = (total(&weights.inside), total(&weights.outside));
    let both = Tensor::cat(vec![weights.inside.clone(), weights.outside.clone()], 1);
    let (sums, _) = tap.masked_sums(both); // [B, C, 2 R]
    let enough = |x: &Tensor<3>| x.clone().greater_equal_elem(1.0).float();
    let valid = weights.drawn.clone() * (enough(&inside) * enough(&outside)).reshape([b, r]);
    RegionFeatures {
        fg: sums.clone().narrow(2, 0, r) / inside.clamp_min(1.0),
        bg: sums.narrow(2, r, r) / outside.clamp_min(1.0),
        valid,
        form,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn tensor(values: &[f32], shape: [usize; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex().autodiff())
    }

    fn values<const D: usize>(t: &Tensor<D>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    #[test]
    fn a_boundary_is_a_band_of_two_pixels_outside() {
        let mut row = [0.0; 9];
        row[4] = 1.0;
        let mask = ForegroundMask::all_drawn(tensor(&row, [1, 1, 1, 9]));
        let weights = RegionWeights::boundary(&mask);
        assert_eq!(values(&weights.outside), [0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        let features = tensor(&[9.0, 9.0, 1.0, 2.0, 5.0, 4.0, 5.0, 9.0, 9.0], [1, 1, 1, 9]);
        let tap = Tap::untied(features);
        let regions = weighted_region_features(&tap, &weights, FdForm::RegionMean);
        assert_eq!((values(&regions.fg), values(&regions.bg)), (vec![5.0], vec![3.0]));
        assert_eq!(values(&regions.valid), [1.0]);
    }

    #[test]
    fn errors_weigh_by_how_wrong_the_network_is() {
        let logit = |p: f32| (p / (1.0 - p)).ln();
        let logits = Logits(tensor(&[0.9, 0.2, 0.3, 0.1].map(logit), [1, 1, 1, 4]));
        let mask = ForegroundMask::all_drawn(tensor(&[1.0, 1.0, 0.0, 0.0], [1, 1, 1, 4]));
        let weights = RegionWeights::errors(&mask, &logits, FdClasses::Foreground);
        let close = |got: Vec<f32>, want: &[f32]| {
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
        };
        close(values(&weights.inside), &[0.1, 0.8, 0.0, 0.0]);
        close(values(&weights.outside), &[0.0, 0.0, 0.3, 0.1]);
        close(values(&weights.resized([1, 2]).inside), &[0.45, 0.0]);
        // Less than one pixel's worth of errors on a side: the image takes no part.
        let tap = Tap::untied(tensor(&[1.0; 4], [1, 1, 1, 4]));
        let regions = weighted_region_features(&tap, &weights, FdForm::Relative);
        assert_eq!(values(&regions.valid), [0.0]);
    }

    #[test]
    fn several_classes_are_read_off_the_softmax() {
        let x = tensor(&[1.0, 2.0, 3.0], [1, 3, 1, 1]);
        let p = |classes| values(&region_probability(&Logits(x.clone()), classes));
        let e = [1.0_f32, 2.0, 3.0].map(f32::exp);
        let sum: f32 = e.iter().sum();
        assert!((p(FdClasses::Foreground)[0] - (1.0 - e[0] / sum)).abs() < 1e-6);
        let rest = p(FdClasses::OneVsRest);
        assert!((rest[0] - e[1] / sum).abs() < 1e-6 && (rest[1] - e[2] / sum).abs() < 1e-6);
    }
}
