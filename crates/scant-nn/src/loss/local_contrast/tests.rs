use burn::tensor::{Device, TensorData};

use super::*;

/// `[4, 2, h, w]`: two images, two copies.
fn features(h: usize, w: usize) -> Tensor<4> {
    let value = |i: usize| (i as f64 * 0.37 + (i % 7) as f64 * 0.11).sin() as f32;
    let values: Vec<f32> = (0..4 * 2 * h * w).map(value).collect();
    let device = Device::flex().autodiff();
    Tensor::<4>::from_data(TensorData::new(values, [4, 2, h, w]), &device).require_grad()
}

fn config(regions: usize, region_size: usize, temperature: f64) -> LocalContrastConfig {
    LocalContrastConfig { regions, region_size, temperature, ..LocalContrastConfig::default() }
}

/// Value, and the gradient of the features.
fn run(features: &Tensor<4>, config: &LocalContrastConfig) -> (f64, Vec<f64>) {
    let loss = local_contrast(region_vectors(features.clone(), config), config);
    let gradients = loss.backward();
    let gradient = features.grad(&gradients).unwrap();
    let value = f64::from(loss.into_scalar::<f32>());
    (value, gradient.to_data().iter::<f32>().map(f64::from).collect())
}

/// Values and gradients by PyTorch in `f64`, pair by pair as the reference loops: the loss, the gradient
/// times cos of its position, its absolute sum, and its entries 0, 5, 17 and 100.
#[test]
fn values_and_gradients_are_those_of_the_reference_written_out() {
    let cases = [
        (
            config(13, 3, 0.1),
            [9, 12],
            [72.366_856_389, -0.357_812_235, 58.208_709_732],
            [0.028_722_187, 0.021_874_114, -0.065_261_347, 0.0],
        ),
        (
            config(13, 1, 0.1),
            [9, 12],
            [74.293_455_876, -1.966_054_798, 51.691_689_780],
            [0.378_542_647, 0.092_379_062, 0.0, 0.0],
        ),
        (
            config(9, 3, 0.5),
            [9, 12],
            [18.871_833_580, -0.106_880_419, 11.570_185_386],
            [0.015_463_554, 0.011_118_822, -0.018_111_803, 0.0],
        ),
        (
            config(9, 1, 0.5),
            [5, 7],
            [13.200_473_806, -0.065_541_541, 18.400_381_077],
            [-0.361_640_692, 0.0, -0.087_153_965, 0.0],
        ),
    ];
    for (config, [h, w], [loss, along, total], entries) in cases {
        let (value, gradient) = run(&features(h, w), &config);
        assert!((value - loss).abs() < 1e-4 * loss, "{config:?}: {value} instead of {loss}");
        let projected: f64 = gradient.iter().enumerate().map(|(i, g)| g * (i as f64).cos()).sum();
        let absolute: f64 = gradient.iter().map(|g| g.abs()).sum();
        assert!((projected - along).abs() < 1e-3, "{config:?}: {projected} instead of {along}");
        assert!((absolute - total).abs() < 1e-3 * total, "{config:?}: {absolute} and {total}");
        for (i, wanted) in [0, 5, 17, 100].into_iter().zip(entries) {
            let got = gradient.get(i).copied().unwrap_or(0.0);
            assert!((got - wanted).abs() < 1e-4, "{config:?}: {got} instead of {wanted} at {i}");
        }
    }
}

/// All regions alike: every similarity is the same, so a positive is one of eleven.
#[test]
fn nothing_told_apart_is_log_eleven_per_direction() {
    let flat = features(9, 12) * 0.0 + 1.0;
    for (config, images) in [(config(13, 3, 0.1), 2.0), (config(9, 1, 0.01), 2.0)] {
        let loss = local_contrast(region_vectors(flat.clone(), &config), &config);
        let value = f64::from(loss.into_scalar::<f32>());
        let want = 2.0 * images * 11.0_f64.ln();
        assert!((value - want).abs() < 1e-3, "{value} instead of {want}");
    }
}

#[test]
fn a_low_temperature_and_a_map_of_zeros_stay_finite() {
    let config = config(13, 3, 0.001);
    let (value, gradient) = run(&features(9, 12), &config);
    assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()), "{value}");
    let zeros = Tensor::<4>::zeros([4, 2, 8, 8], &Device::flex().autodiff()).require_grad();
    let (value, gradient) = run(&zeros, &config);
    assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()), "{value}");
}

#[test]
fn no_region_is_its_own_negative_and_all_have_five() {
    for (regions, size) in [(9, 1), (9, 3), (13, 1), (13, 3)] {
        let table = negatives(regions, size);
        assert_eq!(table.len(), regions);
        for (region, negatives) in table.iter().enumerate() {
            let mut sorted = negatives.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert!(sorted.len() == 5 && !sorted.contains(&region), "{region}: {negatives:?}");
            assert!(regions == 13 || sorted.iter().all(|&n| n < 9), "{region}: {negatives:?}");
        }
    }
}

#[test]
fn regions_are_cut_where_the_reference_cuts_them() {
    // 8 x 9 with 3x3 regions: extents 4 and 5, so the centre of a quarter is at (1, 1) and (3, 3).
    let map = Tensor::<1>::from_floats(
        (0..72_u8).map(f32::from).collect::<Vec<_>>().as_slice(),
        &Device::flex(),
    );
    let vectors = region_vectors(map.reshape([1, 1, 8, 9]), &config(13, 3, 0.1));
    assert_eq!(vectors.dims(), [1, 17, 9]);
    let first = |place: usize| -> f32 {
        vectors.clone().slice([0..1, place..place + 1, 0..1]).into_scalar()
    };
    assert_eq!([0, 2, 8, 9, 12].map(first), [0.0, 5.0, 41.0, 10.0, 30.0]);
}

#[test]
#[should_panic(expected = "regions need 8 rows and columns, the map is 7 x 9")]
fn a_map_on_which_places_meet_is_refused() {
    let config = config(13, 3, 0.1);
    let _ = region_vectors(features(7, 9), &config);
}

#[test]
fn impossible_numbers_are_named() {
    let default = LocalContrastConfig::default;
    assert_eq!(default().validate(), Ok(()));
    assert_eq!((default().smallest_map(), config(9, 1, 0.1).smallest_map()), (8, 5));
    for (bad, key) in [
        (LocalContrastConfig { weight: 0.0, ..default() }, "weight"),
        (LocalContrastConfig { temperature: f64::NAN, ..default() }, "temperature"),
        (LocalContrastConfig { regions: 12, ..default() }, "regions"),
        (LocalContrastConfig { region_size: 2, ..default() }, "region_size"),
        (LocalContrastConfig { width: Some(0), ..default() }, "width"),
        (LocalContrastConfig { brightness: 1.5, ..default() }, "brightness"),
        (LocalContrastConfig { contrast: 1.0, ..default() }, "contrast"),
    ] {
        let error = bad.validate().unwrap_err().to_string();
        assert!(error.contains(&format!("local_contrast.{key} =")), "{error}");
    }
}
