//! Adam, AdamW and SGD over named parameters.
//!
//! State is kept by parameter path and stored in checkpoints, so that a resumed run takes the very
//! same steps. Update rules follow PyTorch's `torch.optim`, which the tests pin to hand-computed
//! steps; weight decay skips tensors of rank one (biases and batch norm), as is usual for
//! segmentation networks.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use scant_nn::weights::{HostTensor, Weights};

use crate::objective::Learners;
use crate::recipe::{OptimSection, OptimizerName};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// Gradients by parameter path, flattened, without autodiff.
pub(crate) type FlatGradients = BTreeMap<String, Tensor<1>>;

/// An optimiser with its state.
#[derive(Debug, Clone)]
pub struct Optimizer {
    config: OptimSection,
    first: FlatGradients,
    second: FlatGradients,
    updates: u64,
}

impl Optimizer {
    /// An optimiser that has taken no step.
    #[must_use]
    pub fn new(config: OptimSection) -> Self {
        Self { config, first: BTreeMap::new(), second: BTreeMap::new(), updates: 0 }
    }

    /// Steps taken.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Moves every parameter that has a gradient.
    #[must_use]
    pub(crate) fn step(
        &mut self,
        learners: Learners,
        gradients: &FlatGradients,
        lr: f64,
    ) -> Learners {
        self.updates += 1;
        let mut update = Update { optimizer: self, gradients, lr, path: Vec::new() };
        let model = learners.model.map(&mut update);
        let heads = learners.heads.map(&mut update);
        let norms = learners.norms.moved(|name, value| {
            let gradient = gradients.get(name)?;
            // Norms do not decay.
            Some(self.delta(name, value, gradient, 0.0, lr))
        });
        Learners { model, heads, norms }
    }

    /// The change of one flattened parameter.
    fn delta(
        &mut self,
        path: &str,
        value: &Tensor<1>,
        gradient: &Tensor<1>,
        decay: f64,
        lr: f64,
    ) -> Tensor<1> {
        let g = match self.config.name {
            OptimizerName::Adamw => gradient.clone(),
            _ if decay > 0.0 => gradient.clone() + value.clone() * decay,
            _ => gradient.clone(),
        };
        match self.config.name {
            OptimizerName::Sgd => {
                let momentum = self.config.momentum;
                if momentum == 0.0 {
                    return g * -lr;
                }
                // PyTorch starts the buffer at the first gradient.
                let buffer = match self.first.remove(path) {
                    None => g.clone(),
                    Some(b) => b * momentum + g.clone(),
                };
                self.first.insert(path.to_owned(), buffer.clone());
                let direction = if self.config.nesterov { g + buffer * momentum } else { buffer };
                direction * -lr
            }
            OptimizerName::Adam | OptimizerName::Adamw => {
                let zero = || Tensor::zeros_like(&g);
                let m = self.first.remove(path).unwrap_or_else(zero) * BETA1
                    + g.clone() * (1.0 - BETA1);
                let v = self.second.remove(path).unwrap_or_else(zero) * BETA2
                    + g.clone() * g.clone() * (1.0 - BETA2);
                self.first.insert(path.to_owned(), m.clone());
                self.second.insert(path.to_owned(), v.clone());
                let t = i32::try_from(self.updates).unwrap_or(i32::MAX);
                let (c1, c2) = (1.0 - BETA1.powi(t), 1.0 - BETA2.powi(t));
                let step = m / (v.sqrt() / c2.sqrt() + EPS) * (-lr / c1);
                if self.config.name == OptimizerName::Adamw && decay > 0.0 {
                    step - value.clone() * (lr * decay)
                } else {
                    step
                }
            }
        }
    }

    /// State as host tensors, for a checkpoint.
    #[must_use]
    pub fn export(&self) -> Weights {
        let mut out = Weights::new();
        for (kind, tensors) in [("first", &self.first), ("second", &self.second)] {
            for (path, t) in tensors {
                let data: Vec<f32> = t.to_data().iter::<f32>().collect();
                out.insert(format!("{kind}/{path}"), HostTensor { shape: vec![data.len()], data });
            }
        }
        out
    }

