use proptest::prelude::*;

use super::*;
use crate::loss::feature_discrepancy::{FdForm, feature_discrepancy, region_features};
use crate::loss::slow_formulas::{
    Case, Row, assert_close, central_differences, value_and_gradient,
};

const EPS: f64 = 1e-12;
const FORMS: [FdForm; 6] = [
    FdForm::PaperSum,
    FdForm::PixelMean,
    FdForm::RegionMean,
    FdForm::ScalarNormalised,
    FdForm::ReleasedCode,
    FdForm::Relative,
];
const LOG: MinusLog = MinusLog { squared: true, eps: EPS };
const LOG_DISTANCE: MinusLog = MinusLog { squared: false, eps: EPS };

fn run(
    case: &Case,
    form: FdForm,
    term: impl Fn(&RegionFeatures) -> Discrepancy,
) -> (f64, Vec<f64>, usize) {
    let (features, mask) = case.tensors();
    let result = term(&region_features(&features, &mask, form));
    assert_eq!(result.value.dims(), [1]);
    // Added to something that depends on the features, as in training: a term that is a constant
    // zero must leave the rest differentiable.
    let anchored = result.value.clone() + features.0.clone().sum() * 0.0;
    let (value, gradient) = value_and_gradient(&anchored, &features.0);
    (value, gradient, result.contributed())
}

fn shift(k: usize) -> Permutation {
    Permutation::CyclicShift { k }
}

#[test]
fn golden_algorithm_1_value_and_gradient() {
    let form = FdForm::PaperSum;
    let (value, gradient, pairs) =
        run(&Case::golden(), form, |r| shuffled(r, &shift(1), LOG_DISTANCE));
    assert!((value + 0.661_986_57).abs() < 1e-5, "{value}");
    assert_eq!(pairs, 2);
    let expected = [
        -0.141_592_92,
        -0.25,
        -0.25,
        -0.141_592_92,
        0.123_893_81,
        0.25,
        0.25,
        0.123_893_81,
        0.25,
        0.25,
        0.141_592_92,
        0.141_592_92,
        -0.25,
        -0.25,
        -0.123_893_81,
        -0.123_893_81,
    ];
    assert_close(&gradient, &expected, 1e-5);
}

#[test]
fn golden_algorithm_1_pairs() {
    for (pair, expected) in [((0, 1), -0.977_399_55), ((1, 0), -0.346_573_59)] {
        let slow = Case::golden().value(FdForm::PaperSum, &[vec![pair]], false, EPS).value;
        assert!((slow - expected).abs() < 1e-7, "{slow}");
    }
}

#[test]
fn golden_definition_2_value_and_gradient() {
    let roles = [Role::Base, Role::Novel];
    let expected = [
        -0.441_379_31,
        -0.220_689_66,
        -0.220_689_66,
        -0.441_379_31,
        0.386_206_9,
        0.220_689_66,
        0.220_689_66,
        0.386_206_9,
        0.220_689_66,
        0.220_689_66,
        0.441_379_31,
        0.441_379_31,
        -0.220_689_66,
        -0.220_689_66,
        -0.386_206_9,
        -0.386_206_9,
    ];
    // With one image of each, the three pairings are the same.
    for pairing in [Pairing::AllPairs, Pairing::DatasetMean, Pairing::Matched(vec![(0, 1)])] {
        let (value, gradient, pairs) =
            run(&Case::golden(), FdForm::PaperSum, |r| base_novel(r, &roles, &pairing, LOG));
        assert!((value + 2.204_145_02).abs() < 1e-5, "{pairing:?}: {value}");
        assert_close(&gradient, &expected, 1e-5);
        assert_eq!(pairs, 1);
    }
}

#[test]
fn base_and_novel_are_symmetric_as_a_pair() {
    let value = |roles: [Role; 2]| {
        run(&Case::golden(), FdForm::RegionMean, |r| base_novel(r, &roles, &Pairing::AllPairs, LOG))
            .0
    };
    assert_close(&[value([Role::Base, Role::Novel])], &[value([Role::Novel, Role::Base])], 1e-6);
}

