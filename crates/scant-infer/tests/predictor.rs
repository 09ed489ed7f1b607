//! What a prediction must keep, whatever the network says.
#![allow(clippy::unwrap_used)] // helpers of tests

use ndarray::Array3;
use scant_core::{Image, LabelSpace, PixelType};
use scant_data::preprocess::PreprocessConfig;
use scant_infer::{PredictOptions, Predictor, TileOptions, Tta};
use scant_nn::model::{ModelConfig, UNetConfig};
use scant_nn::{Device, weights};

fn predictor(size: Option<[usize; 2]>, classes: &[&str], options: PredictOptions) -> Predictor {
    let names = classes.iter().map(|s| (*s).to_owned()).collect();
    let space = LabelSpace::new(names).unwrap();
    let config = ModelConfig::UNet(UNetConfig {
        width: 4,
        depth: 2,
        input_channels: 1,
        output_channels: space.logit_channels(),
    });
    let device = Device::flex();
    let model = weights::set_training(config.init(&device, 3).unwrap(), false);
    let preprocess = PreprocessConfig { size, channels: 1, ..PreprocessConfig::default() };
    Predictor::new(model, preprocess, space, options, device)
}

fn picture(rows: usize, columns: usize) -> Image {
    let wave = |r: usize, c: usize| ((r as f32 * 0.37).sin() + (c as f32 * 0.23).cos()) / 4.0 + 0.5;
    Image::planar(Array3::from_shape_fn((1, rows, columns), |(_, r, c)| wave(r, c)), PixelType::U8)
}

#[test]
fn a_mask_has_the_size_of_its_image_and_probabilities_sum_to_one() {
    for classes in [&["bg", "a"][..], &["bg", "a", "b"][..]] {
        for size in [None, Some([32, 24])] {
            let p = predictor(size, classes, PredictOptions::default());
            for (rows, columns) in [(32, 24), (50, 37), (9, 80)] {
                let found = p.predict(&picture(rows, columns)).unwrap();
                assert_eq!(found.labels.ids.shape(), [rows, columns]);
                assert_eq!(found.probabilities.dim(), (classes.len(), rows, columns));
                let sums = found.probabilities.sum_axis(ndarray::Axis(0));
                assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-5));
                assert!(found.labels.ids.iter().all(|&id| usize::from(id) < classes.len()));
            }
        }
    }
}

#[test]
fn the_threshold_is_inclusive_and_repeats_are_equal() {
    let at = |threshold| {
        let options = PredictOptions { threshold, ..PredictOptions::default() };
        predictor(None, &["bg", "a"], options).predict(&picture(20, 20)).unwrap()
    };
    assert!(at(0.0).labels.ids.iter().all(|&id| id == 1));
    assert_eq!(at(0.5).labels, at(0.5).labels);
    let p = at(0.5);
    for (id, probability) in p.labels.ids.iter().zip(p.probabilities.slice(ndarray::s![1, .., ..]))
    {
        assert_eq!(*id == 1, *probability >= 0.5);
    }
}

#[test]
fn tiles_that_see_enough_agree_with_the_whole_image() {
    let image = picture(96, 120);
    let whole = predictor(None, &["bg", "a"], PredictOptions::default()).predict(&image).unwrap();
    let options = PredictOptions {
        tile: TileOptions { size: [64, 64], overlap: 0.75 },
        ..PredictOptions::default()
    };
    let tiled = predictor(None, &["bg", "a"], options).predict(&image).unwrap();
    assert_eq!(tiled.labels.ids.shape(), whole.labels.ids.shape());
    let difference =
        |d: (usize, usize, usize)| (tiled.probabilities[d] - whole.probabilities[d]).abs();
    let inner = (30..60).flat_map(|r| (40..80).map(move |c| (1, r, c)));
    let mean = inner.clone().map(difference).sum::<f32>() / inner.count() as f32;
    // Tile borders see zero padding where the whole image has pixels; their weight is small.
    assert!(mean < 0.02, "mean difference {mean}");
}

#[test]
fn averaging_over_symmetries_makes_the_prediction_symmetric() {
    let options = PredictOptions { tta: Tta::Flips, ..PredictOptions::default() };
    let p = predictor(None, &["bg", "a"], options);
    let image = picture(32, 32);
    let mut mirrored = image.clone();
    mirrored.pixels.invert_axis(ndarray::Axis(2));
    mirrored.pixels = mirrored.pixels.as_standard_layout().into_owned();
    let straight = p.predict(&image).unwrap().probabilities;
    let mut back = p.predict(&mirrored).unwrap().probabilities;
    back.invert_axis(ndarray::Axis(2));
    let worst = straight.iter().zip(&back).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(worst < 1e-5, "{worst}");
}
