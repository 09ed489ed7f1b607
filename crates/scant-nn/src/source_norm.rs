//! Batch norms of their own for every source, beside one network.
//!
//! Paper: Chang et al. 2019, arXiv:1906.03950 (domain-specific batch norm): scales, shifts and running
//! statistics per domain, everything else shared. Reference: wgchang/DSBN, `dsbn.py`.
//!
//! The network itself holds the norms of its home source; a set stands beside it for every other one. The
//! images of a source pass through the network with its set put on, so that statistics are those of its
//! images of the batch, and gradients of what is shared add up.
//!
//! # Deviations
//! - The reference holds a batch of one domain at a time; here a batch may hold any, and each is
//!   normalised by its own images of it. A source with one image in the batch has the statistics of that
//!   image.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Int, Tensor, TensorData};
use scant_core::{HostTensor, Weights};

use crate::weights::{self, Statistics, WeightError, is_statistic};
use crate::{Model, SegOutput, Tap};

/// The norms of every source but the home one; often none.
#[derive(Debug, Clone, Default)]
pub struct SourceNorms {
    sets: BTreeMap<String, NormSet>,
}

/// The norms of one source, by path in the module.
#[derive(Debug)]
struct NormSet {
    /// Scales and shifts: leaves, like any parameter.
    learned: BTreeMap<String, Tensor<1>>,
    /// Move while the network runs, as those inside it do.
    statistics: Mutex<Statistics>,
}

impl Clone for NormSet {
    fn clone(&self) -> Self {
        let statistics = Mutex::new(self.statistics().clone());
        Self { learned: self.learned.clone(), statistics }
    }
}

/// Whether a network has batch norms.
#[must_use]
pub fn has_batch_norm(model: &Model) -> bool {
    !weights::statistics(model).is_empty()
}