    /// An optimiser from [`Optimizer::export`].
    #[must_use]
    pub fn restore(config: OptimSection, updates: u64, state: &Weights, device: &Device) -> Self {
        let mut restored = Self { updates, ..Self::new(config) };
        for (name, t) in state {
            let tensor =
                Tensor::from_data(TensorData::new(t.data.clone(), t.shape.clone()), device);
            if let Some(path) = name.strip_prefix("first/") {
                restored.first.insert(path.to_owned(), tensor);
            } else if let Some(path) = name.strip_prefix("second/") {
                restored.second.insert(path.to_owned(), tensor);
            }
        }
        restored
    }
}

struct Update<'a> {
    optimizer: &'a mut Optimizer,
    gradients: &'a FlatGradients,
    lr: f64,
    path: Vec<String>,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let Some(gradient) = self.gradients.get(&path) else { return param };
        let decay = if D > 1 { self.optimizer.config.weight_decay } else { 0.0 };
        let (optimizer, lr) = (&mut *self.optimizer, self.lr);
        param.map(|tensor| {
            let dims = tensor.dims();
            let value = tensor.inner();
            let count = dims.iter().product::<usize>();
            let flat: Tensor<1> = value.clone().reshape([count]);
            let delta = optimizer.delta(&path, &flat, gradient, decay, lr);
            Tensor::from_inner(value + delta.reshape(dims)).require_grad()
        })
    }
}

/// Collects the gradient of everything that learns. Paths of the network begin with its architecture,
/// those of heads with `heads`, those of norms of other sources with `source_norm`.
#[must_use]
pub(crate) fn collect(learners: &Learners, gradients: &Gradients) -> FlatGradients {
    struct Collect<'a> {
        gradients: &'a Gradients,
        path: Vec<String>,
        found: FlatGradients,
    }
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(g) = param.val().grad(self.gradients) {
                let count = g.dims().iter().product::<usize>();
                self.found.insert(self.path.join("."), g.reshape([count]));
            }
        }
    }
    let mut visitor = Collect { gradients, path: Vec::new(), found: BTreeMap::new() };
    learners.model.visit(&mut visitor);
    learners.heads.visit(&mut visitor);
    let mut found = visitor.found;
    found.extend(learners.norms.gradients(gradients));
    found
}

/// Adds `more` to `sum`.
pub(crate) fn accumulate(sum: &mut FlatGradients, more: FlatGradients) {
    for (path, g) in more {
        match sum.remove(&path) {
            None => sum.insert(path, g),
            Some(s) => sum.insert(path, s + g),
        };
    }
}

/// Multiplies every gradient.
pub(crate) fn scale(gradients: &mut FlatGradients, factor: f64) {
    for g in gradients.values_mut() {
        *g = g.clone() * factor;
    }
}

