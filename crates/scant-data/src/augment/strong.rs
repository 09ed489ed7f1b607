//! Strong changes of intensity: what practitioners try first when the images to come are of another
//! scanner, stain or site.
//!
//! The changes are those of nnU-Net (Isensee et al. 2021, supplementary note 4: noise, blur, brightness,
//! contrast, simulated low resolution, gamma with and without inversion) at strengths nearer to those of
//! BigAug (Zhang et al., IEEE TMI 2020, section III-B), and for colour images a scale and an offset per
//! channel. Each happens with probability `p`, independently of the others.
//!
//! Deviations: amounts are in standard deviations or over the range of the image itself, so that they
//! mean the same after any normalisation; low resolution is antialiased on the way down and bilinear on
//! the way up (nnU-Net: nearest and cubic); there is no sharpening; noise comes last, as a sensor's does.

use ndarray::{Array3, Axis};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::config::{AugmentError, probability, range, within};
use super::params::{between, happens};
use super::{IntensityParams, NoiseParams, intensity, smooth};
use crate::preprocess::resample;

/// How strong the changes are and how often they happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StrongIntensity {
    /// Largest offset either way, in standard deviations of the image.
    pub brightness: f64,
    /// Largest change of the factor 1 about the mean, in `[0, 1]`.
    pub contrast: f64,
    /// The exponent lies between `1 / (1 + gamma)` and `1 + gamma`, over the range of the image.
    pub gamma: f64,
    /// Probability that a gamma works on the inverted image.
    pub invert: f64,
    /// Per channel of a colour image: largest offset in standard deviations and largest change of the
    /// factor 1 about the mean of the channel.
    pub colour: f64,
    /// Smallest and largest standard deviation of a Gaussian blur, in pixels.
    pub blur: [f64; 2],
    /// Smallest and largest standard deviation of noise, in standard deviations of the image.
    pub noise: [f64; 2],
    /// Smallest and largest scale of a reduced copy that the image is enlarged from.
    pub low_resolution: [f64; 2],
    /// Probability of each change.
    pub p: f64,
}

impl Default for StrongIntensity {
    fn default() -> Self {
        Self {
            brightness: 0.5,
            contrast: 0.4,
            gamma: 1.0,
            invert: 0.25,
            colour: 0.3,
            blur: [0.25, 1.5],
            noise: [0.0, 0.3],
            low_resolution: [0.5, 1.0],
            p: 0.4,
        }
    }
}

/// What was drawn for one image; absent changes do not happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrongParams {
    /// Standard deviation of a blur, in pixels.
    pub blur_sigma: Option<f64>,
    /// Scale of the reduced copy.
    pub low_resolution: Option<f64>,
    /// Offset in standard deviations and factor of each channel.
    pub colour: Option<[[f64; 2]; 3]>,
    /// Offset in standard deviations of the image.
    pub brightness: Option<f64>,
    /// Factor about the mean.
    pub contrast: Option<f64>,
    /// Exponent over the range of the image, and whether of the inverted image.
    pub gamma: Option<(f64, bool)>,
    /// Noise.
    pub noise: Option<NoiseParams>,
}

impl StrongIntensity {
    pub(super) fn validate(&self) -> Result<(), AugmentError> {
        probability("strong_intensity.p", self.p)?;
        probability("strong_intensity.invert", self.invert)?;
        within("strong_intensity.brightness", self.brightness, 0.0, 100.0, "0 to 100")?;
        within("strong_intensity.contrast", self.contrast, 0.0, 1.0, "0 to 1")?;
        within("strong_intensity.gamma", self.gamma, 0.0, 10.0, "0 to 10")?;
        within("strong_intensity.colour", self.colour, 0.0, 1.0, "0 to 1")?;
        range(
            "strong_intensity.blur",
            self.blur,
            0.0,
            100.0,
            "[low, high] within 0 to 100 pixels",
        )?;
        range("strong_intensity.noise", self.noise, 0.0, 100.0, "[low, high] within 0 to 100")?;
        let scales = "[low, high] within 0.05 to 1";
        range("strong_intensity.low_resolution", self.low_resolution, 0.05, 1.0, scales)
    }

