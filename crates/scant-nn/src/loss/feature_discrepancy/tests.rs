use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::loss::slow_formulas::{Case, assert_close, central_differences, value_and_gradient};

const EPS: f64 = 1e-12;
const FORMS: [FdForm; 6] = [
    FdForm::PaperSum,
    FdForm::PixelMean,
    FdForm::RegionMean,
    FdForm::ScalarNormalised,
    FdForm::ReleasedCode,
    FdForm::Relative,
];

fn run(case: &Case, form: FdForm, squared: bool) -> (f64, Vec<f64>, usize) {
    let (features, mask) = case.tensors();
    let regions = region_features(&features, &mask, form);
    let result = feature_discrepancy(&regions, MinusLog { squared, eps: EPS });
    assert_eq!(result.value.dims(), [1]);
    let (value, gradient) = value_and_gradient(&result.value, &features.0);
    (value, gradient, result.contributed())
}

#[test]
fn golden_region_sums() {
    let (features, mask) = Case::golden().tensors();
    let regions = region_features(&features, &mask, FdForm::PaperSum);
    assert_eq!(regions.fg.to_data().try_to_vec::<f32>().unwrap(), [4.0, 0.75, 1.0, 2.0]);
    assert_eq!(regions.bg.to_data().try_to_vec::<f32>().unwrap(), [2.0, 1.0, 2.0, 2.5]);
}

#[test]
fn golden_values_of_every_form() {
    let cases = [
        (FdForm::PaperSum, true, -0.812_471_05),
        (FdForm::PaperSum, false, -0.406_235_52),
        (FdForm::PixelMean, true, 1.960_117_67),
        (FdForm::RegionMean, true, 0.573_823_31),
        (FdForm::ScalarNormalised, false, 1.548_757_47),
        (FdForm::Relative, true, 2.085_296_55),
        (FdForm::ReleasedCode, false, 0.128_684_88),
    ];
    for (form, squared, expected) in cases {
        let (value, _, images) = run(&Case::golden(), form, squared);
        assert!((value - expected).abs() < 1e-5, "{form:?} {squared}: {value} != {expected}");
        assert_eq!(images, 2);
    }
}

#[test]
fn golden_values_of_each_image_alone() {
    let both = Case::golden();
    let alone = |i: usize| Case {
        b: 1,
        features: both.features[8 * i..8 * (i + 1)].to_vec(),
        mask: both.mask[4 * i..4 * (i + 1)].to_vec(),
        drawn: vec![1.0],
        ..both.clone()
    };
    let cases = [
        (FdForm::PaperSum, true, [-1.401_798_55, -0.223_143_55]),
        (FdForm::PixelMean, true, [1.370_790_17, 2.549_445_17]),
        (FdForm::RegionMean, true, [-0.015_504_19, 1.163_150_81]),
        (FdForm::ScalarNormalised, false, [1.488_077_06, 1.609_437_91]),
        (FdForm::Relative, true, [1.669_157_15, 2.501_435_95]),
    ];
    for (form, squared, expected) in cases {
        for (i, expected) in expected.into_iter().enumerate() {
            let (value, _, images) = run(&alone(i), form, squared);
            assert!((value - expected).abs() < 1e-5, "{form:?}, image {i}: {value} != {expected}");
            assert_eq!(images, 1);
        }
    }
}

#[test]
fn golden_gradients_of_every_form() {
    // Pixel sums, pixel means and (with regions of equal area) region means differ by a constant.
    let sums = [
        -0.492_307_69,
        0.492_307_69,
        0.492_307_69,
        -0.492_307_69,
        0.061_538_46,
        -0.061_538_46,
        -0.061_538_46,
        0.061_538_46,
        0.8,
        0.8,
        -0.8,
        -0.8,
        0.4,
        0.4,
        -0.4,
        -0.4,
    ];
    for form in [FdForm::PaperSum, FdForm::PixelMean, FdForm::RegionMean] {
        assert_close(&run(&Case::golden(), form, true).1, &sums, 1e-5);
    }
    let halved: Vec<f64> = sums.iter().map(|g| g / 2.0).collect();
    assert_close(&run(&Case::golden(), FdForm::PaperSum, false).1, &halved, 1e-5);
    let scalar = [
        -0.221_198_16,
        0.350_230_41,
        0.350_230_41,
        -0.221_198_16,
        -0.221_198_16,
        0.350_230_41,
        0.350_230_41,
        -0.221_198_16,
        0.4,
        0.4,
        -0.266_666_67,
        -0.266_666_67,
        0.4,
        0.4,
        -0.266_666_67,
        -0.266_666_67,
    ];
    assert_close(&run(&Case::golden(), FdForm::ScalarNormalised, false).1, &scalar, 1e-5);
    let released = [
        -0.166_666_67,
        0.0,
        0.0,
        -0.166_666_67,
        0.117_647_06,
        0.0,
        0.0,
        0.117_647_06,
        0.0,
        0.0,
        0.0,
        0.0,
        -0.470_588_24,
        -0.470_588_24,
        0.0,
        0.0,
    ];
    assert_close(&run(&Case::golden(), FdForm::ReleasedCode, false).1, &released, 1e-5);
}

