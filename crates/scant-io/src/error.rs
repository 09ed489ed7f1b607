//! What can go wrong between a file and its pixels, sorted by whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A failed reading or writing of one file: the path, what is wrong, and the remedy.
#[derive(Debug, Error)]
pub enum IoError {
    /// The caller named a file that is not there.
    #[error("{}: there is no such file; check the spelling and the folder it is relative to", path.display())]
    NotFound {
        /// The file asked for.
        path: PathBuf,
    },
    /// The caller named a folder, a device or a pipe.
    #[error("{}: this is a folder or a special file, not an image; name a file", path.display())]
    NotAFile {
        /// What was asked for.
        path: PathBuf,
    },
    /// The user running the program may not do this.
    #[error("{}: the system denies access while {doing}; change the permissions of the file or its folder", path.display())]
    Permission {
        /// The file.
        path: PathBuf,
        /// `reading` or `writing`.
        doing: &'static str,
    },
    /// The system failed: full disk, lost network share, bad sector.
    #[error("{}: {doing} failed: {source}; check the disk and try again", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `reading` or `writing`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The content is none of the known formats, whatever the name says.
    #[error("{}: the content is not PNG, JPEG, BMP or TIFF ({found}); convert the file, or leave it out", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What the first bytes look like.
        found: String,
    },
    /// The file breaks the rules of its own format.
    #[error("{}: the file is damaged: {what}; fetch or export it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The rule that is broken.
        what: String,
    },
    /// The file asks for more than the caller's [`Limits`](crate::Limits) allow.
    #[error("{}: {what}; if the file is to be trusted, raise the limit, otherwise leave it out", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The size found and the limit it passes.
        what: String,
    },
    /// The file is valid but uses a part of its format that is not read.
    #[error("{}: {what} is not supported; {remedy}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The feature.
        what: String,
        /// What the user can do.
        remedy: String,
    },
    /// The pixels handed to a writer cannot be stored as asked.
    #[error("{}: cannot write these pixels: {what}", path.display())]
    InvalidPixels {
        /// The file to be written.
        path: PathBuf,
        /// What does not fit, and what would.
        what: String,
    },
}

impl IoError {
    /// The file the error is about.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::NotFound { path }
            | Self::NotAFile { path }
            | Self::Permission { path, .. }
            | Self::Io { path, .. }
            | Self::UnknownFormat { path, .. }
            | Self::Corrupt { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Unsupported { path, .. }
            | Self::InvalidPixels { path, .. } => path,
        }
    }

    /// Sorts an error of the operating system.
    pub(crate) fn from_system(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path, doing },
            io::ErrorKind::IsADirectory => Self::NotAFile { path },
            _ => Self::Io { path, doing, source },
        }
    }
}

/// A failure inside a decoder, which sees bytes and knows no path.
#[derive(Debug)]
pub(crate) enum Fault {
    Corrupt(String),
    TooLarge(String),
    Unsupported { what: String, remedy: &'static str },
    System(io::Error),
}

impl Fault {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    pub(crate) fn unsupported(what: impl Into<String>, remedy: &'static str) -> Self {
        Self::Unsupported { what: what.into(), remedy }
    }

    /// Names the file.
    pub(crate) fn at(self, path: &Path) -> IoError {
        let path = path.to_path_buf();
        match self {
            Self::Corrupt(what) => IoError::Corrupt { path, what },
            Self::TooLarge(what) => IoError::TooLarge { path, what },
            Self::Unsupported { what, remedy } => {
                IoError::Unsupported { path, what, remedy: remedy.into() }
            }
            Self::System(source) => IoError::from_system(&path, "reading", source),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        // Running out of bytes is the file's fault, everything else the system's.
        if e.kind() == io::ErrorKind::UnexpectedEof {
            Self::corrupt("it ends too early")
        } else {
            Self::System(e)
        }
    }
}
