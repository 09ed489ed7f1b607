//! TIFF and BigTIFF, through the `tiff` crate.
//!
//! The crate neither decodes palette images nor inverts all kinds of white-is-zero images, but its
//! bit unpacking and decompression do not depend on the meaning of the samples. So the first
//! directory is read here, the copy of the file in memory is relabelled as plain grey, and the
//! meaning is put back afterwards.

mod directory;

use std::io::{BufRead, Cursor, Seek};

use scant_core::PixelType;
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult};

use self::directory::Directory;
use super::Layout;
use crate::error::Fault;
use crate::limits::{Limits, buffer_len};
use crate::raster::{Kind, Raster, Samples, unpack_bits};

const CONVERT: &str = "convert it to an 8- or 16-bit grey or RGB TIFF or PNG";

mod tag {
    pub(super) const WIDTH: u16 = 256;
    pub(super) const HEIGHT: u16 = 257;
    pub(super) const BITS: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const PHOTOMETRIC: u16 = 262;
    pub(super) const FILL_ORDER: u16 = 266;
    pub(super) const SAMPLES: u16 = 277;
    pub(super) const ROWS_PER_STRIP: u16 = 278;
    pub(super) const COLOUR_MAP: u16 = 320;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const EXTRA_SAMPLES: u16 = 338;
    pub(super) const SAMPLE_FORMAT: u16 = 339;
    pub(super) const YCBCR_COEFFICIENTS: u16 = 529;
}

/// What the pixels mean, from the tags alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Grey { inverted: bool, alpha: bool },
    Palette,
    Rgb { alpha: bool },
    YCbCr,
}

#[derive(Debug)]
struct Plan {
    width: u32,
    height: u32,
    bits: u8,
    float: bool,
    colour: Colour,
}

impl Plan {
    fn read<R: BufRead + Seek>(dir: &Directory, reader: &mut R) -> Result<Self, Fault> {
        let size = |v: Option<u64>, what: &str| {
            let v = v.ok_or_else(|| Fault::corrupt(format!("its {what} is missing")))?;
            u32::try_from(v).map_err(|_| Fault::corrupt(format!("its {what} is {v}")))
        };
        let width = size(dir.value(reader, tag::WIDTH)?, "width")?;
        let height = size(dir.value(reader, tag::HEIGHT)?, "height")?;
        let samples = dir.value(reader, tag::SAMPLES)?.unwrap_or(1);
        let bits = dir.values(reader, tag::BITS, 65_535)?.unwrap_or_else(|| vec![1]);
        let format = dir.values(reader, tag::SAMPLE_FORMAT, 65_535)?.unwrap_or_else(|| vec![1]);
        let extra = dir.values(reader, tag::EXTRA_SAMPLES, 65_535)?.unwrap_or_default();
        let photometric = dir
            .value(reader, tag::PHOTOMETRIC)?
            .ok_or_else(|| Fault::corrupt("its photometric interpretation is missing"))?;

        if bits.iter().any(|&b| b != bits[0]) || format.iter().any(|&f| f != format[0]) {
            return Err(Fault::unsupported("a TIFF of unequal sample types", CONVERT));
        }
        let float = match format[0] {
            // "Undefined" is to be read as unsigned (TIFF 6.0, section 19).
            1 | 4 => false,
            3 => true,
            2 => return Err(Fault::unsupported("a TIFF of signed integers", CONVERT)),
            _ => return Err(Fault::unsupported("a TIFF of complex numbers", CONVERT)),
        };
        if dir.value(reader, tag::FILL_ORDER)?.is_some_and(|f| f != 1) {
            return Err(Fault::unsupported("a TIFF with reversed bit order", CONVERT));
        }
        let has_alpha = match extra.as_slice() {
            [] => false,
            [1 | 2] => true,
            _ => return Err(Fault::unsupported("a TIFF with extra bands", CONVERT)),
        };
        let colour = match (photometric, samples, has_alpha) {
            (p @ (0 | 1), 1, false) => Colour::Grey { inverted: p == 0, alpha: false },
            (1, 2, true) => Colour::Grey { inverted: false, alpha: true },
            (2, 3, false) => Colour::Rgb { alpha: false },
            // Four unexplained bands are RGBA for most readers.
            (2, 4, _) => Colour::Rgb { alpha: true },
            (3, 1, false) => Colour::Palette,
            (6, 3, false) => Colour::YCbCr,
            (p, n, _) => {
                let name = match p {
                    0 | 1 => "grey",
                    2 => "RGB",
                    3 => "palette",
                    4 => "mask",
                    5 => "CMYK",
                    6 => "YCbCr",
                    8..=10 => "Lab",
                    _ => "unknown",
                };
                return Err(Fault::unsupported(
                    format!("a TIFF of {n} band(s) with {name} colours"),
                    CONVERT,
                ));
            }
        };
        let grey_or_palette = matches!(colour, Colour::Palette | Colour::Grey { alpha: false, .. });
        let ok = match (bits[0], float) {
            (1 | 2 | 4, false) => grey_or_palette,
            (8, false) => true,
            (16, false) => !matches!(colour, Colour::Palette | Colour::YCbCr),
            (16 | 32 | 64, true) => colour == Colour::Grey { inverted: false, alpha: false },
            _ => false,
        };
        if !ok {
            let number = if float { "float" } else { "integer" };
            return Err(Fault::unsupported(
                format!("a TIFF of {}-bit {number} samples with these colours", bits[0]),
                CONVERT,
            ));
        }
        // The colour transform of a YCbCr file is the one of JPEG unless the file says otherwise.
        if colour == Colour::YCbCr
            && let Some(c) = dir.fractions(reader, tag::YCBCR_COEFFICIENTS)?
        {
            let jpeg = [0.299, 0.587, 0.114];
            let usual = c.len() == 3 && c.iter().zip(jpeg).all(|(a, b)| (a - b).abs() < 2e-3);
            if !usual {
                return Err(Fault::unsupported("a TIFF with unusual YCbCr coefficients", CONVERT));
            }
        }
        Ok(Self { width, height, bits: bits[0] as u8, float, colour })
    }

