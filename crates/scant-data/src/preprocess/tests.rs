use ndarray::{Array, array};
use proptest::prelude::*;
use scant_core::PixelType;

use super::*;

fn image(pixels: Array3<f32>) -> Image {
    Image::planar(pixels, PixelType::F32)
}

fn config(size: Option<[usize; 2]>, fit: Fit, normalise: Normalise) -> PreprocessConfig {
    PreprocessConfig { size, channels: 1, fit, normalise, harmonise: None }
}

#[test]
fn zscore_has_mean_zero_and_deviation_one_per_channel() {
    let pixels = Array3::from_shape_fn((3, 7, 9), |(k, r, c)| ((k + 1) * (r * 3 + c)) as f32);
    let config = PreprocessConfig { size: Some([7, 9]), ..Default::default() };
    let out = config.apply_image(&image(pixels)).unwrap();
    for channel in out.axis_iter(Axis(0)) {
        assert!(channel.mean().unwrap().abs() < 1e-5);
        assert!((channel.std(0.0) - 1.0).abs() < 1e-5);
    }
}

#[test]
fn percentile_clips_and_minmax_does_not() {
    let mut pixels = Array3::from_shape_fn((1, 10, 20), |(_, r, c)| (r * 20 + c) as f32);
    pixels[[0, 0, 0]] = -1e6;
    let clipped = config(None, Fit::Stretch, Normalise::Percentile)
        .apply_image(&image(pixels.clone()))
        .unwrap();
    assert_eq!(clipped[[0, 0, 0]], 0.0);
    assert_eq!(clipped[[0, 9, 19]], 1.0);
    assert!((clipped[[0, 5, 0]] - 0.5).abs() < 0.02);
    let stretched =
        config(None, Fit::Stretch, Normalise::MinMax).apply_image(&image(pixels)).unwrap();
    assert!(stretched[[0, 5, 0]] > 0.99, "the outlier takes the whole range");
}

#[test]
fn constant_images_never_give_nan() {
    for value in [0.0, 0.3, -7.5, 1e30, f32::MAX, f32::MIN_POSITIVE] {
        for normalise in [Normalise::ZScore, Normalise::Percentile, Normalise::MinMax] {
            let constant = image(Array3::from_elem((1, 13, 17), value));
            let out = config(Some([8, 8]), Fit::Pad, normalise).apply_image(&constant).unwrap();
            assert!(out.iter().all(|&v| v == 0.0), "{value} {normalise:?} {out}");
        }
    }
    let extremes = image(array![[[f32::MAX, f32::MIN]]]);
    for normalise in [Normalise::ZScore, Normalise::Percentile, Normalise::MinMax] {
        let out = config(None, Fit::Stretch, normalise).apply_image(&extremes).unwrap();
        assert!(out.iter().all(|v| v.is_finite()), "{normalise:?} {out}");
    }
}

#[test]
fn grey_and_colour_become_what_the_network_wants() {
    let grey = image(array![[[0.25, 0.5]]]);
    let wide = PreprocessConfig { normalise: Normalise::None, ..Default::default() };
    let out = wide.apply_image(&grey).unwrap();
    assert_eq!(out, array![[[0.25, 0.5]], [[0.25, 0.5]], [[0.25, 0.5]]]);
    let colour = image(array![[[1.0]], [[0.0]], [[0.0]]]);
    let narrow = config(None, Fit::Stretch, Normalise::None);
    assert!((narrow.apply_image(&colour).unwrap()[[0, 0, 0]] - 0.299).abs() < 1e-6);
}

#[test]
fn padding_is_centred_zero_and_unseen_by_the_statistics() {
    let pixels = Array3::from_shape_fn((1, 4, 8), |(_, r, c)| 5.0 + (r * 8 + c) as f32);
    let config = config(Some([8, 8]), Fit::Pad, Normalise::ZScore);
    let out = config.apply_image(&image(pixels)).unwrap();
    assert!(out.slice(s![.., ..2, ..]).iter().all(|&v| v == 0.0));
    assert!(out.slice(s![.., 6.., ..]).iter().all(|&v| v == 0.0));
    assert!((out.slice(s![.., 2..6, ..]).std(0.0) - 1.0).abs() < 1e-5);
    let label = config.apply_label(Array2::from_elem((4, 8), 3).view());
    assert_eq!(label.iter().filter(|&&v| v == 3).count(), 32);
    assert!(label.slice(s![..2, ..]).iter().all(|&v| v == 0));
}

#[test]
fn keeping_the_size_keeps_every_pixel() {
    let pixels = Array3::from_shape_fn((1, 5, 3), |(_, r, c)| (r * 3 + c) as f32);
    let config = config(None, Fit::Pad, Normalise::None);
    assert_eq!(config.apply_image(&image(pixels.clone())).unwrap(), pixels);
    assert_eq!(config.restore(pixels.view(), (5, 3)), pixels);
}

