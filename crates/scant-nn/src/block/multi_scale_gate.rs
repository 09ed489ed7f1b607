//! The multi-scale attention gate of CMU-Net.

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use scant_kernels::ConvInput;

use super::conv_norm::{conv_norm_relu, normalise, normalise_activate};
use super::{Conv, Conv2d, ConvShape, NormConstants};

/// Attention on a skip connection from three fields of view (Tang et al. 2023, arXiv:2210.13012;
/// `MSAG` of FengheTan9/CMU-Net).
///
/// `a = sigmoid(vote(ReLU([BN(conv1x1(x)), BN(conv3x3(x)), BN(conv3x3 of dilation 2(x))])))`, output
/// `x + x a`; `vote` is a 1x1 convolution from three times the channels, with a batch norm.
#[derive(Module, Debug)]
pub struct MultiScaleGate {
    pointwise: Conv,
    ordinary: Conv,
    dilation: Conv2d,
    /// One for each of the branches, or one that they share.
    norms: Vec<BatchNorm>,
    vote: Conv,
    vote_norm: Option<BatchNorm>,
}

impl MultiScaleGate {
    /// As published.
    #[must_use]
    pub fn new(channels: usize, device: &Device) -> Self {
        let norm = || NormConstants::PYTORCH.norm(channels, device);
        let norms = (0..3).map(|_| norm()).collect();
        Self { norms, vote_norm: Some(norm()), ..Self::without_norms(channels, device) }
    }

    /// With a single batch norm that all three branches go through, one after the other, and none
    /// behind the vote.
    #[must_use]
    pub fn with_shared_norm(channels: usize, norm: NormConstants, device: &Device) -> Self {
        Self { norms: vec![norm.norm(channels, device)], ..Self::without_norms(channels, device) }
    }

    fn without_norms(channels: usize, device: &Device) -> Self {
        let mut dilated = ConvShape::new(channels, channels, [3, 3]);
        dilated.options.dilation = [2, 2];
        dilated.options.padding = [2, 2];
        Self {
            pointwise: Conv::new(channels, channels, 1, device),
            ordinary: Conv::new(channels, channels, 3, device),
            dilation: Conv2d::new(dilated, device),
            norms: Vec::new(),
            vote: Conv::new(3 * channels, channels, 1, device),
            vote_norm: None,
        }
    }

    /// # Shapes
    /// - x, output: `[B, channels, H, W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let norm = |branch: usize| &self.norms[branch.min(self.norms.len() - 1)];
        // ReLU of each branch rather than of their concatenation: the same values, and norms and
        // convolutions have it built in.
        let pointwise = normalise_activate(norm(0), self.pointwise.forward(x.clone()), 0.0);
        let plain = ConvInput::Plain(x.clone());
        let ordinary = conv_norm_relu(plain, [(&self.ordinary, norm(1))]);
        let dilated = normalise_activate(norm(2), self.dilation.forward(x.clone()), 0.0);
        let seen = Tensor::cat(vec![pointwise, ordinary, dilated], 1); // [B, 3 channels, H, W]
        let vote = self.vote.forward(seen);
        let attention = sigmoid(match &self.vote_norm {
            Some(norm) => normalise(norm, vote),
            None => vote,
        });
        x * (attention + 1.0)
    }

    /// Official name of a part, e.g. `pointwise` → `pointwiseConv.0`. The reference has no name for a
    /// norm that is shared; here it is `norm`.
    pub(crate) fn official(&self, part: &[&str]) -> Option<&'static str> {
        Some(match part {
            ["pointwise"] => "pointwiseConv.0",
            ["ordinary"] => "ordinaryConv.0",
            ["dilation"] => "dilationConv.0",
            ["vote"] => "voteConv.0",
            ["vote_norm"] => "voteConv.1",
            ["norms", _] if self.norms.len() == 1 => "norm",
            ["norms", "0"] => "pointwiseConv.1",
            ["norms", "1"] => "ordinaryConv.1",
            ["norms", "2"] => "dilationConv.1",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleMapper, Param};

    use super::*;

    /// Kernels 1, everything else as it was: scales and variances 1, biases and means 0.
    struct Ones;

    impl ModuleMapper for Ones {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D == 4 { param.map(|old| old.ones_like()) } else { param }
        }
    }

    fn logistic(x: f32) -> f32 {
        1.0 / (1.0 + (-x).exp())
    }

    /// A row of five: the pixel itself, its neighbours at distance 1, those at distance 2.
    #[test]
    fn three_fields_of_view_vote() {
        let device = Device::flex();
        let exact = NormConstants { epsilon: 1e-12, momentum: 0.1 };
        let gate = MultiScaleGate::with_shared_norm(1, exact, &device).map(&mut Ones);
        let x = [0.1_f32, 0.2, -0.9, 0.3, 0.4];
        let input = Tensor::<1>::from_floats(x, &device).reshape([1, 1, 1, 5]);
        let y: Vec<f32> = gate.forward(input.clone()).to_data().iter::<f32>().collect();
        let near = [0.3_f32, -0.6, -0.4, -0.2, 0.7];
        let far = [-0.8_f32, 0.5, -0.4, 0.5, -0.5];
        for i in 0..5 {
            let vote = x[i].max(0.0) + near[i].max(0.0) + far[i].max(0.0);
            let want = x[i] * (1.0 + logistic(vote));
            assert!((y[i] - want).abs() < 1e-5, "pixel {i}: {} instead of {want}", y[i]);
        }
        // The published gate has the same values where its norms do nothing.
        let published = MultiScaleGate::new(1, &device).map(&mut Ones).forward(input);
        let published: Vec<f32> = published.to_data().iter::<f32>().collect();
        assert!(published.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-4), "{published:?}");
    }

    #[test]
    fn a_shared_norm_moves_with_every_branch() {
        let device = Device::flex().autodiff();
        let halves = NormConstants { epsilon: 1e-3, momentum: 0.5 };
        let gate = MultiScaleGate::with_shared_norm(1, halves, &device).map(&mut Ones);
        // One pixel of value 8: every branch sees it alone, so each mean is 8.
        let _ = gate.forward(Tensor::ones([1, 1, 1, 1], &device) * 8.0);
        let mean: f32 = gate.norms[0].running_mean.value_sync().into_scalar();
        assert!((mean - 7.0).abs() < 1e-6, "0 to 4, 6, 7, got {mean}");
    }
}
