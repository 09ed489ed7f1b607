//! Noise on training images, for studies of robustness.
//!
//! Normal with mean 0 and standard deviation sigma, added to intensities from 0 to 1 on the network's
//! grid (after resizing, which would average it away, and before normalisation); the sum is cut to 0 to
//! 1. A grey image gets one noise for all channels.

use ndarray::Array3;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Adds noise.
pub(super) fn add(pixels: &mut Array3<f32>, sigma: f64, rng: &mut ChaCha8Rng) {
    let sigma = sigma as f32;
    pixels.mapv_inplace(|v| {
        let noise: f32 = rng.sample(StandardNormal);
        (v + sigma * noise).clamp(0.0, 1.0)
    });
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn it_has_its_spread_and_stays_between_0_and_1() {
        let mut image = Array3::from_elem((1, 100, 100), 0.5);
        add(&mut image, 0.1, &mut ChaCha8Rng::seed_from_u64(3));
        let mean = image.mean().unwrap();
        let spread = image.std(0.0);
        assert!((mean - 0.5).abs() < 5e-3 && (spread - 0.1).abs() < 5e-3, "{mean} {spread}");
        add(&mut image, 1.0, &mut ChaCha8Rng::seed_from_u64(4));
        assert!(image.iter().all(|v| (0.0..=1.0).contains(v)));
        assert!(image.iter().any(|v| *v == 0.0) && image.iter().any(|v| *v == 1.0));
    }
}