    /// Always takes the same number of draws.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> StrongParams {
        let mut now = [false; 7];
        now.fill_with(|| happens(rng, self.p));
        let [low, high] = self.blur;
        let blur = between(rng, low, high);
        let [low, high] = self.low_resolution;
        let scale = between(rng, low, high);
        let colour = [(); 3].map(|()| {
            let offset = between(rng, -self.colour, self.colour);
            [offset, between(rng, 1.0 - self.colour, 1.0 + self.colour)]
        });
        let brightness = between(rng, -self.brightness, self.brightness);
        let contrast = between(rng, 1.0 - self.contrast, 1.0 + self.contrast);
        let exponent = (1.0 + self.gamma).ln();
        let gamma = (between(rng, -exponent, exponent).exp(), happens(rng, self.invert));
        let [low, high] = self.noise;
        let sigma = between(rng, low, high);
        let noise = NoiseParams { sigma, clip: false, seed: rng.random() };
        StrongParams {
            blur_sigma: now[0].then_some(blur),
            low_resolution: now[1].then_some(scale),
            colour: now[2].then_some(colour),
            brightness: now[3].then_some(brightness),
            contrast: now[4].then_some(contrast),
            gamma: now[5].then_some(gamma),
            noise: now[6].then_some(noise),
        }
    }
}

/// Changes an image as drawn.
///
/// # Shapes
/// `[C, H, W]`
pub(super) fn change(drawn: &StrongParams, image: &mut Array3<f32>) {
    if let Some(sigma) = drawn.blur_sigma {
        smooth::blur(image, sigma);
    }
    if let Some(scale) = drawn.low_resolution {
        coarsen(scale, image);
    }
    if let Some(colour) = &drawn.colour {
        tint(colour, image);
    }
    let bright = IntensityParams {
        brightness: drawn.brightness.unwrap_or(0.0),
        contrast: drawn.contrast.unwrap_or(1.0),
        gamma: 1.0,
    };
    intensity::adjust(&bright, image);
    if let Some((gamma, inverted)) = drawn.gamma {
        let bend = IntensityParams { brightness: 0.0, contrast: 1.0, gamma };
        if inverted {
            image.mapv_inplace(|v| -v);
        }
        intensity::adjust(&bend, image);
        if inverted {
            image.mapv_inplace(|v| -v);
        }
    }
    if let Some(noise) = &drawn.noise {
        intensity::add_noise(noise, image);
    }
}

/// Reduces and enlarges.
fn coarsen(scale: f64, image: &mut Array3<f32>) {
    let (_, rows, columns) = image.dim();
    let reduced = [rows, columns].map(|n| ((n as f64 * scale).round() as usize).clamp(1, n));
    let small = resample::linear(image.view(), (reduced[0], reduced[1]));
    *image = resample::linear(small.view(), (rows, columns));
}

