//! How many runs fit into memory at once.

use std::collections::BTreeMap;

use scant_train::Recipe;

/// More than was measured, because the same work does not always peak at the same place.
const MARGIN: f64 = 1.15;
/// Share of what is free that a study takes when nobody says how much.
const SHARE: f64 = 0.8;

/// What decides the memory of a run, as far as it is known before.
pub(crate) fn kind(recipe: &Recipe) -> String {
    let d = &recipe.data;
    format!(
        "{:?} {:?} {:?} {} {} {}",
        recipe.model, d.size, d.patches, d.channels, d.batch, d.cache_mib
    )
}

/// Memory for all runs together, and what runs of each kind took.
#[derive(Debug)]
pub(crate) struct Budget {
    /// MiB; nothing where the system does not tell.
    total: Option<f64>,
    measured: BTreeMap<String, f64>,
}

impl Budget {
    pub(crate) fn new(asked: Option<u64>) -> Self {
        let total = asked.map(|mib| mib as f64);
        let free = || crate::memory::available_mib().map(|mib| mib * SHARE);
        Self { total: total.or_else(free), measured: BTreeMap::new() }
    }

    /// Takes note of what a finished run took.
    pub(crate) fn measured(&mut self, kind: String, peak_mib: Option<f64>) {
        if let Some(peak) = peak_mib {
            let known = self.measured.entry(kind).or_insert(0.0);
            *known = known.max(peak);
        }
    }

    /// Whether a run of this kind may start beside others; the first of its kind runs alone, to be
    /// measured.
    pub(crate) fn allows<'a>(
        &self,
        kind: &str,
        mut running: impl Iterator<Item = &'a str> + Clone,
    ) -> bool {
        if running.clone().next().is_none() {
            return true;
        }
        let Some(total) = self.total else { return true };
        let of = |kind: &str| self.measured.get(kind).map(|mib| mib * MARGIN);
        let Some(mine) = of(kind) else { return false };
        let others = running.try_fold(0.0, |sum, kind| of(kind).map(|mib| sum + mib));
        others.is_some_and(|others| others + mine <= total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_runs_alone_and_the_rest_as_far_as_memory_goes() {
        let mut budget = Budget::new(Some(1000));
        let allows =
            |b: &Budget, kind: &str, running: &[&str]| b.allows(kind, running.iter().copied());
        assert!(allows(&budget, "a", &[]));
        assert!(!allows(&budget, "a", &["a"]), "not measured yet");
        budget.measured("a".into(), Some(400.0));
        budget.measured("a".into(), Some(300.0));
        assert!(allows(&budget, "a", &["a"]), "2 x 460 MiB");
        assert!(!allows(&budget, "a", &["a", "a"]));
        assert!(!allows(&budget, "b", &["a"]) && !allows(&budget, "a", &["b"]));
        budget.measured("b".into(), Some(5000.0));
        assert!(allows(&budget, "b", &[]), "alone, however large");
        assert!(!allows(&budget, "b", &["a"]));
    }
}
