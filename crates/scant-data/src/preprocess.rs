//! From an image of any size to the grid and the intensities a network expects, and back.
//!
//! The order is fixed: channels, resize, harmonise, normalise, pad. Statistics therefore never see padding,
//! and the padded border is 0 in normalised units (the mean after [`Normalise::ZScore`], black
//! otherwise).
//!
//! Legend: C channels · K classes · H, W original pixels · h, w network pixels.

mod config;
pub mod harmonise;
mod normalise;
pub(crate) mod resample;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, s};
use scant_core::Image;
use thiserror::Error;

pub use config::{Fit, Normalise, PreprocessConfig, size_or_keep};

/// Why an image cannot be given to a network.
///
/// The message says nothing about the file; the caller, who knows it, adds it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PreprocessError {
    /// A volume came where a plane was expected.
    #[error("a planar image is needed, this one has the shape {0:?}: split the volume into slices")]
    NotPlanar(Vec<usize>),
    /// Neither grey nor colour.
    #[error("an image with {0} channels is neither grey (1) nor colour (3): convert it first")]
    Channels(usize),
    /// No pixels.
    #[error("the image has no pixels ({rows} x {columns})")]
    Empty {
        /// Rows of the image.
        rows: usize,
        /// Columns of the image.
        columns: usize,
    },
    /// NaN or infinity, from a floating-point file.
    #[error("{0} sample(s) are NaN or infinite: repair the file or leave the image out")]
    NotFinite(usize),
    /// A method of colours and an image without any.
    #[error(
        "the image is grey and {0} harmonises colours: leave it out, or harmonise by \"histogram\""
    )]
    GreyImage(&'static str),
    /// An intensity that something made for 0 to 1 cannot work with.
    #[error(
        "{what} works on intensities from 0 to 1, this image holds {value}: rescale the file, or switch \
         {what} off"
    )]
    OutsideUnit {
        /// What needs them.
        what: &'static str,
        /// An intensity outside.
        value: String,
    },
    /// A configuration that cannot mean anything.
    #[error("{0}")]
    Config(String),
}

/// Where the resized image lies in the network's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Rows and columns of the network's grid.
    pub grid: (usize, usize),
    /// Rows and columns the image is resized to.
    pub content: (usize, usize),
    /// First row and column of the image in the grid.
    pub offset: (usize, usize),
}

impl PreprocessConfig {
    /// Where an image of `original` rows and columns will lie.
    ///
    /// An aspect-keeping image is centred; an odd margin is one pixel wider below and to the right.
    #[must_use]
    pub fn layout(&self, original: (usize, usize)) -> Layout {
        let Some([rows, columns]) = self.size else {
            return Layout { grid: original, content: original, offset: (0, 0) };
        };
        let grid = (rows, columns);
        if self.fit == Fit::Stretch {
            return Layout { grid, content: grid, offset: (0, 0) };
        }
        let scale = (rows as f64 / original.0 as f64).min(columns as f64 / original.1 as f64);
        let fitted = |n: usize, most: usize| ((n as f64 * scale).round() as usize).clamp(1, most);
        let content = (fitted(original.0, rows), fitted(original.1, columns));
        Layout { grid, content, offset: ((rows - content.0) / 2, (columns - content.1) / 2) }
    }

    /// Makes an image fit for a network.
    ///
    /// Down-sampling is antialiased, up-sampling bilinear. A constant image becomes 0 wherever its
    /// spread would be divided by.
    ///
    /// # Shapes
    /// `[1 or 3, H, W] -> [C, h, w]`, or `[C, H, W]` when `size` is `None`.
    ///
    /// # Errors
    /// When the image is a volume, empty, has two or more than three channels or samples that are
    /// not finite, cannot be harmonised (see [`harmonise::Harmonise::apply`]), or when the configuration
    /// is invalid (see [`PreprocessConfig::validate`]).
    pub fn apply_image(&self, image: &Image) -> Result<Array3<f32>, PreprocessError> {
        let (pixels, layout) = self.resized(image)?;
        Ok(self.finish(pixels, layout))
    }

