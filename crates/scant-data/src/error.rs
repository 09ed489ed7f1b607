//! What can be wrong with a pool, said so that it can be mended.

use std::path::PathBuf;

use scant_core::LabelError;
use scant_io::IoError;
use thiserror::Error;

/// Why data was refused. Every message names the file, what is wrong, and the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// Nothing stands at the path.
    #[error(
        "{}: there is no such pool; give a pool.toml, or a folder with images/ and masks/",
        path.display()
    )]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A text file is not TOML.
    #[error("{}: this is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        message: String,
    },
    /// A key nobody knows.
    #[error("{}: unknown key \"{key}\" in {place}; {hint}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Where in the file it stands.
        place: String,
        /// The nearest valid key, or all of them.
        hint: String,
    },
    /// A key is missing, has the wrong type, or a value that cannot be meant.
    #[error("{}: {place}: {message}; {remedy}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        place: String,
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// The class names do not form a label space, or a class is not in it.
    #[error("{}: {place}: {error}", path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        place: String,
        /// What is wrong.
        error: LabelError,
    },
    /// A folder's layout cannot be understood.
    #[error("{}: {message}; {remedy}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// An image or mask cannot be read; the message of the reader names the file.
    #[error(transparent)]
    Image(#[from] IoError),
    /// A mask holds a value that `values` does not list.
    #[error(
        "{}: mask value {value} stands on {pixels} pixel(s) but `values` of source \"{source_name}\" \
         does not list it (listed: {listed}); add e.g. `{value} = \"background\"` to `values`, or \
         correct the mask{}",
        path.display(),
        if *many { "; so many values suggest lossy (JPEG) compression, smooth resizing, or instance \
                    numbers" } else { "" }
    )]
    UnlistedValue {
        /// The mask.
        path: PathBuf,
        /// The value as it would be written in `values`.
        value: String,
        /// Pixels that hold it.
        pixels: u64,
        /// The source.
        source_name: String,
        /// What is listed.
        listed: String,
        /// Whether the mask holds so many values that it cannot be one of classes.
        many: bool,
    },
    /// Mask and image differ in size.
    #[error(
        "{}: the mask is {} rows x {} columns but its image {} is {} x {}; export the mask on the \
         grid of its image, or leave the pair out",
        mask.display(), mask_size.0, mask_size.1, image.display(), image_size.0, image_size.1
    )]
    SizeMismatch {
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
        /// Rows and columns of the image.
        image_size: (usize, usize),
        /// Rows and columns of the mask.
        mask_size: (usize, usize),
    },
    /// A case that the catalogue does not hold.
    #[error(
        "the pool has no case {id} (group {}); was an image removed or renamed since the split was made?",
        id.group
    )]
    UnknownCase {
        /// The case.
        id: scant_core::SampleId,
    },
    /// Two masks of one image give different classes to one pixel.
    #[error(
        "{}: pixel (row {row}, column {column}) is \"{first}\" in another mask of the same image and \
         \"{second}\" here; masks of one image are united, so they must not contradict",
        mask.display()
    )]
    ContradictingMasks {
        /// The mask read second.
        mask: PathBuf,
        /// Row of the first such pixel.
        row: usize,
        /// Its column.
        column: usize,
        /// Class in the earlier mask.
        first: String,
        /// Class in this mask.
        second: String,
    },
    /// No labelled image is left.
    #[error("pool \"{pool}\" has no usable labelled image ({found}); {remedy}")]
    NothingUsable {
        /// The pool.
        pool: String,
        /// What was found instead.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A split cannot be made or does not fit the pool.
    #[error("split: {message}; {remedy}")]
    Split {
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
}

/// Names the nearest of the valid keys, or all of them when none is near.
pub(crate) fn key_hint(key: &str, known: &[&str]) -> String {
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("valid keys: {}", known.join(", ")),
    }
}

/// The closest of `candidates`, when it is close enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(&word.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(score, _)| *score >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)))
        .map(|(_, c)| c.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let keys = ["images", "masks", "values", "annotated"];
        assert_eq!(nearest("imges", keys).as_deref(), Some("images"));
        assert_eq!(nearest("Value", keys).as_deref(), Some("values"));
        assert_eq!(nearest("licence", keys), None);
    }
}