impl SourceNorms {
    /// A copy of the network's norms for each of `sources`.
    #[must_use]
    pub fn copies<'a>(model: &Model, sources: impl IntoIterator<Item = &'a String>) -> Self {
        let sets = sources.into_iter().map(|source| (source.clone(), NormSet::copy(model)));
        Self { sets: sets.collect() }
    }

    /// Whether the home source is the only one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The network on a batch of images from these sources, each with its own norms. A source without a
    /// set is taken to be at home.
    ///
    /// # Shapes
    /// - images: `[B, C, H, W]`; sources: `B` names
    ///
    /// # Panics
    /// When there is another number of names than of images.
    #[must_use]
    pub fn forward(&self, model: &Model, images: Tensor<4>, sources: &[String]) -> SegOutput {
        let [count, _, _, _] = images.dims();
        assert_eq!(count, sources.len(), "one source per image");
        let mut members: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (i, source) in sources.iter().enumerate() {
            let set = self.sets.contains_key(source).then_some(source.as_str());
            members.entry(set).or_default().push(i);
        }
        let pass = |set: Option<&str>, images| match set.and_then(|name| self.sets.get(name)) {
            None => model.forward(images),
            Some(set) => set.forward(model, images),
        };
        if let (1, Some(&set)) = (members.len(), members.keys().next()) {
            return pass(set, images);
        }
        let device = images.device();
        let index = |at: &[usize]| -> Tensor<1, Int> {
            let at: Vec<i32> = at.iter().map(|&i| i as i32).collect();
            Tensor::from_ints(at.as_slice(), &device)
        };
        let mut place = vec![0; count];
        let mut outputs = Vec::with_capacity(members.len());
        let mut done = 0;
        for (set, at) in members {
            outputs.push(pass(set, images.clone().select(0, index(&at))));
            for &i in &at {
                place[i] = done;
                done += 1;
            }
        }
        joined(&outputs, &index(&place))
    }

    /// The running statistics of all sets as they are now.
    #[must_use]
    pub fn statistics(&self) -> Vec<Statistics> {
        self.sets.values().map(|set| set.statistics().clone()).collect()
    }

    /// Puts them back.
    pub fn set_statistics(&self, kept: &[Statistics]) {
        for (set, kept) in self.sets.values().zip(kept) {
            *set.statistics() = kept.clone();
        }
    }

    /// The gradient of every scale and shift that has one, by a name that starts with `source_norm/`.
    #[must_use]
    pub fn gradients(&self, gradients: &Gradients) -> BTreeMap<String, Tensor<1>> {
        let mut found = BTreeMap::new();
        for (source, set) in &self.sets {
            for (path, value) in &set.learned {
                if let Some(gradient) = value.grad(gradients) {
                    found.insert(learned_name(source, path), gradient);
                }
            }
        }
        found
    }

    /// The same with every scale and shift moved by what `delta` says for its name and value.
    #[must_use]
    pub fn moved(mut self, mut delta: impl FnMut(&str, &Tensor<1>) -> Option<Tensor<1>>) -> Self {
        for (source, set) in &mut self.sets {
            for (path, value) in &mut set.learned {
                let now = value.clone().inner();
                if let Some(delta) = delta(&learned_name(source, path), &now) {
                    *value = Tensor::from_inner(now + delta).require_grad();
                }
            }
        }
        self
    }

    /// All norms on the host, by `SOURCE/OFFICIAL NAME`.
    #[must_use]
    pub fn export(&self, model: &Model) -> Weights {
        let host = |t: &Tensor<1>| HostTensor {
            shape: t.dims().to_vec(),
            data: t.to_data().iter::<f32>().collect(),
        };
        let mut weights = Weights::new();
        for (source, set) in &self.sets {
            let statistics = set.statistics();
            for (path, value) in set.learned.iter().chain(statistics.iter()) {
                if let Some(name) = official(model, path) {
                    weights.insert(format!("{source}/{name}"), host(value));
                }
            }
        }
        weights
    }

    /// The same sets with the values of [`SourceNorms::export`].
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn import(mut self, model: &Model, stored: &Weights) -> Result<Self, WeightError> {
        for (source, set) in &mut self.sets {
            let value = |path: &str, old: &Tensor<1>| -> Result<Tensor<1>, WeightError> {
                let name = official(model, path).unwrap_or_else(|| path.to_owned());
                let (name, shape) = (format!("{source}/{name}"), old.dims().to_vec());
                match stored.get(&name) {
                    None => Err(WeightError::Missing { name, shape }),
                    Some(t) if t.shape != shape => {
                        let got = t.shape.clone();
                        Err(WeightError::Shape { name, expected: shape, got })
                    }
                    Some(t) => {
                        let data = TensorData::new(t.data.clone(), t.shape.clone());
                        Ok(Tensor::from_data(data, &old.device()))
                    }
                }
            };
            for (path, old) in &mut set.learned {
                *old = value(path, old)?.require_grad();
            }
            let mut statistics = set.statistics();
            for (path, old) in statistics.iter_mut() {
                *old = value(path, old)?;
            }
        }
        Ok(self)
    }
}

/// The weights of a network, once for every source that has norms of its own among `stored`
/// ([`SourceNorms::export`]).
#[must_use]
pub fn by_source(weights: &Weights, stored: &Weights) -> BTreeMap<String, Weights> {
    let mut found: BTreeMap<String, Weights> = BTreeMap::new();
    for (key, tensor) in stored {
        if let Some((source, name)) = key.rsplit_once('/') {
            let own = found.entry(source.to_owned()).or_insert_with(|| weights.clone());
            own.insert(name.to_owned(), tensor.clone());
        }
    }
    found
}

impl NormSet {
    fn copy(model: &Model) -> Self {
        let statistics = weights::statistics(model);
        let norms: Vec<String> = statistics
            .iter()
            .filter_map(|(path, _)| path.strip_suffix("running_mean").map(str::to_owned))
            .collect();
        let mut take = Take { path: Vec::new(), norms: &norms, found: BTreeMap::new() };
        model.visit(&mut take);
        Self { learned: take.found, statistics: Mutex::new(statistics) }
    }

    fn statistics(&self) -> MutexGuard<'_, Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(&self, model: &Model, images: Tensor<4>) -> SegOutput {
        let home = weights::statistics(model);
        weights::set_statistics(model, &self.statistics());
        let dressed = model.clone().map(&mut PutOn { path: Vec::new(), learned: &self.learned });
        let output = dressed.forward(images);
        // Clones of a network share their running statistics.
        *self.statistics() = weights::statistics(model);
        weights::set_statistics(model, &home);
        output
    }
}

