//! Which files a folder, a glob or a list file stands for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;

use crate::DataError;

/// File name endings that are looked at; what a file really is, its content decides.
const IMAGE_EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "jpe", "jfif", "bmp", "tif", "tiff"];
const LIST_EXTENSIONS: [&str; 4] = ["txt", "list", "lst", "csv"];

/// One selected file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selected {
    /// Path below the selected folder without extension, parts joined by `/`.
    pub(crate) key: String,
    /// File name without extension.
    pub(crate) stem: String,
    /// The file.
    pub(crate) path: PathBuf,
}

/// The files of a selection, sorted by key, and what was passed over.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Image files.
    pub(crate) files: Vec<Selected>,
    /// Extension (lower case, without dot) to files that were passed over for it.
    pub(crate) passed_over: BTreeMap<String, Vec<PathBuf>>,
}

/// Whether a path is written as a glob.
fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The extension in lower case, `nii.gz` kept whole.
pub(crate) fn extension(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    if name.ends_with(".nii.gz") {
        return "nii.gz".into();
    }
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Whether the name ends like an image that scant reads.
pub(crate) fn looks_like_image(path: &Path) -> bool {
    IMAGE_EXTENSIONS.contains(&extension(path).as_str())
}

/// `spec` (relative to `root`) so that it may be read from anywhere, and selects the same.
pub(crate) fn absolute(root: &Path, spec: &str) -> String {
    let joined = root.join(spec);
    let whole = |path: &Path| {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        whole.to_string_lossy().into_owned()
    };
    if joined.exists() || !is_glob(spec) || Path::new(spec).is_absolute() {
        return whole(&joined);
    }
    // Brackets in the names of folders above are no part of the glob.
    format!("{}/{spec}", globset::escape(&whole(root)))
}

/// Lists what `spec` (relative to `root`) selects.
///
/// A path that exists is taken as it stands, so names with brackets are not mistaken for globs.
/// Folders are not searched below their first level; hidden files are never taken.
pub(crate) fn select(root: &Path, spec: &str, what: &str) -> Result<Selection, DataError> {
    let path = root.join(spec);
    let selection = if path.is_dir() {
        from_files(&path, list_folder(&path)?)
    } else if path.is_file() {
        if LIST_EXTENSIONS.contains(&extension(&path).as_str()) {
            from_list(&path)?
        } else {
            let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
            from_files(&base, vec![path.clone()])
        }
    } else if is_glob(spec) {
        from_glob(root, spec)?
    } else {
        return Err(DataError::Layout {
            path,
            message: format!("there is no such folder or file of {what}"),
            remedy:
                "paths in a pool file are relative to that file; give a folder, a glob such as \
                     \"images/*.png\", or a text file with one path per line"
                    .into(),
        });
    };
    if selection.files.is_empty() {
        let mut message = format!("no {what} found");
        if !selection.passed_over.is_empty() {
            let ends: Vec<String> =
                selection.passed_over.iter().map(|(e, f)| format!("{} x .{e}", f.len())).collect();
            message = format!("{message} (passed over: {})", ends.join(", "));
        }
        return Err(DataError::Layout {
            path: root.join(spec),
            message,
            remedy: format!(
                "readable endings are {}; files in subfolders need a glob such as \"{}\"",
                IMAGE_EXTENSIONS.join(", "),
                if is_glob(spec) { "images/**/*.png".into() } else { format!("{spec}/**/*.png") }
            ),
        });
    }
    Ok(selection)
}

fn read_dir(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let fail = |error| DataError::File { path: path.into(), error };
    let mut all = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

/// Files directly in a folder, sorted.
pub(crate) fn list_folder(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(read_dir(path)?.into_iter().filter(|p| p.is_file()).collect())
}

/// Folders directly in a folder, sorted.
pub(crate) fn list_subfolders(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(read_dir(path)?.into_iter().filter(|p| p.is_dir()).collect())
}

fn from_files(base: &Path, files: Vec<PathBuf>) -> Selection {
    let mut out = Selection::default();
    for path in files {
        if looks_like_image(&path) {
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
            let below = path.strip_prefix(base).unwrap_or(&path).with_extension("");
            let parts: Vec<_> =
                below.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
            out.files.push(Selected { key: parts.join("/"), stem: stem.unwrap_or_default(), path });
        } else {
            out.passed_over.entry(extension(&path)).or_default().push(path);
        }
    }
    out.files.sort();
    out
}

fn from_glob(root: &Path, spec: &str) -> Result<Selection, DataError> {
    let refuse = |message: String| DataError::Layout {
        path: root.join(spec),
        message,
        remedy: "write a glob such as \"images/*.png\" or \"**/images/*.png\"".into(),
    };
    let glob = GlobBuilder::new(spec)
        .literal_separator(true)
        .build()
        .map_err(|e| refuse(format!("this is not a valid glob ({e})")))?
        .compile_matcher();
    let written = Path::new(spec);
    let literal: PathBuf = written.components().map_while(literal_part).collect();
    // An absolute one replaces the root.
    let base = root.join(&literal);
    let matches = |path: &Path| {
        let below = if written.is_absolute() { Ok(path) } else { path.strip_prefix(root) };
        below.is_ok_and(|below| glob.is_match(below))
    };
    if !base.is_dir() {
        return Err(refuse(format!("there is no folder {}", base.display())));
    }
    let mut found = Vec::new();
    let mut open = vec![base.clone()];
    while let Some(folder) = open.pop() {
        for path in read_dir(&folder)? {
            // Links to folders are not followed: they can form a circle.
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else if path.is_file() && matches(&path) {
                found.push(path);
            }
        }
    }
    Ok(from_files(&base, found))
}

/// A part of a glob that stands for one name only; a character alone in brackets stands for itself.
fn literal_part(part: Component<'_>) -> Option<String> {
    let text = part.as_os_str().to_string_lossy();
    let (mut name, mut rest) = (String::new(), text.as_ref());
    while let Some(first) = rest.chars().next() {
        let mut inside = rest.strip_prefix('[').unwrap_or_default().chars();
        let (taken, left) = match (inside.next(), inside.next()) {
            (Some(alone), Some(']')) if alone != '!' && alone != '^' => (alone, inside.as_str()),
            _ if is_glob(&first.to_string()) => return None,
            _ => (first, &rest[first.len_utf8()..]),
        };
        name.push(taken);
        rest = left;
    }
    Some(name)
}

fn from_list(list: &Path) -> Result<Selection, DataError> {
    let text =
        fs::read_to_string(list).map_err(|error| DataError::File { path: list.into(), error })?;
    let folder = list.parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let path = folder.join(line);
        if !path.is_file() {
            return Err(DataError::Layout {
                path: list.into(),
                message: format!("line {}: there is no file \"{line}\"", number + 1),
                remedy: "a list holds one path per line, relative to the list file; lines that \
                         begin with # are passed over"
                    .into(),
            });
        }
        files.push(path);
    }
    files.sort();
    files.dedup();
    let mut base = files.first().and_then(|f| f.parent()).unwrap_or(folder).to_path_buf();
    while !files.iter().all(|f| f.starts_with(&base)) && base.pop() {}
    Ok(from_files(&base, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, names: &[&str]) {
        for name in names {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }

    fn keys(selection: &Selection) -> Vec<&str> {
        selection.files.iter().map(|f| f.key.as_str()).collect()
    }

    #[test]
    fn a_folder_gives_its_images_sorted_and_counts_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        touch(
            dir.path(),
            &[
                "images/b.PNG",
                "images/a.tif",
                "images/.hid.png",
                "images/v.nii.gz",
                "images/d/c.png",
            ],
        );
        let got = select(dir.path(), "images", "images").unwrap();
        assert_eq!(keys(&got), ["a", "b"]);
        assert_eq!(got.passed_over.keys().collect::<Vec<_>>(), ["nii.gz"]);
    }

    #[test]
    fn a_glob_keeps_the_path_below_its_fixed_part() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["s/p1/im/x.png", "s/p2/im/x.png", "s/p2/mask/x.png", "s/y.png"]);
        assert_eq!(
            keys(&select(dir.path(), "s/*/im/*.png", "images").unwrap()),
            ["p1/im/x", "p2/im/x"]
        );
        assert_eq!(keys(&select(dir.path(), "s/**/*.png", "images").unwrap()).len(), 4);
    }

    #[test]
    fn a_list_is_relative_to_itself_and_names_the_line_of_a_missing_file() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["im/a.png", "im/b (1).png"]);
        fs::create_dir(dir.path().join("lists")).unwrap();
        fs::write(dir.path().join("lists/t.txt"), "# x\n../im/b (1).png\n\n../im/a.png\n").unwrap();
        let got = select(dir.path(), "lists/t.txt", "images").unwrap();
        assert_eq!(got.files.iter().map(|f| f.stem.as_str()).collect::<Vec<_>>(), ["a", "b (1)"]);
        fs::write(dir.path().join("lists/t.txt"), "../im/a.png\n../im/zzz.png\n").unwrap();
        let error = select(dir.path(), "lists/t.txt", "images").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("zzz.png"), "{error}");
    }

    #[test]
    fn an_existing_name_with_brackets_is_not_a_glob_and_nothing_found_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["set [1]/a.png", "empty/readme.md"]);
        assert_eq!(keys(&select(dir.path(), "set [1]", "images").unwrap()), ["a"]);
        let error = select(dir.path(), "empty", "images").unwrap_err().to_string();
        assert!(error.contains("no images found") && error.contains("1 x .md"), "{error}");
        let error = select(dir.path(), "nowhere", "masks").unwrap_err().to_string();
        assert!(error.contains("no such folder or file of masks"), "{error}");
    }
}
