//! Contrast of sampled pixels by their classes.

use std::collections::BTreeMap;

use burn::tensor::{Int, Slice, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use scant_nn::SegOutput;
use scant_nn::heads::Heads;
use scant_nn::loss::pixel_contrast::{PixelContrastConfig, SampledPixels, pixel_contrast};

use super::{Drawn, positions, tap};

/// Name of the projection head.
pub(super) const HEAD: &str = "pixel_contrast";

/// Keeps these draws apart from the others of a step.
const PURPOSE: u64 = 0x7069_7865_6c5f_636f;

/// The loss of a batch, before its weight; `None` where fewer than two classes were drawn.
pub(super) fn contrast_of_pixels(
    output: &SegOutput,
    heads: &Heads,
    drawn: &Drawn,
    config: &PixelContrastConfig,
    draw: u64,
) -> Option<Tensor<1>> {
    let sample = sample(drawn, config, draw);
    if sample.len() < 2 {
        return None;
    }
    let head = heads.get(HEAD).expect("a phase with pixel contrast has its head");
    let features = tap(output, head.tap());
    let device = features.device();
    let [_, _, h, w] = features.dims();
    let (_, rows, columns) = drawn.labels.dim();
    let strides = [(rows + output.padding[0]) / h, (columns + output.padding[1]) / w];
    // The grid of the sample, of which the tap is a finer one.
    let every = |stride: usize| Slice::new(0, None, (config.stride / stride) as isize);
    let [by_row, by_column] = strides.map(every);
    let grid = features.slice([Slice::full(), Slice::full(), by_row, by_column]);
    let [b, c, h, w] = grid.dims();
    let pixels = grid.permute([0, 2, 3, 1]).reshape([b * h * w, c]);
    let at = sample.values().flatten().map(|&[image, row, column]| (image * h + row) * w + column);
    let chosen = pixels.select(0, positions(at, &device)); // [N, C]
    let [count, _] = chosen.dims();
    let vectors = head.forward(chosen.swap_dims(0, 1).reshape([1, c, count, 1]));
    let vectors = vectors.reshape([config.width, count]).swap_dims(0, 1);
    let classes: Vec<i64> =
        sample.iter().flat_map(|(&class, of)| of.iter().map(move |_| i64::from(class))).collect();
    let classes = Tensor::<1, Int>::from_ints(classes.as_slice(), &device);
    Some(pixel_contrast(&SampledPixels { vectors, classes }, config.temperature))
}

/// Places `[image, row, column]` on the grid, by class: equal shares of the classes drawn there.
fn sample(drawn: &Drawn, config: &PixelContrastConfig, draw: u64) -> BTreeMap<u8, Vec<[usize; 3]>> {
    let mut candidates: BTreeMap<u8, Vec<[usize; 3]>> = BTreeMap::new();
    for (image, (label, annotated)) in drawn.labels.outer_iter().zip(&drawn.annotated).enumerate() {
        let (rows, columns) = label.dim();
        for row in 0..rows.div_ceil(config.stride) {
            for column in 0..columns.div_ceil(config.stride) {
                let class = label[[row * config.stride, column * config.stride]];
                if annotated.has(class) {
                    candidates.entry(class).or_default().push([image, row, column]);
                }
            }
        }
    }
    let share = config.max_pixels / candidates.len().max(1);
    let mut rng = ChaCha8Rng::seed_from_u64(draw ^ PURPOSE);
    for places in candidates.values_mut() {
        if places.len() > share {
            let (chosen, _) = places.partial_shuffle(&mut rng, share);
            *places = chosen.to_vec();
        }
    }
    candidates
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use scant_core::Annotated;

    use super::*;

    fn drawn(annotated: Vec<Annotated>) -> Drawn {
        let mut labels = Array3::zeros((2, 8, 8));
        labels[[0, 0, 0]] = 1;
        labels[[0, 4, 4]] = 2;
        labels[[1, 4, 0]] = 1;
        labels[[1, 1, 1]] = 2; // off the grid
        Drawn { labels, annotated }
    }

    fn config(max_pixels: usize) -> PixelContrastConfig {
        PixelContrastConfig { stride: 4, max_pixels, ..PixelContrastConfig::default() }
    }

    #[test]
    fn pixels_come_from_the_grid_by_class() {
        let found = sample(&drawn(vec![Annotated::all(3); 2]), &config(100), 0);
        assert_eq!(found[&1], [[0, 0, 0], [1, 1, 0]]);
        assert_eq!(found[&2], [[0, 1, 1]]);
        assert_eq!(found[&0].len(), 5);
    }

    #[test]
    fn classes_share_what_is_sampled_and_the_draw_decides() {
        let all = drawn(vec![Annotated::all(3); 2]);
        let found = sample(&all, &config(6), 0);
        assert_eq!(found.values().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(found, sample(&all, &config(6), 0));
        let others = (1..20).filter(|&draw| sample(&all, &config(6), draw) != found).count();
        assert!(others > 5, "{others}");
    }

    #[test]
    fn what_nobody_drew_is_not_sampled() {
        // On the first image only class 1 was drawn, on the second nothing.
        let one = Annotated::only(3, &[1]);
        let none = Annotated::none(3);
        let found = sample(&drawn(vec![one, none]), &config(100), 0);
        assert_eq!(found.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(found[&1], [[0, 0, 0]]);
    }
}
