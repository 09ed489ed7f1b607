//! Small studies for tests.

use std::collections::BTreeMap;

use scant_core::Evaluation;

use super::Runs;
use crate::score::fixtures::{case, evaluation};

/// Evaluations of one method by seed.
pub(crate) type Owned = BTreeMap<u64, Evaluation>;

/// Group, stem and Dice of a case of source `s`, class `x`.
pub(crate) type Case<'a> = (&'a str, &'a str, f64);

/// The cases of every seed.
pub(crate) fn runs(seeds: &[(u64, &[Case<'_>])]) -> Owned {
    let of = |cases: &[Case<'_>]| {
        evaluation(cases.iter().map(|(g, n, d)| case("s", g, n, &[("x", *d)])).collect())
    };
    seeds.iter().map(|(seed, cases)| (*seed, of(cases))).collect()
}

pub(crate) fn by_ref(owned: &Owned) -> Runs<'_> {
    owned.iter().map(|(seed, e)| (*seed, e)).collect()
}
