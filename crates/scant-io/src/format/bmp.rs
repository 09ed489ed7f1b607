//! BMP, through the `image` crate, with palette indices kept.

use std::io::{BufRead, Cursor, Seek, SeekFrom};

use image::codecs::bmp::BmpDecoder;
use image::{ColorType, ImageDecoder, ImageError};
use scant_core::PixelType;

use super::Layout;
use crate::error::Fault;
use crate::limits::{Limits, buffer_len, zeroed};
use crate::raster::{Kind, Raster, Samples};

const RESAVE: &str = "save it as PNG, or as an uncompressed BMP";

/// The fields of the second header that decide how palettes are read.
struct Coding {
    bits: u16,
    compression: u32,
    /// Entries of the palette, where there is one.
    colours: u32,
}

fn coding<R: BufRead + Seek>(reader: &mut R) -> Result<Coding, Fault> {
    let mut head = [0; 54];
    reader.seek(SeekFrom::Start(0))?;
    reader.read_exact(&mut head[..26])?;
    let u16_at = |h: &[u8; 54], i: usize| u16::from_le_bytes([h[i], h[i + 1]]);
    let u32_at = |h: &[u8; 54], i: usize| u32::from_le_bytes([h[i], h[i + 1], h[i + 2], h[i + 3]]);
    let coding = if u32_at(&head, 14) == 12 {
        Coding { bits: u16_at(&head, 24), compression: 0, colours: 0 }
    } else {
        reader.read_exact(&mut head[26..])?;
        Coding {
            bits: u16_at(&head, 28),
            compression: u32_at(&head, 30),
            colours: u32_at(&head, 46),
        }
    };
    reader.seek(SeekFrom::Start(0))?;
    if matches!(coding.compression, 1 | 2) {
        return Err(Fault::unsupported("run-length compressed BMP", RESAVE));
    }
    let all = if coding.bits <= 8 { 1 << coding.bits } else { 0 };
    let colours = if coding.colours == 0 { all } else { coding.colours.min(all) };
    Ok(Coding { colours, ..coding })
}

fn fault(e: ImageError) -> Fault {
    match e {
        ImageError::Unsupported(e) => Fault::unsupported(e.to_string(), RESAVE),
        ImageError::IoError(e) => e.into(),
        e => Fault::corrupt(e.to_string()),
    }
}

/// Every grey image is stored with a palette in this format; only a palette that is not the plain
/// ramp from black to white makes it an image of colours.
fn is_grey_ramp(palette: &[[u8; 3]], bits: u16) -> bool {
    let top = (1_usize << bits) - 1;
    palette.len() == top + 1
        && palette
            .iter()
            .enumerate()
            .all(|(i, c)| c.iter().all(|&v| usize::from(v) * top == i * 255))
}

struct Opened<R> {
    decoder: BmpDecoder<R>,
    bits: u16,
    /// The colours that are there, and whether they are the grey ramp.
    palette: Option<(Vec<[u8; 3]>, bool)>,
    layout: Layout,
}

fn open<R: BufRead + Seek>(mut reader: R) -> Result<Opened<R>, Fault> {
    let Coding { bits, colours, .. } = coding(&mut reader)?;
    let mut decoder = BmpDecoder::new(reader).map_err(fault)?;
    let palette = decoder.get_palette().map(|p| {
        let p = p[..p.len().min(colours as usize)].to_vec();
        let ramp = is_grey_ramp(&p, bits);
        (p, ramp)
    });
    decoder.set_indexed_color(palette.is_some());
    let (width, height) = decoder.dimensions();
    let grey = matches!(palette, Some((_, true)));
    let layout = Layout {
        width,
        height,
        channels: if grey { 1 } else { 3 },
        alpha: decoder.color_type() == ColorType::Rgba8,
        pixel_type: if grey && bits == 1 { PixelType::U1 } else { PixelType::U8 },
    };
    Ok(Opened { decoder, bits, palette, layout })
}

/// Reads the header alone.
pub(crate) fn layout<R: BufRead + Seek>(reader: R) -> Result<Layout, Fault> {
    Ok(open(reader)?.layout)
}

/// Decodes the file.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, Fault> {
    let Opened { decoder, bits, palette, layout } = open(Cursor::new(bytes))?;
    let Layout { width, height, alpha, .. } = layout;
    limits.check_size(width, height)?;
    // Nothing is compressed here, so a file shorter than its pixels ends too early.
    let row = (u64::from(width) * u64::from(bits)).div_ceil(8);
    if row * u64::from(height) > bytes.len() as u64 {
        return Err(Fault::corrupt("it ends too early"));
    }
    let kind = match palette {
        Some((_, true)) => Kind::Grey,
        Some((colours, false)) => {
            Kind::Palette(colours.into_iter().map(|c| c.map(|v| f32::from(v) / 255.0)).collect())
        }
        None if alpha => Kind::Rgba,
        None => Kind::Rgb,
    };
    let len = buffer_len(&[u64::from(width), u64::from(height), kind.samples() as u64])?;
    if decoder.total_bytes() != len as u64 {
        return Err(Fault::corrupt("its samples do not fill its size"));
    }
    let mut values = zeroed::<u8>(len)?;
    decoder.read_image(&mut values).map_err(fault)?;
    let max = if kind == Kind::Grey { ((1_u16 << bits) - 1) as u8 } else { 255 };
    Ok(Raster { width, height, kind, samples: Samples::U8 { values, max } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_full_ramp_is_grey() {
        assert!(is_grey_ramp(&[[0; 3], [255; 3]], 1));
        assert!(!is_grey_ramp(&[[255; 3], [0; 3]], 1));
        let ramp: Vec<[u8; 3]> = (0..=255).map(|v| [v; 3]).collect();
        assert!(is_grey_ramp(&ramp, 8));
        assert!(!is_grey_ramp(&ramp[..17], 8));
        let sixteen: Vec<[u8; 3]> = (0..16).map(|v| [v * 17; 3]).collect();
        assert!(is_grey_ramp(&sixteen, 4));
    }
}
