//! Pictures of cases: PNG in, small rasters, outlines and colour maps out.

pub(crate) mod outline;
pub(crate) mod regions;
pub(crate) mod viridis;

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::{Component, Path};

use base64::Engine as _;

/// Pictures are shown at no more than this many pixels a side; a report is not an archive.
const LONGEST: usize = 512;
/// Largest picture that is decoded, bytes once unpacked.
const MOST_BYTES: usize = 256 << 20;

/// A small 8-bit picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raster {
    pub width: usize,
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Row-major, channels last.
    pub data: Vec<u8>,
}

/// Reads an image of the run folder, grey or RGB; transparency is dropped.
pub(crate) fn read_image(folder: &Path, name: &str) -> Result<Raster, String> {
    let raster = decode(folder, name, png::Transformations::normalize_to_color8())?;
    Ok(raster.shrunk(false))
}

/// Reads class ids; only an 8-bit grey PNG keeps ids as they are.
pub(crate) fn read_labels(folder: &Path, name: &str) -> Result<Raster, String> {
    let raster = decode(folder, name, png::Transformations::IDENTITY)?;
    if raster.channels != 1 {
        return Err(format!("{name}: class ids must be an 8-bit grey PNG"));
    }
    Ok(raster.shrunk(true))
}

/// Reads class ids of a whole image, every so many pixels, so that `sides` are left: how gallery
/// pictures are made small.
pub(crate) fn read_thinned_labels(
    folder: &Path,
    name: &str,
    sides: (usize, usize),
) -> Result<Raster, String> {
    let raster = decode(folder, name, png::Transformations::IDENTITY)?;
    if raster.channels != 1 {
        return Err(format!("{name}: class ids must be an 8-bit grey PNG"));
    }
    let step = raster.width.max(raster.height).div_ceil(sides.0.max(sides.1).max(1)).max(1);
    let (width, height) = (raster.width.div_ceil(step), raster.height.div_ceil(step));
    if (width, height) != sides {
        return Err(format!(
            "{name}: {} x {} pixels, which cannot be thinned to {} x {}",
            raster.width, raster.height, sides.0, sides.1
        ));
    }
    let rows = (0..raster.height).step_by(step);
    let at = |r: usize, c: usize| raster.data[r * raster.width + c];
    let data = rows
        .flat_map(|r| (0..raster.width).step_by(step).map(move |c| (r, c)))
        .map(|(r, c)| at(r, c));
    Ok(Raster { width, height, channels: 1, data: data.collect() })
}

fn decode(folder: &Path, name: &str, change: png::Transformations) -> Result<Raster, String> {
    let relative = Path::new(name);
    // A record from elsewhere must not be able to pull other files into a page that is shared.
    if name.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(format!("{name}: not a path inside the run folder"));
    }
    let file = File::open(folder.join(relative)).map_err(|e| format!("{name}: {e}"))?;
    let bad = |e: png::DecodingError| format!("{name}: not a readable PNG ({e})");
    let mut decoder =
        png::Decoder::new_with_limits(BufReader::new(file), png::Limits { bytes: MOST_BYTES });
    decoder.set_transformations(change);
    let mut reader = decoder.read_info().map_err(bad)?;
    let size = reader
        .output_buffer_size()
        .filter(|s| *s <= MOST_BYTES)
        .ok_or_else(|| format!("{name}: too large to show"))?;
    let mut data = vec![0; size];
    let info = reader.next_frame(&mut data).map_err(bad)?;
    data.truncate(info.buffer_size());
    if info.bit_depth != png::BitDepth::Eight {
        return Err(format!("{name}: {:?} bits per sample, need 8", info.bit_depth));
    }
    let (channels, keep) = match info.color_type {
        png::ColorType::Grayscale => (1, 1),
        png::ColorType::GrayscaleAlpha => (2, 1),
        png::ColorType::Rgb => (3, 3),
        png::ColorType::Rgba => (4, 3),
        png::ColorType::Indexed => return Err(format!("{name}: a palette PNG has no plain ids")),
    };
    if keep != channels {
        data = data.chunks_exact(channels).flat_map(|p| &p[..keep]).copied().collect();
    }
    Ok(Raster { width: info.width as usize, height: info.height as usize, channels: keep, data })
}

impl Raster {
    /// At most [`LONGEST`] a side, by whole factors: means of blocks, or their first pixel where
    /// values are names (`nearest`).
    fn shrunk(self, nearest: bool) -> Self {
        let factor = self.width.max(self.height).div_ceil(LONGEST);
        if factor <= 1 {
            return self;
        }
        let (width, height) = (self.width.div_ceil(factor), self.height.div_ceil(factor));
        let mut data = Vec::with_capacity(width * height * self.channels);
        for row in 0..height {
            for column in 0..width {
                for channel in 0..self.channels {
                    data.push(self.block(row * factor, column * factor, factor, channel, nearest));
                }
            }
        }
        Self { width, height, channels: self.channels, data }
    }

    fn block(&self, top: usize, left: usize, factor: usize, channel: usize, nearest: bool) -> u8 {
        let value = |r: usize, c: usize| self.data[(r * self.width + c) * self.channels + channel];
        if nearest {
            let centre = |from: usize, len: usize| (from + factor / 2).min(len - 1);
            return value(centre(top, self.height), centre(left, self.width));
        }
        let rows = top..(top + factor).min(self.height);
        let columns = left..(left + factor).min(self.width);
        let n = (rows.len() * columns.len()).max(1) as u64;
        let sum: u64 = rows
            .flat_map(|r| columns.clone().map(move |c| (r, c)))
            .map(|(r, c)| u64::from(value(r, c)))
            .sum();
        u8::try_from((sum + n / 2) / n).unwrap_or(u8::MAX)
    }

