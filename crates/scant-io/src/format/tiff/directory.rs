//! The first directory of a TIFF or BigTIFF file, read without touching its pixels.

use std::collections::BTreeMap;
use std::io::{BufRead, Seek, SeekFrom};

use crate::error::Fault;

/// No directory of a planar image has anywhere near as many entries.
const MAX_ENTRIES: u64 = 4096;

#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: u16,
    count: u64,
    /// Where the value stands in the file.
    at: u64,
}

/// Tags and where their values are (TIFF 6.0, section 2; BigTIFF has wider fields).
#[derive(Debug)]
pub(crate) struct Directory {
    little: bool,
    entries: BTreeMap<u16, Entry>,
}

fn bytes<R: BufRead>(reader: &mut R, n: usize, little: bool) -> Result<u64, Fault> {
    let mut b = [0; 8];
    reader.read_exact(&mut b[..n])?;
    if !little {
        b[..n].reverse();
    }
    Ok(u64::from_le_bytes(b))
}

fn width_of(kind: u16) -> Option<u64> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => return None,
    })
}

impl Directory {
    /// Reads the header and the first directory.
    pub(crate) fn read<R: BufRead + Seek>(reader: &mut R) -> Result<Self, Fault> {
        reader.seek(SeekFrom::Start(0))?;
        let mut order = [0; 2];
        reader.read_exact(&mut order)?;
        let little = order == *b"II";
        let big = bytes(reader, 2, little)? == 43;
        if big && (bytes(reader, 2, little)? != 8 || bytes(reader, 2, little)? != 0) {
            return Err(Fault::corrupt("its BigTIFF header has an impossible offset size"));
        }
        let wide = if big { 8 } else { 4 };
        let start = bytes(reader, wide, little)?;
        reader.seek(SeekFrom::Start(start))?;
        let count = bytes(reader, if big { 8 } else { 2 }, little)?;
        if count == 0 || count > MAX_ENTRIES {
            return Err(Fault::corrupt(format!("its first directory has {count} entries")));
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let tag = bytes(reader, 2, little)?;
            let kind = bytes(reader, 2, little)? as u16;
            let count = bytes(reader, wide, little)?;
            let field = reader.stream_position()?;
            let pointer = bytes(reader, wide, little)?;
            let inline = width_of(kind)
                .and_then(|w| w.checked_mul(count))
                .is_some_and(|len| len <= wide as u64);
            let at = if inline { field } else { pointer };
            entries.insert(tag as u16, Entry { kind, count, at });
        }
        Ok(Self { little, entries })
    }

    /// The unsigned values of a tag, or `None` where the tag is absent.
    pub(crate) fn values<R: BufRead + Seek>(
        &self,
        reader: &mut R,
        tag: u16,
        max_count: u64,
    ) -> Result<Option<Vec<u64>>, Fault> {
        let Some(entry) = self.entries.get(&tag) else { return Ok(None) };
        let width = match entry.kind {
            1 | 7 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            kind => {
                return Err(Fault::corrupt(format!("tag {tag} has the impossible type {kind}")));
            }
        };
        if entry.count == 0 || entry.count > max_count {
            return Err(Fault::corrupt(format!("tag {tag} has {} values", entry.count)));
        }
        reader.seek(SeekFrom::Start(entry.at))?;
        (0..entry.count)
            .map(|_| bytes(reader, width, self.little))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The first value of a tag.
    pub(crate) fn value<R: BufRead + Seek>(
        &self,
        reader: &mut R,
        tag: u16,
    ) -> Result<Option<u64>, Fault> {
        Ok(self.values(reader, tag, 65_535)?.map(|v| v[0]))
    }

    /// The rational values of a tag as fractions.
    pub(crate) fn fractions<R: BufRead + Seek>(
        &self,
        reader: &mut R,
        tag: u16,
    ) -> Result<Option<Vec<f64>>, Fault> {
        let Some(entry) = self.entries.get(&tag) else { return Ok(None) };
        if entry.kind != 5 || entry.count > 64 {
            return Err(Fault::corrupt(format!("tag {tag} is not a short list of fractions")));
        }
        reader.seek(SeekFrom::Start(entry.at))?;
        (0..entry.count)
            .map(|_| {
                let above = bytes(reader, 4, self.little)?;
                let below = bytes(reader, 4, self.little)?;
                Ok(above as f64 / below as f64)
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Overwrites the value of a one-value SHORT tag in a copy of the file.
    pub(crate) fn overwrite_short(
        &self,
        file: &mut [u8],
        tag: u16,
        value: u16,
    ) -> Result<(), Fault> {
        let place = self
            .entries
            .get(&tag)
            .filter(|e| e.kind == 3 && e.count == 1)
            .and_then(|e| usize::try_from(e.at).ok())
            .and_then(|at| file.get_mut(at..)?.get_mut(..2))
            .ok_or_else(|| Fault::corrupt(format!("tag {tag} is not one short number")))?;
        place.copy_from_slice(&if self.little { value.to_le_bytes() } else { value.to_be_bytes() });
        Ok(())
    }
}
