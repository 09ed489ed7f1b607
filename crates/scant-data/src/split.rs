//! Who is trained on, validated on and tested on.
//!
//! A split is drawn by *group* (patient, slide, video), source by source, from an explicit seed, and is
//! written out in full, so that a result always names the cases it was measured on.

mod draw;
mod file;
mod fixed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use scant_core::{Role, SampleId, SplitSummary};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Catalog, DataError};

pub use draw::make_split;

/// How to divide a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitSpec {
    /// Share of the images of every source to test on, in `[0, 1)`; not used with `folds`.
    pub test: f64,
    /// Share of the images of every source to validate on, in `[0, 1)`.
    pub validation: f64,
    /// Seed of the draw.
    pub seed: u64,
    /// Cross-validation: one fold is tested on.
    pub folds: Option<Folds>,
    /// Sources tested on as a whole and never trained on (leave a site out); the `test` share is
    /// then not drawn from the others.
    pub held_out: Vec<String>,
    /// Cases whose groups must not be separated, e.g. duplicates in different groups.
    #[serde(skip)]
    pub keep_together: Vec<(SampleId, SampleId)>,
}

impl Default for SplitSpec {
    /// A fifth to test on, a fifth to validate on, seed 0.
    fn default() -> Self {
        Self {
            test: 0.2,
            validation: 0.2,
            seed: 0,
            folds: None,
            held_out: Vec::new(),
            keep_together: Vec::new(),
        }
    }
}

/// Cross-validation: `k` folds of groups, of which number `index` is tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folds {
    /// Number of folds, at least 2.
    pub k: usize,
    /// The fold to test on, from 0.
    pub index: usize,
}

/// A part of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Weights are learned from these.
    Train,
    /// The best epoch is chosen by these.
    Validation,
    /// Results are reported on these.
    Test,
    /// Images without labels, learned from without them.
    Unlabelled,
    /// Taking no part, so that nothing leaks or because a fixed split leaves them out.
    Excluded,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 5] =
        [Self::Train, Self::Validation, Self::Test, Self::Unlabelled, Self::Excluded];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Unlabelled => "unlabelled",
            Self::Excluded => "excluded",
        }
    }

    /// Whether the optimiser sees images of this part.
    #[must_use]
    pub fn is_learned_from(self) -> bool {
        matches!(self, Self::Train | Self::Unlabelled)
    }
}

/// Every case of a pool in one part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Learned from, sorted.
    pub train: Vec<SampleId>,
    /// Chosen by, sorted.
    pub validation: Vec<SampleId>,
    /// Reported on, sorted.
    pub test: Vec<SampleId>,
    /// Learned from without labels, sorted.
    pub unlabelled: Vec<SampleId>,
    /// Taking no part, sorted.
    pub excluded: Vec<SampleId>,
    /// Seed of the draw.
    pub seed: u64,
    /// How the division was made, in plain words.
    pub how: String,
}

impl Split {
    /// The cases of a part.
    #[must_use]
    pub fn part(&self, part: Part) -> &[SampleId] {
        match part {
            Part::Train => &self.train,
            Part::Validation => &self.validation,
            Part::Test => &self.test,
            Part::Unlabelled => &self.unlabelled,
            Part::Excluded => &self.excluded,
        }
    }

    fn part_mut(&mut self, part: Part) -> &mut Vec<SampleId> {
        match part {
            Part::Train => &mut self.train,
            Part::Validation => &mut self.validation,
            Part::Test => &mut self.test,
            Part::Unlabelled => &mut self.unlabelled,
            Part::Excluded => &mut self.excluded,
        }
    }

    /// The part of every case.
    #[must_use]
    pub fn parts(&self) -> BTreeMap<&SampleId, Part> {
        Part::ALL.into_iter().flat_map(|p| self.part(p).iter().map(move |id| (id, p))).collect()
    }

    /// The canonical text: two splits are the same exactly when their texts are.
    #[must_use]
    pub fn to_toml(&self) -> String {
        file::print(self)
    }