fn learned_name(source: &str, path: &str) -> String {
    format!("source_norm/{source}/{path}")
}

/// The first part of a path is the architecture, which names do not carry.
fn official(model: &Model, path: &str) -> Option<String> {
    model.official_name(path.split_once('.')?.1)
}

/// Outputs of parts of a batch as one, in the order `place` says.
fn joined(outputs: &[SegOutput], place: &Tensor<1, Int>) -> SegOutput {
    let join = |parts: Vec<Tensor<4>>| Tensor::cat(parts, 0).select(0, place.clone());
    let first = &outputs[0];
    let tap = |i: usize| {
        let features = join(outputs.iter().map(|o| o.taps[i].features.clone()).collect());
        let moments = scant_kernels::Tap::untied(features.clone());
        Tap { name: first.taps[i].name.clone(), features, moments }
    };
    SegOutput {
        logits: join(outputs.iter().map(|o| o.logits.clone()).collect()),
        taps: (0..first.taps.len()).map(tap).collect(),
        aux: (0..first.aux.len())
            .map(|i| join(outputs.iter().map(|o| o.aux[i].clone()).collect()))
            .collect(),
        padding: first.padding.clone(),
    }
}

/// Copies scales and shifts of batch norms.
struct Take<'a> {
    path: Vec<String>,
    /// Paths of the norms, with the dot at their end.
    norms: &'a [String],
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Take<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let of_norm = self.norms.iter().any(|norm| path.starts_with(norm.as_str()));
        if of_norm && !is_statistic(&path) {
            let value = param.val();
            let count = value.dims().iter().product::<usize>();
            let device = value.device();
            let data = TensorData::new(value.to_data().iter::<f32>().collect::<Vec<_>>(), [count]);
            self.found.insert(path, Tensor::from_data(data, &device).require_grad());
        }
    }
}

/// Puts scales and shifts in the place of the network's own.
struct PutOn<'a> {
    path: Vec<String>,
    learned: &'a BTreeMap<String, Tensor<1>>,
}

impl ModuleMapper for PutOn<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.learned.get(&self.path.join(".")) {
            None => param,
            Some(own) => param.map(|old| own.clone().reshape(old.dims())),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::{ModelConfig, UNetConfig};

    fn net() -> Model {
        let sizes = UNetConfig { width: 2, depth: 1, input_channels: 1, output_channels: 1 };
        ModelConfig::UNet(sizes).init(&Device::flex().autodiff(), 5).unwrap()
    }

