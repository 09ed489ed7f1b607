//! Running means of logged numbers over an epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Sums and counts by name; part of a checkpoint, so that an epoch resumed in its middle logs the
/// same means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Means {
    sums: BTreeMap<String, (f64, u64)>,
}

impl Means {
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        let entry = self.sums.entry(name.to_owned()).or_default();
        entry.0 += value;
        entry.1 += 1;
    }

    pub(crate) fn values(&self) -> BTreeMap<String, f64> {
        self.sums.iter().map(|(k, (sum, n))| (k.clone(), sum / *n as f64)).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.sums.get(name).map(|(sum, n)| sum / *n as f64)
    }

    pub(crate) fn clear(&mut self) {
        self.sums.clear();
    }
}
