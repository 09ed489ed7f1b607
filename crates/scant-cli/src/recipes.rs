//! The recipes that travel inside the program.

use std::path::Path;

use crate::exit::{Failure, Result};

/// A built-in recipe.
pub(crate) struct BuiltIn {
    /// `family/name`.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(BuiltIn { name: $name, text: include_str!(concat!("../../../recipes/", $name, ".toml")) }),*]
    };
}

/// All of them, sorted.
pub(crate) const ALL: &[BuiltIn] = built_in![
    "demo/demo",
    "feature-discrepancy/attention-unet-roy",
    "feature-discrepancy/cmu-net-roy",
    "feature-discrepancy/long-baseline",
    "feature-discrepancy/two-phase",
    "pooling/balanced",
    "pooling/base-only",
    "pooling/deep-supervision",
    "pooling/fd",
    "pooling/fd-exch",
    "pooling/fd-exch-paper",
    "pooling/fd-exch-paper-pairs",
    "pooling/fd-paper",
    "pooling/fine-tune",
    "pooling/group-dro",
    "pooling/histogram",
    "pooling/local-contrast",
    "pooling/local-contrast-pretrain",
    "pooling/macenko",
    "pooling/pixel-contrast",
    "pooling/plain",
    "pooling/reinhard",
    "pooling/source-norm",
    "pooling/strong-intensity",
    "pooling/two-stream",
    "pooling/vahadane",
    "supervised/attention-unet",
    "supervised/cmu-net",
    "supervised/nnunet",
    "supervised/nucleisegnet",
    "supervised/ssl4mis-unet",
    "supervised/swin-unet",
    "supervised/transunet",
    "supervised/unet",
];

impl BuiltIn {
    /// The first comment line.
    pub(crate) fn title(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
    }

    fn short(&self) -> &'static str {
        self.name.rsplit('/').next().unwrap_or(self.name)
    }
}

/// The text of a recipe by name (`two-phase` or `feature-discrepancy/two-phase`) or file, with a short
/// name for run folders.
pub(crate) fn find(wanted: &str) -> Result<(String, String)> {
    if let Some(r) = ALL.iter().find(|r| r.name == wanted || r.short() == wanted) {
        return Ok((r.text.to_owned(), r.short().to_owned()));
    }
    let path = Path::new(wanted);
    if path.is_file() {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::usage(format!("cannot read recipe {}: {e}", path.display())))?;
        let stem =
            path.file_stem().map_or_else(|| "recipe".into(), |s| s.to_string_lossy().into_owned());
        return Ok((text, stem));
    }
    let names: Vec<&str> = ALL.iter().map(|r| r.name).collect();
    Err(Failure::usage(format!(
        "there is no recipe \"{wanted}\" and no such file; built-in recipes: {}",
        names.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scant_train::Recipe;

    #[test]
    fn every_recipe_is_valid_has_a_full_header_and_is_built_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let mut found = Vec::new();
        for family in std::fs::read_dir(&root).unwrap() {
            let family = family.unwrap().path();
            for file in std::fs::read_dir(&family).unwrap() {
                let file = file.unwrap().path();
                let name = file.strip_prefix(&root).unwrap().with_extension("");
                found.push(name.to_string_lossy().replace('\\', "/"));
            }
        }
        found.sort();
        assert_eq!(found, ALL.iter().map(|r| r.name).collect::<Vec<_>>());
        for recipe in ALL {
            Recipe::parse(recipe.text, &[]).unwrap_or_else(|e| panic!("{}: {e}", recipe.name));
            let origin = ["# Paper", "# Why"].iter().any(|word| recipe.text.contains(word));
            assert!(origin, "{} says neither its paper nor why it is there", recipe.name);
            for word in ["# Command", "# Time", "# Score"] {
                assert!(recipe.text.contains(word), "{} lacks {word}", recipe.name);
            }
        }
    }

    #[test]
    fn the_long_baseline_differs_from_two_phase_only_in_its_last_loss() {
        let get = |name: &str| Recipe::parse(&find(name).unwrap().0, &[]).unwrap();
        let (mut long, two) = (get("long-baseline"), get("two-phase"));
        let last = long.phase.len() - 1;
        assert!(long.phase[last].loss.feature_discrepancy.is_none());
        long.phase[last].loss = two.phase[last].loss.clone();
        long.phase[last].name.clone_from(&two.phase[last].name);
        assert_eq!(long, two);
    }
}
