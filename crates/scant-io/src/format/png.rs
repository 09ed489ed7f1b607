//! PNG, through the `png` crate, unexpanded so that palette indices survive.

use std::io::{BufRead, Cursor, Seek};

use png::{BitDepth, ColorType, Decoder, DecodingError, Transformations};
use scant_core::PixelType;

use super::Layout;
use crate::error::Fault;
use crate::limits::{Limits, buffer_len, zeroed};
use crate::raster::{Kind, Raster, Samples, unpack_bits};

/// A Deflate stream cannot expand more than 1032-fold, so a file much smaller than this fraction
/// of its announced pixels is damaged or hostile.
const MAX_EXPANSION: u64 = 1100;

fn decoder<R: BufRead + Seek>(reader: R, limits: &Limits) -> Decoder<R> {
    // The decoder's own memory is a few rows; four 16-bit samples a pixel is the widest row.
    let row = usize::try_from(limits.max_side).unwrap_or(usize::MAX).saturating_mul(8);
    let bytes = row.saturating_mul(8).saturating_add(1 << 24);
    let mut decoder = Decoder::new_with_limits(reader, png::Limits { bytes });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

fn fault(e: DecodingError) -> Fault {
    match e {
        DecodingError::IoError(e) => e.into(),
        DecodingError::LimitsExceeded => {
            Fault::TooLarge("its rows need more memory than the limits allow".into())
        }
        DecodingError::Format(e) => Fault::corrupt(e.to_string()),
        DecodingError::Parameter(e) => Fault::corrupt(e.to_string()),
    }
}

/// Reads the header alone.
pub(crate) fn layout<R: BufRead + Seek>(reader: R, limits: &Limits) -> Result<Layout, Fault> {
    let mut decoder = decoder(reader, limits);
    let info = decoder.read_header_info().map_err(fault)?;
    let (channels, alpha) = match info.color_type {
        ColorType::Grayscale => (1, false),
        ColorType::GrayscaleAlpha => (1, true),
        ColorType::Rgb | ColorType::Indexed => (3, false),
        ColorType::Rgba => (3, true),
    };
    let pixel_type = match (info.bit_depth, info.color_type) {
        (BitDepth::Sixteen, _) => PixelType::U16,
        (BitDepth::One, ColorType::Grayscale) => PixelType::U1,
        _ => PixelType::U8,
    };
    Ok(Layout { width: info.width, height: info.height, channels, alpha, pixel_type })
}

/// Decodes the first frame.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, Fault> {
    let mut decoder = decoder(Cursor::new(bytes), limits);
    // The size is checked before `read_info` takes memory for rows.
    let info = decoder.read_header_info().map_err(fault)?;
    let (width, height) = (info.width, info.height);
    limits.check_size(width, height)?;
    let (colour, depth) = (info.color_type, info.bit_depth);
    let row_bits =
        buffer_len(&[u64::from(width), colour.samples() as u64, u64::from(depth as u8)])?;
    let row_bytes = row_bits.div_ceil(8);
    let raw = buffer_len(&[row_bytes as u64, u64::from(height)])?;
    if raw as u64 / MAX_EXPANSION > bytes.len() as u64 {
        return Err(Fault::corrupt(format!(
            "it announces {width} x {height} pixels, which its {} bytes cannot hold",
            bytes.len()
        )));
    }
    let mut reader = decoder.read_info().map_err(fault)?;
    let mut buffer = zeroed::<u8>(raw)?;
    let frame = reader.next_frame(&mut buffer).map_err(fault)?;
    if (frame.width, frame.height, frame.line_size) != (width, height, row_bytes) {
        return Err(Fault::corrupt("its first frame does not fill the image"));
    }
    let kind = match colour {
        ColorType::Grayscale => Kind::Grey,
        ColorType::GrayscaleAlpha => Kind::GreyAlpha,
        ColorType::Rgb => Kind::Rgb,
        ColorType::Rgba => Kind::Rgba,
        ColorType::Indexed => {
            let palette = reader.info().palette.as_deref().unwrap_or_default();
            if palette.is_empty() {
                return Err(Fault::corrupt("its palette is missing"));
            }
            Kind::Palette(
                palette
                    .chunks_exact(3)
                    .map(|c| [c[0], c[1], c[2]].map(|v| f32::from(v) / 255.0))
                    .collect(),
            )
        }
    };
    let samples = match depth {
        BitDepth::Sixteen => {
            Samples::U16(buffer.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect())
        }
        BitDepth::Eight => Samples::U8 { values: buffer, max: 255 },
        BitDepth::One | BitDepth::Two | BitDepth::Four => {
            let bits = depth as u8;
            let per_row = width as usize * kind.samples();
            let values = unpack_bits(&buffer, bits, per_row, row_bytes, height as usize)?;
            Samples::U8 { values, max: (1 << bits) - 1 }
        }
    };
    Ok(Raster { width, height, kind, samples })
}
