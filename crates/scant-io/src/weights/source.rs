//! An opened weight file: its size held against the limits, its format told by its content.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::archive::Archive;
use super::error::Fault;
use super::{WeightFormat, WeightLimits};
use crate::sniff::text_or_bytes;

/// Bytes that tell the formats apart.
const HEAD_BYTES: u64 = 64;

/// How a ZIP archive starts.
const ARCHIVE: &[u8] = b"PK\x03\x04";

/// A regular file and its length.
pub(super) struct Source {
    file: BufReader<File>,
    len: u64,
    max_tensors: usize,
}

impl Source {
    pub(super) fn open(path: &Path, limits: &WeightLimits) -> Result<Self, Fault> {
        // Asked before opening, because opening a pipe would wait for a writer.
        let meta = std::fs::metadata(path)?;
        if !meta.is_file() {
            return Err(Fault::NotAFile);
        }
        let len = meta.len();
        if len == 0 {
            return Err(Fault::damaged("it is empty (0 bytes)"));
        }
        if len > limits.max_file_bytes {
            return Err(Fault::TooLarge(format!(
                "the file has {len} bytes, more than the limit of {}",
                limits.max_file_bytes
            )));
        }
        let file = BufReader::new(File::open(path)?);
        Ok(Self { file, len, max_tensors: limits.max_tensors })
    }

    /// Length of the file in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The file itself.
    pub(super) fn into_file(self) -> File {
        self.file.into_inner()
    }

    /// The format that the content is in; the position is at the start afterwards.
    pub(super) fn recognise(&mut self) -> Result<WeightFormat, Fault> {
        let mut head = Vec::new();
        self.file.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        self.file.seek(SeekFrom::Start(0))?;
        match head.as_slice() {
            [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(WeightFormat::Keras),
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Ok(WeightFormat::Npz),
            _ if head.starts_with(ARCHIVE) => self.recognise_archive(),
            // Pickles of protocol 2 to 5; `torch.save` has never written an older one.
            [0x80, 2..=5, ..] => Ok(WeightFormat::PyTorch),
            _ if self.has_safetensors_header(&head) => Ok(WeightFormat::Safetensors),
            _ => Err(Fault::UnknownFormat { found: describe(&head) }),
        }
    }

    /// A length that fits into the file, then a JSON object.
    fn has_safetensors_header(&self, head: &[u8]) -> bool {
        let Some((length, rest)) = head.split_first_chunk::<8>() else { return false };
        u64::from_le_bytes(*length) <= self.len - 8 && rest.first() == Some(&b'{')
    }

    /// Whether the file is a ZIP archive.
    pub(super) fn is_archive(&mut self) -> Result<bool, Fault> {
        let mut head = Vec::new();
        self.file.by_ref().take(4).read_to_end(&mut head)?;
        self.file.seek(SeekFrom::Start(0))?;
        Ok(head == ARCHIVE)
    }

    fn recognise_archive(&mut self) -> Result<WeightFormat, Fault> {
        let archive = Archive::open(&mut self.file, self.max_tensors)?;
        let names = archive.names()?;
        drop(archive);
        self.file.seek(SeekFrom::Start(0))?;
        let has = |wanted: &str| names.iter().any(|name| name.rsplit('/').next() == Some(wanted));
        if has("data.pkl") {
            Ok(WeightFormat::PyTorch)
        } else if has("model.weights.h5") || (has("config.json") && has("metadata.json")) {
            Ok(WeightFormat::Keras)
        } else if names.iter().any(|name| name.ends_with(".npy")) {
            Ok(WeightFormat::Npz)
        } else {
            let first = names.first().map_or("nothing", String::as_str);
            Err(Fault::UnknownFormat { found: format!("it is a ZIP archive that holds {first:?}") })
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// `len` bytes at the position of `reader`, or a refusal where they are not there.
pub(super) fn read_exactly(reader: &mut impl Read, len: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let size = usize::try_from(len).map_err(|_| out_of_memory())?;
    bytes.try_reserve_exact(size).map_err(|_| out_of_memory())?;
    let got = reader.take(len).read_to_end(&mut bytes).map_err(|e| match e.kind() {
        // How decompressors report what is wrong with their input.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            Fault::damaged(e.to_string())
        }
        _ => Fault::from(e),
    })?;
    if got as u64 == len { Ok(bytes) } else { Err(Fault::damaged("it ends too early")) }
}

pub(super) fn out_of_memory() -> Fault {
    Fault::TooLarge("its tensors do not fit into the free memory".into())
}

/// A few words on content that is no weight file, for error messages. Failed downloads come first:
/// they are what people mostly have instead.
fn describe(head: &[u8]) -> String {
    const KNOWN: [(&[u8], &str); 8] = [
        (b"version https://git-lfs", "it is a pointer of Git LFS, not the file; run git lfs pull"),
        (b"<!", "it is a web page, so the download went wrong"),
        (b"<html", "it is a web page, so the download went wrong"),
        (b"\x1f\x8b", "it looks like gzip"),
        (b"BZh", "it looks like bzip2"),
        (b"\xfd7zXZ", "it looks like xz"),
        (b"\x28\xb5\x2f\xfd", "it looks like Zstandard"),
        (b"PK\x05\x06", "it is an empty ZIP archive"),
    ];
    if let Some((_, words)) = KNOWN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*words).into();
    }
    text_or_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(bytes: &[u8]) -> Result<WeightFormat, Fault> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, bytes).unwrap();
        Source::open(&path, &WeightLimits::default())?.recognise()
    }

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        assert_eq!(recognised(b"\x89HDF\r\n\x1a\n\0").unwrap(), WeightFormat::Keras);
        assert_eq!(recognised(b"\x93NUMPY\x01\0").unwrap(), WeightFormat::Npz);
        assert_eq!(recognised(b"\x80\x02\x8a\x0a").unwrap(), WeightFormat::PyTorch);
        assert_eq!(recognised(b"\x02\0\0\0\0\0\0\0{}").unwrap(), WeightFormat::Safetensors);
    }

    #[test]
    fn what_people_have_instead_is_named() {
        let said = |bytes: &[u8]| recognised(bytes).unwrap_err().to_string();
        assert!(said(b"version https://git-lfs.github.com/spec/v1\n").contains("git lfs pull"));
        assert!(said(b"<!DOCTYPE html><html>").contains("download"));
        assert!(said(b"\x03\0\0\0\0\0\0\0{}").contains("it starts with 03"), "too long a header");
        assert!(said(b"\x80\x01").contains("it starts with 80 01"));
        assert!(said(b"").contains("empty"));
        assert!(said(b"PK\x03\x04 and no more").contains("damaged"));
    }
}
