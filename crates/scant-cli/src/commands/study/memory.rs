//! How many runs fit into memory at once.

use std::collections::BTreeMap;

use scant_train::Recipe;

/// More than was measured, because the same work does not always peak at the same place.
const MARGIN: f64 = 1.15;
/// The same where only runs of other losses or other data were measured.
const FAR_MARGIN: f64 = 1.5;
/// Share of what is free that a study takes when nobody says how much.
const SHARE: f64 = 0.8;

/// What decides the memory of a run, as far as it is known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Network and batches: most of it.
    net: String,
    /// With losses and data: all of it.
    whole: String,
}

impl Kind {
    pub(crate) fn of(recipe: &Recipe) -> Self {
        let d = &recipe.data;
        let net = format!(
            "{:?} {:?} {:?} {} {} {}",
            recipe.model, d.size, d.patches, d.channels, d.batch, d.cache_mib
        );
        let losses: Vec<_> = recipe.phase.iter().map(|p| &p.loss).collect();
        Self { whole: format!("{net} {d:?} {losses:?}"), net }
    }
}

/// Memory for all runs together, and what runs of each kind took.
#[derive(Debug)]
pub(crate) struct Budget {
    /// MiB; nothing where the system does not tell.
    total: Option<f64>,
    nets: BTreeMap<String, f64>,
    wholes: BTreeMap<String, f64>,
}

impl Budget {
    pub(crate) fn new(asked: Option<u64>) -> Self {
        let total = asked.map(|mib| mib as f64);
        let free = || crate::memory::available_mib().map(|mib| mib * SHARE);
        Self { total: total.or_else(free), nets: BTreeMap::new(), wholes: BTreeMap::new() }
    }

    /// Takes note of what a finished run took.
    pub(crate) fn measured(&mut self, kind: &Kind, peak_mib: Option<f64>) {
        let Some(peak) = peak_mib else { return };
        for (known, key) in [(&mut self.nets, &kind.net), (&mut self.wholes, &kind.whole)] {
            let known = known.entry(key.clone()).or_insert(0.0);
            *known = known.max(peak);
        }
    }

    /// What a run is expected to take, MiB; nothing before the first of its network.
    fn expected(&self, kind: &Kind) -> Option<f64> {
        let near = self.wholes.get(&kind.whole).map(|mib| mib * MARGIN);
        near.or_else(|| self.nets.get(&kind.net).map(|mib| mib * FAR_MARGIN))
    }

    /// Whether a run of this kind may start beside others; the first of its network runs alone, to be
    /// measured.
    pub(crate) fn allows<'a>(
        &self,
        kind: &Kind,
        mut running: impl Iterator<Item = &'a Kind> + Clone,
    ) -> bool {
        if running.clone().next().is_none() {
            return true;
        }
        let Some(total) = self.total else { return true };
        let Some(mine) = self.expected(kind) else { return false };
        let others = running.try_fold(0.0, |sum, kind| Some(sum + self.expected(kind)?));
        others.is_some_and(|others| others + mine <= total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(net: &str, rest: &str) -> Kind {
        Kind { net: net.into(), whole: format!("{net} {rest}") }
    }

    #[test]
    fn the_first_of_a_network_runs_alone_and_the_rest_as_far_as_memory_goes() {
        let (a, b) = (kind("a", "dice"), kind("b", "dice"));
        let mut budget = Budget::new(Some(1000));
        let allows = |budget: &Budget, kind: &Kind, running: &[&Kind]| {
            budget.allows(kind, running.iter().copied())
        };
        assert!(allows(&budget, &a, &[]));
        assert!(!allows(&budget, &a, &[&a]), "not measured yet");
        budget.measured(&a, Some(400.0));
        budget.measured(&a, Some(300.0));
        assert!(allows(&budget, &a, &[&a]), "2 x 460 MiB");
        assert!(!allows(&budget, &a, &[&a, &a]));
        assert!(!allows(&budget, &b, &[&a]) && !allows(&budget, &a, &[&b]));
        budget.measured(&b, Some(5000.0));
        assert!(allows(&budget, &b, &[]), "alone, however large");
        assert!(!allows(&budget, &b, &[&a]));
    }

    #[test]
    fn another_loss_is_expected_to_take_more_than_was_measured() {
        let mut budget = Budget::new(Some(1000));
        let (dice, other) = (kind("a", "dice"), kind("a", "contrast"));
        budget.measured(&dice, Some(400.0));
        // 460 and 600 MiB.
        assert!(!budget.allows(&other, [&dice].into_iter()));
        budget.measured(&other, Some(450.0));
        assert!(budget.allows(&other, [&dice].into_iter()), "measured by now: 460 and 517.5 MiB");
    }
}
