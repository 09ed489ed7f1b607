//! Branches left out at random.

use burn::module::{Flag, Module, Param};
use burn::tensor::{Distribution, Tensor};

/// Stochastic depth (Huang et al. 2016, arXiv:1603.09382) as in timm `DropPath`: in training the
/// residual branch of every sample is left out with a probability of its own, and kept branches are
/// scaled by `1 / (1 - probability)`. In evaluation nothing happens.
#[derive(Module, Debug)]
pub struct DropPath {
    /// Cleared by evaluation mode, as burn's dropout does.
    training: Param<Flag>,
    #[module(skip)]
    probability: f64,
}

impl DropPath {
    /// Leaves out a branch with `probability`.
    ///
    /// # Panics
    /// When the probability is not in `[0, 1)`.
    #[must_use]
    pub fn new(probability: f64) -> Self {
        assert!((0.0..1.0).contains(&probability), "a probability below 1, got {probability}");
        Self { training: Param::from_bool(true), probability }
    }

    /// # Shapes
    /// - branch, output: `[B, ...]`
    #[must_use]
    pub fn forward<const D: usize>(&self, branch: Tensor<D>) -> Tensor<D> {
        let device = branch.device();
        if !self.training.is_enabled() || !device.is_autodiff() || self.probability == 0.0 {
            return branch;
        }
        let kept = 1.0 - self.probability;
        let mut shape = [1; D];
        shape[0] = branch.dims()[0];
        let samples = Tensor::<D>::random(shape, Distribution::Bernoulli(kept), &device);
        branch * (samples * (1.0 / kept))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ModuleMapper;
    use burn::tensor::Device;

    use super::*;

    fn values(drop: &DropPath, device: &Device) -> Vec<f32> {
        drop.forward(Tensor::<3>::ones([400, 2, 3], device)).to_data().iter::<f32>().collect()
    }

    #[test]
    fn whole_samples_are_left_out_and_the_others_scaled() {
        let device = Device::flex().autodiff();
        device.seed(5);
        let y = values(&DropPath::new(0.2), &device);
        let mut left_out = 0;
        for sample in y.chunks(6) {
            assert!(sample.iter().all(|v| *v == sample[0]), "{sample:?}");
            assert!(sample[0] == 0.0 || (sample[0] - 1.25).abs() < 1e-6, "{sample:?}");
            left_out += usize::from(sample[0] == 0.0);
        }
        // 80 expected; the standard deviation is 8.
        assert!((50..110).contains(&left_out), "{left_out}");
    }

    #[test]
    fn a_gradient_goes_where_the_branch_went() {
        let device = Device::flex().autodiff();
        device.seed(1);
        let x = Tensor::<2>::ones([50, 2], &device).require_grad();
        let y = DropPath::new(0.5).forward(x.clone());
        let gradient = x.grad(&y.clone().sum().backward()).unwrap();
        let gradient: Vec<f32> = gradient.to_data().iter::<f32>().collect();
        let y: Vec<f32> = y.to_data().iter::<f32>().collect();
        assert_eq!(gradient, y, "the factor of every value");
        assert!(y.contains(&0.0) && y.contains(&2.0));
    }

    #[test]
    fn evaluation_and_probability_zero_change_nothing() {
        struct Off;
        impl ModuleMapper for Off {
            fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
                flag.with_value(false)
            }
        }
        let ones = vec![1.0; 2400];
        let device = Device::flex().autodiff();
        assert_eq!(values(&DropPath::new(0.9).map(&mut Off), &device), ones);
        assert_eq!(values(&DropPath::new(0.0), &device), ones);
        assert_eq!(values(&DropPath::new(0.9), &Device::flex()), ones);
    }
}
