//! Decoded samples before anybody says whether they are intensities or classes.

use ndarray::Array3;
use scant_core::{Image, PixelType};

use crate::error::Fault;
use crate::limits::buffer_len;

/// What the samples of a pixel stand for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// One sample; white is the largest value.
    Grey,
    /// Grey and alpha.
    GreyAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, alpha.
    Rgba,
    /// One sample that indexes these colours, each in `[0, 1]`.
    Palette(Vec<[f32; 3]>),
}

impl Kind {
    /// Samples per pixel in [`Raster::samples`].
    pub(crate) fn samples(&self) -> usize {
        match self {
            Self::Grey | Self::Palette(_) => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// Samples, interleaved, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Samples {
    /// Up to eight bits; `max` is the value that means 1.
    U8 {
        values: Vec<u8>,
        max: u8,
    },
    U16(Vec<u16>),
    F32(Vec<f32>),
}

/// A decoded file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raster {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) kind: Kind,
    pub(crate) samples: Samples,
}

impl Raster {
    /// Checks that the decoder delivered as many samples as the header announced.
    pub(crate) fn checked(self) -> Result<Self, Fault> {
        let expected = buffer_len(&[
            u64::from(self.width),
            u64::from(self.height),
            self.kind.samples() as u64,
        ])?;
        let got = match &self.samples {
            Samples::U8 { values, .. } => values.len(),
            Samples::U16(v) => v.len(),
            Samples::F32(v) => v.len(),
        };
        if got == expected {
            Ok(self)
        } else {
            Err(Fault::corrupt(format!("it holds {got} samples where {expected} are announced")))
        }
    }

    /// How the samples were stored.
    pub(crate) fn pixel_type(&self) -> PixelType {
        match (&self.samples, &self.kind) {
            (Samples::U8 { max: 1, .. }, Kind::Grey) => PixelType::U1,
            (Samples::U8 { .. }, _) => PixelType::U8,
            (Samples::U16(_), _) => PixelType::U16,
            (Samples::F32(_), _) => PixelType::F32,
        }
    }

    /// Intensities, `[channels, rows, columns]`.
    pub(crate) fn into_image(self) -> Result<Image, Fault> {
        let stored = self.pixel_type();
        let (h, w) = (self.height as usize, self.width as usize);
        let stride = self.kind.samples();
        let colours = match &self.kind {
            Kind::Grey | Kind::GreyAlpha => 1,
            Kind::Rgb | Kind::Rgba | Kind::Palette(_) => 3,
        };
        let mut pixels = Vec::new();
        pixels
            .try_reserve_exact(buffer_len(&[colours as u64, h as u64, w as u64])?)
            .map_err(|_| Fault::TooLarge("its pixels do not fit into the free memory".into()))?;
        if let (Kind::Palette(palette), Samples::U8 { values, .. }) = (&self.kind, &self.samples) {
            if let Some(&stray) = values.iter().find(|&&v| usize::from(v) >= palette.len()) {
                return Err(Fault::corrupt(format!(
                    "a pixel has palette index {stray}, but the palette has {} colours",
                    palette.len()
                )));
            }
            let channels: [fn(&[f32; 3]) -> f32; 3] = [|c| c[0], |c| c[1], |c| c[2]];
            for channel in channels {
                pixels.extend(values.iter().map(|&v| channel(&palette[usize::from(v)])));
            }
        } else {
            for c in 0..colours {
                match &self.samples {
                    Samples::U8 { values, max } => {
                        let max = f32::from(*max);
                        pixels.extend(
                            values.iter().skip(c).step_by(stride).map(|&v| f32::from(v) / max),
                        );
                    }
                    Samples::U16(values) => pixels.extend(
                        values.iter().skip(c).step_by(stride).map(|&v| f32::from(v) / 65_535.0),
                    ),
                    Samples::F32(values) => pixels.extend(values.iter().skip(c).step_by(stride)),
                }
            }
        }
        let pixels = Array3::from_shape_vec((colours, h, w), pixels)
            .map_err(|e| Fault::corrupt(format!("its samples do not fill its size ({e})")))?;
        Ok(Image::planar(pixels, stored))
    }
}

/// Spreads samples of 1, 2 or 4 bits, most significant first and rows padded to bytes, to bytes.
pub(crate) fn unpack_bits(
    packed: &[u8],
    bits: u8,
    samples_per_row: usize,
    row_bytes: usize,
    rows: usize,
) -> Result<Vec<u8>, Fault> {
    let mask = ((1_u16 << bits) - 1) as u8;
    let per_byte = usize::from(8 / bits);
    if row_bytes < samples_per_row.div_ceil(per_byte) || packed.len() / row_bytes.max(1) < rows {
        return Err(Fault::corrupt("its rows are shorter than its width"));
    }
    let mut out = Vec::with_capacity(samples_per_row * rows);
    for row in packed.chunks_exact(row_bytes).take(rows) {
        out.extend((0..samples_per_row).map(|x| {
            let shift = 8 - bits * (1 + (x % per_byte) as u8);
            (row[x / per_byte] >> shift) & mask
        }));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bits_come_out_in_reading_order() {
        assert_eq!(unpack_bits(&[0b1010_0000, 0xff], 1, 3, 1, 2).unwrap(), [1, 0, 1, 1, 1, 1]);
        assert_eq!(unpack_bits(&[0b0001_1011], 2, 4, 1, 1).unwrap(), [0, 1, 2, 3]);
        assert_eq!(unpack_bits(&[0x1f, 0x20], 4, 3, 2, 1).unwrap(), [1, 15, 2]);
        assert!(unpack_bits(&[0], 1, 9, 1, 1).is_err());
        assert!(unpack_bits(&[0], 1, 8, 1, 2).is_err());
    }

    #[test]
    fn a_palette_index_beyond_the_palette_is_refused() {
        let raster = Raster {
            width: 2,
            height: 1,
            kind: Kind::Palette(vec![[0.0; 3], [1.0; 3]]),
            samples: Samples::U8 { values: vec![1, 2], max: 255 },
        };
        assert!(
            matches!(raster.into_image(), Err(Fault::Corrupt(what)) if what.contains("index 2"))
        );
    }
}
