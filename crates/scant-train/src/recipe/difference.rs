//! What two recipes have in common, phase by phase.

use toml::{Table, Value};

use super::Recipe;

/// Keys that change the speed or the length of a run, never one of its steps.
const NOT_OF_THE_STEPS: [&[&str]; 4] =
    [&["phase"], &["limit"], &["data", "workers"], &["data", "cache_mib"]];

/// A key in which two recipes differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Dotted key; phases by name.
    pub key: String,
    /// Value in the first, as TOML; nothing where the key is missing.
    pub first: Option<String>,
    /// Value in the second.
    pub second: Option<String>,
}

impl Recipe {
    /// How many phases both begin with, so that training these gives the same bits: 0 where anything
    /// but the list of phases differs that a step depends on.
    #[must_use]
    pub fn common_phases(&self, other: &Self) -> usize {
        if self.difference_of_setting(other).is_some() {
            return 0;
        }
        self.phase.iter().zip(&other.phase).take_while(|(a, b)| a == b).count()
    }

    /// The first key besides phases in which a step of the two would differ.
    #[must_use]
    pub fn difference_of_setting(&self, other: &Self) -> Option<Difference> {
        let (a, b) = (self.setting(), other.setting());
        first_difference("", &Value::Table(a), &Value::Table(b))
    }

    /// The first key in which the phases at one position differ.
    #[must_use]
    pub fn difference_of_phase(&self, other: &Self, index: usize) -> Option<Difference> {
        let of = |recipe: &Self| {
            recipe.phase.get(index).map(|p| Value::try_from(p).expect("a phase is plain data"))
        };
        let name = self.phase.get(index).or(other.phase.get(index))?.name.clone();
        let key = format!("phase.{name}");
        match (of(self), of(other)) {
            (Some(a), Some(b)) => first_difference(&key, &a, &b),
            (a, b) => Some(Difference {
                key,
                first: a.map(|_| "there".into()),
                second: b.map(|_| "there".into()),
            }),
        }
    }

    /// A recipe that ends after the first phases.
    #[must_use]
    pub fn first_phases(&self, count: usize) -> Self {
        let mut recipe = self.clone();
        recipe.phase.truncate(count);
        recipe
    }

    /// Everything but phases that decides a step.
    pub(crate) fn setting(&self) -> Table {
        let mut table = Table::try_from(self).expect("a recipe is plain data");
        for path in NOT_OF_THE_STEPS {
            match path {
                [key] => drop(table.remove(*key)),
                [section, key] => {
                    if let Some(Value::Table(section)) = table.get_mut(*section) {
                        section.remove(*key);
                    }
                }
                _ => unreachable!("paths have one or two parts"),
            }
        }
        table
    }
}

fn first_difference(key: &str, a: &Value, b: &Value) -> Option<Difference> {
    if a == b {
        return None;
    }
    if let (Value::Table(a), Value::Table(b)) = (a, b) {
        let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        return keys.into_iter().find_map(|name| {
            let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            match (a.get(name), b.get(name)) {
                (Some(a), Some(b)) => first_difference(&inner, a, b),
                (a, b) => Some(Difference {
                    key: inner,
                    first: a.map(ToString::to_string),
                    second: b.map(ToString::to_string),
                }),
            }
        });
    }
    Some(Difference { key: key.into(), first: Some(a.to_string()), second: Some(b.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "
[model]
name = \"unet\"
[[phase]]
name = \"warm-up\"
epochs = 3
[[phase]]
name = \"second\"
epochs = 2
";

    fn with(set: &[&str]) -> Recipe {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        Recipe::parse(TWO, &set).unwrap()
    }

    #[test]
    fn phases_in_common_are_counted_until_the_first_difference() {
        let plain = with(&[]);
        assert_eq!(plain.common_phases(&plain), 2);
        assert_eq!(plain.common_phases(&with(&["phase.second.epochs=9"])), 1);
        assert_eq!(plain.common_phases(&with(&["phase.warm-up.lr=0.1"])), 0);
        assert_eq!(plain.common_phases(&plain.first_phases(1)), 1);
        // What changes no step does not count, what changes a step does.
        let fast = with(&["data.workers=3", "data.cache_mib=0", "limit.steps=7"]);
        assert_eq!(plain.common_phases(&fast), 2);
        for other in ["seed=1", "optim.lr=0.1", "ema={ decay = 0.9 }", "model.width=4"] {
            assert_eq!(plain.common_phases(&with(&[other])), 0, "{other}");
        }
    }

    #[test]
    fn the_differing_key_is_named_with_both_values() {
        let plain = with(&[]);
        let said = |key: &str, first: Option<&str>, second: Option<&str>| {
            Some(Difference {
                key: key.into(),
                first: first.map(str::to_owned),
                second: second.map(str::to_owned),
            })
        };
        let other = with(&["optim.lr=0.5"]);
        assert_eq!(
            plain.difference_of_setting(&other),
            said("optim.lr", Some("0.001"), Some("0.5"))
        );
        let other = with(&["ema={ decay = 0.5 }"]);
        let found = plain.difference_of_setting(&other).unwrap();
        assert_eq!((found.key.as_str(), found.first), ("ema", None));
        let other = with(&["phase.second.loss={ dice = 2.0 }"]);
        assert_eq!(plain.difference_of_phase(&other, 0), None);
        let found = plain.difference_of_phase(&other, 1).unwrap();
        assert_eq!(found.key, "phase.second.loss.bce");
        assert_eq!((found.first.as_deref(), found.second.as_deref()), (Some("1.0"), Some("0.0")));
    }
}