    /// The image on the network's grid without border, before its intensities are scaled, and where it
    /// lies.
    ///
    /// # Shapes
    /// `[1 or 3, H, W] -> [C, height, width]`; `[1, height, width]` for a grey image that
    /// [`PreprocessConfig::finish`] repeats.
    ///
    /// # Errors
    /// As [`PreprocessConfig::apply_image`].
    pub(crate) fn resized(&self, image: &Image) -> Result<(Array3<f32>, Layout), PreprocessError> {
        self.validate()?;
        let planar = image
            .as_planar()
            .ok_or_else(|| PreprocessError::NotPlanar(image.pixels.shape().to_vec()))?;
        let (_, rows, columns) = planar.dim();
        if rows == 0 || columns == 0 {
            return Err(PreprocessError::Empty { rows, columns });
        }
        let broken = planar.iter().filter(|v| !v.is_finite()).count();
        if broken > 0 {
            return Err(PreprocessError::NotFinite(broken));
        }
        let layout = self.layout((rows, columns));
        // Repeating a grey channel last saves two thirds of the resampling.
        let repeat = planar.dim().0 == 1 && self.channels == 3;
        let wanted = if repeat { 1 } else { self.channels };
        let mut pixels = resample::linear(to_channels(planar, wanted)?.view(), layout.content);
        if let Some(harmonise) = &self.harmonise {
            if repeat {
                // Channels have distributions of their own.
                pixels = to_channels(pixels.view(), self.channels)?;
            }
            harmonise.apply(&mut pixels)?;
        }
        Ok((pixels, layout))
    }

    /// The image on the network's grid without border, in all its channels, before its intensities are
    /// scaled.
    ///
    /// # Shapes
    /// `[1 or 3, H, W] -> [C, height, width]`
    ///
    /// # Errors
    /// As [`PreprocessConfig::apply_image`].
    pub(crate) fn grid(&self, image: &Image) -> Result<Array3<f32>, PreprocessError> {
        let (pixels, _) = self.resized(image)?;
        to_channels(pixels.view(), self.channels)
    }

    /// Scales the intensities of a resized image and puts it into the network's grid.
    ///
    /// # Shapes
    /// `[1 or C, height, width] -> [C, h, w]`
    pub(crate) fn finish(&self, mut pixels: Array3<f32>, layout: Layout) -> Array3<f32> {
        self.normalise.apply(&mut pixels);
        let mut out = Array3::zeros((self.channels, layout.grid.0, layout.grid.1));
        let (top, left) = layout.offset;
        let (height, width) = layout.content;
        // A single channel broadcasts over three.
        out.slice_mut(s![.., top..top + height, left..left + width]).assign(&pixels);
        out
    }

    /// Puts class ids on the same grid as the image: nearest neighbour, padding is background.
    ///
    /// # Shapes
    /// `[H, W] -> [h, w]`; the map must have pixels.
    #[must_use]
    pub fn apply_label(&self, label: ArrayView2<'_, u8>) -> Array2<u8> {
        let layout = self.layout(label.dim());
        let content = resample::nearest(label, layout.content);
        if layout.content == layout.grid {
            return content;
        }
        let mut out = Array2::zeros(layout.grid);
        let (top, left) = layout.offset;
        out.slice_mut(s![top..top + layout.content.0, left..left + layout.content.1])
            .assign(&content);
        out
    }

    /// Brings what a network said back to the original grid: padding cut off, then bilinear.
    ///
    /// # Shapes
    /// `[K, h, w] -> [K, H, W]`, logits or probabilities alike.
    ///
    /// # Panics
    /// When `scores` is not on the grid that an image of `original` rows and columns is given.
    #[must_use]
    pub fn restore(&self, scores: ArrayView3<'_, f32>, original: (usize, usize)) -> Array3<f32> {
        let layout = self.layout(original);
        let (_, rows, columns) = scores.dim();
        assert_eq!((rows, columns), layout.grid, "scores are not on the network's grid");
        let (top, left) = layout.offset;
        let content =
            scores.slice(s![.., top..top + layout.content.0, left..left + layout.content.1]);
        resample::linear(content, original)
    }
}

/// Grey to colour by repetition, colour to grey by luma (ITU-R BT.601: 0.299, 0.587, 0.114).
fn to_channels(
    image: ArrayView3<'_, f32>,
    channels: usize,
) -> Result<Array3<f32>, PreprocessError> {
    let (_, rows, columns) = image.dim();
    match (image.dim().0, channels) {
        (1, 1) | (3, 3) => Ok(image.to_owned()),
        (1, n) => Ok(image
            .broadcast((n, rows, columns))
            .expect("one channel broadcasts to any number")
            .to_owned()),
        (3, 1) => {
            let mut grey = Array2::<f32>::zeros((rows, columns));
            for (channel, weight) in [0.299_f32, 0.587, 0.114].into_iter().enumerate() {
                grey.scaled_add(weight, &image.index_axis(Axis(0), channel));
            }
            Ok(grey.insert_axis(Axis(0)))
        }
        (n, _) => Err(PreprocessError::Channels(n)),
    }
}

#[cfg(test)]
mod tests;
