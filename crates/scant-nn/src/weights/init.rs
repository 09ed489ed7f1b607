//! Initial values as a pure function of (seed, name).
//!
//! A tensor's values do not depend on what else the network holds, so that two networks with the
//! same stage start from the same stage, and a run can be repeated from its seed alone.

use std::collections::BTreeMap;

use burn::module::Module;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Uniform};
use scant_core::HostTensor;

use super::named::{Named, PathMapper, PathVisitor};
use crate::Model;

/// How the values of a tensor are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// One and the same value.
    Constant(f64),
    /// Normal around 0 with this standard deviation.
    Normal(f64),
    /// Normal around 0 with the first as standard deviation, drawn again where farther from 0 than
    /// the second.
    TruncatedNormal(f64, f64),
    /// Uniform from minus this to this.
    Uniform(f64),
    /// For a bias: uniform within 1 / sqrt(fan-in) of the weight beside it, 0 beside the scale of a
    /// norm. PyTorch's default.
    BesideWeight,
}

impl Initial {
    /// Normal with variance 2 / fan-in (He et al. 2015, arXiv:1502.01852, eq. 10).
    #[must_use]
    pub fn he(fan_in: usize) -> Self {
        Self::Normal((2.0 / fan_in as f64).sqrt())
    }

    /// Keras' `HeNormal`: the variance of [`he`](Self::he) after values beyond two deviations are
    /// drawn again.
    #[must_use]
    pub fn he_cut(fan_in: usize) -> Self {
        Self::cut(2.0 / fan_in as f64)
    }

    /// Keras' `GlorotNormal`: variance 2 / (fan-in + fan-out) after values beyond two deviations are
    /// drawn again.
    #[must_use]
    pub fn glorot_cut(fan_in: usize, fan_out: usize) -> Self {
        Self::cut(2.0 / (fan_in + fan_out) as f64)
    }

    fn cut(variance: f64) -> Self {
        // Deviation of a standard normal variable within two deviations.
        let deviation = variance.sqrt() / 0.879_625_661_034_239_8;
        Self::TruncatedNormal(deviation, 2.0 * deviation)
    }

    /// What most networks use: kernels by [`he`](Self::he) with the fan-in of a convolution, scales and
    /// running variances 1, everything else 0.
    #[must_use]
    pub fn usual(name: &str, shape: &[usize]) -> Self {
        if shape.len() >= 2 {
            Self::he(shape[1..].iter().product())
        } else if name.ends_with("weight") || name.ends_with("running_var") {
            Self::Constant(1.0)
        } else {
            Self::Constant(0.0)
        }
    }

    /// PyTorch's default for linear layers and convolutions, weight and bias: uniform within
    /// 1 / sqrt(fan-in).
    #[must_use]
    pub fn pytorch(fan_in: usize) -> Self {
        Self::Uniform(1.0 / (fan_in as f64).sqrt())
    }

    /// What PyTorch does where a network says nothing: weight and bias of linear layers and
    /// convolutions uniform within 1 / sqrt(fan-in); scales and running variances 1, shifts and running
    /// means 0.
    ///
    /// PyTorch counts the fan-in of a transposed convolution, whose weight is `[input, output, ...]`,
    /// as output channels times kernel, and so does this.
    #[must_use]
    pub fn pytorch_layer(name: &str, shape: &[usize]) -> Self {
        match shape {
            [_, rest @ ..] if !rest.is_empty() => Self::pytorch(rest.iter().product()),
            _ if name.ends_with("bias") => Self::BesideWeight,
            _ => Self::usual(name, shape),
        }
    }

    /// Uniform with variance 2 / (fan-in + fan-out) (Glorot and Bengio 2010, eq. 16).
    #[must_use]
    pub fn glorot_uniform(fan_in: usize, fan_out: usize) -> Self {
        Self::Uniform((6.0 / (fan_in + fan_out) as f64).sqrt())
    }

    /// Values of a tensor whose layer has a weight of the given fan-in.
    fn draw(self, count: usize, fan_in: Option<usize>, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let normal = |deviation: f64| {
            Normal::new(0.0, deviation).expect("a positive fan-in gives a finite deviation")
        };
        match self {
            Self::Constant(value) => vec![value as f32; count],
            Self::Normal(deviation) => {
                let normal = normal(deviation);
                (0..count).map(|_| normal.sample(rng) as f32).collect()
            }
            Self::TruncatedNormal(deviation, limit) => {
                let normal = normal(deviation);
                let within = |rng: &mut ChaCha8Rng| loop {
                    let value = normal.sample(rng);
                    if value.abs() <= limit {
                        return value as f32;
                    }
                };
                (0..count).map(|_| within(rng)).collect()
            }
            Self::Uniform(limit) => {
                let uniform = Uniform::new_inclusive(-limit, limit);
                let uniform = uniform.expect("a positive fan-in gives a finite limit");
                (0..count).map(|_| uniform.sample(rng) as f32).collect()
            }
            Self::BesideWeight => {
                fan_in.map_or(Self::Constant(0.0), Self::pytorch).draw(count, None, rng)
            }
        }
    }
}

