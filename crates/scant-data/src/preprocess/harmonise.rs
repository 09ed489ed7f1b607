//! Making images of other sites look like those of the base sites, before normalisation.
//!
//! A method is fitted on the base images of the training part and on no others, so that nothing leaks
//! from validation, test or novel images. What was fitted is a [`Harmonise`]: a few numbers that are
//! stored with the preprocessing in the model file, so that a prediction is harmonised as the training
//! was. It works on the network's grid, after resizing, on intensities from 0 to 1.
//!
//! Legend: C channels · n pixels.

mod histogram;
mod lab;
mod macenko;
mod optical;
mod reinhard;
mod vahadane;

use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

use super::PreprocessError;

pub use histogram::Quantiles;
pub use optical::Stains;
pub use reinhard::LabMoments;

/// How images are made alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HarmoniseMethod {
    /// Stain separation by angles in the plane of optical densities: Macenko et al., ISBI 2009.
    Macenko,
    /// Stain separation by sparse non-negative matrix factorisation: Vahadane et al., IEEE TMI 2016.
    Vahadane,
    /// Mean and spread in a colour space: Reinhard et al., IEEE CG&A 2001.
    Reinhard,
    /// Each channel's histogram becomes that of all base images together.
    Histogram,
}

impl HarmoniseMethod {
    /// As a recipe writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Macenko => "macenko",
            Self::Vahadane => "vahadane",
            Self::Reinhard => "reinhard",
            Self::Histogram => "histogram",
        }
    }

    /// Whether it says nothing about grey images.
    #[must_use]
    pub fn needs_colour(self) -> bool {
        self != Self::Histogram
    }
}

/// What images are made to look like, as fitted on base training images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Harmonise {
    /// See [`HarmoniseMethod::Macenko`].
    Macenko(Stains),
    /// See [`HarmoniseMethod::Vahadane`].
    Vahadane(Stains),
    /// See [`HarmoniseMethod::Reinhard`].
    Reinhard(LabMoments),
    /// See [`HarmoniseMethod::Histogram`].
    Histogram(Quantiles),
}

impl Harmonise {
    /// How it was fitted.
    #[must_use]
    pub fn method(&self) -> HarmoniseMethod {
        match self {
            Self::Macenko(_) => HarmoniseMethod::Macenko,
            Self::Vahadane(_) => HarmoniseMethod::Vahadane,
            Self::Reinhard(_) => HarmoniseMethod::Reinhard,
            Self::Histogram(_) => HarmoniseMethod::Histogram,
        }
    }

    /// Changes an image; false where it has too little to go by (almost no tissue, one colour) and
    /// stays as it is.
    ///
    /// # Shapes
    /// `[C, H, W]`
    ///
    /// # Errors
    /// When a method of colours is given a grey image, or an intensity is not between 0 and 1.
    pub fn apply(&self, pixels: &mut Array3<f32>) -> Result<bool, PreprocessError> {
        fits(self.method(), pixels)?;
        Ok(match self {
            Self::Macenko(stains) => macenko::apply(stains, pixels),
            Self::Vahadane(stains) => vahadane::apply(stains, pixels),
            Self::Reinhard(moments) => reinhard::apply(moments, pixels),
            Self::Histogram(quantiles) => {
                histogram::apply(quantiles, pixels);
                true
            }
        })
    }

    /// Checks what was read from a file.
    ///
    /// # Errors
    /// When a histogram has not one line per channel.
    pub(super) fn validate(&self, channels: usize) -> Result<(), PreprocessError> {
        let fits = match self {
            Self::Histogram(quantiles) => quantiles.are_of(channels),
            _ => channels == 3,
        };
        if fits {
            return Ok(());
        }
        Err(PreprocessError::Config(format!(
            "harmonise by {} does not fit images of {channels} channel(s)",
            self.method().name()
        )))
    }
}

/// Whether a method can work on an image at all.
fn fits(method: HarmoniseMethod, pixels: &Array3<f32>) -> Result<(), PreprocessError> {
    if method.needs_colour() {
        let first = pixels.index_axis(Axis(0), 0);
        let grey = pixels.axis_iter(Axis(0)).all(|channel| channel == first);
        // A white field is no colour either, but there is nothing in it to be wrong about.
        let constant = first.iter().all(|v| *v == first[[0, 0]]);
        if pixels.dim().0 != 3 || (grey && !constant) {
            return Err(PreprocessError::GreyImage(method.name()));
        }
    }
    match pixels.iter().find(|v| !(0.0..=1.0).contains(*v)) {
        None => Ok(()),
        Some(v) => Err(PreprocessError::OutsideUnit { what: "harmonise", value: v.to_string() }),
    }
}

/// Gathers base images and makes of them what others are to look like.
#[derive(Debug, Clone)]
pub struct Fitter {
    method: HarmoniseMethod,
    stains: Vec<Stains>,
    moments: Vec<LabMoments>,
    samples: histogram::Samples,
}

impl Fitter {
    /// For `images` base images; nothing seen yet.
    #[must_use]
    pub fn new(method: HarmoniseMethod, images: usize) -> Self {
        Self {
            method,
            stains: Vec::new(),
            moments: Vec::new(),
            samples: histogram::Samples::new(images),
        }
    }

    /// Looks at one image; false where it has too little to go by and is passed over.
    ///
    /// # Shapes
    /// `[C, H, W]`, on the network's grid.
    ///
    /// # Errors
    /// As [`Harmonise::apply`].
    pub fn add(&mut self, pixels: &Array3<f32>) -> Result<bool, PreprocessError> {
        fits(self.method, pixels)?;
        let before = self.stains.len() + self.moments.len();
        match self.method {
            HarmoniseMethod::Macenko => self.stains.extend(macenko::fit(pixels)),
            HarmoniseMethod::Vahadane => self.stains.extend(vahadane::fit(pixels)),
            HarmoniseMethod::Reinhard => self.moments.extend(reinhard::fit(pixels)),
            HarmoniseMethod::Histogram => {
                self.samples.add(pixels);
                return Ok(true);
            }
        }
        Ok(self.stains.len() + self.moments.len() > before)
    }

    /// The result; none where no image could be used.
    #[must_use]
    pub fn finish(self) -> Option<Harmonise> {
        match self.method {
            HarmoniseMethod::Macenko => Stains::median(&self.stains).map(Harmonise::Macenko),
            HarmoniseMethod::Vahadane => Stains::median(&self.stains).map(Harmonise::Vahadane),
            HarmoniseMethod::Reinhard => LabMoments::mean(&self.moments).map(Harmonise::Reinhard),
            HarmoniseMethod::Histogram => self.samples.quantiles().map(Harmonise::Histogram),
        }
    }
}

#[cfg(test)]
mod tests;