    /// The picture as a `data:` address; encoded anew, so that no text chunk of the original
    /// (which may name a patient) travels along.
    pub(crate) fn data_url(&self) -> Result<String, String> {
        let colour =
            if self.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb };
        encode(self.width, self.height, colour, None, &self.data)
    }

    /// Grey values as indices into a colour map.
    pub(crate) fn mapped_url(&self) -> Result<String, String> {
        let grey: Vec<u8> = self.data.iter().step_by(self.channels).copied().collect();
        let palette = viridis::palette();
        encode(self.width, self.height, png::ColorType::Indexed, Some((&palette, &[])), &grey)
    }
}

/// Colours of the difference picture: blue, yellow, vermilion and purple of Okabe and Ito (2008),
/// told apart under every common colour vision and, by lightness, in grey.
pub(crate) const DIFFERENCE: [(&str, [u8; 3]); 4] = [
    ("found (true positive)", [0, 114, 178]),
    ("false alarm (false positive)", [240, 228, 66]),
    ("missed (false negative)", [213, 94, 0]),
    ("drawn, but as another class", [204, 121, 167]),
];

/// Where truth and prediction (same size) agree and differ, as a transparent overlay.
pub(crate) fn difference_url(truth: &Raster, prediction: &Raster) -> Result<String, String> {
    let index: Vec<u8> = truth
        .data
        .iter()
        .zip(&prediction.data)
        .map(|(&t, &p)| match (t, p) {
            (0, 0) => 0,
            (t, p) if t == p => 1,
            (0, _) => 2,
            (_, 0) => 3,
            _ => 4,
        })
        .collect();
    let mut palette = vec![0, 0, 0];
    palette.extend(DIFFERENCE.iter().flat_map(|d| d.1));
    let alpha = [0, 200, 220, 220, 220];
    let sides = (truth.width, truth.height);
    encode(sides.0, sides.1, png::ColorType::Indexed, Some((&palette, &alpha)), &index)
}

fn encode(
    width: usize,
    height: usize,
    colour: png::ColorType,
    palette: Option<(&[u8], &[u8])>,
    data: &[u8],
) -> Result<String, String> {
    let side = |n: usize| u32::try_from(n).map_err(|e| e.to_string());
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = png::Encoder::new(&mut bytes, side(width)?, side(height)?);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    if let Some((colours, alpha)) = palette {
        encoder.set_palette(colours.to_vec());
        if !alpha.is_empty() {
            encoder.set_trns(alpha.to_vec());
        }
    }
    let mut writer = encoder.write_header().map_err(|e| e.to_string())?;
    writer.write_image_data(data).map_err(|e| e.to_string())?;
    writer.finish().map_err(|e| e.to_string())?;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes.into_inner());
    Ok(format!("data:image/png;base64,{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, colour: png::ColorType, w: u32, h: u32, data: &[u8]) {
        let mut e = png::Encoder::new(File::create(folder.join(name)).unwrap(), w, h);
        e.set_color(colour);
        e.set_depth(png::BitDepth::Eight);
        e.write_header().unwrap().write_image_data(data).unwrap();
    }

    #[test]
    fn nothing_outside_the_run_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("run");
        std::fs::create_dir(&inner).unwrap();
        write(folder.path(), "secret.png", png::ColorType::Grayscale, 1, 1, &[7]);
        let absolute = folder.path().join("secret.png").display().to_string();
        for name in ["../secret.png", absolute.as_str(), "", "a/../../secret.png"] {
            assert!(read_image(&inner, name).unwrap_err().contains("inside the run folder"));
        }
        assert!(read_image(folder.path(), "secret.png").is_ok());
    }

    #[test]
    fn large_pictures_shrink_by_means_and_labels_keep_their_ids() {
        let folder = tempfile::tempdir().unwrap();
        let (w, h) = (1030u32, 4u32);
        let data: Vec<u8> = (0..w * h).map(|i| if i % w % 2 == 0 { 10 } else { 20 }).collect();
        write(folder.path(), "i.png", png::ColorType::Grayscale, w, h, &data);
        let image = read_image(folder.path(), "i.png").unwrap();
        assert_eq!((image.width, image.height), (344, 2));
        assert!(image.data[..343].iter().all(|v| (13..=17).contains(v)), "{:?}", &image.data[..9]);
        let labels = read_labels(folder.path(), "i.png").unwrap();
        assert!(labels.data.iter().all(|v| *v == 10 || *v == 20));
    }

    #[test]
    fn labels_in_colour_are_refused_and_broken_files_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "c.png", png::ColorType::Rgb, 1, 1, &[1, 2, 3]);
        assert!(read_labels(folder.path(), "c.png").unwrap_err().starts_with("c.png"));
        std::fs::write(folder.path().join("b.png"), b"\x89PNG\r\n\x1a\nrubbish").unwrap();
        assert!(read_image(folder.path(), "b.png").unwrap_err().contains("not a readable PNG"));
    }

    #[test]
    fn the_difference_tells_four_things_apart() {
        let labels = |data: &[u8]| Raster { width: 5, height: 1, channels: 1, data: data.into() };
        let url = difference_url(&labels(&[0, 1, 0, 1, 1]), &labels(&[0, 1, 1, 0, 2])).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(url.strip_prefix("data:image/png;base64,").unwrap())
            .unwrap();
        let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
        let mut out = vec![0; 64];
        let info = reader.next_frame(&mut out).unwrap();
        assert_eq!(info.color_type, png::ColorType::Indexed);
        assert_eq!(out[..5], [0, 1, 2, 3, 4]);
    }
}
