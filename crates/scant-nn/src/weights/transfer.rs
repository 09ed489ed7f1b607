//! Starting from the weights of another network: pre-trained, or trained on other classes.

use std::collections::BTreeMap;

use burn::module::Module;
use scant_core::{HostTensor, Weights};

use super::named::{Named, PathMapper, PathVisitor};
use crate::Model;

/// Which tensors came over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Taken.
    pub taken: Vec<String>,
    /// Of the network, but not among the given weights: they keep their values.
    pub missing: Vec<String>,
    /// Of both, but of another shape (network, weights): they keep their values. The head of a network
    /// for other classes is the usual case.
    pub other_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Among the given weights, but not of the network.
    pub unexpected: Vec<String>,
}

/// Official name and shape of every parameter and running statistic.
#[must_use]
pub fn shapes(model: &Model) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
        if let Some(name) = model.official_name(path) {
            shapes.insert(name, tensor.shape());
        }
    });
    model.visit(&mut visitor);
    shapes
}

/// Replaces every parameter and running statistic for which `weights` has a tensor of the same
/// official name and shape; the others keep their values.
///
/// The network must be fresh, as for [`super::import`].
#[must_use]
pub fn transfer(model: Model, weights: &Weights) -> (Model, Transfer) {
    let expected = shapes(&model);
    let mut report = Transfer::default();
    for (name, shape) in &expected {
        match weights.get(name) {
            None => report.missing.push(name.clone()),
            Some(t) if t.shape != *shape => {
                report.other_shape.push((name.clone(), shape.clone(), t.shape.clone()));
            }
            Some(_) => report.taken.push(name.clone()),
        }
    }
    let foreign = weights.keys().filter(|name| !expected.contains_key(*name));
    report.unexpected = foreign.filter(|name| !model.is_buffer(name)).cloned().collect();
    let fits = |name: &str| -> Option<HostTensor> {
        weights.get(name).filter(|t| expected.get(name) == Some(&t.shape)).cloned()
    };
    let names = model.clone();
    let mut mapper =
        PathMapper::new(|path: &str| names.official_name(path).and_then(|name| fits(&name)));
    (model.map(&mut mapper), report)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::{ModelConfig, UNetConfig};
    use crate::weights;

    #[test]
    fn everything_but_the_head_comes_over_from_a_network_of_other_classes() {
        let device = Device::flex();
        let net = |output, seed| {
            let sizes =
                UNetConfig { width: 2, depth: 1, input_channels: 1, output_channels: output };
            ModelConfig::UNet(sizes).init(&device, seed).unwrap()
        };
        let mut source = weights::export(&net(3, 1));
        source.remove("Conv1.conv.0.bias");
        source.insert("extra".into(), HostTensor { shape: vec![1], data: vec![0.0] });
        let before = weights::export(&net(1, 2));
        let (model, report) = transfer(net(1, 2), &source);
        let after = weights::export(&model);
        assert_eq!(report.missing, ["Conv1.conv.0.bias"]);
        assert_eq!(report.unexpected, ["extra"]);
        let head: Vec<&str> = report.other_shape.iter().map(|s| s.0.as_str()).collect();
        assert_eq!(head, ["Conv_1x1.bias", "Conv_1x1.weight"]);
        assert_eq!(report.other_shape[0].1, [1]);
        assert_eq!(report.other_shape[0].2, [3]);
        assert_eq!(report.taken.len() + 3, after.len());
        for (name, tensor) in &after {
            let wanted = if report.taken.contains(name) { &source[name] } else { &before[name] };
            assert_eq!(tensor, wanted, "{name}");
        }
    }
}
