//! The cases of a pool, found on disk and looked at from outside: names, sizes, partners.

mod load;
mod scan;

use std::path::PathBuf;

use scant_core::{Annotated, Role, SampleId};
use serde::{Deserialize, Serialize};

use crate::{DataError, Pool};

pub(crate) use load::map_mask;
pub(crate) use scan::mask_owner;

/// One case: an image and its masks, not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Name within the pool.
    pub id: SampleId,
    /// Position of the source in the pool.
    pub source: usize,
    /// What the source is for.
    pub role: Role,
    /// The image file.
    pub image: PathBuf,
    /// Mask files, sorted; several are united; none for unlabelled images.
    pub masks: Vec<PathBuf>,
    /// Which classes were drawn.
    pub annotated: Annotated,
    /// Rows and columns.
    pub size: (usize, usize),
    /// Row and column spacing in millimetres, where the pool file gives it.
    pub spacing: Option<[f64; 2]>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The case is left out.
    Error,
    /// The case takes part, but somebody should look.
    Warning,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A file that cannot be read.
    Unreadable,
    /// An image without a mask in a labelled source.
    MissingMask,
    /// A mask without an image.
    OrphanMask,
    /// A mask that could belong to several images.
    AmbiguousMask,
    /// Mask and image differ in size.
    SizeMismatch,
    /// Two images of a source with one name.
    DuplicateName,
    /// The `group` rule does not match a name.
    NoGroup,
    /// Files passed over for their extension.
    PassedOver,
    /// The extension says one format, the content another.
    ExtensionDisagrees,
    /// A mask value that `values` does not list.
    UnlistedValue,
    /// Several masks of one image contradict each other.
    ContradictingMasks,
    /// A mask in which no annotated class has a pixel.
    EmptyMask,
    /// An annotated class without a single pixel in its source.
    ClassNeverPresent,
    /// A class drawn in some sources only.
    ClassNotEverywhere,
    /// Pixels of a class that `annotated` does not list.
    ClassNotAnnotated,
    /// An image all of one intensity.
    ConstantImage,
    /// Images that use a small part of their intensity range.
    LowDynamicRange,
    /// Images of one source with different numbers of channels.
    MixedChannels,
    /// The same image twice in different groups.
    Duplicate,
    /// Nearly the same image twice in different groups.
    NearDuplicate,
    /// The same or nearly the same image in two parts of the split.
    SplitLeak,
    /// Too few groups to divide.
    FewGroups,
}

impl ProblemKind {
    /// The name used in JSON.
    #[must_use]
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => format!("{self:?}"),
        }
    }
}

/// Something the user should know about some files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub kind: ProblemKind,
    /// Name of the source, empty when it concerns the whole pool.
    pub source: String,
    /// The files concerned.
    pub paths: Vec<PathBuf>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// The cases of a pool and what stands in the way of the others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    /// Usable cases, by source and then by name.
    pub entries: Vec<Entry>,
    /// What was found wrong.
    pub problems: Vec<Problem>,
}

impl Catalog {
    /// The entry of a case.
    #[must_use]
    pub fn get(&self, id: &SampleId) -> Option<&Entry> {
        self.entries.iter().find(|e| e.id == *id)
    }

    /// Whether anything labelled can be worked with.
    ///
    /// # Errors
    /// When no entry of a labelled source is left; the message tells what the problems were.
    pub fn require_usable(&self, pool: &Pool) -> Result<(), DataError> {
        if self.entries.iter().any(|e| e.role != Role::Unlabelled) {
            return Ok(());
        }
        let first = self.problems.iter().find(|p| p.severity == Severity::Error);
        let errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        let found = match first {
            Some(first) => format!("{errors} file problem(s), the first: {}", first.message),
            None => format!("{} unlabelled image(s)", self.entries.len()),
        };
        let remedy = match first {
            Some(first) => first.remedy.clone(),
            None => "add a source with masks and role = \"base\"".into(),
        };
        Err(DataError::NothingUsable { pool: pool.name.clone(), found, remedy })
    }
}
