//! Exponential moving average of the weights.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use scant_nn::Model;
use scant_nn::weights::{self, HostTensor, Weights};

/// Averages of all trainable parameters; running statistics are taken from the network itself.
#[derive(Debug, Clone)]
pub struct Ema {
    decay: f64,
    shadow: BTreeMap<String, Tensor<1>>,
    updates: u64,
}

impl Ema {
    /// An average that has seen nothing.
    #[must_use]
    pub fn new(decay: f64) -> Self {
        Self { decay, shadow: BTreeMap::new(), updates: 0 }
    }

    /// Takes in the network after a step. The decay is ramped up as `min(decay, (1 + t) / (10 + t))`
    /// so that the random start is forgotten soon.
    pub fn update(&mut self, model: &Model) {
        struct Mix<'a> {
            shadow: &'a mut BTreeMap<String, Tensor<1>>,
            decay: f64,
            path: Vec<String>,
        }
        impl ModuleVisitor for Mix<'_> {
            fn enter_module(&mut self, name: &str, _container: &str) {
                self.path.push(name.to_owned());
            }
            fn exit_module(&mut self, _name: &str, _container: &str) {
                self.path.pop();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let path = self.path.join(".");
                if weights::is_statistic(&path) {
                    return;
                }
                let value = param.val().inner();
                let count = value.dims().iter().product::<usize>();
                let value: Tensor<1> = value.reshape([count]);
                let mixed = match self.shadow.remove(&path) {
                    None => value,
                    Some(old) => old * self.decay + value * (1.0 - self.decay),
                };
                self.shadow.insert(path, mixed);
            }
        }
        let t = self.updates as f64;
        let decay = self.decay.min((1.0 + t) / (10.0 + t));
        self.updates += 1;
        model.visit(&mut Mix { shadow: &mut self.shadow, decay, path: Vec::new() });
    }

    /// `weights` of the network with its parameters replaced by their averages.
    #[must_use]
    pub fn applied(&self, model: &Model, mut weights: Weights) -> Weights {
        for (path, tensor) in &self.shadow {
            // The first part of a path is the architecture, which names do not carry.
            let below = path.split_once('.').map_or(path.as_str(), |(_, rest)| rest);
            if let Some(slot) = model.official_name(below).and_then(|name| weights.get_mut(&name)) {
                slot.data = tensor.to_data().iter::<f32>().collect();
            }
        }
        weights
    }

    /// Updates taken in.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// State as host tensors, for a checkpoint.
    #[must_use]
    pub fn export(&self) -> Weights {
        let host = |t: &Tensor<1>| {
            let data: Vec<f32> = t.to_data().iter::<f32>().collect();
            HostTensor { shape: vec![data.len()], data }
        };
        self.shadow.iter().map(|(path, t)| (path.clone(), host(t))).collect()
    }

    /// An average from [`Ema::export`].
    #[must_use]
    pub fn restore(decay: f64, updates: u64, state: &Weights, device: &Device) -> Self {
        let tensor = |t: &HostTensor| {
            Tensor::from_data(TensorData::new(t.data.clone(), t.shape.clone()), device)
        };
        let shadow = state.iter().map(|(path, t)| (path.clone(), tensor(t))).collect();
        Self { decay, shadow, updates }
    }
}
