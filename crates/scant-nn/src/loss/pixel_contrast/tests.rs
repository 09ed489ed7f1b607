use burn::tensor::{Device, TensorData};

use super::*;

fn pixels(classes: &[i32]) -> SampledPixels {
    let device = Device::flex().autodiff();
    let count = classes.len();
    let values: Vec<f32> = (0..count * 3).map(|i| (i as f64 * 0.9 + 0.2).sin() as f32).collect();
    SampledPixels {
        vectors: Tensor::<2>::from_data(TensorData::new(values, [count, 3]), &device)
            .require_grad(),
        classes: Tensor::from_ints(classes, &device),
    }
}

/// Value and gradient by PyTorch in `f64`, anchor by anchor from the formula. Class 2 has one pixel only,
/// which is no anchor, but a negative of all others.
#[test]
fn value_and_gradient_are_those_of_the_formula() {
    let pixels = pixels(&[0, 1, 0, 2, 1, 0]);
    let loss = pixel_contrast(&pixels, 0.7);
    let gradients = loss.backward();
    let gradient = pixels.vectors.grad(&gradients).unwrap();
    let value = f64::from(loss.into_scalar::<f32>());
    assert!((value - 1.397_804_497).abs() < 1e-5, "{value}");
    let want = [
        -0.001_549_3,
        -0.000_544_6,
        0.000_872_3,
        0.432_494_3,
        0.288_916_5,
        -0.073_307_5,
        -0.272_759_5,
        -0.313_202_8,
        -0.116_620_5,
        -0.002_601_5,
        -0.007_169_1,
        -0.006_311_2,
        -0.088_199_5,
        0.328_826_2,
        0.497_002_8,
        0.139_904_8,
        -0.084_988,
        -0.245_563_6,
    ];
    for (got, want) in gradient.to_data().iter::<f32>().zip(want) {
        assert!((f64::from(got) - want).abs() < 1e-5, "{got} instead of {want}");
    }
}

/// Two classes, each in a corner of its own: with three and one other pixels the log-sum is written out.
#[test]
fn classes_in_opposite_corners_are_the_best_that_can_be() {
    let device = Device::flex().autodiff();
    let vectors = Tensor::from_floats([[2.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-3.0, 0.0]], &device);
    let classes = Tensor::from_ints([0, 0, 1, 1], &device);
    let value = pixel_contrast(&SampledPixels { vectors, classes }, 0.5).into_scalar::<f32>();
    // One positive at similarity 2, two negatives at -2.
    let want = -2.0 + (2.0_f64.exp() + 2.0 * (-2.0_f64).exp()).ln();
    assert!((f64::from(value) - want).abs() < 1e-5, "{value} instead of {want}");
}

#[test]
fn pixels_without_a_partner_are_exactly_nothing() {
    let pixels = pixels(&[0, 1, 2]);
    let loss = pixel_contrast(&pixels, 0.7);
    let gradients = loss.backward();
    assert_eq!(loss.into_scalar::<f32>(), 0.0);
    let gradient = pixels.vectors.grad(&gradients).unwrap();
    assert!(gradient.to_data().iter::<f32>().all(|g| g == 0.0));
}

#[test]
#[should_panic(expected = "one class per sampled pixel")]
fn classes_must_fit() {
    let mut pixels = pixels(&[0, 1, 2]);
    pixels.classes = Tensor::from_ints([0, 1], &Device::flex().autodiff());
    let _ = pixel_contrast(&pixels, 0.7);
}

#[test]
fn impossible_numbers_are_named() {
    let default = PixelContrastConfig::default;
    assert_eq!(default().validate(), Ok(()));
    for (bad, key) in [
        (PixelContrastConfig { weight: -1.0, ..default() }, "weight"),
        (PixelContrastConfig { temperature: 0.0, ..default() }, "temperature"),
        (PixelContrastConfig { stride: 0, ..default() }, "stride"),
        (PixelContrastConfig { max_pixels: 3, ..default() }, "max_pixels"),
        (PixelContrastConfig { width: 0, ..default() }, "width"),
    ] {
        let error = bad.validate().unwrap_err().to_string();
        assert!(error.contains(&format!("pixel_contrast.{key} =")), "{error}");
    }
}
