//! The way up.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, module};

use super::block::EPSILON;
use crate::block::{LayerNorm, Linear};

/// Lays the channels of a token out as `scale` by `scale` tokens, row by row.
///
/// # Shapes
/// - x: `[B, H, W, scale scale C]`
/// - output: `[B, scale H, scale W, C]`
pub(super) fn expand(x: Tensor<4>, scale: usize) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let c = c / (scale * scale);
    x.reshape([b, h, w, scale, scale, c]).swap_dims(2, 3).reshape([b, scale * h, scale * w, c])
}

/// Patch expanding: twice as many tokens along each axis, of half as many channels.
#[derive(Module, Debug)]
pub(super) struct PatchExpand {
    expand: Linear,
    norm: LayerNorm,
}

impl PatchExpand {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Self {
            expand: Linear::new(channels, 2 * channels, device).without_bias(),
            norm: LayerNorm::new(channels / 2, EPSILON, device),
        }
    }

    /// # Shapes
    /// - x: `[B, H, W, C]`
    /// - output: `[B, 2 H, 2 W, C / 2]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(expand(self.expand.forward(x), 2))
    }
}

/// The last patch expanding, from tokens to the pixels of their patches, without fewer channels.
#[derive(Module, Debug)]
pub(super) struct FinalExpand {
    expand: Linear,
    norm: LayerNorm,
    patch: usize,
}

impl FinalExpand {
    pub(super) fn new(channels: usize, patch: usize, device: &Device) -> Self {
        Self {
            expand: Linear::new(channels, patch * patch * channels, device).without_bias(),
            norm: LayerNorm::new(channels, EPSILON, device),
            patch,
        }
    }

    /// Expands, and scores every pixel by `output`.
    ///
    /// The norm and the scores are of one pixel at a time, so they are taken before the pixels are laid
    /// out: only the scores are moved, not all channels at full resolution.
    ///
    /// # Shapes
    /// - x: `[B, H, W, C]`
    /// - output: `[B, K, p H, p W]` for patches of p pixels
    pub(super) fn forward(&self, x: Tensor<4>, output: &Output) -> Tensor<4> {
        let ([b, h, w, c], pixels) = (x.dims(), self.patch * self.patch);
        let x = self.expand.forward(x).reshape([b, h, w, pixels, c]);
        let scores = output.forward(self.norm.forward(x)); // [B, H, W, p p, K]
        let logits = scores.dims()[4];
        let scores = scores.reshape([b, h, w, pixels * logits]);
        expand(scores, self.patch).permute([0, 3, 1, 2])
    }
}

/// The 1x1 convolution to logits, on channels that come last.
#[derive(Module, Debug)]
pub(super) struct Output {
    /// `[K, C, 1, 1]`
    weight: Param<Tensor<4>>,
}

impl Output {
    pub(super) fn new(channels: usize, logits: usize, device: &Device) -> Self {
        Self { weight: Initializer::Zeros.init([logits, channels, 1, 1], device) }
    }

    /// # Shapes
    /// - x: `[..., C]`
    /// - output: `[..., K]`
    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let [logits, channels, ..] = weight.dims();
        module::linear(x, weight.reshape([logits, channels]).transpose(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{counted, filled, random, values};
    use super::*;

    #[test]
    fn channels_become_tokens_row_by_row() {
        let y = expand(counted([1, 1, 2, 4]), 2);
        assert_eq!(y.dims(), [1, 2, 4, 1]);
        assert_eq!(values(&y), [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
        // Two channels stay together.
        let y = expand(counted([1, 1, 1, 8]), 2);
        assert_eq!((y.dims(), values(&y)), ([1, 2, 2, 2], values(&counted([8]))));
        // Three by three.
        let y = expand(counted([1, 1, 2, 9]), 3);
        assert_eq!(values(&y)[..6], [0.0, 1.0, 2.0, 9.0, 10.0, 11.0]);
    }

    #[test]
    fn an_expanded_token_by_hand() {
        let expanding = filled(PatchExpand::new(4, &Device::flex()), |path| match path {
            // The first channel makes four tokens; the others make nothing.
            "expand.weight" => {
                let column = [1.0, 2.0, 4.0, 3.0, 0.0, 5.0, 7.0, 6.0];
                column.into_iter().flat_map(|v| [v, 0.0, 0.0, 0.0]).collect()
            }
            "norm.weight" => vec![1.0, 3.0],
            "norm.bias" => vec![0.0, 1.0],
            other => panic!("{other}"),
        });
        let x = Tensor::<4>::from_floats([[[[2.0, 9.0, 9.0, 9.0]]]], &Device::flex());
        let y = expanding.forward(x);
        assert_eq!(y.dims(), [1, 2, 2, 2]);
        let wanted = [-1.0, 4.0, 1.0, -2.0, -1.0, 4.0, 1.0, -2.0];
        assert!(values(&y).iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{y}");
    }

    /// The literal order: expand, lay out, norm, 1x1 convolution.
    #[test]
    fn scores_before_the_layout_are_those_after_it() {
        let device = Device::flex();
        device.seed(4);
        let last = random(FinalExpand::new(3, 4, &device));
        let output = random(Output::new(3, 2, &device));
        let x = counted([2, 2, 3, 3]).sin();
        let pixels = last.norm.forward(expand(last.expand.forward(x.clone()), 4)); // [2, 8, 12, 3]
        let options = scant_kernels::ConvOptions::default();
        let image = pixels.permute([0, 3, 1, 2]);
        let wanted = scant_kernels::conv2d(image, output.weight.val(), None, options);
        let got = last.forward(x, &output);
        assert_eq!(got.dims(), [2, 2, 8, 12]);
        let pairs = values(&got).into_iter().zip(values(&wanted));
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
