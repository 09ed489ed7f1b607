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