/// Euclidean norm over all parameters.
#[must_use]
pub(crate) fn norm(gradients: &FlatGradients) -> f64 {
    let squares: Vec<Tensor<1>> =
        gradients.values().map(|g| (g.clone() * g.clone()).sum()).collect();
    if squares.is_empty() {
        return 0.0;
    }
    // Together, because a GPU has to finish before it lets anything be read.
    Tensor::cat(squares, 0).into_data().iter::<f32>().map(f64::from).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use scant_nn::ModelConfig;
    use scant_nn::heads::{HeadConfig, HeadKind, Heads};
    use scant_nn::model::UNetConfig;
    use scant_nn::source_norm::SourceNorms;
    use scant_nn::weights;

    use super::*;

    fn one_step_each(config: OptimSection, gradients: &[f64], lr: f64) -> Vec<f64> {
        let device = Device::flex();
        let mut optimizer = Optimizer::new(config);
        let mut value = Tensor::<1>::from_floats([1.0], &device);
        let mut out = Vec::new();
        for &g in gradients {
            optimizer.updates += 1;
            let gradient = Tensor::<1>::from_floats([g as f32], &device);
            let decay = config.weight_decay;
            let delta = optimizer.delta("p", &value, &gradient, decay, lr);
            value = value + delta;
            out.push(f64::from(value.clone().into_scalar::<f32>()));
        }
        out
    }

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        for (x, y) in a.iter().zip(b) {
            assert!((x - y).abs() < 1e-6, "{a:?} vs {b:?}");
        }
    }

    #[test]
    fn adam_takes_the_steps_computed_by_hand() {
        // m1 = .05, v1 = .00025: step lr * m1/c1 / (sqrt(v1/c2) + eps) = lr * .5 / .5 = lr.
        // m2 = .045 - .1 = -.055 with g = -1; c1 = .19, v2 = .00024975 + .001 = .00124975, c2 = .001999.
        let m2 = -0.055 / 0.19;
        let v2: f64 = 0.001_249_75 / 0.001_999;
        let expected = [0.9, 0.9 - 0.1 * m2 / (v2.sqrt() + 1e-8)];
        close(&one_step_each(OptimSection::default(), &[0.5, -1.0], 0.1), &expected);
    }

    #[test]
    fn adamw_decays_the_weight_and_adam_the_gradient() {
        let config = |name| OptimSection { name, weight_decay: 0.1, ..OptimSection::default() };
        // Decoupled: 1 - lr * sign(g) - lr * decay * 1.
        close(&one_step_each(config(OptimizerName::Adamw), &[0.5], 0.1), &[1.0 - 0.1 - 0.01]);
        // Coupled: the decayed gradient only changes the scale, which Adam's first step ignores.
        close(&one_step_each(config(OptimizerName::Adam), &[0.5], 0.1), &[0.9]);
    }

    #[test]
    fn nesterov_momentum_follows_pytorch() {
        let config = OptimSection { name: OptimizerName::Sgd, momentum: 0.9, ..Default::default() };
        // b1 = 1: w = 1 - .1 (1 + .9) = .81; b2 = .9 + .5 = 1.4: w -= .1 (.5 + 1.26).
        close(&one_step_each(config, &[1.0, 0.5], 0.1), &[0.81, 0.634]);
        let plain = OptimSection { nesterov: false, ..config };
        close(&one_step_each(plain, &[1.0, 0.5], 0.1), &[0.9, 0.76]);
        let bare = OptimSection { momentum: 0.0, ..plain };
        close(&one_step_each(bare, &[1.0, 0.5], 0.1), &[0.9, 0.85]);
    }

    #[test]
    fn state_survives_a_round_trip_to_the_bit() {
        let device = Device::flex().autodiff();
        let config = ModelConfig::UNet(UNetConfig {
            width: 2,
            depth: 1,
            input_channels: 1,
            output_channels: 1,
        });
        let values: Vec<f32> = (0..32_u8).map(|i| (f32::from(i) * 0.7).sin()).collect();
        let x = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([2, 1, 4, 4]);
        let sources = ["a".to_owned(), "b".to_owned()];
        let mut a = Optimizer::new(OptimSection::default());
        let kind = HeadKind::Projection { hidden: 3, output: 2 };
        let head = HeadConfig { name: "h".into(), tap: "dec1".into(), input: 2, kind };
        let model = config.init(&device, 3).unwrap();
        let mut learners = Learners {
            heads: Heads::init(&[head], &device, 3),
            norms: SourceNorms::copies(&model, &sources[1..]),
            model,
        };
        let everything =
            |l: &Learners| (weights::export(&l.model), l.heads.export(), l.norms.export(&l.model));
        let before = everything(&learners);
        let gradients = |l: &Learners| {
            let output = l.norms.forward(&l.model, x.clone(), &sources);
            let features = output.taps.last().unwrap().features.clone();
            let side = l.heads.get("h").unwrap().forward(features);
            let total = (output.logits.clone() * output.logits).sum() + (side.clone() * side).sum();
            collect(l, &total.backward())
        };
        for _ in 0..2 {
            let g = gradients(&learners);
            learners = a.step(learners, &g, 0.01);
        }
        let after = everything(&learners);
        for (name, tensor) in after.1.iter().chain(&after.2) {
            let old = before.1.get(name).or_else(|| before.2.get(name));
            assert_ne!(Some(tensor), old, "{name} stayed where it was");
        }
        let mut b =
            Optimizer::restore(OptimSection::default(), a.updates(), &a.export(), &Device::flex());
        let g = gradients(&learners);
        let one = everything(&a.step(learners.clone(), &g, 0.01));
        assert_eq!(one, everything(&b.step(learners, &g, 0.01)));
    }
}
