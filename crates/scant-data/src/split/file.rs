//! The split file: every part lists source, group and stems.
//!
//! ```toml
//! seed = 7
//! how = "by group, ..."
//!
//! [train.tnbc]
//! "01" = ["01_1", "01_2"]
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use scant_core::SampleId;
use toml::{Table, Value};

use super::{Part, Split};
use crate::DataError;
use crate::error::key_hint;

fn quoted(text: &str) -> String {
    Value::String(text.into()).to_string()
}

pub(super) fn print(split: &Split) -> String {
    let mut out = format!("seed = {}\nhow = {}\n", seed_text(split.seed), quoted(&split.how));
    for part in Part::ALL {
        let mut tree: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for id in split.part(part) {
            tree.entry(&id.source).or_default().entry(&id.group).or_default().push(&id.stem);
        }
        for (source, groups) in tree {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "\n[{}.{}]", part.name(), quoted(source));
            for (group, mut stems) in groups {
                stems.sort_unstable();
                let stems: Vec<String> = stems.into_iter().map(quoted).collect();
                let _ = writeln!(out, "{} = [{}]", quoted(group), stems.join(", "));
            }
        }
    }
    out
}

/// TOML integers are signed; larger seeds are written as text.
fn seed_text(seed: u64) -> String {
    i64::try_from(seed).map_or_else(|_| format!("\"{seed}\""), |s| s.to_string())
}

/// Reads a table, whatever it means.
pub(super) fn table(text: &str, path: &Path) -> Result<Table, DataError> {
    text.parse().map_err(|e: toml::de::Error| DataError::Syntax {
        path: path.into(),
        message: e.to_string().trim().to_string(),
    })
}

/// The keys a split file may have at its top level.
pub(super) fn check_keys(table: &Table, path: &Path) -> Result<(), DataError> {
    let known = ["seed", "how", "train", "validation", "test", "unlabelled", "excluded"];
    match table.keys().find(|k| !known.contains(&k.as_str())) {
        None => Ok(()),
        Some(key) => Err(DataError::UnknownKey {
            path: path.into(),
            key: key.clone(),
            place: "the split file".into(),
            hint: key_hint(key, &known),
        }),
    }
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Split, DataError> {
    let table = table(text, path)?;
    check_keys(&table, path)?;
    let refuse = |place: &str, message: &str| DataError::Setting {
        path: path.into(),
        place: place.into(),
        message: message.into(),
        remedy: "see a split.toml of a run for the layout".into(),
    };
    let mut split = Split { how: "read from a file".into(), ..Split::default() };
    match table.get("seed") {
        None => {}
        Some(Value::Integer(seed)) => {
            split.seed =
                u64::try_from(*seed).map_err(|_| refuse("`seed`", "a seed is not negative"))?;
        }
        Some(Value::String(seed)) => {
            split.seed =
                seed.parse().map_err(|_| refuse("`seed`", "this is not a whole number"))?;
        }
        Some(_) => return Err(refuse("`seed`", "this is not a whole number")),
    }
    match table.get("how") {
        None => {}
        Some(Value::String(how)) => split.how.clone_from(how),
        Some(_) => return Err(refuse("`how`", "this is not a text")),
    }
    for part in Part::ALL {
        let Some(value) = table.get(part.name()) else { continue };
        let place = format!("`{}`", part.name());
        let bad = || refuse(&place, "a part holds sources, these hold groups, these list stems");
        for (source, groups) in value.as_table().ok_or_else(bad)? {
            for (group, stems) in groups.as_table().ok_or_else(bad)? {
                for stem in stems.as_array().ok_or_else(bad)? {
                    split.part_mut(part).push(SampleId {
                        source: source.clone(),
                        group: group.clone(),
                        stem: stem.as_str().ok_or_else(bad)?.to_string(),
                    });
                }
            }
        }
        split.part_mut(part).sort();
    }
    Ok(split)
}
