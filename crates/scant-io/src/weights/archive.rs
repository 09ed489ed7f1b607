//! ZIP archives, in which PyTorch, NumPy and Keras keep their parts.

use std::io::{self, Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use super::error::Fault;
use super::source::read_exactly;

/// An archive and its directory.
pub(super) struct Archive<R> {
    zip: ZipArchive<R>,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory, which may have at most `max_entries`.
    pub(super) fn open(reader: R, max_entries: usize) -> Result<Self, Fault> {
        let zip = ZipArchive::new(reader).map_err(fault)?;
        if zip.len() > max_entries {
            return Err(Fault::TooLarge(format!(
                "the archive has {} entries, more than the limit of {max_entries}",
                zip.len()
            )));
        }
        Ok(Self { zip })
    }

    /// The names of the entries, in the order of the archive.
    pub(super) fn names(&self) -> Result<Vec<String>, Fault> {
        self.zip.file_names().map(|name| Ok(name.map_err(fault)?.into_owned())).collect()
    }

    /// The bytes of an entry, which may be at most `limit`; its checksum holds.
    pub(super) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, Fault> {
        let named = |what: &str| Fault::damaged(format!("entry \"{name}\" of the archive {what}"));
        let mut entry = self.zip.by_name(name).map_err(|e| match e {
            ZipError::FileNotFound => named("is missing"),
            other => fault(other),
        })?;
        let len = entry.size();
        if len > limit {
            return Err(Fault::TooLarge(format!(
                "entry \"{name}\" of the archive has {len} bytes, more than the limit of {limit}"
            )));
        }
        let bytes = read_exactly(&mut entry, len).map_err(|e| match e {
            Fault::Damaged(what) => named(&format!("cannot be read: {what}")),
            other => other,
        })?;
        // The end has to be seen, because the checksum is compared there.
        match entry.read(&mut [0]) {
            Ok(0) => Ok(bytes),
            Ok(_) => Err(named("is longer than it says")),
            Err(e) if e.raw_os_error().is_some() => Err(Fault::System(e)),
            Err(e) => Err(named(&format!("cannot be read: {e}"))),
        }
    }
}

/// Sorts an error of the ZIP reader.
fn fault(e: ZipError) -> Fault {
    match e {
        ZipError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => Fault::from(e),
        ZipError::Io(e) if e.raw_os_error().is_some() => Fault::System(e),
        ZipError::UnsupportedArchive(what) => unsupported(what),
        ZipError::CompressionMethodNotSupported(number) => {
            unsupported(&format!("compression method {number}"))
        }
        other => Fault::damaged(format!("as a ZIP archive: {other}")),
    }
}

fn unsupported(what: &str) -> Fault {
    Fault::unsupported(
        format!("this kind of ZIP archive ({what})"),
        "pack it again without encryption, stored or deflated",
    )
}
