//! Which source is at home in the network, and which ones have norms of their own.

use std::collections::BTreeMap;

use scant_core::Role;

use super::Data;
use crate::TrainError;

/// The training sources but the home one, which is the first base source of the pool (the first of all
/// where none is base).
///
/// # Errors
/// When the first case of a source cannot be loaded: what a source is for stands with its cases.
pub(super) fn away_from_home(data: &Data) -> Result<Vec<String>, TrainError> {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for case in 0..data.train.len() {
        first.entry(data.train.id(case).source.clone()).or_insert(case);
    }
    let mut ranked = Vec::with_capacity(first.len());
    for (name, case) in first {
        let sample = data.train.load(case)?;
        ranked.push((sample.role != Role::Base, sample.source, name));
    }
    ranked.sort();
    Ok(ranked.into_iter().skip(1).map(|(_, _, name)| name).collect())
}