/// Scales and shifts each channel about its mean; a grey image, repeated or not, stays as it is.
fn tint(colour: &[[f64; 2]; 3], image: &mut Array3<f32>) {
    let first = image.index_axis(Axis(0), 0);
    if image.axis_iter(Axis(0)).all(|channel| channel == first) {
        return;
    }
    for (mut channel, [offset, factor]) in image.axis_iter_mut(Axis(0)).zip(colour) {
        let mean = channel.mean().unwrap_or(0.0);
        let offset = *offset as f32 * channel.std(0.0);
        channel.mapv_inplace(|v| mean + (v - mean) * *factor as f32 + offset);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn colours() -> Array3<f32> {
        Array3::from_shape_fn((3, 12, 16), |(k, r, c)| {
            ((k * 5 + r * 16 + c * 3) % 41) as f32 / 10.0
        })
    }

    const NOTHING: StrongParams = StrongParams {
        blur_sigma: None,
        low_resolution: None,
        colour: None,
        brightness: None,
        contrast: None,
        gamma: None,
        noise: None,
    };

    fn changed(drawn: &StrongParams) -> Array3<f32> {
        let mut image = colours();
        change(drawn, &mut image);
        image
    }

    #[test]
    fn each_change_is_its_own_and_nothing_drawn_is_nothing_done() {
        assert_eq!(changed(&NOTHING), colours());
        let near = |a: &Array3<f32>, b: &Array3<f32>| (a - b).iter().all(|v| v.abs() < 1e-4);
        let spread = colours().std(0.0);
        let bright = changed(&StrongParams { brightness: Some(0.5), ..NOTHING });
        assert!(near(&bright, &(colours() + 0.5 * spread)));
        let mean = colours().mean().unwrap();
        let contrast = changed(&StrongParams { contrast: Some(1.4), ..NOTHING });
        assert!(near(&contrast, &((colours() - mean) * 1.4 + mean)));
        // Intensities run from 0 to 4.
        let gamma = changed(&StrongParams { gamma: Some((2.0, false)), ..NOTHING });
        assert!(near(&gamma, &colours().mapv(|v| v * v / 4.0)));
        let inverted = changed(&StrongParams { gamma: Some((2.0, true)), ..NOTHING });
        assert!(near(&inverted, &colours().mapv(|v| 4.0 - (4.0 - v).powi(2) / 4.0)));
        let colour = Some([[0.0, 1.0], [0.5, 1.0], [0.0, 2.0]]);
        let tinted = changed(&StrongParams { colour, ..NOTHING });
        let channel = |image: &Array3<f32>, c| image.index_axis(Axis(0), c).to_owned();
        let red = channel(&tinted, 0) - channel(&colours(), 0);
        assert!(red.iter().all(|v| v.abs() < 1e-5));
        let green = channel(&colours(), 1);
        let shift = 0.5 * green.std(0.0);
        assert!((channel(&tinted, 1) - green - shift).iter().all(|v| v.abs() < 1e-5));
        let blue = channel(&colours(), 2);
        let ratio = channel(&tinted, 2).std(0.0) / blue.std(0.0);
        assert!((ratio - 2.0).abs() < 1e-4, "{ratio}");
    }

    #[test]
    fn low_resolution_loses_detail_and_keeps_the_size_and_about_the_mean() {
        let coarse = changed(&StrongParams { low_resolution: Some(0.5), ..NOTHING });
        assert_eq!(coarse.dim(), colours().dim());
        assert!(coarse.std(0.0) < 0.8 * colours().std(0.0));
        assert!((coarse.mean().unwrap() - colours().mean().unwrap()).abs() < 0.1);
        let same = changed(&StrongParams { low_resolution: Some(1.0), ..NOTHING });
        assert!((same - colours()).iter().all(|v| v.abs() < 1e-5));
    }

    #[test]
    fn a_grey_image_stays_grey() {
        let mut grey = colours();
        let first = grey.index_axis(Axis(0), 0).to_owned();
        grey.axis_iter_mut(Axis(0)).for_each(|mut channel| channel.assign(&first));
        let config = StrongIntensity { p: 1.0, ..StrongIntensity::default() };
        for seed in 0..20 {
            let mut image = grey.clone();
            change(&config.draw(&mut ChaCha8Rng::seed_from_u64(seed)), &mut image);
            let first = image.index_axis(Axis(0), 0);
            assert!(image.axis_iter(Axis(0)).all(|channel| channel == first));
            assert!(image.iter().all(|v| v.is_finite()));
            assert_ne!(image, grey);
        }
    }

    #[test]
    fn draws_stay_in_their_ranges_and_happen_as_often_as_asked() {
        let config = StrongIntensity::default();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut blurred = 0;
        for _ in 0..2000 {
            let drawn = config.draw(&mut rng);
            blurred += usize::from(drawn.blur_sigma.is_some());
            assert!(drawn.blur_sigma.is_none_or(|s| (0.25..=1.5).contains(&s)));
            assert!(drawn.low_resolution.is_none_or(|s| (0.5..=1.0).contains(&s)));
            assert!(drawn.gamma.is_none_or(|(g, _)| (0.5 - 1e-9..=2.0 + 1e-9).contains(&g)));
            assert!(drawn.contrast.is_none_or(|c| (0.6..=1.4).contains(&c)));
        }
        assert!((blurred as f64 / 2000.0 - 0.4).abs() < 0.05, "{blurred}");
    }
}