    /// Reads what [`Split::to_toml`] wrote; `path` is named in messages.
    ///
    /// # Errors
    /// When the text is not TOML or not of that layout.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, DataError> {
        file::parse(text, path)
    }

    /// Writes the canonical text, through a temporary name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        Ok(scant_io::write_atomic(path, self.to_toml().as_bytes())?)
    }

    /// Reads a split file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a split.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| DataError::File { path: path.into(), error })?;
        Self::from_toml(&text, path)
    }

    /// SHA-256 of the canonical text, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        Sha256::digest(self.to_toml().as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Checks the split against the cases of a pool.
    ///
    /// # Errors
    /// When a case stands in two parts or twice, is not in the catalog, is in the catalog but in no
    /// part, is labelled data listed as unlabelled or the other way round, or a group straddles
    /// train, validation and test.
    pub fn check(&self, catalog: &Catalog) -> Result<(), DataError> {
        let refuse = |message: String, remedy: &str| {
            Err(DataError::Split { message, remedy: remedy.into() })
        };
        let entries: BTreeMap<&SampleId, Role> =
            catalog.entries.iter().map(|e| (&e.id, e.role)).collect();
        let mut seen: BTreeMap<&SampleId, Part> = BTreeMap::new();
        let mut groups: BTreeMap<(&str, &str), Part> = BTreeMap::new();
        for part in Part::ALL {
            for id in self.part(part) {
                if let Some(other) = seen.insert(id, part) {
                    return refuse(
                        format!("{id} stands in {} and in {}", other.name(), part.name()),
                        "keep every case in one part",
                    );
                }
                let Some(role) = entries.get(id) else {
                    return refuse(
                        format!("{id} (group \"{}\") is not a usable case of the pool", id.group),
                        "the files or the `group` rule changed since the split was made; restore \
                         them, or draw a new split",
                    );
                };
                if part == Part::Excluded {
                    continue;
                }
                if (*role == Role::Unlabelled) != (part == Part::Unlabelled) {
                    return refuse(
                        format!("{id} cannot be in {}: its source is {role:?}", part.name()),
                        "unlabelled images belong to `unlabelled`, all others to train, validation or \
                         test",
                    );
                }
                let group = (id.source.as_str(), id.group.as_str());
                if let Some(other) = groups.insert(group, part)
                    && other != part
                {
                    return refuse(
                        format!(
                            "group \"{}\" of source \"{}\" stands in {} and in {}",
                            id.group,
                            id.source,
                            other.name(),
                            part.name()
                        ),
                        "keep all images of a patient or slide in one part, or results will be too good",
                    );
                }
            }
        }
        let missing: Vec<&SampleId> =
            entries.keys().filter(|id| !seen.contains_key(*id)).copied().collect();
        if let Some(first) = missing.first() {
            return refuse(
                format!(
                    "{} case(s) of the pool are in no part, the first is {first}",
                    missing.len()
                ),
                "images were added since the split was made; draw a new split, or list them in one",
            );
        }
        Ok(())
    }

    /// Counts for a run record; `excluded` appears only when it has cases.
    #[must_use]
    pub fn summary(&self, catalog: &Catalog) -> SplitSummary {
        let sources: BTreeSet<&str> =
            catalog.entries.iter().map(|e| e.id.source.as_str()).collect();
        let mut images = BTreeMap::new();
        let mut groups = BTreeMap::new();
        for part in Part::ALL {
            let ids = self.part(part);
            if part == Part::Excluded && ids.is_empty() {
                continue;
            }
            let mut by_source: BTreeMap<String, (usize, BTreeSet<&str>)> =
                sources.iter().map(|s| ((*s).to_string(), Default::default())).collect();
            for id in ids {
                let of = by_source.entry(id.source.clone()).or_default();
                of.0 += 1;
                of.1.insert(&id.group);
            }
            let name = part.name().to_string();
            images.insert(
                name.clone(),
                by_source.iter().map(|(s, (n, _))| (s.clone(), *n)).collect(),
            );
            groups.insert(name, by_source.into_iter().map(|(s, (_, g))| (s, g.len())).collect());
        }
        SplitSummary { hash: self.hash(), images, groups, how: self.how.clone() }
    }
}
