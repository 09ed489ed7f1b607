//! The normalisations that a network leaves to choose.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor};
use scant_kernels::{NormActivation, activate, instance_norm};
use serde::{Deserialize, Serialize};

use super::GroupNorm;
use super::conv_norm::{normalise_activate, official_field};

/// PyTorch's, for all norms.
const EPSILON: f64 = 1e-5;

/// How maps are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormKind {
    /// Per channel, over the batch (Ioffe and Szegedy 2015, arXiv:1502.03167).
    #[default]
    Batch,
    /// Per image, over groups of channels (Wu and He 2018, arXiv:1803.08494); 16 groups.
    Group,
    /// Per image and channel (Ulyanov et al. 2016, arXiv:1607.08022), without parameters.
    Instance,
    /// Not at all.
    None,
}

impl NormKind {
    /// Groups of [`NormKind::Group`]; they must divide the channels.
    pub const GROUPS: usize = 16;
}

/// A normalisation with a ReLU or LeakyReLU behind it.
#[derive(Module, Debug)]
pub struct Norm {
    batch: Option<BatchNorm>,
    group: Option<GroupNorm>,
    #[module(skip)]
    instance: bool,
}

impl Norm {
    /// Of maps of `channels` channels.
    ///
    /// # Panics
    /// When they do not divide into the groups of a group norm.
    #[must_use]
    pub fn new(kind: NormKind, channels: usize, device: &Device) -> Self {
        let batch = || BatchNormConfig::new(channels).with_epsilon(EPSILON).init(device);
        let group = || GroupNorm::new(NormKind::GROUPS, channels, EPSILON, device);
        Self {
            batch: (kind == NormKind::Batch).then(batch),
            group: (kind == NormKind::Group).then(group),
            instance: kind == NormKind::Instance,
        }
    }

    /// Normalised, and with this slope below zero: 0 is ReLU, 0.01 LeakyReLU, 1 nothing.
    ///
    /// # Shapes
    /// - x, output: `[B, C, ...]`
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>, slope: f64) -> Tensor<D> {
        match (&self.batch, &self.group) {
            (Some(norm), _) => normalise_activate(norm, x, slope),
            (_, Some(norm)) => activate(norm.forward(x), slope),
            _ if self.instance => {
                let one = Tensor::<1>::ones([x.dims()[1]], &x.device()).cast(x.dtype());
                let zero = one.zeros_like();
                instance_norm(x, one, zero, NormActivation { epsilon: EPSILON, slope })
            }
            _ => activate(x, slope),
        }
    }

    /// Official name of a field below this block, e.g. `batch.gamma` → `weight`.
    pub(crate) fn official<'a>(kind: &str, field: &'a str) -> Option<&'a str> {
        match (kind, field) {
            ("batch" | "group", field) => Some(official_field(field)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, FloatDType};

    use super::*;

    fn values<const D: usize>(t: &Tensor<D>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        let far = got.iter().zip(want).any(|(a, b)| (a - b).abs() > 1e-4);
        assert!(!far, "{got:?} instead of {want:?}");
    }

    #[test]
    fn an_instance_is_one_channel_of_one_volume() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let norm = Norm::new(NormKind::Instance, 2, &device);
            let x = Tensor::<1>::from_floats([0.0, 2.0, 5.0, 9.0, -1.0, 3.0, 8.0, 8.0], &device);
            let y = norm.forward::<5>(x.reshape([2, 2, 1, 1, 2]), 0.5);
            // Two values are one deviation from their mean; equal ones stay at it.
            close(&values(&y), &[-0.5, 1.0, -0.5, 1.0, -0.5, 1.0, 0.0, 0.0]);
        }
    }

    /// The formula, differentiated by the tensor library.
    #[test]
    fn the_gradient_of_an_instance_is_that_of_its_formula() {
        let device = Device::flex().autodiff();
        device.seed(2);
        let noise = Distribution::Uniform(-1.0, 1.0);
        let x = Tensor::<5>::random([2, 3, 2, 3, 4], noise, &device).require_grad();
        let cotangent = Tensor::<5>::random([2, 3, 2, 3, 4], noise, &device);
        let rows = x.clone().reshape([6, 24]);
        let centred = rows.clone() - rows.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let formula = activate(centred / (variance + EPSILON).sqrt(), 0.1).reshape([2, 3, 2, 3, 4]);
        let instance = Norm::new(NormKind::Instance, 3, &device);
        let norm = instance.forward(x.clone(), 0.1);
        close(&values(&norm), &values(&formula));
        // What devices other than the CPU do, and the CPU for other types.
        let double = instance.forward(x.clone().cast(FloatDType::F64), 0.1);
        close(&values(&double), &values(&formula));
        let [by_norm, by_formula] = [norm, formula].map(|y| {
            let gradients = (y * cotangent.clone()).sum().backward();
            values(&x.grad(&gradients).unwrap())
        });
        close(&by_norm, &by_formula);
    }

    /// 32 channels are 16 pairs: a pair is normalised by its own four values.
    #[test]
    fn groups_are_normalised_together() {
        let device = Device::flex();
        let mut norm = Norm::new(NormKind::Group, 32, &device);
        norm.group = norm.group.map(|group| group.with_scale_of_one());
        let pair = [1.0, 3.0, 5.0, 7.0];
        let all: Vec<f32> = (0..16_u8).flat_map(|g| pair.map(|v| v * f32::from(g + 1))).collect();
        let x = Tensor::<1>::from_floats(all.as_slice(), &device).reshape([1, 32, 1, 2, 1]);
        let y = norm.forward::<5>(x, 1.0);
        let deviation = 5.0_f32.sqrt();
        close(&values(&y), &[-3.0, -1.0, 1.0, 3.0].map(|v| v / deviation).repeat(16));
    }

    #[test]
    fn none_is_the_activation_alone() {
        let device = Device::flex();
        let x = Tensor::<1>::from_floats([-4.0, 2.0], &device).reshape([1, 2, 1, 1]);
        let y = Norm::new(NormKind::None, 2, &device).forward::<4>(x, 0.25);
        assert_eq!(values(&y), [-1.0, 2.0]);
    }
}
