//! The studies that travel inside the program.

use std::path::{Path, PathBuf};

use crate::exit::{Failure, Result};

/// A built-in study.
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(Preset { name: $name, text: include_str!(concat!("../../../../../studies/", $name, ".toml")) }),*]
    };
}

/// All of them, sorted.
pub(crate) const ALL: &[Preset] = built_in![
    "ablation-layers",
    "data-addition",
    "losses",
    "noise-robustness",
    "significance",
    "worst-off",
];

/// The text of a study by name or file, and the folder that its paths are relative to.
pub(crate) fn find(wanted: &str) -> Result<(String, PathBuf)> {
    if let Some(preset) = ALL.iter().find(|p| p.name == wanted) {
        return Ok((preset.text.to_owned(), PathBuf::new()));
    }
    let path = Path::new(wanted);
    if path.is_file() {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::usage(format!("cannot read study {}: {e}", path.display())))?;
        return Ok((text, path.parent().map(Path::to_path_buf).unwrap_or_default()));
    }
    let names: Vec<&str> = ALL.iter().map(|p| p.name).collect();
    Err(Failure::usage(format!(
        "there is no study \"{wanted}\" and no such file; built-in studies: {}",
        names.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use scant_train::study::{StudyFile, plan_runs, share_phases};

    use super::*;
    use crate::recipes;

    #[test]
    fn every_study_is_built_in_has_a_full_header_and_possible_runs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies");
        let mut found: Vec<String> = std::fs::read_dir(&root)
            .unwrap()
            .map(|f| f.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        assert_eq!(found, ALL.iter().map(|p| p.name).collect::<Vec<_>>());
        for preset in ALL {
            let name = preset.name;
            for word in ["# Paper", "# Command", "# Runs"] {
                assert!(preset.text.contains(word), "{name} lacks {word}");
            }
            let file = StudyFile::parse(preset.text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(file.name, name);
            assert!(file.seeds.len() >= 5, "{name}: nothing is claimed from few seeds");
            let mut texts = BTreeMap::new();
            for method in &file.methods {
                let recipe = recipes::find(&method.recipe);
                let recipe = recipe.unwrap_or_else(|e| panic!("{name}: {}", e.error));
                texts.insert(method.recipe.clone(), recipe.0);
            }
            let runs = plan_runs(&file, &texts).unwrap_or_else(|e| panic!("{name}: {e}"));
            // The equally long baseline: as many epochs for everybody, and the reference everywhere.
            let epochs = |r: &scant_train::study::PlannedRun| {
                r.recipe.phase.iter().map(|p| p.epochs).sum::<usize>()
            };
            for run in &runs {
                assert_eq!(epochs(run), epochs(&runs[0]), "{name}: {}", run.folder);
            }
            let sharing = share_phases(&runs);
            assert!(!sharing.shared.is_empty(), "{name}: no method shares its first phase");
        }
    }
}
