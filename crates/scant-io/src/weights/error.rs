//! What can go wrong between a weight file and its tensors.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::WeightFormat;

/// A weight file that could not be read: which one, what is wrong with it, and the remedy.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
pub struct WeightFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what can be done.
    pub problem: WeightProblem,
}

/// What is wrong with a weight file.
#[derive(Debug, Error)]
pub enum WeightProblem {
    /// There is no such file.
    #[error("there is no such file; check the spelling and the folder it is relative to")]
    NotFound,
    /// A folder, a device or a pipe.
    #[error("this is a folder or a special file, not a weight file; name a file")]
    NotAFile,
    /// The user running the program may not read it.
    #[error("the system denies access; change the permissions of the file or its folder")]
    Permission,
    /// The system failed.
    #[error("reading failed: {0}; check the disk and try again")]
    System(io::Error),
    /// The content is none of the known formats, whatever the name says.
    #[error(
        "the content is no PyTorch, Keras, NumPy or safetensors file ({found}); \
         export the weights in one of these formats"
    )]
    UnknownFormat {
        /// What the first bytes look like.
        found: String,
    },
    /// The caller asked for one format, the content is another.
    #[error("it was to be read as {asked}, but its content is {found}; ask for {found} instead")]
    OtherFormat {
        /// What [`ReadOptions::format`](super::ReadOptions::format) said.
        asked: WeightFormat,
        /// What the content is.
        found: WeightFormat,
    },
    /// The file breaks the rules of its own format.
    #[error("the file is damaged: {0}; fetch or export it again")]
    Damaged(String),
    /// The file asks for more than the [`WeightLimits`](super::WeightLimits) allow.
    #[error("{0}; if the file is to be trusted, raise the limit, otherwise leave it out")]
    TooLarge(String),
    /// The file is valid but uses a part of its format that is not read.
    #[error("{what} is not supported; {remedy}")]
    Unsupported {
        /// The feature.
        what: String,
        /// What the user can do.
        remedy: String,
    },
    /// There is no tensor in the file.
    #[error("it holds no weights: {seen}; name the file that holds the network's weights")]
    NoTensors {
        /// What it holds instead.
        seen: String,
    },
    /// There is no dictionary of tensors under the key the caller gave.
    #[error("there is no state dict under \"{key}\"; {}", name_keys(known))]
    UnknownKey {
        /// What [`ReadOptions::key`](super::ReadOptions::key) said.
        key: String,
        /// The keys under which there are dictionaries of tensors.
        known: Vec<String>,
    },
    /// Several dictionaries of tensors, none under a usual name.
    #[error("it holds several state dicts; name the key of the wanted one: {}", known.join(", "))]
    Ambiguous {
        /// The keys under which there are dictionaries of tensors.
        known: Vec<String>,
    },
    /// A key was given for a format without keys.
    #[error("a key (\"{key}\") was given, but a {format} file has none; leave the key out")]
    KeyNotUsed {
        /// What [`ReadOptions::key`](super::ReadOptions::key) said.
        key: String,
        /// What the content is.
        format: WeightFormat,
    },
}

fn name_keys(known: &[String]) -> String {
    if known.is_empty() {
        "there is none in the whole file".into()
    } else {
        format!("there are: {}", known.join(", "))
    }
}

/// Readers see bytes and know no path.
pub(super) type Fault = WeightProblem;

impl WeightProblem {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(super) fn unsupported(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), remedy: remedy.into() }
    }
}

impl From<io::Error> for WeightProblem {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::IsADirectory => Self::NotAFile,
            // Running out of bytes is the file's fault.
            io::ErrorKind::UnexpectedEof => Self::damaged("it ends too early"),
            _ => Self::System(e),
        }
    }
}
