//! A folder to be thrown away, the program in it, and what the program said.
// Every test program takes what it needs of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// One short phase: two epochs in a fraction of a second.
pub(crate) const TINY: &str = r#"
[model]
name = "unet"
width = 4
depth = 2
[data]
size = [32, 32]
channels = 1
batch = 2
[[phase]]
name = "only"
epochs = 2
"#;

/// A generated pool of two sites with 8 images each, at `pool`, and recipes beside it.
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let scratch = Self::empty();
        scratch.write("tiny.toml", TINY.as_bytes());
        scratch.ok("demo --data-only pool --sites 2 --images 8 --size 48");
        scratch
    }

    /// A folder with nothing in it.
    pub(crate) fn empty() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, in this folder and without the user's settings. Arguments are separated by
    /// spaces; one worker thread, so that tests do not take each other's cores.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scant"));
        command
            .current_dir(self.folder.path())
            .args(arguments.split_whitespace())
            .args(["--threads", "1"])
            // A panic or an error with a backtrace would show.
            .env("RUST_BACKTRACE", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Said {
        let output = assert_cmd::Command::from_std(self.command(arguments))
            .timeout(std::time::Duration::from_secs(120))
            .output()
            .unwrap_or_else(|e| panic!("scant {arguments}: {e}"));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program speaks UTF-8");
        Said {
            line: format!("scant {arguments}"),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs what has to succeed.
    pub(crate) fn ok(&self, arguments: &str) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("a text file")
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        let folder = path.parent().expect("a file is in a folder");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, bytes))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Replaces a piece of a text file that has to be there.
    pub(crate) fn edit(&self, name: &str, old: &str, new: &str) {
        let text = self.text(name);
        assert!(text.contains(old), "{name} does not hold {old:?}:\n{text}");
        self.write(name, text.replace(old, new).as_bytes());
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Everything below a name, with its bytes; folders end in `/` and have none.
    pub(crate) fn tree(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let root = self.path(name);
        gather(&root, &root, &mut found);
        found
    }

    /// `SOURCE/STEM` of the cases of a part of a run's split.
    pub(crate) fn part(&self, run: &str, part: &str) -> Vec<(String, String)> {
        let split: toml::Table = toml::from_str(&self.text(&format!("{run}/split.toml")))
            .unwrap_or_else(|e| panic!("{run}/split.toml: {e}"));
        let mut cases = Vec::new();
        let sources = split.get(part).and_then(toml::Value::as_table).into_iter().flatten();
        for (source, groups) in sources {
            for stems in groups.as_table().expect("groups").values() {
                for stem in stems.as_array().expect("stems") {
                    cases.push((source.clone(), stem.as_str().expect("a stem").to_owned()));
                }
            }
        }
        assert!(!cases.is_empty(), "{run}: the {part} part is empty");
        cases
    }
}

fn gather(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        if path.is_dir() {
            found.insert(format!("{name}/"), Vec::new());
            gather(root, &path, found);
        } else {
            let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
            found.insert(name, bytes);
        }
    }
}

/// What a call of the program came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) line: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// The standard output as JSON; nothing else may be there.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// One clear error on standard error that names all of `words`, and nothing on standard output.
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
        let starts = |l: &&str| l.starts_with("scant: ") || l.starts_with("error: ");
        assert_eq!(self.stderr.lines().filter(starts).count(), 1, "one error: {self:?}");
        for noise in ["panicked", "backtrace", "Error {", "Custom {"] {
            assert!(!self.stderr.contains(noise), "{noise:?} in {self:?}");
        }
        let causes = self.stderr.matches("(os error").count();
        assert!(causes <= 1, "the cause is repeated: {self:?}");
    }
}

/// The metadata and the tensor bytes of a safetensors file: eight bytes of header length, a JSON
/// header, and data that its offsets cover without a gap.
pub(crate) fn safetensors(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    let end = 8 + usize::try_from(length).expect("a length");
    let header: Value = serde_json::from_slice(&bytes[8..end]).expect("a JSON header");
    let data = bytes[end..].to_vec();
    let mut spans: Vec<(u64, u64)> = header
        .as_object()
        .expect("an object")
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(_, t)| {
            let at = |i: usize| t["data_offsets"][i].as_u64().expect("an offset");
            (at(0), at(1))
        })
        .collect();
    spans.sort_unstable();
    assert!(!spans.is_empty(), "no tensors");
    let covered = spans.iter().fold(0, |end, span| {
        assert_eq!(span.0, end, "a gap between tensors");
        span.1
    });
    assert_eq!(covered, data.len() as u64, "the tensors do not fill the file");
    (header["__metadata__"].clone(), data)
}
