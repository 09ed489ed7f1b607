//! Which format a file is in, told by its first bytes and never by its name.

use std::fmt;

/// The image formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG (JFIF, Exif and bare streams).
    Jpeg,
    /// Windows bitmap.
    Bmp,
    /// TIFF and BigTIFF, both byte orders.
    Tiff,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        })
    }
}

/// Bytes [`sniff`] wants to see; fewer are fine.
pub(crate) const SNIFF_BYTES: usize = 18;

/// The format of a file that starts with `head`, or `None` for any other content.
///
/// 18 bytes are enough.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<Format> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Format::Png),
        [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Format::Tiff),
        // "BM" alone starts many a text; the size of the second header tells.
        [b'B', b'M', ..] => {
            let size = head.get(14..18)?;
            matches!(
                u32::from_le_bytes([size[0], size[1], size[2], size[3]]),
                12 | 16 | 40 | 52 | 56 | 64 | 108 | 124
            )
            .then_some(Format::Bmp)
        }
        _ => None,
    }
}

/// A few words on content that [`sniff`] does not know, for error messages.
pub(crate) fn describe_unknown(head: &[u8]) -> String {
    const KNOWN: [(&[u8], &str); 8] = [
        (b"\x89HDF\r\n\x1a\n", "it looks like HDF5"),
        (b"\x1f\x8b", "it looks like gzip"),
        (b"PK\x03\x04", "it looks like a ZIP archive"),
        (b"GIF8", "it looks like GIF"),
        (b"RIFF", "it looks like WebP or AVI"),
        (b"%PDF", "it looks like PDF"),
        (b"NRRD", "it looks like NRRD"),
        (b"\x00\x00\x00\x0cjP", "it looks like JPEG 2000"),
    ];
    if let Some((_, words)) = KNOWN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*words).into();
    }
    text_or_bytes(head)
}

/// The words on content that no list of known beginnings has.
pub(crate) fn text_or_bytes(head: &[u8]) -> String {
    if head.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        return "it looks like text".into();
    }
    let hex: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("it starts with {}", hex.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_known_by_its_first_bytes() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n\0\0"), Some(Format::Png));
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Some(Format::Jpeg));
        assert_eq!(sniff(b"II*\0"), Some(Format::Tiff));
        assert_eq!(sniff(b"MM\0+"), Some(Format::Tiff));
        assert_eq!(sniff(b"BM0123456789abcd\x28\0\0\0"), None, "header size is at 14");
        assert_eq!(sniff(b"BM0123456789ab\x28\0\0\0"), Some(Format::Bmp));
        assert_eq!(sniff(b"BMI of the patients, in kg"), None);
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"\x89PNG"), None);
    }

    #[test]
    fn unknown_content_is_described() {
        assert_eq!(describe_unknown(b"patient,age\n"), "it looks like text");
        assert_eq!(describe_unknown(b"GIF89a"), "it looks like GIF");
        assert_eq!(describe_unknown(&[0, 1]), "it starts with 00 01");
    }
}
