//! Changes of intensity, relative to the statistics of the image itself.

use ndarray::{Array3, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::{IntensityParams, NoiseParams};

/// Statistics over all channels, so that colours keep their relation.
struct Spread {
    low: f32,
    high: f32,
    mean: f32,
    deviation: f32,
}

impl Spread {
    fn of(image: &Array3<f32>) -> Self {
        let count = image.len().max(1) as f64;
        let (low, high) = image
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
        let mean = image.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = image.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        Self { low, high, mean: mean as f32, deviation: variance.sqrt() as f32 }
    }
}

/// Contrast about the mean, then brightness, then gamma over the range that results.
pub(super) fn adjust(drawn: &IntensityParams, image: &mut Array3<f32>) {
    let spread = Spread::of(image);
    let factor = drawn.contrast as f32;
    let offset = drawn.brightness as f32 * spread.deviation;
    if factor != 1.0 || offset != 0.0 {
        image.mapv_inplace(|v| spread.mean + (v - spread.mean) * factor + offset);
    }
    let place = |v: f32| spread.mean + (v - spread.mean) * factor + offset;
    let (low, range) = (place(spread.low), place(spread.high) - place(spread.low));
    if drawn.gamma != 1.0 && range > 0.0 {
        let exponent = drawn.gamma as f32;
        image.mapv_inplace(|v| low + range * ((v - low) / range).clamp(0.0, 1.0).powf(exponent));
    }
}

/// Adds Gaussian noise.
pub(super) fn add_noise(drawn: &NoiseParams, image: &mut Array3<f32>) {
    let spread = Spread::of(image);
    let sigma = drawn.sigma as f32 * spread.deviation;
    if sigma == 0.0 {
        return;
    }
    let first = image.index_axis(Axis(0), 0);
    let grey = image.axis_iter(Axis(0)).all(|channel| channel == first);
    let mut rng = ChaCha8Rng::seed_from_u64(drawn.seed);
    let mut sample = |v: &mut f32| {
        let noise: f32 = rng.sample(StandardNormal);
        *v += sigma * noise;
        if drawn.clip {
            *v = v.clamp(spread.low, spread.high);
        }
    };
    if grey {
        image.index_axis_mut(Axis(0), 0).iter_mut().for_each(&mut sample);
        let noisy = image.index_axis(Axis(0), 0).to_owned();
        image.axis_iter_mut(Axis(0)).skip(1).for_each(|mut channel| channel.assign(&noisy));
    } else {
        image.iter_mut().for_each(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(channels: usize) -> Array3<f32> {
        Array3::from_shape_fn((channels, 20, 30), |(k, r, c)| (k * 7 + r * 30 + c) as f32 / 100.0)
    }

    #[test]
    fn brightness_and_contrast_are_in_units_of_the_image() {
        let (before, mut image) = (Spread::of(&ramp(1)), ramp(1));
        adjust(&IntensityParams { brightness: 0.5, contrast: 1.2, gamma: 1.0 }, &mut image);
        let after = Spread::of(&image);
        assert!((after.mean - before.mean - 0.5 * before.deviation).abs() < 1e-4);
        assert!((after.deviation / before.deviation - 1.2).abs() < 1e-4);
    }

    #[test]
    fn gamma_keeps_the_range_and_darkens_above_one() {
        let (before, mut image) = (Spread::of(&ramp(3)), ramp(3));
        adjust(&IntensityParams { brightness: 0.0, contrast: 1.0, gamma: 1.5 }, &mut image);
        let after = Spread::of(&image);
        assert!((after.low - before.low).abs() < 1e-5 && (after.high - before.high).abs() < 1e-4);
        assert!(after.mean < before.mean - 0.1);
    }

    #[test]
    fn noise_has_the_drawn_strength_and_keeps_grey_grey() {
        let (before, mut image) = (Spread::of(&ramp(1)), ramp(1));
        add_noise(&NoiseParams { sigma: 0.5, clip: false, seed: 1 }, &mut image);
        let added = Spread::of(&(&image - &ramp(1)));
        assert!((added.deviation / before.deviation - 0.5).abs() < 0.05, "{}", added.deviation);
        assert!(added.mean.abs() < 0.1 * before.deviation);
        let mut grey = ndarray::concatenate(Axis(0), &[ramp(1).view(), ramp(1).view()]).unwrap();
        add_noise(&NoiseParams { sigma: 0.5, clip: true, seed: 1 }, &mut grey);
        assert_eq!(grey.index_axis(Axis(0), 0), grey.index_axis(Axis(0), 1));
        let after = Spread::of(&grey);
        assert!(after.low >= before.low && after.high <= before.high);
        let mut colour = ramp(2);
        add_noise(&NoiseParams { sigma: 0.5, clip: false, seed: 1 }, &mut colour);
        let noise = colour - ramp(2);
        assert_ne!(noise.index_axis(Axis(0), 0), noise.index_axis(Axis(0), 1));
    }

    #[test]
    fn a_constant_image_stays_finite() {
        let mut image = Array3::from_elem((1, 4, 4), 3.0);
        adjust(&IntensityParams { brightness: 1.0, contrast: 0.5, gamma: 2.0 }, &mut image);
        add_noise(&NoiseParams { sigma: 1.0, clip: false, seed: 1 }, &mut image);
        assert!(image.iter().all(|&v| v == 3.0));
    }
}
