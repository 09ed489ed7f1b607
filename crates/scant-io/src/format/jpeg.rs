//! JPEG, through the `image` crate; the markers are walked first to learn size and process.

use std::io::{BufRead, Cursor, Seek, SeekFrom};

use image::codecs::jpeg::JpegDecoder;
use image::{ColorType, ImageDecoder, ImageError};
use scant_core::PixelType;

use super::Layout;
use crate::error::Fault;
use crate::limits::{Limits, buffer_len, zeroed};
use crate::raster::{Kind, Raster, Samples};

const RESAVE: &str = "save it as PNG, or as an 8-bit baseline JPEG";

fn byte<R: BufRead>(reader: &mut R) -> Result<u8, Fault> {
    let mut b = [0];
    reader.read_exact(&mut b)?;
    Ok(b[0])
}

fn word<R: BufRead>(reader: &mut R) -> Result<u16, Fault> {
    let mut b = [0; 2];
    reader.read_exact(&mut b)?;
    Ok(u16::from_be_bytes(b))
}

/// The next marker; fill bytes before it are legal (ITU-T T.81, B.1.1.2).
fn marker<R: BufRead>(reader: &mut R) -> Result<u8, Fault> {
    if byte(reader)? != 0xff {
        return Err(Fault::corrupt("a marker is missing between its segments"));
    }
    loop {
        match byte(reader)? {
            0xff => {}
            m => return Ok(m),
        }
    }
}

/// Skips the rest of a segment whose length field is next.
fn skip<R: BufRead + Seek>(reader: &mut R) -> Result<(), Fault> {
    let len = word(reader)?;
    if len < 2 {
        return Err(Fault::corrupt("a segment has an impossible length"));
    }
    reader.seek(SeekFrom::Current(i64::from(len) - 2))?;
    Ok(())
}

/// Walks the segments to the frame header (ITU-T T.81, B.2.2) and leaves the reader behind it.
fn frame<R: BufRead + Seek>(reader: &mut R) -> Result<Layout, Fault> {
    let mut start = [0; 2];
    reader.read_exact(&mut start)?;
    loop {
        match marker(reader)? {
            process @ 0xc0..=0xcf if !matches!(process, 0xc4 | 0xc8 | 0xcc) => {
                let name = match process {
                    0xc0..=0xc2 => None,
                    0xc3 => Some("lossless JPEG"),
                    0xc5..=0xc7 => Some("hierarchical JPEG"),
                    _ => Some("arithmetic-coded JPEG"),
                };
                if let Some(name) = name {
                    return Err(Fault::unsupported(name, RESAVE));
                }
                let len = word(reader)?;
                let bits = byte(reader)?;
                let (height, width) = (word(reader)?, word(reader)?);
                let components = byte(reader)?;
                if usize::from(len) != 8 + 3 * usize::from(components) {
                    return Err(Fault::corrupt("its frame header has an impossible length"));
                }
                reader.seek(SeekFrom::Current(3 * i64::from(components)))?;
                if bits != 8 {
                    return Err(Fault::unsupported(format!("{bits}-bit JPEG"), RESAVE));
                }
                let channels = match components {
                    1 | 3 => components,
                    n => {
                        return Err(Fault::unsupported(
                            format!("a JPEG of {n} components (CMYK)"),
                            "convert it to grey or RGB",
                        ));
                    }
                };
                return Ok(Layout {
                    width: width.into(),
                    height: height.into(),
                    channels,
                    alpha: false,
                    pixel_type: PixelType::U8,
                });
            }
            0x01 | 0xd0..=0xd8 => {}
            0xd9 | 0xda => return Err(Fault::corrupt("it has no frame header")),
            _ => skip(reader)?,
        }
    }
}

/// Reads the header alone.
pub(crate) fn layout<R: BufRead + Seek>(mut reader: R) -> Result<Layout, Fault> {
    frame(&mut reader)
}

/// Whether the end-of-image marker stands behind the first scan. The decoder fills what is
/// missing with grey, which must not pass for tissue.
fn is_complete(bytes: &[u8]) -> Result<bool, Fault> {
    let mut reader = Cursor::new(bytes);
    frame(&mut reader)?;
    while marker(&mut reader)? != 0xda {
        skip(&mut reader)?;
    }
    let scan = usize::try_from(reader.position()).unwrap_or(usize::MAX);
    // Within coded data 0xff is always followed by 0 or a restart marker.
    Ok(bytes.get(scan..).is_some_and(|b| b.windows(2).any(|w| w == [0xff, 0xd9])))
}

/// Decodes the file as it is stored; an Exif orientation is not applied, since masks have none.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, Fault> {
    let announced = layout(Cursor::new(bytes))?;
    limits.check_size(announced.width, announced.height)?;
    if !is_complete(bytes)? {
        return Err(Fault::corrupt("it ends before its end-of-image marker"));
    }
    let fault = |e: ImageError| match e {
        ImageError::Unsupported(e) => Fault::unsupported(e.to_string(), RESAVE),
        e => Fault::corrupt(e.to_string()),
    };
    let mut decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(fault)?;
    let mut decoder_limits = image::Limits::default();
    decoder_limits.max_image_width = Some(limits.max_side);
    decoder_limits.max_image_height = Some(limits.max_side);
    decoder.set_limits(decoder_limits).map_err(fault)?;
    let (width, height) = decoder.dimensions();
    if (width, height) != (announced.width, announced.height) {
        return Err(Fault::corrupt("it has frames of different sizes"));
    }
    let (kind, samples) = match decoder.color_type() {
        ColorType::L8 => (Kind::Grey, 1),
        ColorType::Rgb8 => (Kind::Rgb, 3),
        other => return Err(Fault::unsupported(format!("{other:?} JPEG"), RESAVE)),
    };
    let mut values = zeroed::<u8>(buffer_len(&[u64::from(width), u64::from(height), samples])?)?;
    decoder.read_image(&mut values).map_err(fault)?;
    Ok(Raster { width, height, kind, samples: Samples::U8 { values, max: 255 } })
}
