//! Running statistics of a network, taken out and put back.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::is_statistic;
use crate::Model;

/// Running means and variances by path in the module, where the network lies.
#[derive(Debug, Clone)]
pub struct Statistics(BTreeMap<String, Tensor<1>>);

impl Statistics {
    /// Whether the network has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Paths and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Tensor<1>)> {
        self.0.iter()
    }

    /// Paths and values, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Tensor<1>)> {
        self.0.iter_mut()
    }
}

/// The running statistics as they are now.
#[must_use]
pub fn statistics(model: &Model) -> Statistics {
    settle(model);
    let mut take = Take { path: Vec::new(), found: BTreeMap::new() };
    model.visit(&mut take);
    Statistics(take.found)
}

/// Puts running statistics of the same network back, in place: whatever was buffered since is forgotten.
pub fn set_statistics(model: &Model, kept: &Statistics) {
    settle(model);
    // Clones of a network share their running statistics.
    let _ = model.clone().map(&mut Put { path: Vec::new(), kept });
}

/// Running statistics are buffered per thread; `valid` moves them to where they can be seen.
fn settle(model: &Model) {
    let _ = model.valid();
}

struct Take {
    path: Vec<String>,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Take {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if is_statistic(&path) {
            let value = param.val();
            let count = value.dims().iter().product::<usize>();
            self.found.insert(path, value.reshape([count]));
        }
    }
}

struct Put<'a> {
    path: Vec<String>,
    kept: &'a Statistics,
}

impl ModuleMapper for Put<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.kept.0.get(&self.path.join(".")) {
            None => param,
            Some(kept) => param.map(|old| kept.clone().reshape(old.dims())),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::{ModelConfig, UNetConfig};
    use crate::weights;

    #[test]
    fn statistics_come_back_after_a_pass_and_move_on_from_there() {
        let device = Device::flex().autodiff();
        let sizes = UNetConfig { width: 2, depth: 1, input_channels: 1, output_channels: 1 };
        let net = || ModelConfig::UNet(sizes.clone()).init(&device, 5).unwrap();
        let image = |scale: f32| -> Tensor<4> {
            let values: Vec<f32> =
                (0..128_u8).map(|i| (f32::from(i) * 0.7).sin() * scale).collect();
            Tensor::<1>::from_floats(values.as_slice(), &device).reshape([2, 1, 8, 8])
        };
        let (model, twin) = (net(), net());
        for net in [&model, &twin] {
            let _ = net.forward(image(1.0));
        }
        let kept = statistics(&model);
        let before = weights::export(&model);
        let _ = model.forward(image(9.0));
        assert_ne!(weights::export(&model), before, "a pass moves statistics");
        set_statistics(&model, &kept);
        assert_eq!(weights::export(&model), before);
        for net in [&model, &twin] {
            let _ = net.forward(image(2.0));
        }
        assert_eq!(weights::export(&model), weights::export(&twin));
    }
}
