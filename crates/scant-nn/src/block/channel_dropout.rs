//! Dropout of whole channels.

use burn::module::{Flag, Module, Param};
use burn::tensor::{Distribution, Tensor};

/// Sets channels of single images or volumes to 0 while training, and divides the others by the
/// probability to be kept (Tompson et al. 2015, arXiv:1411.4280; `Dropout2d` and `Dropout3d` of
/// PyTorch).
///
/// Nothing is dropped where [`crate::weights::set_training`] switched training off, and on devices
/// that record no gradients.
#[derive(Module, Debug)]
pub struct ChannelDropout {
    /// Probability that a channel is dropped, in [0, 1).
    pub probability: f64,
    /// Whether channels are dropped at all.
    pub training: Param<Flag>,
}

impl ChannelDropout {
    /// Drops with `probability`.
    ///
    /// # Panics
    /// When it is not in [0, 1).
    #[must_use]
    pub fn new(probability: f64) -> Self {
        assert!(
            (0.0..1.0).contains(&probability),
            "a channel is dropped with a probability in [0, 1), got {probability}"
        );
        Self { probability, training: Param::from_bool(true) }
    }

    /// # Shapes
    /// - x, output: `[B, C, ...]`
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let device = x.device();
        if !self.training.is_enabled() || !device.is_autodiff() || self.probability == 0.0 {
            return x;
        }
        let mut shape = [1; D];
        shape[..2].copy_from_slice(&x.dims()[..2]);
        let keep = 1.0 - self.probability;
        let kept = Tensor::random(shape, Distribution::Bernoulli(keep), (&device, x.dtype()));
        x * (kept / keep)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn channels_are_kept_whole_and_scaled_or_zero() {
        let device = Device::flex().autodiff();
        device.seed(1);
        let dropout = ChannelDropout::new(0.75);
        let x = Tensor::<5>::ones([4, 50, 2, 1, 3], &device).require_grad();
        let y = dropout.forward(x.clone());
        let values: Vec<f32> = y.to_data().iter::<f32>().collect();
        let channels: Vec<&[f32]> = values.chunks_exact(6).collect();
        assert_eq!(channels.len(), 200);
        assert!(channels.iter().all(|c| *c == [0.0; 6] || *c == [4.0; 6]), "{values:?}");
        // A quarter of 200 is kept, give or take 6 (one standard deviation).
        let kept = channels.iter().filter(|c| c[0] > 0.0).count();
        assert!((25..=75).contains(&kept), "{kept}");
        // Images do not share what they lose.
        let image = |i: usize| channels[50 * i..50 * (i + 1)].to_vec();
        assert_ne!(image(0), image(1));
        // The gradient passes where the values did, with their factor.
        let gradient = x.grad(&y.sum().backward()).unwrap();
        assert_eq!(gradient.to_data().iter::<f32>().collect::<Vec<_>>(), values);
    }

    #[test]
    fn the_seed_of_the_device_decides() {
        let device = Device::flex().autodiff();
        let dropout = ChannelDropout::new(0.5);
        let draw = |seed: u64| {
            device.seed(seed);
            let y = dropout.forward(Tensor::<4>::ones([2, 64, 1, 1], &device));
            y.to_data().iter::<f32>().collect::<Vec<_>>()
        };
        // Other tests draw from the same generator at the same time, but not every time.
        assert!((0..50).any(|_| draw(7) == draw(7)));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn nothing_is_dropped_outside_training() {
        let ones = |device: &Device| Tensor::<4>::ones([1, 64, 1, 1], device);
        let same = |y: Tensor<4>| y.to_data().iter::<f32>().all(|v| v == 1.0);
        assert!(same(ChannelDropout::new(0.5).forward(ones(&Device::flex()))));
        let device = Device::flex().autodiff();
        assert!(same(ChannelDropout::new(0.0).forward(ones(&device))));
        assert!(same(ChannelDropout::new(0.5).freeze().forward(ones(&device))));
        assert!(!same(ChannelDropout::new(0.5).forward(ones(&device))));
    }

    #[test]
    #[should_panic(expected = "a probability in [0, 1), got 1")]
    fn everything_cannot_be_dropped() {
        let _ = ChannelDropout::new(1.0);
    }
}