    fn images(count: usize, first: usize) -> Tensor<4> {
        let value = |i: usize| ((first * 64 + i) as f64 * 0.37).sin() as f32 * (1 + first) as f32;
        let values: Vec<f32> = (0..count * 64).map(value).collect();
        let device = Device::flex().autodiff();
        Tensor::<1>::from_floats(values.as_slice(), &device).reshape([count, 1, 8, 8])
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|&name| name.to_owned()).collect()
    }

    fn values(t: &Tensor<4>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    /// Two sources in turns: each image comes out as if its source were alone, statistics included.
    #[test]
    fn every_source_is_normalised_by_itself() {
        let model = net();
        let norms = SourceNorms::copies(&model, &names(&["b"]));
        let (a, b) = (images(2, 0), images(2, 1));
        let row = |t: &Tensor<4>, i: usize| t.clone().slice([i..i + 1, 0..1, 0..8, 0..8]);
        let mixed = Tensor::cat(vec![row(&a, 0), row(&b, 0), row(&a, 1), row(&b, 1)], 0);
        let output = norms.forward(&model, mixed, &names(&["a", "b", "a", "b"]));

        let (alone_a, alone_b) = (net(), net());
        let (want_a, want_b) = (alone_a.forward(a), alone_b.forward(b));
        for (i, (want, at)) in
            [(&want_a, 0), (&want_b, 0), (&want_a, 1), (&want_b, 1)].into_iter().enumerate()
        {
            assert_eq!(values(&row(&output.logits, i)), values(&row(&want.logits, at)));
            let of = |o: &SegOutput, at: usize| {
                let features = o.taps[1].features.clone();
                let [_, c, h, w] = features.dims();
                values(&features.slice([at..at + 1, 0..c, 0..h, 0..w]))
            };
            assert_eq!(of(&output, i), of(want, at));
        }
        assert_eq!(weights::export(&model), weights::export(&alone_a));
        let stored = norms.export(&model);
        let b_alone = weights::export(&alone_b);
        assert_eq!(stored.len(), 4 * 7, "{:?}", stored.keys());
        for (name, tensor) in &stored {
            assert_eq!(tensor, &b_alone[name.strip_prefix("b/").unwrap()], "{name}");
        }
        assert_eq!(by_source(&weights::export(&model), &stored)["b"], b_alone);
    }

    /// What is shared gets the gradients of all sources, a scale that of its own.
    #[test]
    fn gradients_go_where_they_belong() {
        let model = net();
        let norms = SourceNorms::copies(&model, &names(&["b"]));
        let both = Tensor::cat(vec![images(1, 0), images(1, 1)], 0);
        let output = norms.forward(&model, both, &names(&["a", "b"]));
        let logits = output.logits;
        let gradients = (logits.clone() * logits).sum().backward();
        let of_sets = norms.gradients(&gradients);
        assert_eq!(of_sets.len(), 2 * 7);
        let twin = net();
        let single = |first: usize| {
            let logits = twin.forward(images(1, first)).logits;
            (logits.clone() * logits).sum().backward()
        };
        let [by_a, by_b] = [single(0), single(1)];
        let collect = |model: &Model, gradients: &Gradients| {
            struct Collect<'a>(Vec<String>, &'a Gradients, BTreeMap<String, Vec<f32>>);
            impl ModuleVisitor for Collect<'_> {
                fn enter_module(&mut self, name: &str, _container: &str) {
                    self.0.push(name.to_owned());
                }
                fn exit_module(&mut self, _name: &str, _container: &str) {
                    self.0.pop();
                }
                fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                    if let Some(g) = param.val().grad(self.1) {
                        self.2.insert(self.0.join("."), g.to_data().iter::<f32>().collect());
                    }
                }
            }
            let mut found = Collect(Vec::new(), gradients, BTreeMap::new());
            model.visit(&mut found);
            found.2
        };
        let (got, a, b) =
            (collect(&model, &gradients), collect(&twin, &by_a), collect(&twin, &by_b));
        for (path, gradient) in &got {
            let own = of_sets.get(&learned_name("b", path));
            for (i, got) in gradient.iter().enumerate() {
                let want = if own.is_some() { a[path][i] } else { a[path][i] + b[path][i] };
                assert!((got - want).abs() < 1e-3 * want.abs().max(1.0), "{path}: {got} {want}");
            }
            if let Some(own) = own {
                for (got, want) in own.to_data().iter::<f32>().zip(&b[path]) {
                    assert!((got - want).abs() < 1e-3 * want.abs().max(1.0), "{path}");
                }
            }
        }
    }

    #[test]
    fn sets_move_and_survive_a_round_trip() {
        let model = net();
        let sources = names(&["b", "c"]);
        let norms = SourceNorms::copies(&model, &sources);
        let before = norms.export(&model);
        let moved = norms.moved(|name, value| {
            (name.starts_with("source_norm/c/") && name.ends_with("beta"))
                .then(|| value.ones_like())
        });
        let after = moved.export(&model);
        for (name, tensor) in &after {
            let shifted = name.starts_with("c/") && name.ends_with("bias");
            assert_eq!(tensor != &before[name], shifted, "{name}");
        }
        let again = SourceNorms::copies(&net(), &sources).import(&model, &after).unwrap();
        assert_eq!(again.export(&model), after);
        let error = again.import(&model, &Weights::new()).unwrap_err();
        assert!(matches!(error, WeightError::Missing { .. }), "{error}");
        assert!(has_batch_norm(&model) && SourceNorms::default().is_empty());
    }
}
