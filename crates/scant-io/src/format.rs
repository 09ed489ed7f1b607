//! The formats: what a header tells, and what of each format is read and written.

pub(crate) mod bmp;
pub(crate) mod jpeg;
pub(crate) mod png;
pub(crate) mod tiff;

use std::io::{BufRead, Seek};

use scant_core::PixelType;

use crate::error::Fault;
use crate::limits::Limits;
use crate::raster::Raster;
use crate::sniff::Format;

/// What a decoder knows before it has decoded a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: u8,
    pub(crate) alpha: bool,
    pub(crate) pixel_type: PixelType,
}

/// Reads the header and checks it against the limits.
pub(crate) fn layout<R: BufRead + Seek>(
    format: Format,
    reader: R,
    limits: &Limits,
) -> Result<Layout, Fault> {
    let layout = match format {
        Format::Png => png::layout(reader, limits),
        Format::Jpeg => jpeg::layout(reader),
        Format::Bmp => bmp::layout(reader),
        Format::Tiff => tiff::layout(reader),
    }?;
    limits.check_size(layout.width, layout.height)?;
    Ok(layout)
}

/// Decodes a whole file.
pub(crate) fn decode(format: Format, bytes: Vec<u8>, limits: &Limits) -> Result<Raster, Fault> {
    match format {
        Format::Png => png::decode(&bytes, limits),
        Format::Jpeg => jpeg::decode(&bytes, limits),
        Format::Bmp => bmp::decode(&bytes, limits),
        Format::Tiff => tiff::decode(bytes, limits),
    }?
    .checked()
}

/// One line of `scant formats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatStatus {
    /// Name of the format.
    pub name: &'static str,
    /// Sample types that are read.
    pub read: &'static str,
    /// Sample types that are written, or `-`.
    pub write: &'static str,
    /// What is refused, and other peculiarities.
    pub remarks: &'static str,
}

/// What this build reads and writes, one entry per format.
#[must_use]
pub fn formats() -> &'static [FormatStatus] {
    &[
        FormatStatus {
            name: "PNG",
            read: "1, 2, 4, 8, 16 bit grey; 8, 16 bit grey+alpha, RGB, RGBA; palette",
            write: "8, 16 bit grey; 8 bit RGB; palette",
            remarks: "interlaced too; of an animation the first frame",
        },
        FormatStatus {
            name: "JPEG",
            read: "8 bit grey, colour",
            write: "-",
            remarks: "baseline and progressive; never rotated by Exif; CMYK, 12 bit, lossless and \
                      arithmetic-coded files are refused",
        },
        FormatStatus {
            name: "BMP",
            read: "1, 2, 4, 8 bit palette; 16, 24, 32 bit RGB, RGBA",
            write: "-",
            remarks: "a palette that is a grey ramp counts as grey; run-length compression is \
                      refused",
        },
        FormatStatus {
            name: "TIFF",
            read: "1, 2, 4, 8, 16 bit grey; 8, 16 bit grey+alpha, RGB, RGBA; 1 to 8 bit palette; \
                   16, 32, 64 bit float grey",
            write: "-",
            remarks: "strips and tiles, BigTIFF, first page only; uncompressed, PackBits, LZW, \
                      Deflate, JPEG, fax group 4; signed, 12 bit, 32 bit integer, CMYK, Lab and \
                      Zstandard files are refused",
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documentation is generated from the table; this is what keeps them together.
    #[test]
    fn the_status_page_agrees_with_the_table() {
        let mut page = String::from("| format | read | write | remarks |\n|---|---|---|---|\n");
        for f in formats() {
            page += &format!("| {} | {} | {} | {} |\n", f.name, f.read, f.write, f.remarks);
        }
        let on_disk = include_str!("../status.md");
        assert_eq!(on_disk, page, "status.md should read:\n{page}");
    }
}
