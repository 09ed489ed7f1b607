//! Walking a module with the path of every tensor at hand.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_capture::{CaptureBackend, TensorId};
use scant_core::HostTensor;

use super::tensor_from;

/// A visited tensor whose rank is not known to the closure.
pub(crate) struct Named<'a>(&'a dyn AnyTensor);

impl Named<'_> {
    /// Sizes.
    pub(crate) fn shape(&self) -> Vec<usize> {
        self.0.shape()
    }

    /// A copy on the host.
    pub(crate) fn to_host(&self) -> HostTensor {
        self.0.to_host()
    }

    /// What the tensor is called in a recorded graph; nothing elsewhere than on a capture device.
    pub(crate) fn recorded(&self) -> Option<TensorId> {
        self.0.recorded()
    }
}

trait AnyTensor {
    fn shape(&self) -> Vec<usize>;
    fn to_host(&self) -> HostTensor;
    fn recorded(&self) -> Option<TensorId>;
}

impl<const D: usize> AnyTensor for Tensor<D> {
    fn shape(&self) -> Vec<usize> {
        self.dims().to_vec()
    }

    fn to_host(&self) -> HostTensor {
        HostTensor { shape: self.dims().to_vec(), data: self.to_data().iter::<f32>().collect() }
    }

    fn recorded(&self) -> Option<TensorId> {
        self.clone().try_into_primitive::<CaptureBackend>().ok().map(|t| t.id())
    }
}

/// Calls a closure with the dotted path of every float tensor.
pub(crate) struct PathVisitor<F> {
    path: Vec<String>,
    visit: F,
}

impl<F: FnMut(&str, Named<'_>)> PathVisitor<F> {
    pub(crate) fn new(visit: F) -> Self {
        Self { path: Vec::new(), visit }
    }
}

impl<F: FnMut(&str, Named<'_>)> ModuleVisitor for PathVisitor<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        (self.visit)(&dotted(&self.path), Named(&param.val()));
    }
}

/// Replaces every float tensor for which a closure has a value.
pub(crate) struct PathMapper<F> {
    path: Vec<String>,
    value: F,
}

impl<F: FnMut(&str) -> Option<HostTensor>> PathMapper<F> {
    pub(crate) fn new(value: F) -> Self {
        Self { path: Vec::new(), value }
    }
}

impl<F: FnMut(&str) -> Option<HostTensor>> ModuleMapper for PathMapper<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match (self.value)(&dotted(&self.path)) {
            None => param,
            Some(host) => param.map(|old| {
                let requires = old.is_require_grad();
                tensor_from(&host, &old).set_require_grad(requires)
            }),
        }
    }
}

/// The path below the architecture: the enum of all networks wraps its variant in one more level.
fn dotted(path: &[String]) -> String {
    path.get(1..).unwrap_or_default().join(".")
}