    fn layout(&self) -> Layout {
        let (channels, alpha) = match self.colour {
            Colour::Grey { alpha, .. } => (1, alpha),
            Colour::Rgb { alpha } => (3, alpha),
            Colour::Palette | Colour::YCbCr => (3, false),
        };
        let pixel_type = match (self.bits, self.float, self.colour) {
            (_, true, _) => PixelType::F32,
            (1, _, Colour::Grey { .. }) => PixelType::U1,
            (16, ..) => PixelType::U16,
            _ => PixelType::U8,
        };
        Layout { width: self.width, height: self.height, channels, alpha, pixel_type }
    }
}

/// Reads the first directory alone.
pub(crate) fn layout<R: BufRead + Seek>(mut reader: R) -> Result<Layout, Fault> {
    let dir = Directory::read(&mut reader)?;
    Ok(Plan::read(&dir, &mut reader)?.layout())
}

fn fault(e: TiffError) -> Fault {
    match e {
        TiffError::UnsupportedError(e) => {
            Fault::unsupported(format!("a part of it ({e})"), CONVERT)
        }
        TiffError::LimitsExceeded | TiffError::IntSizeError => {
            Fault::corrupt("a strip or tile announces more data than its pixels need")
        }
        e => Fault::corrupt(e.to_string()),
    }
}

/// The colours of a palette; 16-bit values, except in files of writers that stored 8-bit ones.
fn palette<R: BufRead + Seek>(
    dir: &Directory,
    reader: &mut R,
    bits: u8,
) -> Result<Vec<[f32; 3]>, Fault> {
    let n = 1_usize << bits;
    let map = dir
        .values(reader, tag::COLOUR_MAP, 3 * 256)?
        .filter(|m| m.len() == 3 * n)
        .ok_or_else(|| Fault::corrupt("its palette is missing or has the wrong length"))?;
    let top = if map.iter().all(|&v| v < 256) { 255.0 } else { 65_535.0 };
    Ok((0..n).map(|i| [0, 1, 2].map(|c| map[c * n + i] as f32 / top)).collect())
}

/// JFIF 1.02: full-range YCbCr to RGB, in place.
fn ycbcr_to_rgb(samples: &mut [u8]) {
    for p in samples.chunks_exact_mut(3) {
        let (y, cb, cr) = (f32::from(p[0]), f32::from(p[1]) - 128.0, f32::from(p[2]) - 128.0);
        p[0] = (y + 1.402 * cr).round() as u8;
        p[1] = (y - 0.344_136 * cb - 0.714_136 * cr).round() as u8;
        p[2] = (y + 1.772 * cb).round() as u8;
    }
}

/// Plane after plane to pixel after pixel.
fn interleave<T: Copy>(planes: Vec<T>, count: usize) -> Vec<T> {
    if count < 2 {
        return planes;
    }
    let len = planes.len() / count;
    (0..len).flat_map(|i| (0..count).map(move |c| c * len + i)).map(|i| planes[i]).collect()
}