#[test]
fn squared_is_twice_and_pixel_mean_a_constant_above_the_sum() {
    let case = Case::random([3, 4, 1], [5, 7], 11);
    for form in FORMS {
        let (whole, half) = (run(&case, form, true).0, run(&case, form, false).0);
        assert_close(&[whole], &[2.0 * half], 1e-5);
    }
    let (sum, mean) = (run(&case, FdForm::PaperSum, true), run(&case, FdForm::PixelMean, true));
    assert_close(&[mean.0], &[sum.0 + 2.0 * 35.0_f64.ln()], 1e-5);
    assert_close(&mean.1, &sum.1, 1e-4);
}

#[test]
fn only_ratios_ignore_the_scale_of_the_features() {
    let case = Case::random([2, 3, 1], [4, 4], 5);
    let scaled: Vec<f64> = case.features.iter().map(|f| 8.0 * f).collect();
    let scaled = case.with_features(&scaled);
    for form in [FdForm::PaperSum, FdForm::PixelMean, FdForm::RegionMean] {
        let fell = run(&case, form, true).0 - run(&scaled, form, true).0;
        assert_close(&[fell], &[2.0 * 8.0_f64.ln()], 1e-4);
    }
    for form in [FdForm::ScalarNormalised, FdForm::Relative] {
        assert_close(&[run(&scaled, form, false).0], &[run(&case, form, false).0], 1e-4);
    }
}

#[test]
fn descending_separates_the_regions() {
    for form in FORMS {
        let case = Case::random([2, 3, 1], [4, 4], 23);
        let (before, gradient, _) = run(&case, form, true);
        let moved: Vec<f64> =
            case.features.iter().zip(&gradient).map(|(f, g)| f - 1e-3 * g).collect();
        let after = run(&case.with_features(&moved), form, true).0;
        assert!(after < before, "{form:?}: {before} -> {after}");
    }
}

#[test]
fn region_mean_skips_images_with_an_empty_region_and_counts_the_rest() {
    let mut case = Case::random([3, 2, 1], [3, 3], 7);
    case.drawn = vec![1.0; 3];
    case.mask[..9].fill(0.0);
    case.mask[9..18].fill(1.0);
    let (value, gradient, images) = run(&case, FdForm::RegionMean, true);
    assert_eq!(images, 1);
    assert!(gradient[..36].iter().all(|&g| g == 0.0), "skipped images have no gradient");
    assert!(gradient[36..].iter().any(|&g| g != 0.0));
    let alone = Case {
        b: 1,
        features: case.features[36..].to_vec(),
        mask: case.mask[18..].to_vec(),
        drawn: vec![1.0],
        ..case
    };
    assert_close(&[value], &[run(&alone, FdForm::RegionMean, true).0], 1e-6);
}

#[test]
fn nothing_contributing_is_exactly_zero_with_zero_gradient() {
    let nobody_drew = Case { drawn: vec![0.0, 0.0], ..Case::golden() };
    for form in FORMS {
        let (value, gradient, images) = run(&nobody_drew, form, true);
        assert_eq!((value, images), (0.0, 0), "{form:?}");
        assert!(gradient.iter().all(|&g| g == 0.0), "{form:?}: {gradient:?}");
    }
    for fill in [0.0, 1.0] {
        let empty = Case { mask: vec![fill; 8], ..Case::golden() };
        let (value, gradient, images) = run(&empty, FdForm::RegionMean, true);
        assert_eq!((value, images), (0.0, 0));
        assert!(gradient.iter().all(|&g| g == 0.0));
    }
}