/// Fills a network with the values that `seed` stands for, drawn as its architecture says.
#[must_use]
pub fn initialise(model: Model, seed: u64) -> Model {
    let mut shapes = BTreeMap::new();
    let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
        shapes.insert(path.to_owned(), tensor.shape());
    });
    model.visit(&mut visitor);
    let names = model.clone();
    let official = |(path, shape): (&String, &Vec<usize>)| {
        names.official_name(path).map(|name| (name, shape.clone()))
    };
    let by_name: BTreeMap<String, Vec<usize>> = shapes.iter().filter_map(official).collect();
    let mut mapper = PathMapper::new(|path: &str| {
        let shape = shapes.get(path)?;
        let name = names.official_name(path)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(&name));
        let count = shape.iter().product();
        let fan_in = fan_in_beside(&name, &by_name);
        let data = names.initial(&name, shape).draw(count, fan_in, &mut rng);
        Some(HostTensor { shape: shape.clone(), data })
    });
    model.map(&mut mapper)
}

/// The values of one tensor that does not belong to an architecture, a function of seed and name.
pub(crate) fn seeded(seed: u64, name: &str, shape: &[usize], how: Initial) -> HostTensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
    let data = how.draw(shape.iter().product(), None, &mut rng);
    HostTensor { shape: shape.to_vec(), data }
}

/// The fan-in of the weight in the layer of a bias; `None` for norms and for everything else.
fn fan_in_beside(name: &str, shapes: &BTreeMap<String, Vec<usize>>) -> Option<usize> {
    let weight = shapes.get(&format!("{}weight", name.strip_suffix("bias")?))?;
    (weight.len() > 1).then(|| weight[1..].iter().product())
}

/// FNV-1a, 64 bit.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(initial: Initial) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        initial.draw(20_000, Some(25), &mut rng).into_iter().map(f64::from).collect()
    }

    fn deviation(values: &[f64]) -> f64 {
        (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn distributions_have_their_spread() {
        assert!((deviation(&draw(Initial::he(50))) - 0.2).abs() < 0.005);
        let uniform = draw(Initial::pytorch(100));
        assert!(uniform.iter().all(|v| v.abs() <= 0.1));
        assert!((deviation(&uniform) - 0.1 / 3.0_f64.sqrt()).abs() < 0.001);
        assert!((deviation(&draw(Initial::glorot_uniform(3, 5))) - 0.5).abs() < 0.01);
        let cut = draw(Initial::TruncatedNormal(1.0, 0.5));
        assert!(cut.iter().all(|v| v.abs() <= 0.5) && deviation(&cut) > 0.2);
        assert_eq!(draw(Initial::Constant(0.5))[9], 0.5);
        assert!((deviation(&draw(Initial::he_cut(50))) - 0.2).abs() < 0.005);
        let glorot = draw(Initial::glorot_cut(3, 5));
        assert!((deviation(&glorot) - 0.5).abs() < 0.01);
        let largest = glorot.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        assert!((1.1..1.14).contains(&largest), "two deviations of 0.568, got {largest}");
        let beside = draw(Initial::BesideWeight);
        assert!(beside.iter().all(|v| v.abs() <= 0.2));
        assert!((deviation(&beside) - 0.2 / 3.0_f64.sqrt()).abs() < 0.002);
    }

    #[test]
    fn biases_go_by_the_weight_of_their_layer() {
        let of = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec());
        let shapes = [of("a.weight", &[4, 3, 2, 2]), of("b.weight", &[4]), of("a.bias", &[4])];
        let shapes: BTreeMap<_, _> = shapes.into();
        assert_eq!(fan_in_beside("a.bias", &shapes), Some(12));
        assert_eq!(fan_in_beside("b.bias", &shapes), None);
        assert_eq!(fan_in_beside("a.weight", &shapes), None);
        assert_eq!(fan_in_beside("c.bias", &shapes), None);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        assert_eq!(Initial::BesideWeight.draw(2, None, &mut rng), [0.0; 2]);
        let layer = Initial::pytorch_layer;
        assert_eq!(layer("a.weight", &[4, 3, 2, 2]), Initial::pytorch(12));
        assert_eq!(layer("a.bias", &[4]), Initial::BesideWeight);
        assert_eq!(layer("b.weight", &[4]), Initial::Constant(1.0));
        assert_eq!(layer("b.running_var", &[4]), Initial::Constant(1.0));
        assert_eq!(layer("b.running_mean", &[4]), Initial::Constant(0.0));
    }
}
