//! Small modules that stand beside a network for the length of a phase.
//!
//! Some losses need parameters of their own on a tap: a projection before features are contrasted, logits
//! on an early stage of the decoder. Such heads are trained with the network and thrown away with the
//! phase: they are no part of a model file, and no network knows them.
//!
//! Legend: `B` batch · `C` channels of the tap · `H`, `W` its pixels.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use scant_kernels::{NormActivation, batch_norm};

use crate::block::Conv;
use crate::weights::{
    HostTensor, Initial, Named, PathMapper, PathVisitor, WeightError, Weights, seeded,
};

/// PyTorch's.
const EPSILON: f64 = 1e-5;

/// What a head computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// One 1x1 convolution.
    Linear {
        /// Channels it makes.
        output: usize,
        /// Whether a value per channel is added.
        bias: bool,
    },
    /// 1x1 convolution → batch norm → ReLU → 1x1 convolution, without biases: `g2` of Chaitanya et al.
    /// 2020. The norm uses the statistics of its input always and keeps none, for nobody evaluates it.
    Projection {
        /// Channels between the two.
        hidden: usize,
        /// Channels it makes.
        output: usize,
    },
}

/// One head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadConfig {
    /// By which a loss finds it; unique. Initial values depend on it.
    pub name: String,
    /// The tap it looks at; empty for a head on something else.
    pub tap: String,
    /// Channels that come in.
    pub input: usize,
    /// What it computes.
    pub kind: HeadKind,
}

/// The heads of one phase; often none.
#[derive(Module, Debug)]
pub struct Heads {
    heads: Vec<Head>,
}

/// See [`HeadKind`].
#[derive(Module, Debug)]
pub struct Head {
    hidden: Option<Hidden>,
    last: Conv,
    #[module(skip)]
    name: String,
    #[module(skip)]
    tap: String,
}

/// The part of a projection before its last convolution.
#[derive(Module, Debug)]
struct Hidden {
    conv: Conv,
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
}

impl Head {
    fn new(config: &HeadConfig, device: &Device) -> Self {
        let conv = |input, output| Conv::new(input, output, 1, device);
        let (hidden, last) = match config.kind {
            HeadKind::Linear { output, bias: true } => (None, conv(config.input, output)),
            HeadKind::Linear { output, bias: false } => {
                (None, conv(config.input, output).without_bias())
            }
            HeadKind::Projection { hidden, output } => {
                let first = Hidden {
                    conv: conv(config.input, hidden).without_bias(),
                    gamma: Initializer::Zeros.init([hidden], device),
                    beta: Initializer::Zeros.init([hidden], device),
                };
                (Some(first), conv(hidden, output).without_bias())
            }
        };
        Self { hidden, last, name: config.name.clone(), tap: config.tap.clone() }
    }

    /// The tap it looks at.
    #[must_use]
    pub fn tap(&self) -> &str {
        &self.tap
    }

    /// # Shapes
    /// - x: `[B, C, H, W]`
    /// - output: `[B, output, H, W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match &self.hidden {
            None => x,
            Some(hidden) => {
                let set = NormActivation { epsilon: EPSILON, slope: 0.0 };
                batch_norm(hidden.conv.forward(x), hidden.gamma.val(), hidden.beta.val(), set).0
            }
        };
        self.last.forward(x)
    }
}

impl Heads {
    /// No heads.
    #[must_use]
    pub fn none() -> Self {
        Self { heads: Vec::new() }
    }

    /// Heads with the values that `seed` stands for: kernels by He's rule, scales 1, everything else 0.
    /// A head's values depend on its name and not on what other heads there are.
    #[must_use]
    pub fn init(configs: &[HeadConfig], device: &Device, seed: u64) -> Self {
        let heads = Self::zeros(configs, device);
        let shapes = heads.shapes();
        let names = heads.clone();
        let mut mapper = PathMapper::new(|path: &str| {
            let name = names.full_name(path)?;
            let shape = shapes.get(&name)?;
            let one = name.ends_with("gamma");
            let how = if one { Initial::Constant(1.0) } else { Initial::usual(&name, shape) };
            Some(seeded(seed, &format!("heads/{name}"), shape, how))
        });
        heads.map(&mut mapper)
    }

    /// Heads with all parameters zero, for values that follow.
    #[must_use]
    pub fn zeros(configs: &[HeadConfig], device: &Device) -> Self {
        Self { heads: configs.iter().map(|config| Head::new(config, device)).collect() }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The head of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Head> {
        self.heads.iter().find(|head| head.name == name)
    }

    /// Heads whose name starts with `prefix`, in their order.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Head> {
        self.heads.iter().filter(move |head| head.name.starts_with(prefix))
    }

