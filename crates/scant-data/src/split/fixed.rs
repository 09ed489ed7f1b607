//! Fixed splits that come with a source.
//!
//! Two layouts are understood: the one scant writes, and a plain one with a list per part, whose items
//! are stems or group names:
//!
//! ```toml
//! train      = ["patient01", "patient02"]
//! validation = ["patient03"]
//! test       = ["patient04"]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use scant_core::SampleId;
use toml::Value;

use super::{Part, Split, file};
use crate::DataError;
use crate::error::nearest;

/// The part of every case of a source that the file lists.
pub(super) fn read(
    path: &Path,
    source: &str,
    ids: &[&SampleId],
) -> Result<BTreeMap<SampleId, Part>, DataError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| DataError::File { path: path.into(), error })?;
    let table = file::table(&text, path)?;
    file::check_keys(&table, path)?;
    let plain = Part::ALL.iter().any(|p| matches!(table.get(p.name()), Some(Value::Array(_))));
    let listed = if plain {
        plain_lists(&table, path, ids)?
    } else {
        own_layout(&Split::from_toml(&text, path)?, path, source, ids)?
    };
    straddles(&listed, path)?;
    Ok(listed)
}

fn refuse(path: &Path, message: String, remedy: &str) -> DataError {
    DataError::Split { message: format!("{}: {message}", path.display()), remedy: remedy.into() }
}

fn own_layout(
    split: &Split,
    path: &Path,
    source: &str,
    ids: &[&SampleId],
) -> Result<BTreeMap<SampleId, Part>, DataError> {
    let known: BTreeSet<&SampleId> = ids.iter().copied().collect();
    let mut out = BTreeMap::new();
    for part in Part::ALL {
        for id in split.part(part).iter().filter(|id| id.source == source) {
            if part == Part::Unlabelled {
                return Err(refuse(
                    path,
                    format!("{id} is listed as unlabelled, but its source is labelled"),
                    "list it in train, validation, test or excluded",
                ));
            }
            if !known.contains(id) {
                return Err(refuse(
                    path,
                    format!("{id} (group \"{}\") is not a usable case of the pool", id.group),
                    "correct the name or the `group` rule, or repair the file it stands for",
                ));
            }
            add(&mut out, id, part, path)?;
        }
    }
    Ok(out)
}

fn plain_lists(
    table: &toml::Table,
    path: &Path,
    ids: &[&SampleId],
) -> Result<BTreeMap<SampleId, Part>, DataError> {
    let mut out = BTreeMap::new();
    for part in [Part::Train, Part::Validation, Part::Test, Part::Excluded] {
        let Some(value) = table.get(part.name()) else { continue };
        let names = value.as_array().and_then(|a| a.iter().map(Value::as_str).collect());
        let names: Vec<&str> = names.ok_or_else(|| {
            refuse(
                path,
                format!("`{}` is not a list of names", part.name()),
                "list stems or groups, e.g. train = [\"patient01\", \"patient02\"]",
            )
        })?;
        for name in names {
            // A stem is meant before a group: without a `group` rule both are the same.
            let hits: Vec<&SampleId> = match ids.iter().find(|id| id.stem == name) {
                Some(id) => vec![id],
                None => ids.iter().filter(|id| id.group == name).copied().collect(),
            };
            if hits.is_empty() {
                let near = nearest(name, ids.iter().flat_map(|id| [id.stem.as_str(), &id.group]));
                let near = near.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
                return Err(refuse(
                    path,
                    format!(
                        "`{}` lists \"{name}\", which is no usable case or group{near}",
                        part.name()
                    ),
                    "correct the name, or repair the file it stands for",
                ));
            }
            for id in hits {
                add(&mut out, id, part, path)?;
            }
        }
    }
    Ok(out)
}

fn add(
    out: &mut BTreeMap<SampleId, Part>,
    id: &SampleId,
    part: Part,
    path: &Path,
) -> Result<(), DataError> {
    match out.insert(id.clone(), part) {
        Some(other) => Err(refuse(
            path,
            format!("{id} is listed twice (in {} and in {})", other.name(), part.name()),
            "keep every case in one part",
        )),
        None => Ok(()),
    }
}

fn straddles(listed: &BTreeMap<SampleId, Part>, path: &Path) -> Result<(), DataError> {
    let mut groups: BTreeMap<&str, Part> = BTreeMap::new();
    for (id, part) in listed.iter().filter(|(_, p)| **p != Part::Excluded) {
        if let Some(other) = groups.insert(&id.group, *part)
            && other != *part
        {
            return Err(refuse(
                path,
                format!("group \"{}\" stands in {} and in {}", id.group, other.name(), part.name()),
                "keep all images of a patient or slide in one part, or results will be too good",
            ));
        }
    }
    Ok(())
}