#[test]
fn what_cannot_be_used_is_named() {
    let config = config(None, Fit::Stretch, Normalise::ZScore);
    let volume =
        Image { pixels: Array::zeros(vec![1, 2, 3, 4]), ..image(Array3::zeros((1, 1, 1))) };
    let says = |i: &Image| config.apply_image(i).unwrap_err().to_string();
    assert!(says(&volume).contains("[1, 2, 3, 4]"), "{}", says(&volume));
    assert!(says(&image(Array3::zeros((4, 2, 2)))).contains("4 channels"));
    assert!(says(&image(Array3::zeros((1, 0, 2)))).contains("0 x 2"));
    assert!(says(&image(array![[[f32::NAN, 1.0, f32::INFINITY]]])).starts_with("2 sample"));
    let odd = PreprocessConfig { channels: 2, ..config.clone() };
    assert!(odd.validate().unwrap_err().to_string().contains("channels = 2"));
    let flat = PreprocessConfig { size: Some([0, 4]), ..config.clone() };
    assert!(flat.validate().unwrap_err().to_string().contains("[0, 4]"));
}

#[test]
fn a_configuration_survives_toml_and_refuses_typos() {
    let read = |text: &str| toml::from_str::<PreprocessConfig>(text);
    assert_eq!(read("").unwrap(), PreprocessConfig::default());
    let full =
        read("size = [96, 128]\nchannels = 1\nfit = \"pad\"\nnormalise = \"min-max\"").unwrap();
    assert_eq!(full, config(Some([96, 128]), Fit::Pad, Normalise::MinMax));
    for config in [full, PreprocessConfig::default()] {
        assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<PreprocessConfig>(&json).unwrap(), config);
    }
    assert!(read("size = \"keep\"").unwrap().size.is_none());
    assert!(read("size = \"kept\"").unwrap_err().to_string().contains("\"keep\""));
    assert!(read("size = [1, 2, 3]").is_err());
    assert!(read("sizes = [1, 2]").unwrap_err().to_string().contains("sizes"));
}

proptest! {
    #[test]
    fn a_coarse_map_comes_back_where_it_was(
        rows in 20_usize..90, columns in 20_usize..90, pad in any::<bool>(),
        top in 0.0_f64..0.5, left in 0.0_f64..0.5,
    ) {
        // A rectangle drawn on the original grid, put on the net grid, restored as scores.
        let (r0, c0) = ((top * rows as f64) as usize, (left * columns as f64) as usize);
        let inside = |r: usize, c: usize| {
            (r0..r0 + rows / 2).contains(&r) && (c0..c0 + columns / 2).contains(&c)
        };
        let label = Array2::from_shape_fn((rows, columns), |(r, c)| u8::from(inside(r, c)));
        let fit = if pad { Fit::Pad } else { Fit::Stretch };
        let config = config(Some([64, 48]), fit, Normalise::None);
        let small = config.apply_label(label.view());
        prop_assert_eq!(small.dim(), (64, 48));
        let scores = small.mapv(f32::from).insert_axis(Axis(0));
        let back = config.restore(scores.view(), (rows, columns));
        prop_assert_eq!(back.dim(), (1, rows, columns));
        let hard = back.index_axis(Axis(0), 0).mapv(|v| u8::from(v >= 0.5));
        let both = hard.iter().zip(&label).filter(|(a, b)| **a == 1 && **b == 1).count();
        let sum = hard.iter().chain(&label).filter(|&&v| v == 1).count();
        prop_assert!(2.0 * both as f64 / sum as f64 > 0.88, "{} of {}", both, sum);
    }

    #[test]
    fn image_and_label_share_one_layout(
        rows in 1_usize..70, columns in 1_usize..70, h in 1_usize..40, w in 1_usize..40,
    ) {
        let config = config(Some([h, w]), Fit::Pad, Normalise::None);
        let ones = image(Array3::ones((1, rows, columns)));
        let pixels = config.apply_image(&ones).unwrap();
        let label = config.apply_label(Array2::ones((rows, columns)).view());
        for (pixel, id) in pixels.iter().zip(&label) {
            prop_assert_eq!(*pixel > 0.5, *id == 1);
        }
    }
}

#[test]
fn a_configuration_of_before_harmonising_is_read_and_one_without_is_written_as_before() {
    let old = r#"{"size":[4,6],"channels":1,"fit":"pad","normalise":"min-max"}"#;
    let read: PreprocessConfig = serde_json::from_str(old).unwrap();
    assert_eq!(read, config(Some([4, 6]), Fit::Pad, Normalise::MinMax));
    assert_eq!(serde_json::to_string(&read).unwrap(), old);
}
