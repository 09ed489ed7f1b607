//! What was drawn for one image.

use ndarray::{Array2, Array3};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::strong::{self, StrongParams};
use super::{AugmentConfig, intensity, orient, smooth, warp};

/// A drawn rotation, scale, shift and shear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffineParams {
    /// Anticlockwise rotation as displayed, in degrees.
    pub rotate_deg: f64,
    /// Magnification.
    pub scale: f64,
    /// Shift down and to the right, as a share of rows and of columns.
    pub shift: [f64; 2],
    /// Shear of columns over rows, in degrees.
    pub shear_deg: f64,
}

/// A drawn displacement field, as the seed it grows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticParams {
    /// Longest displacement, in pixels.
    pub alpha: f64,
    /// Smoothness, in pixels.
    pub sigma: f64,
    /// Seed of the field.
    pub seed: u64,
}

/// A drawn change of intensities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntensityParams {
    /// Offset in standard deviations of the image.
    pub brightness: f64,
    /// Factor about the mean.
    pub contrast: f64,
    /// Exponent over the range of the image.
    pub gamma: f64,
}

/// Drawn noise, as the seed it grows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseParams {
    /// Standard deviation in standard deviations of the image.
    pub sigma: f64,
    /// Whether the result is cut to the range the image had before.
    pub clip: bool,
    /// Seed of the noise.
    pub seed: u64,
}

/// Everything that will happen to one image and its label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Rows and columns these parameters were drawn for.
    pub shape: (usize, usize),
    /// Left and right change places.
    pub flip_horizontal: bool,
    /// Top and bottom change places.
    pub flip_vertical: bool,
    /// Anticlockwise quarter turns; even when the shape is not square.
    pub quarter_turns: u8,
    /// Rotation, scale, shift, shear.
    pub affine: Option<AffineParams>,
    /// Smooth displacement.
    pub elastic: Option<ElasticParams>,
    /// Standard deviation of a Gaussian blur, in pixels.
    pub blur_sigma: Option<f64>,
    /// Brightness, contrast, gamma.
    pub intensity: Option<IntensityParams>,
    /// Strong changes of intensity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strong: Option<StrongParams>,
    /// Noise.
    pub noise: Option<NoiseParams>,
}

impl AugmentConfig {
    /// Draws what happens to one image of `shape` rows and columns.
    ///
    /// A block that is present takes the same number of draws whatever comes out, so the same
    /// generator state gives the other blocks the same values when one probability is changed.
    pub fn draw(&self, rng: &mut impl Rng, shape: (usize, usize)) -> Params {
        let mut params = Params::identity(shape);
        if let Some(flips) = &self.flips {
            params.flip_horizontal = happens(rng, flips.p) & flips.horizontal;
            params.flip_vertical = happens(rng, flips.p) & flips.vertical;
        }
        if let Some(turn) = &self.rot90 {
            let happens = happens(rng, turn.p);
            let turns = (between(rng, 1.0, 4.0) as u8).min(3);
            params.quarter_turns = match (happens, shape.0 == shape.1) {
                (false, _) => 0,
                (true, true) => turns,
                (true, false) => 2,
            };
        }
        if let Some(affine) = &self.affine {
            let happens = happens(rng, affine.p);
            let drawn = AffineParams {
                rotate_deg: between(rng, -affine.rotate_deg, affine.rotate_deg),
                scale: between(rng, affine.scale[0], affine.scale[1]),
                shift: [(); 2].map(|()| between(rng, -affine.shift, affine.shift)),
                shear_deg: between(rng, -affine.shear_deg, affine.shear_deg),
            };
            params.affine = happens.then_some(drawn);
        }
        if let Some(elastic) = &self.elastic {
            let happens = happens(rng, elastic.p);
            let alpha = between(rng, 0.0, elastic.alpha);
            let drawn = ElasticParams { alpha, sigma: elastic.sigma, seed: rng.random() };
            params.elastic = happens.then_some(drawn);
        }
        if let Some(intensity) = &self.intensity {
            let happens = happens(rng, intensity.p);
            let exponent = (1.0 + intensity.gamma).ln();
            let drawn = IntensityParams {
                brightness: between(rng, -intensity.brightness, intensity.brightness),
                contrast: between(rng, 1.0 - intensity.contrast, 1.0 + intensity.contrast),
                gamma: between(rng, -exponent, exponent).exp(),
            };
            params.intensity = happens.then_some(drawn);
        }
        if let Some(noise) = &self.noise {
            let happens = happens(rng, noise.p);
            let sigma = between(rng, noise.sigma[0], noise.sigma[1]);
            let drawn = NoiseParams { sigma, clip: noise.clip, seed: rng.random() };
            params.noise = happens.then_some(drawn);
        }
        if let Some(blur) = &self.blur {
            let happens = happens(rng, blur.p);
            let sigma = between(rng, blur.sigma[0], blur.sigma[1]);
            params.blur_sigma = happens.then_some(sigma);
        }
        params.strong = self.strong_intensity.as_ref().map(|strong| strong.draw(rng));
        params
    }
}

impl Params {
    /// Parameters that change nothing.
    #[must_use]
    pub fn identity(shape: (usize, usize)) -> Self {
        Self {
            shape,
            flip_horizontal: false,
            flip_vertical: false,
            quarter_turns: 0,
            affine: None,
            elastic: None,
            blur_sigma: None,
            intensity: None,
            strong: None,
            noise: None,
        }
    }

    /// Changes an image and its label; the same parameters give the same result every time.
    ///
    /// # Shapes
    /// image `[C, H, W]`, label `[H, W]`; neither changes its shape.
    ///
    /// # Panics
    /// When the image or the label does not have the shape the parameters were drawn for, or
    /// `quarter_turns` is odd on an image that is not square.
    pub fn apply(&self, image: &mut Array3<f32>, mut label: Option<&mut Array2<u8>>) {
        let (_, rows, columns) = image.dim();
        assert_eq!((rows, columns), self.shape, "parameters were drawn for another image shape");
        if let Some(label) = label.as_deref() {
            assert_eq!(label.dim(), self.shape, "parameters were drawn for another label shape");
        }
        orient::orient(self, image, label.as_deref_mut());
        if self.affine.is_some() || self.elastic.is_some() {
            warp::warp(self, image, label);
        }
        if let Some(sigma) = self.blur_sigma {
            smooth::blur(image, sigma);
        }
        if let Some(drawn) = &self.intensity {
            intensity::adjust(drawn, image);
        }
        if let Some(drawn) = &self.strong {
            strong::change(drawn, image);
        }
        if let Some(drawn) = &self.noise {
            intensity::add_noise(drawn, image);
        }
    }
}

pub(super) fn between(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// True with probability `p`; never at 0, always at 1.
pub(super) fn happens(rng: &mut impl Rng, p: f64) -> bool {
    rng.random::<f64>() < p
}
