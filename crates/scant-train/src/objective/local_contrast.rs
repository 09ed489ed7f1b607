//! Local contrast between two copies of every image of a batch.

use burn::tensor::{Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scant_nn::loss::local_contrast::{LocalContrastConfig, local_contrast, region_vectors};
use scant_nn::weights;

use super::Learners;

/// Name of the projection head `g2`.
pub(super) const HEAD: &str = "local_contrast";

/// Name of the linear projection of regions.
pub(super) const REGION_HEAD: &str = "local_contrast/regions";

/// Keeps these draws apart from the others of a step.
const PURPOSE: u64 = 0x6c6f_6361_6c5f_636f;

/// The loss of a batch, before its weight.
///
/// The network sees the copies in a pass of their own. Where it sees the images themselves too
/// (`beside_images`), its running statistics stay those of the images, which is what it will be
/// judged on.
pub(super) fn contrast_of_copies(
    learners: &Learners,
    images: &Tensor<4>,
    sources: &[String],
    config: &LocalContrastConfig,
    draw: u64,
    beside_images: bool,
) -> Tensor<1> {
    let (model, norms, heads) = (&learners.model, &learners.norms, &learners.heads);
    let kept = beside_images.then(|| (weights::statistics(model), norms.statistics()));
    let output = learners.forward(two_copies(images, config, draw), &[sources, sources].concat());
    if let Some((of_model, of_sets)) = &kept {
        weights::set_statistics(model, of_model);
        norms.set_statistics(of_sets);
    }
    let head = heads.get(HEAD).expect("a phase with local contrast has its head");
    let vectors = region_vectors(head.forward(super::tap(&output, head.tap())), config);
    let vectors = match heads.get(REGION_HEAD) {
        None => vectors,
        Some(head) => {
            let [copies, places, length] = vectors.dims();
            let projected = head.forward(vectors.reshape([copies * places, length, 1, 1]));
            projected.reshape([copies, places, config.project])
        }
    };
    local_contrast(vectors, config)
}

/// Every image twice, with brightness and then contrast changed, each copy by its own draw.
///
/// The reference shifts images of range 1; here the shift is that share of an image's own range, so that
/// normalised images are changed as much. The reference clips to [0, 1.5]; normalised images are not
/// clipped.
///
/// # Shapes
/// - images: `[B, C, H, W]`
/// - result: `[2 B, C, H, W]`, the first copy of every image, then the second of every image
fn two_copies(images: &Tensor<4>, config: &LocalContrastConfig, draw: u64) -> Tensor<4> {
    let [count, channels, rows, columns] = images.dims();
    let mut rng = ChaCha8Rng::seed_from_u64(draw ^ PURPOSE);
    let (mut shifts, mut factors) = (Vec::new(), Vec::new());
    for _ in 0..2 * count {
        let mut within = |most: f64| rng.random_range(-1.0..=1.0) * most;
        shifts.push(within(config.brightness) as f32);
        factors.push(1.0 + within(config.contrast) as f32);
    }
    let per_copy = |values: Vec<f32>| -> Tensor<4> {
        let data = TensorData::new(values, [2 * count, 1, 1, 1]);
        Tensor::from_data(data, &images.device())
    };
    let flat = images.clone().reshape([count, channels * rows * columns]);
    let range = (flat.clone().max_dim(1) - flat.min_dim(1)).reshape([count, 1, 1, 1]);
    let twice = |t: Tensor<4>| Tensor::cat(vec![t.clone(), t], 0);
    let brighter = twice(images.clone()) + twice(range) * per_copy(shifts);
    let mean = brighter.clone().mean_dim(3).mean_dim(2);
    (brighter - mean.clone()) * per_copy(factors) + mean
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn values(t: &Tensor<4>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    fn images() -> Tensor<4> {
        let values: Vec<f32> = (0..24_u16).map(|i| f32::from(i * i % 17)).collect();
        Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([2, 1, 3, 4])
    }

    #[test]
    fn copies_are_functions_of_the_draw_and_differ() {
        let config = LocalContrastConfig::default();
        let one = values(&two_copies(&images(), &config, 5));
        assert_eq!(one, values(&two_copies(&images(), &config, 5)));
        assert_ne!(one, values(&two_copies(&images(), &config, 6)));
        assert_eq!(one.len(), 48);
        assert_ne!(one[..24], one[24..]);
    }

    /// Each copy is `(x + s - mean) f + mean` of its image: an affine map with a factor within the bounds,
    /// whose mean moved by a share of the range within the bounds.
    #[test]
    fn a_copy_changes_brightness_and_contrast_within_bounds_and_nothing_else() {
        let config = LocalContrastConfig { brightness: 0.2, contrast: 0.4, ..Default::default() };
        let plain = values(&images());
        for draw in 0..20 {
            let copies = values(&two_copies(&images(), &config, draw));
            for copy in 0..4 {
                let (x, y) = (&plain[copy % 2 * 12..][..12], &copies[copy * 12..][..12]);
                let mean = |v: &[f32]| v.iter().sum::<f32>() / 12.0;
                let (mx, my) = (mean(x), mean(y));
                let range = x.iter().copied().fold(f32::MIN, f32::max)
                    - x.iter().copied().fold(f32::MAX, f32::min);
                assert!((my - mx).abs() <= 0.2 * range + 1e-4, "{mx} to {my}");
                let at = if (x[1] - mx).abs() > 0.5 { 1 } else { 2 };
                let factor = (y[at] - my) / (x[at] - mx);
                assert!((0.6 - 1e-3..=1.4 + 1e-3).contains(&factor), "{factor}");
                for (a, b) in x.iter().zip(y) {
                    assert!(((a - mx) * factor + my - b).abs() < 1e-3, "{a} to {b}");
                }
            }
        }
    }

    #[test]
    fn without_changes_copies_are_their_images() {
        let config = LocalContrastConfig { brightness: 0.0, contrast: 0.0, ..Default::default() };
        let copies = values(&two_copies(&images(), &config, 1));
        let plain = values(&images());
        for (a, b) in copies.iter().zip(plain.iter().chain(&plain)) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
    }
}