#[test]
fn degenerate_maps_are_finite_in_value_and_gradient() {
    let constant = Case { features: vec![0.75; 16], ..Case::golden() };
    let zero = Case { features: vec![0.0; 16], ..Case::golden() };
    let empty = Case { mask: vec![0.0; 8], ..Case::golden() };
    let huge = Case { features: vec![1e6; 16], ..Case::golden() };
    for case in [constant, zero, empty, huge] {
        for form in FORMS {
            for squared in [true, false] {
                let (value, gradient, _) = run(&case, form, squared);
                assert!(value.is_finite(), "{form:?}: {value}");
                assert!(gradient.iter().all(|g| g.is_finite()), "{form:?}: {gradient:?}");
            }
        }
    }
    // Foreground equal to background: the worst value eps allows, and no direction to leave it.
    let same = Case { features: vec![0.5; 16], ..Case::golden() };
    let (value, gradient, _) = run(&same, FdForm::PaperSum, true);
    assert_close(&[value], &[-EPS.ln()], 1e-5);
    assert!(gradient.iter().all(|&g| g == 0.0));
}

#[test]
fn regions_with_equal_means_leave_no_rounding_residue() {
    // Three pixels of mean 1 against two of mean 1: thirds and halves of exact sums.
    let case = Case {
        b: 1,
        c: 1,
        r: 1,
        size: [1, 5],
        features: vec![0.5, 1.25, 1.25, 0.25, 1.75],
        mask: vec![1.0, 1.0, 1.0, 0.0, 0.0],
        drawn: vec![1.0],
    };
    let (value, gradient, _) = run(&case, FdForm::RegionMean, true);
    assert_close(&[value], &[-EPS.ln()], 1e-6);
    assert!(gradient.iter().all(|&g| g == 0.0), "{gradient:?}");
}

#[test]
fn paper_sum_is_defined_without_foreground() {
    let empty = Case { mask: vec![0.0; 8], ..Case::golden() };
    let (value, gradient, images) = run(&empty, FdForm::PaperSum, true);
    assert_eq!(images, 2);
    // F_g = 0 and B_g = (6, 1.75), (3, 4.5): -log of 39.0625 and 29.25.
    assert_close(&[value], &[-(39.0625_f64.ln() + 29.25_f64.ln()) / 2.0], 1e-6);
    assert!(gradient.iter().any(|&g| g != 0.0));
}

#[test]
fn the_mask_gets_no_gradient() {
    let (features, mask) = Case::golden().tensors();
    let regions = region_features(&features, &mask, FdForm::RegionMean);
    let value = feature_discrepancy(&regions, MinusLog { squared: true, eps: EPS }).value;
    let gradients = value.backward();
    assert!(mask.mask.grad(&gradients).is_none());
}

#[test]
#[should_panic(expected = "mask and features differ in [B, H, W]")]
fn a_mask_of_another_resolution_is_refused() {
    let (features, _) = Case::golden().tensors();
    let device = Device::flex().autodiff();
    let mask = ForegroundMask::all_drawn(Tensor::zeros([2, 1, 4, 4], &device));
    let _ = region_features(&features, &mask, FdForm::PaperSum);
}

#[test]
fn forms_are_written_in_kebab_case() {
    let names = FORMS.map(|form| serde_json::to_string(&form).unwrap());
    let expected = [
        "paper-sum",
        "pixel-mean",
        "region-mean",
        "scalar-normalised",
        "released-code",
        "relative",
    ];
    assert_eq!(names, expected.map(|name| format!("\"{name}\"")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn value_and_gradient_equal_the_slow_formula(
        b in 1_usize..4, c in 1_usize..5, r in 1_usize..4, h in 1_usize..6, w in 1_usize..6,
        form in 0_usize..6, squared in any::<bool>(), seed in any::<u64>(),
    ) {
        let (case, form) = (Case::random([b, c, r], [h, w], seed), FORMS[form]);
        let slow = |f: &[f64]| {
            let case = case.with_features(f);
            case.value(form, &case.own_rows(), squared, EPS)
        };
        let expected = slow(&case.features);
        prop_assume!(expected.closest > 1e-5);
        let by_differences = central_differences(|f| slow(f).value, &case.features);
        let (value, gradient, contributed) = run(&case, form, squared);
        prop_assert_eq!(contributed, expected.count);
        assert_close(&[value], &[expected.value], 1e-4);
        assert_close(&gradient, &by_differences, 2e-3);
    }
}
