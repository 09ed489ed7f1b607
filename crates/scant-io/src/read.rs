//! From a path to a header or an image.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use scant_core::{Image, PixelType};

use crate::error::{Fault, IoError};
use crate::format::{decode, layout};
use crate::limits::Limits;
use crate::raster::Raster;
use crate::sniff::{Format, SNIFF_BYTES, describe_unknown, sniff};

/// What a file announces about its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The format, from the content.
    pub format: Format,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// Channels that [`read_image`] returns: 1 or 3, palettes expanded and alpha dropped.
    pub channels: u8,
    /// Whether the file has an alpha channel, which [`read_image`] and
    /// [`read_mask`](crate::read_mask) drop.
    pub alpha: bool,
    /// How samples are stored.
    pub pixel_type: PixelType,
}

/// Reads the header of an image file without decoding a pixel.
///
/// # Errors
/// As [`read_image`], except for damage behind the header.
pub fn read_header(path: &Path, limits: &Limits) -> Result<Header, IoError> {
    let (file, format) = open(path, limits)?;
    let found = guarded(|| layout(format, BufReader::new(file), limits)).map_err(|f| f.at(path))?;
    Ok(Header {
        format,
        width: found.width,
        height: found.height,
        channels: found.channels,
        alpha: found.alpha,
        pixel_type: found.pixel_type,
    })
}

/// Reads an image file, whatever its name ends in.
///
/// # Shapes
/// `[channels, rows, columns]` with 1 channel for grey and 3 for colour; a palette is expanded to
/// its colours.
///
/// # Range
/// `[0, 1]`: stored integers divided by the largest value of their depth, white being 1 also in
/// white-is-zero TIFF. Float TIFF is kept as stored, NaN included.
///
/// # What is left out
/// Alpha is dropped, never blended: segmentation wants the measured sample under a transparent
/// pixel. [`Header::alpha`] tells whether there was any. The Exif orientation of a JPEG is not
/// applied, because the mask drawn on the same pixels has none. Colour profiles and gamma are
/// ignored. Of several pages or frames the first is read.
///
/// # Errors
/// [`IoError::NotFound`], [`IoError::NotAFile`], [`IoError::Permission`] or [`IoError::Io`] when
/// the file cannot be read; [`IoError::UnknownFormat`] for any other content;
/// [`IoError::TooLarge`] beyond `limits`; [`IoError::Corrupt`] for damage; and
/// [`IoError::Unsupported`] for what [`formats`](crate::formats) does not list.
pub fn read_image(path: &Path, limits: &Limits) -> Result<Image, IoError> {
    decode_file(path, limits)?.into_image().map_err(|f| f.at(path))
}

/// Reads and decodes a file.
pub(crate) fn decode_file(path: &Path, limits: &Limits) -> Result<Raster, IoError> {
    let (file, format) = open(path, limits)?;
    guarded(|| {
        // The size has to be acceptable before the rest of the file is fetched.
        let mut reader = BufReader::new(file);
        layout(format, &mut reader, limits)?;
        let mut file = reader.into_inner();
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file that grew since it was measured.
        file.take(limits.max_file_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        limits.check_file(bytes.len() as u64)?;
        decode(format, bytes, limits)
    })
    .map_err(|f| f.at(path))
}

/// Opens a file and recognises it, leaving the position at its start.
fn open(path: &Path, limits: &Limits) -> Result<(File, Format), IoError> {
    let system = |e| IoError::from_system(path, "reading", e);
    // Asked before opening, because opening a pipe would wait for a writer.
    let meta = std::fs::metadata(path).map_err(system)?;
    if !meta.is_file() {
        return Err(IoError::NotAFile { path: path.to_path_buf() });
    }
    limits.check_file(meta.len()).map_err(|f| f.at(path))?;
    let mut file = File::open(path).map_err(system)?;
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    file.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut head).map_err(system)?;
    if head.is_empty() {
        return Err(Fault::corrupt("it is empty (0 bytes)").at(path));
    }
    let format = sniff(&head).ok_or_else(|| IoError::UnknownFormat {
        path: path.to_path_buf(),
        found: describe_unknown(&head),
    })?;
    file.seek(SeekFrom::Start(0)).map_err(system)?;
    Ok((file, format))
}

/// The decoders are other people's code and meet files that no test has seen; a panic in one of
/// them must cost one file, not the run.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::corrupt("its decoder gave up on it")))
}
