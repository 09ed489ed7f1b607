//! Which runs begin with the same phases, so that these are trained once.
//!
//! A run is a function of its recipe, so two runs whose recipes differ in their last phase alone are the
//! same run until there. Taking the phases over gives the same bits as training them
//! ([`check_phases`](crate::check_phases)).

use std::collections::BTreeMap;

use super::PlannedRun;
use crate::{Phase, Recipe};

/// Phases that several runs begin with.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedPhases {
    /// Folder below that of the study.
    pub folder: String,
    /// The recipe, ending after these phases.
    pub recipe: Recipe,
    /// Position of the shared phases that these begin with in their turn.
    pub takes: Option<usize>,
}

/// Who takes which phases over.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sharing {
    /// All shared phases; each comes after those that it takes.
    pub shared: Vec<SharedPhases>,
    /// Per run, the position of the phases it takes over.
    pub takes: Vec<Option<usize>>,
}

/// Finds, for every run, the longest beginning that another run has as well and that is not the whole
/// of either.
#[must_use]
pub fn share_phases(runs: &[PlannedRun]) -> Sharing {
    let mine: Vec<Beginning<'_>> = runs.iter().map(|r| Beginning::of(&r.recipe)).collect();
    // Only runs of equal settings can have phases in common.
    let mut alike: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, beginning) in mine.iter().enumerate() {
        alike.entry(&beginning.setting).or_default().push(i);
    }
    let lengths: Vec<usize> = (0..runs.len())
        .map(|i| {
            let others = alike[mine[i].setting.as_str()].iter().filter(|&&j| j != i);
            let common = others.map(|&j| {
                let whole = mine[i].phases.len().min(mine[j].phases.len()) - 1;
                mine[i].common(&mine[j]).min(whole)
            });
            common.max().unwrap_or(0)
        })
        .collect();
    let mut wanted: Vec<Recipe> = Vec::new();
    for indices in alike.values() {
        let mut here: Vec<usize> = indices.iter().copied().filter(|&i| lengths[i] > 0).collect();
        // Shorter ones first: longer ones may begin with them.
        here.sort_by_key(|&i| lengths[i]);
        let mut taken: Vec<usize> = Vec::new();
        for i in here {
            let length = lengths[i];
            let same = |&j: &usize| lengths[j] == length && mine[i].common(&mine[j]) >= length;
            if !taken.iter().any(same) {
                taken.push(i);
                wanted.push(without_limit(runs[i].recipe.first_phases(length)));
            }
        }
    }
    let beginnings: Vec<Beginning<'_>> = wanted.iter().map(Beginning::of).collect();
    let longest = |of: &Beginning<'_>, most: usize| {
        (0..wanted.len())
            .filter(|&s| {
                let n = beginnings[s].phases.len();
                n <= most && of.setting == beginnings[s].setting && of.common(&beginnings[s]) == n
            })
            .max_by_key(|&s| beginnings[s].phases.len())
    };
    let takes = mine.iter().zip(&lengths).map(|(m, &n)| longest(m, n)).collect();
    let shared = wanted
        .iter()
        .zip(&beginnings)
        .map(|(recipe, beginning)| SharedPhases {
            // By what they are, so that a study that grows finds them again.
            folder: format!(
                "shared/s{}-{:08x}",
                recipe.seed,
                crc32c::crc32c(recipe.to_toml().as_bytes())
            ),
            recipe: recipe.clone(),
            takes: longest(beginning, beginning.phases.len() - 1),
        })
        .collect();
    Sharing { shared, takes }
}

/// What decides how a run begins.
struct Beginning<'a> {
    setting: String,
    phases: &'a [Phase],
}

impl<'a> Beginning<'a> {
    fn of(recipe: &'a Recipe) -> Self {
        Self { setting: recipe.setting().to_string(), phases: &recipe.phase }
    }

    /// Phases in common with a recipe of the same setting.
    fn common(&self, other: &Self) -> usize {
        self.phases.iter().zip(other.phases).take_while(|(a, b)| a == b).count()
    }
}

/// A limit of the whole run would cut shared phases short; the runs keep theirs.
fn without_limit(mut recipe: Recipe) -> Recipe {
    recipe.limit = crate::LimitSection::default();
    recipe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Point;

    const RECIPE: &str = "
[model]
name = \"unet\"
[[phase]]
name = \"first\"
epochs = 3
[[phase]]
name = \"second\"
epochs = 2
[[phase]]
name = \"third\"
epochs = 1
";

    fn run(set: &[&str], phases: usize) -> PlannedRun {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        let recipe = Recipe::parse(RECIPE, &set).unwrap().first_phases(phases);
        let seed = recipe.seed;
        let points = vec![Point { at: BTreeMap::new() }];
        PlannedRun { folder: format!("{set:?}"), method: "m".into(), points, seed, recipe }
    }

    fn lengths(found: &Sharing) -> Vec<Option<usize>> {
        found.takes.iter().map(|t| t.map(|i| found.shared[i].recipe.phase.len())).collect()
    }

    #[test]
    fn the_longest_common_beginning_is_shared_and_begins_with_a_shorter_one() {
        let runs = [
            run(&[], 3),
            run(&["phase.third.lr=0.1"], 3),
            run(&["phase.second.lr=0.1"], 3),
            run(&["seed=1"], 3),
            run(&["optim.lr=0.1"], 3),
        ];
        let found = share_phases(&runs);
        assert_eq!(lengths(&found), [Some(2), Some(2), Some(1), None, None]);
        assert_eq!(found.shared.len(), 2);
        assert_eq!(found.shared.iter().map(|s| s.takes).collect::<Vec<_>>(), [None, Some(0)]);
    }

    #[test]
    fn a_whole_run_is_never_shared_and_nothing_for_one_run_alone() {
        assert_eq!(share_phases(&[run(&[], 3)]), Sharing { shared: vec![], takes: vec![None] });
        // The shorter is the beginning of the longer: only what both go on from is shared.
        let found = share_phases(&[run(&[], 3), run(&[], 2)]);
        assert_eq!(lengths(&found), [Some(1), Some(1)]);
        let found = share_phases(&[run(&[], 2), run(&[], 1)]);
        assert_eq!(lengths(&found), [None, None]);
    }

    #[test]
    fn each_seed_has_its_own_and_limits_do_not_matter() {
        let runs = [
            run(&["seed=1"], 2),
            run(&["seed=1", "phase.second.lr=0.1", "limit.steps=9"], 2),
            run(&["seed=2"], 2),
            run(&["seed=2", "phase.second.lr=0.1"], 2),
        ];
        let found = share_phases(&runs);
        assert_eq!(found.takes, [Some(0), Some(0), Some(1), Some(1)]);
        assert!(found.shared[0].folder.starts_with("shared/s1-"), "{found:?}");
        assert!(found.shared[1].folder.starts_with("shared/s2-"), "{found:?}");
        assert_eq!(found.shared[0].recipe.limit, crate::LimitSection::default());
        // The same names when others come before.
        let more = [&[run(&["seed=9"], 2)], &runs[2..]].concat();
        assert_eq!(share_phases(&more).shared, found.shared[1..]);
    }
}
