//! Class masks: the number stored at each pixel, whatever colour it is shown in.

use std::path::Path;

use ndarray::Array2;

use crate::error::{Fault, IoError};
use crate::limits::Limits;
use crate::raster::{Kind, Raster, Samples};
use crate::read::decode_file;

/// What the values of a [`RawMask`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskEncoding {
    /// Positions in the palette of the file.
    Index,
    /// Grey values as stored.
    Grey,
    /// Colours as `0xRRGGBB`, of the upper eight bits where there are sixteen.
    Rgb,
}

/// A mask as the file has it; which value is which class is for the pool file to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMask {
    /// Stored values, `[rows, columns]`.
    pub values: Array2<u32>,
    /// What they are.
    pub encoding: MaskEncoding,
}

/// Reads a mask without interpreting it.
///
/// | in the file | value | encoding |
/// |---|---|---|
/// | palette (PNG, TIFF, BMP) | position in the palette | [`MaskEncoding::Index`] |
/// | 1, 2, 4, 8, 16 bit grey | as stored: 0 or 1, 0 to 3, ... | [`MaskEncoding::Grey`] |
/// | float grey (TIFF) of whole numbers from 0 to 2^24 | that number | [`MaskEncoding::Grey`] |
/// | RGB with three equal samples everywhere | that sample | [`MaskEncoding::Grey`] |
/// | other RGB | `0xRRGGBB` | [`MaskEncoding::Rgb`] |
///
/// An alpha channel is ignored. White is the largest value in white-is-zero TIFF too, and a BMP
/// whose palette is the plain grey ramp counts as grey. A JPEG is read as it is: its compression
/// smears values, so expect values that no pool file lists, and ask for a lossless export.
///
/// # Errors
/// Those of [`read_image`](crate::read_image), and [`IoError::Unsupported`] for a float mask with
/// values that are not whole numbers.
pub fn read_mask(path: &Path, limits: &Limits) -> Result<RawMask, IoError> {
    into_mask(decode_file(path, limits)?).map_err(|f| f.at(path))
}

fn into_mask(raster: Raster) -> Result<RawMask, Fault> {
    let shape = (raster.height as usize, raster.width as usize);
    let stride = raster.kind.samples();
    let colour = matches!(raster.kind, Kind::Rgb | Kind::Rgba);
    let (values, encoding): (Vec<u32>, _) = if colour {
        match &raster.samples {
            Samples::U8 { values, .. } => from_colours(values, stride, |v| v),
            Samples::U16(values) => from_colours(values, stride, |v| (v >> 8) as u8),
            Samples::F32(_) => {
                return Err(Fault::unsupported("a mask of float colours", "save it as 8-bit PNG"));
            }
        }
    } else {
        let encoding = match raster.kind {
            Kind::Palette(_) => MaskEncoding::Index,
            _ => MaskEncoding::Grey,
        };
        let values = match &raster.samples {
            Samples::U8 { values, .. } => {
                values.iter().step_by(stride).map(|&v| u32::from(v)).collect()
            }
            Samples::U16(values) => values.iter().step_by(stride).map(|&v| u32::from(v)).collect(),
            Samples::F32(values) => {
                values.iter().step_by(stride).map(|&v| whole(v)).collect::<Result<_, _>>()?
            }
        };
        (values, encoding)
    };
    let values = Array2::from_shape_vec(shape, values)
        .map_err(|e| Fault::corrupt(format!("its samples do not fill its size ({e})")))?;
    Ok(RawMask { values, encoding })
}

fn from_colours<T: Copy + PartialEq + Into<u32>>(
    samples: &[T],
    stride: usize,
    to_byte: impl Fn(T) -> u8,
) -> (Vec<u32>, MaskEncoding) {
    let pixels = || samples.chunks_exact(stride);
    if pixels().all(|p| p[0] == p[1] && p[1] == p[2]) {
        return (pixels().map(|p| p[0].into()).collect(), MaskEncoding::Grey);
    }
    let pack = |p: &[T]| u32::from_be_bytes([0, to_byte(p[0]), to_byte(p[1]), to_byte(p[2])]);
    (pixels().map(pack).collect(), MaskEncoding::Rgb)
}

/// Whole numbers up to 2^24 are exact in `f32`; anything else is no class number.
fn whole(v: f32) -> Result<u32, Fault> {
    if (0.0..=16_777_216.0).contains(&v) && v.fract() == 0.0 {
        Ok(v as u32)
    } else {
        Err(Fault::unsupported(
            format!("a mask with the value {v}"),
            "store class numbers as whole numbers from 0 up",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster(kind: Kind, samples: Samples) -> Raster {
        Raster { width: 2, height: 1, kind, samples }
    }

    fn bytes(values: &[u8]) -> Samples {
        Samples::U8 { values: values.to_vec(), max: 255 }
    }

    #[test]
    fn colours_that_are_grey_everywhere_are_grey() {
        let m = into_mask(raster(Kind::Rgba, bytes(&[7, 7, 7, 255, 0, 0, 0, 3]))).unwrap();
        assert_eq!(
            (m.values.into_raw_vec_and_offset().0, m.encoding),
            (vec![7, 0], MaskEncoding::Grey)
        );
        let m = into_mask(raster(Kind::Rgb, bytes(&[7, 7, 7, 1, 2, 3]))).unwrap();
        assert_eq!(m.values.into_raw_vec_and_offset().0, [0x07_07_07, 0x01_02_03]);
        assert_eq!(m.encoding, MaskEncoding::Rgb);
    }

    #[test]
    fn a_palette_gives_indices_and_alpha_is_ignored() {
        let m = into_mask(raster(Kind::Palette(vec![[0.5; 3]; 4]), bytes(&[3, 1]))).unwrap();
        assert_eq!(
            (m.values.into_raw_vec_and_offset().0, m.encoding),
            (vec![3, 1], MaskEncoding::Index)
        );
        let m = into_mask(raster(Kind::GreyAlpha, bytes(&[3, 255, 1, 0]))).unwrap();
        assert_eq!(m.values.into_raw_vec_and_offset().0, [3, 1]);
    }

    #[test]
    fn float_masks_hold_whole_numbers_only() {
        let m = into_mask(raster(Kind::Grey, Samples::F32(vec![0.0, 4.0]))).unwrap();
        assert_eq!(m.values.into_raw_vec_and_offset().0, [0, 4]);
        for bad in [0.5, -1.0, f32::NAN, f32::INFINITY, 2e7] {
            assert!(into_mask(raster(Kind::Grey, Samples::F32(vec![0.0, bad]))).is_err());
        }
    }
}