#[test]
fn nothing_to_exchange_is_exactly_zero() {
    let one = Case::random([1, 3, 2], [4, 4], 3);
    let two = Case { drawn: vec![1.0, 1.0], ..Case::golden() };
    for form in FORMS {
        let alone = run(&one, form, |r| shuffled(r, &shift(1), LOG));
        let twice = Permutation::Independent { fg: vec![0], bg: vec![0] };
        let alone_too = run(&one, form, |r| shuffled(r, &twice, LOG));
        let base_only =
            run(&two, form, |r| base_novel(r, &[Role::Base, Role::Base], &Pairing::AllPairs, LOG));
        let unlabelled = run(&two, form, |r| {
            base_novel(r, &[Role::Base, Role::Unlabelled], &Pairing::DatasetMean, LOG)
        });
        let unmatched = run(&two, form, |r| {
            base_novel(r, &[Role::Base, Role::Novel], &Pairing::Matched(vec![]), LOG)
        });
        for (value, gradient, pairs) in [alone, alone_too, base_only, unlabelled, unmatched] {
            assert_eq!((value, pairs), (0.0, 0), "{form:?}");
            assert!(gradient.iter().all(|&g| g == 0.0), "{form:?}");
        }
    }
}

#[test]
fn a_pair_with_an_image_nobody_drew_does_not_count() {
    let mut case = Case::random([3, 2, 1], [4, 4], 9);
    case.drawn = vec![1.0, 0.0, 1.0];
    let (value, gradient, pairs) =
        run(&case, FdForm::PaperSum, |r| shuffled(r, &shift(1), LOG_DISTANCE));
    // Of the pairs 0-1, 1-2 and 2-0 only the last is left.
    assert_eq!(pairs, 1);
    let expected = case.value(FdForm::PaperSum, &[vec![(2, 0)]], false, EPS).value;
    assert_close(&[value], &[expected], 1e-5);
    assert!(gradient[32..64].iter().all(|&g| g == 0.0));
}

#[test]
fn identity_permutations_repeat_the_plain_term() {
    let case = Case::random([3, 2, 1], [4, 5], 31);
    let same = Permutation::Independent { fg: vec![2, 0, 1], bg: vec![2, 0, 1] };
    for form in FORMS {
        let exchanged = run(&case, form, |r| shuffled(r, &same, LOG));
        let plain = run(&case, form, |r| feature_discrepancy(r, LOG));
        assert_close(&[exchanged.0], &[plain.0], 1e-5);
        assert_close(&exchanged.1, &plain.1, 1e-4);
    }
}

#[test]
fn dataset_mean_is_the_distance_of_mean_features() {
    let mut case = Case::random([4, 3, 1], [4, 4], 17);
    case.drawn = vec![1.0, 1.0, 0.0, 1.0];
    let roles = [Role::Base, Role::Base, Role::Base, Role::Novel];
    let form = FdForm::RegionMean;
    let (value, _, pairs) = run(&case, form, |r| base_novel(r, &roles, &Pairing::DatasetMean, LOG));
    let of = |i: usize| case.region(form, i, 0).unwrap();
    let ([f0, b0], [f1, b1], [f3, b3]) = (of(0), of(1), of(3));
    let squares: f64 = (0..3)
        .map(|k| {
            let (fg, bg) = ((f0[k] + f1[k]) / 2.0, (b0[k] + b1[k]) / 2.0);
            (fg - b3[k]).powi(2) + (f3[k] - bg).powi(2)
        })
        .sum();
    assert_close(&[value], &[-squares.ln()], 1e-5);
    assert_eq!(pairs, 1);
}

#[test]
#[should_panic(expected = "cyclic shift must be in 1..3, got 3")]
fn a_shift_that_moves_nothing_is_refused() {
    let case = Case::random([3, 2, 1], [2, 2], 1);
    let _ = run(&case, FdForm::PaperSum, |r| shuffled(r, &shift(3), LOG));
}

