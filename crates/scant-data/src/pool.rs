//! A pool: which images and masks there are, and what the mask values mean.
//!
//! A pool is one TOML file, or a folder with `images/` and `masks/` from which the same is inferred.
//!
//! ```toml
//! name    = "nuclei"
//! classes = ["background", "nucleus"]            # the id of a class is its position
//!
//! [[source]]
//! name        = "tnbc"
//! role        = "base"                           # base | novel | unlabelled
//! images      = "tnbc/images"                    # folder, glob, or a list file; relative to this file
//! masks       = "tnbc/masks"                     # same stem, or <stem>_mask, <stem>_mask_1, ... united
//! mask_suffix = "_mask"                          # optional, this is the default
//! values      = { 0 = "background", 1 = "nucleus" }   # or "#rrggbb" = "class" for colour masks
//! annotated   = ["nucleus"]                      # classes drawn here; default: all in `values`
//! group       = "^([0-9]+)_"                     # patient or slide: capture 1, or the whole match
//! split       = "splits/tnbc.toml"               # optional fixed split
//! spacing_mm  = [0.5, 0.5]                       # optional, row and column
//! ```

mod file;
mod infer;
pub(crate) mod selection;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use scant_core::{Annotated, LabelSpace, Role};
use scant_io::Limits;

pub use values::{MaskValue, ValueMap};

use crate::DataError;

/// Suffix between an image's stem and its mask's, unless a source says otherwise.
pub const DEFAULT_MASK_SUFFIX: &str = "_mask";

/// Images and masks from one or several sites, with one label space.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Name of the pool.
    pub name: String,
    /// Its classes, background first.
    pub classes: LabelSpace,
    /// Its sources, in the order of the file.
    pub sources: Vec<Source>,
    /// Folder that relative paths start from.
    pub root: PathBuf,
    /// What was inferred or assumed, in plain words, to be shown to the user.
    pub notes: Vec<String>,
}

/// One site or set.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, unique in the pool.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Folder, glob or list file of the images, as written.
    pub images: String,
    /// The same for the masks; `None` only for unlabelled sources.
    pub masks: Option<String>,
    /// What may stand between an image's stem and its mask's.
    pub mask_suffix: String,
    /// Which class each mask value stands for.
    pub values: ValueMap,
    /// Which classes were drawn here.
    pub annotated: Annotated,
    /// Finds the group in a file's path below the selected folder, without extension.
    pub group: Option<Regex>,
    /// Fixed split file, as written.
    pub split: Option<String>,
    /// Distance between pixel centres, row then column, in millimetres; overrides the files.
    pub spacing_mm: Option<[f64; 2]>,
}

impl Source {
    /// Whether images of this source take part with their masks.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        self.role != Role::Unlabelled
    }

    /// The group of a file: capture 1 of [`Source::group`] or its whole match; without a rule
    /// every file is a group of its own. `None` when the rule does not match.
    #[must_use]
    pub fn group_of(&self, key: &str) -> Option<String> {
        let Some(rule) = &self.group else { return Some(key.to_string()) };
        let found = rule.captures(key)?;
        found.get(1).or_else(|| found.get(0)).map(|m| m.as_str().to_string())
    }
}

impl Pool {
    /// Opens a pool file, a folder that holds a `pool.toml`, or a folder with `images/` and `masks/`.
    ///
    /// What is inferred from a folder stands in [`Pool::notes`].
    ///
    /// # Errors
    /// When the file is not a valid pool, or the folder's layout or mask values cannot be understood.
    /// A folder of images without masks is refused; see [`Pool::open_unlabelled`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::open_limited(path, false, &Limits::default())
    }

    /// As [`Pool::open`], but takes a folder of images without masks as an unlabelled source.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub fn open_unlabelled(path: &Path) -> Result<Self, DataError> {
        Self::open_limited(path, true, &Limits::default())
    }

    /// As [`Pool::open`] with explicit limits for the masks that are read to discover their values.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub fn open_limited(path: &Path, unlabelled: bool, limits: &Limits) -> Result<Self, DataError> {
        if path.is_dir() {
            let inner = path.join("pool.toml");
            if inner.is_file() {
                Self::read(&inner)
            } else {
                infer::infer(path, unlabelled, limits)
            }
        } else if path.is_file() {
            Self::read(path)
        } else {
            Err(DataError::NotFound { path: path.into() })
        }
    }

    fn read(path: &Path) -> Result<Self, DataError> {
        let text = fs::read_to_string(path)
            .map_err(|error| DataError::File { path: path.into(), error })?;
        let root = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        file::parse(&text, path, root)
    }

    /// Reads a pool from text; relative paths start from `root`, and messages speak of
    /// `root/pool.toml`. Files are not looked at.
    ///
    /// # Errors
    /// When the text is not TOML, a key is unknown, missing or has a value that cannot be meant.
    pub fn from_toml_str(text: &str, root: PathBuf) -> Result<Self, DataError> {
        let path = root.join("pool.toml");
        file::parse(text, &path, root)
    }

    /// The pool as a TOML file that stands in [`Pool::root`]; reading it back gives the same pool.
    #[must_use]
    pub fn to_toml(&self) -> String {
        file::print(self, |path| path.to_string())
    }

    /// The pool as a TOML file that may stand anywhere: paths are absolute.
    #[must_use]
    pub fn to_toml_absolute(&self) -> String {
        file::print(self, |path| selection::absolute(&self.root, path))
    }

    /// Position of the source with this name.
    #[must_use]
    pub fn source_index(&self, name: &str) -> Option<usize> {
        self.sources.iter().position(|s| s.name == name)
    }

    /// Names of the foreground classes drawn in a source.
    #[must_use]
    pub fn annotated_names(&self, source: usize) -> Vec<String> {
        let drawn = &self.sources[source].annotated;
        let ids = self.classes.foreground().filter(|id| drawn.has(*id));
        ids.map(|id| self.classes.name(id).to_string()).collect()
    }
}