    /// Copies every parameter to the host.
    #[must_use]
    pub fn export(&self) -> Weights {
        let mut weights = Weights::new();
        let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
            if let Some(name) = self.full_name(path) {
                weights.insert(name, tensor.to_host());
            }
        });
        self.visit(&mut visitor);
        weights
    }

    /// Replaces every parameter by that of [`Heads::export`].
    ///
    /// # Errors
    /// When one is missing, unknown or of another shape.
    pub fn import(self, weights: &Weights) -> Result<Self, WeightError> {
        let expected = self.shapes();
        for (name, shape) in &expected {
            match weights.get(name) {
                None => {
                    return Err(WeightError::Missing { name: name.clone(), shape: shape.clone() });
                }
                Some(t) if t.shape != *shape => {
                    let (expected, got) = (shape.clone(), t.shape.clone());
                    return Err(WeightError::Shape { name: name.clone(), expected, got });
                }
                Some(_) => {}
            }
        }
        if let Some(name) = weights.keys().find(|name| !expected.contains_key(*name)) {
            return Err(WeightError::Unexpected(name.clone()));
        }
        let names = self.clone();
        let value = |path: &str| -> Option<HostTensor> {
            names.full_name(path).and_then(|name| weights.get(&name)).cloned()
        };
        Ok(self.map(&mut PathMapper::new(value)))
    }

    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let mut shapes = BTreeMap::new();
        let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
            shapes.extend(self.full_name(path).map(|name| (name, tensor.shape())));
        });
        self.visit(&mut visitor);
        shapes
    }

    /// `0.last.weight` → `NAME/last.weight`.
    fn full_name(&self, path: &str) -> Option<String> {
        let (position, field) = path.split_once('.')?;
        let head = self.heads.get(position.parse::<usize>().ok()?)?;
        Some(format!("{}/{field}", head.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs() -> Vec<HeadConfig> {
        let config =
            |name: &str, kind| HeadConfig { name: name.into(), tap: "dec2".into(), input: 3, kind };
        vec![
            config("a", HeadKind::Projection { hidden: 4, output: 2 }),
            config("b/dec2", HeadKind::Linear { output: 1, bias: true }),
            config("b/dec3", HeadKind::Linear { output: 5, bias: false }),
        ]
    }

    #[test]
    fn heads_are_found_by_name_and_survive_a_round_trip() {
        let device = Device::flex().autodiff();
        let heads = Heads::init(&configs(), &device, 3);
        assert_eq!(heads.below("b/").count(), 2);
        assert_eq!(heads.get("a").map(Head::tap), Some("dec2"));
        assert!(heads.get("c").is_none() && Heads::none().is_empty());
        let stored = heads.export();
        let names: Vec<&str> = stored.keys().map(String::as_str).collect();
        let wanted = [
            "a/hidden.beta",
            "a/hidden.conv.weight",
            "a/hidden.gamma",
            "a/last.weight",
            "b/dec2/last.bias",
            "b/dec2/last.weight",
            "b/dec3/last.weight",
        ];
        assert_eq!(names, wanted);
        assert_eq!(stored["a/hidden.gamma"].data, [1.0; 4]);
        assert_eq!(stored["a/hidden.beta"].data, [0.0; 4]);
        assert_eq!(stored["a/hidden.conv.weight"].shape, [4, 3, 1, 1]);
        let again = Heads::zeros(&configs(), &device).import(&stored).unwrap();
        assert_eq!(again.export(), stored);

        let mut less = stored.clone();
        less.remove("a/last.weight");
        let error = Heads::zeros(&configs(), &device).import(&less).unwrap_err();
        assert!(error.to_string().contains("a/last.weight"), "{error}");
        let error = Heads::none().import(&stored).unwrap_err();
        assert!(matches!(error, WeightError::Unexpected(_)), "{error}");
    }

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let device = Device::flex();
        let all = Heads::init(&configs(), &device, 3).export();
        let one = Heads::init(&configs()[..1], &device, 3).export();
        assert_eq!(all["a/last.weight"], one["a/last.weight"]);
        let other = Heads::init(&configs()[..1], &device, 4).export();
        assert_ne!(other["a/last.weight"], one["a/last.weight"]);
    }

    /// A projection by hand: two channels of two pixels, the kernels the identity, so that the norm makes
    /// (-1, 1) of each and the ReLU keeps the ones.
    #[test]
    fn a_projection_normalises_between_its_kernels() {
        let device = Device::flex().autodiff();
        let kind = HeadKind::Projection { hidden: 2, output: 2 };
        let config = [HeadConfig { name: "p".into(), tap: String::new(), input: 2, kind }];
        let heads = Heads::init(&config, &device, 0);
        let identity = HostTensor { shape: vec![2, 2, 1, 1], data: vec![1.0, 0.0, 0.0, 1.0] };
        let mut weights = heads.export();
        weights.insert("p/hidden.conv.weight".into(), identity.clone());
        weights.insert("p/last.weight".into(), identity);
        let heads = heads.import(&weights).unwrap();
        let x = Tensor::<1>::from_floats([1.0, 5.0, -3.0, 3.0], &device).reshape([1, 2, 1, 2]);
        let y: Vec<f32> = heads.get("p").unwrap().forward(x).to_data().iter::<f32>().collect();
        for (got, want) in y.iter().zip([0.0, 1.0, 0.0, 1.0]) {
            assert!((got - want).abs() < 1e-4, "{y:?}");
        }
    }
}