#[test]
#[should_panic(expected = "[0, 0] is not a permutation of the 2 images")]
fn a_repeated_image_is_refused() {
    let twice = Permutation::Independent { fg: vec![0, 1], bg: vec![0, 0] };
    let _ = run(&Case::golden(), FdForm::PaperSum, |r| shuffled(r, &twice, LOG));
}

#[test]
#[should_panic(expected = "(1, 0) is not a base and a novel image")]
fn a_swapped_match_is_refused() {
    let roles = [Role::Base, Role::Novel];
    let swapped = Pairing::Matched(vec![(1, 0)]);
    let _ = run(&Case::golden(), FdForm::PaperSum, |r| base_novel(r, &roles, &swapped, LOG));
}

fn check(
    case: &Case,
    form: FdForm,
    rows: &[Row],
    log: MinusLog,
    term: impl Fn(&RegionFeatures) -> Discrepancy,
) -> Result<(), TestCaseError> {
    let slow = |f: &[f64]| case.with_features(f).value(form, rows, log.squared, EPS);
    let expected = slow(&case.features);
    prop_assume!(expected.closest > 1e-5);
    let by_differences = central_differences(|f| slow(f).value, &case.features);
    let (value, gradient, pairs) = run(case, form, term);
    prop_assert_eq!(pairs, expected.count);
    assert_close(&[value], &[expected.value], 1e-4);
    assert_close(&gradient, &by_differences, 2e-3);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn shuffled_equals_the_slow_formula(
        b in 2_usize..5, c in 1_usize..4, r in 1_usize..3, h in 1_usize..5, w in 1_usize..5,
        form in 0_usize..6, squared in any::<bool>(), k in 1_usize..4, turn in 0_usize..4,
        seed in any::<u64>(),
    ) {
        let (case, form) = (Case::random([b, c, r], [h, w], seed), FORMS[form]);
        let log = MinusLog { squared, eps: EPS };
        let k = 1 + k % (b - 1);
        let rows: Vec<Row> = (0..b).map(|i| vec![(i, (i + k) % b)]).collect();
        check(&case, form, &rows, log, |f| shuffled(f, &shift(k), log))?;
        let fg: Vec<usize> = (0..b).rev().collect();
        let bg: Vec<usize> = (0..b).map(|i| (i + turn) % b).collect();
        let rows: Vec<Row> = fg.iter().zip(&bg).map(|(&i, &j)| vec![(i, j)]).collect();
        let both = Permutation::Independent { fg, bg };
        check(&case, form, &rows, log, |f| shuffled(f, &both, log))?;
    }

    #[test]
    fn base_novel_equals_the_slow_formula(
        b in 2_usize..5, c in 1_usize..4, r in 1_usize..3, h in 1_usize..5, w in 1_usize..5,
        form in 0_usize..6, squared in any::<bool>(), novel in 1_usize..15, seed in any::<u64>(),
    ) {
        let (case, form) = (Case::random([b, c, r], [h, w], seed), FORMS[form]);
        let log = MinusLog { squared, eps: EPS };
        let roles: Vec<Role> = (0..b)
            .map(|i| if novel >> i & 1 == 1 { Role::Novel } else { Role::Base })
            .collect();
        let pairs: Vec<(usize, usize)> = (0..b)
            .flat_map(|i| (0..b).map(move |j| (i, j)))
            .filter(|&(i, j)| roles[i] == Role::Base && roles[j] == Role::Novel)
            .collect();
        let rows = |pairs: &[(usize, usize)]| -> Vec<Row> {
            pairs.iter().map(|&(i, j)| vec![(i, j), (j, i)]).collect()
        };
        check(&case, form, &rows(&pairs), log, |f| {
            base_novel(f, &roles, &Pairing::AllPairs, log)
        })?;
        let some: Vec<_> = pairs.into_iter().step_by(2).collect();
        let matched = Pairing::Matched(some.clone());
        check(&case, form, &rows(&some), log, |f| base_novel(f, &roles, &matched, log))?;
    }
}
