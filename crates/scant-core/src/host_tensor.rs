//! Named arrays of numbers: the weights of a network as files hold them.

use std::collections::BTreeMap;

/// A tensor on the host, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Sizes.
    pub shape: Vec<usize>,
    /// Values, as many as the product of the sizes.
    pub data: Vec<f32>,
}

/// Tensors by name, sorted.
pub type Weights = BTreeMap<String, HostTensor>;
