//! Initial values as a pure function of (seed, name).
//!
//! A tensor's values do not depend on what else the network holds, so that two networks with the
//! same stage start from the same stage, and a run can be repeated from its seed alone.

use burn::module::Module;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use scant_core::HostTensor;

use super::named::{Named, PathMapper, PathVisitor};
use crate::Model;

/// Fills a network: convolution kernels from a normal distribution with variance 2 / fan-in (He et
/// al. 2015, arXiv:1502.01852, eq. 10), biases 0, batch norm 1 and 0.
#[must_use]
pub fn initialise(model: Model, seed: u64) -> Model {
    let mut shapes = std::collections::BTreeMap::new();
    let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
        shapes.insert(path.to_owned(), tensor.shape());
    });
    model.visit(&mut visitor);
    let names = model.clone();
    let mut mapper = PathMapper::new(|path: &str| {
        let shape = shapes.get(path)?;
        let name = names.official_name(path)?;
        Some(values(&name, shape, seed))
    });
    model.map(&mut mapper)
}

fn values(name: &str, shape: &[usize], seed: u64) -> HostTensor {
    let count = shape.iter().product();
    let data = if shape.len() >= 2 {
        let fan_in: usize = shape[1..].iter().product();
        let normal = Normal::new(0.0, (2.0 / fan_in as f64).sqrt())
            .expect("a positive fan-in gives a finite deviation");
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
        (0..count).map(|_| normal.sample(&mut rng) as f32).collect()
    } else if name.ends_with("weight") || name.ends_with("running_var") {
        vec![1.0; count]
    } else {
        vec![0.0; count]
    };
    HostTensor { shape: shape.to_vec(), data }
}

/// FNV-1a, 64 bit.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}