/// Decodes the first page.
pub(crate) fn decode(mut bytes: Vec<u8>, limits: &Limits) -> Result<Raster, Fault> {
    let mut cursor = Cursor::new(bytes.as_slice());
    let dir = Directory::read(&mut cursor)?;
    let plan = Plan::read(&dir, &mut cursor)?;
    let Plan { width, height, bits, .. } = plan;
    limits.check_size(width, height)?;
    // The decoder multiplies these without looking.
    for (tag, name) in [
        (tag::TILE_WIDTH, "tile width"),
        (tag::TILE_HEIGHT, "tile height"),
        (tag::ROWS_PER_STRIP, "strip height"),
    ] {
        // 2^32 - 1 rows a strip is the usual way to say "all in one".
        let bound = if tag == tag::ROWS_PER_STRIP { u64::from(u32::MAX) } else { 1 << 16 };
        if let Some(v) = dir.value(&mut cursor, tag)?
            && (v == 0 || v > bound)
        {
            return Err(Fault::corrupt(format!("its {name} is {v}")));
        }
    }
    let compression = dir.value(&mut cursor, tag::COMPRESSION)?.unwrap_or(1);
    if plan.colour == Colour::YCbCr && compression != 7 {
        return Err(Fault::unsupported("a YCbCr TIFF without JPEG compression", CONVERT));
    }
    let kind = match plan.colour {
        Colour::Grey { alpha: false, .. } => Kind::Grey,
        Colour::Grey { alpha: true, .. } => Kind::GreyAlpha,
        Colour::Palette => Kind::Palette(palette(&dir, &mut cursor, bits)?),
        Colour::Rgb { alpha: false } | Colour::YCbCr => Kind::Rgb,
        Colour::Rgb { alpha: true } => Kind::Rgba,
    };
    if matches!(plan.colour, Colour::Palette | Colour::Grey { inverted: true, .. }) {
        dir.overwrite_short(&mut bytes, tag::PHOTOMETRIC, 1)?;
    }

    let samples = kind.samples() as u64;
    let whole =
        buffer_len(&[u64::from(width) * samples * u64::from(bits).div_ceil(8), height.into()])?;
    let file_len = bytes.len();
    let mut decoder_limits = tiff::decoder::Limits::default();
    decoder_limits.decoding_buffer_size = whole;
    decoder_limits.intermediate_buffer_size = file_len;
    // Offsets of strips: eight bytes for each, of which a file cannot hold more than itself.
    decoder_limits.ifd_value_size = file_len.saturating_mul(8);
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(fault)?.with_limits(decoder_limits);
    if decoder.dimensions().map_err(fault)? != (width, height) {
        return Err(Fault::corrupt("it announces its size twice, differently"));
    }
    let mut result = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut result).map_err(fault)?;

    let samples = match result {
        DecodingResult::U8(packed) if bits < 8 => {
            let row = layout.row_stride.map_or(0, std::num::NonZero::get);
            let values = unpack_bits(&packed, bits, width as usize, row, height as usize)?;
            Samples::U8 { values, max: (1 << bits) - 1 }
        }
        DecodingResult::U8(v) => Samples::U8 { values: interleave(v, layout.planes), max: 255 },
        DecodingResult::U16(v) => Samples::U16(interleave(v, layout.planes)),
        DecodingResult::F16(v) => Samples::F32(v.into_iter().map(f32::from).collect()),
        DecodingResult::F32(v) => Samples::F32(v),
        DecodingResult::F64(v) => Samples::F32(v.into_iter().map(|x| x as f32).collect()),
        _ => return Err(Fault::unsupported("a TIFF of this sample type", CONVERT)),
    };
    let samples = match (plan.colour, samples) {
        (Colour::Grey { inverted: true, .. }, Samples::U8 { mut values, max }) => {
            values.iter_mut().for_each(|v| *v = max - *v);
            Samples::U8 { values, max }
        }
        (Colour::Grey { inverted: true, .. }, Samples::U16(mut values)) => {
            values.iter_mut().for_each(|v| *v = u16::MAX - *v);
            Samples::U16(values)
        }
        (Colour::YCbCr, Samples::U8 { mut values, max }) => {
            ycbcr_to_rgb(&mut values);
            Samples::U8 { values, max }
        }
        (_, samples) => samples,
    };
    Ok(Raster { width, height, kind, samples })
}
