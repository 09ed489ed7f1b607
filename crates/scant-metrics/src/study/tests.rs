use scant_core::{LabelSpace, SourceSummary};

use super::fixtures::{Owned, by_ref, runs};
use super::*;
use crate::score::fixtures::{case, empty_agreement, evaluation, failed};

fn close(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-12, "{got} is not {want}");
}

fn pool() -> PoolSummary {
    let source = |name: &str, role| SourceSummary {
        name: name.into(),
        role,
        images: 1,
        groups: 1,
        annotated: vec![],
    };
    PoolSummary {
        name: "p".into(),
        classes: LabelSpace::new(vec!["background".into(), "x".into()]).unwrap(),
        sources: vec![source("a", Role::Base), source("b", Role::Novel), source("c", Role::Novel)],
    }
}

#[test]
fn a_study_is_judged_by_a_role_or_a_source() {
    let e = evaluation(vec![
        case("a", "g", "1", &[("x", 0.5)]),
        case("b", "g", "2", &[("x", 0.6)]),
        case("c", "g", "3", &[("x", 0.7)]),
    ]);
    let n = |judge: &str| judged(&e, &pool(), judge).unwrap().cases.len();
    assert_eq!((n("all"), n("base"), n("novel"), n("c")), (3, 1, 2, 1));
    let error = judged(&e, &pool(), "d").unwrap_err().to_string();
    assert!(error.contains("\"d\"") && error.contains("all, base, novel, a, b, c"), "{error}");
    let only_base = evaluation(vec![case("a", "g", "1", &[("x", 0.5)])]);
    let error = judged(&only_base, &pool(), "novel").unwrap_err().to_string();
    assert!(error.contains("no case of \"novel\""), "{error}");
}

#[test]
fn failures_count_and_agreed_absence_does_not() {
    let e = evaluation(vec![
        case("s", "g", "a", &[("x", 0.9), ("y", 0.7)]),
        failed("s", "g", "b"),
        empty_agreement("s", "g", "c"),
    ]);
    let (mean, n) = run_score(&e, Metric::Dice).unwrap();
    close(mean, 0.4);
    assert_eq!(n, 2);
}

/// Three seeds; the method is 0.02 better in every case, and more in the second case of a seed.
fn three() -> (Owned, Owned) {
    let reference = runs(&[
        (1, &[("g1", "a", 0.5), ("g2", "b", 0.7)]),
        (2, &[("g1", "a", 0.6), ("g3", "c", 0.8), ("g3", "d", 0.4)]),
        (3, &[("g2", "b", 0.6), ("g4", "e", 0.2)]),
    ]);
    let method = runs(&[
        (1, &[("g1", "a", 0.52), ("g2", "b", 0.76)]),
        (2, &[("g1", "a", 0.62), ("g3", "c", 0.82), ("g3", "d", 0.48)]),
        (3, &[("g2", "b", 0.62), ("g4", "e", 0.28)]),
    ]);
    (reference, method)
}

#[test]
fn a_seed_weighs_as_much_as_another_by_hand() {
    let (a, b) = three();
    let options = StudyOptions::default();
    let d = difference(&by_ref(&a), &by_ref(&b), Metric::Dice, &options).unwrap().unwrap();
    // Seeds: (0.02 + 0.06) / 2, (0.02 + 0.02 + 0.08) / 3, (0.02 + 0.08) / 2.
    close(d.difference.by_seed[&1], 0.04);
    close(d.difference.by_seed[&2], 0.04);
    close(d.difference.by_seed[&3], 0.05);
    close(d.difference.value, 0.13 / 3.0);
    close(d.mean_reference, (0.6 + 0.6 + 0.4) / 3.0);
    close(d.mean_method, d.mean_reference + 0.13 / 3.0);
    assert_eq!((d.difference.groups, d.difference.cases), (4, 5));
    assert_eq!((d.unpaired, d.undefined), (0, 0));
    // Six cells (seed and group), all positive: 2 of 64 patterns reach the sum.
    let tests = d.tests.unwrap();
    let flips = tests.flips.unwrap();
    assert!(flips.exact && flips.units == 6);
    close(flips.p, 2.0 / 64.0);
    assert_eq!(tests.p, Some(flips.p.max(tests.two_way.unwrap().p)));
    // Every case gains at least 0.02 and at most 0.08, and so does every resample.
    let interval = d.difference.interval.unwrap();
    assert!(interval.low >= 0.02 && interval.high <= 0.08 && interval.low < interval.high);
    assert!(d.difference.at_least.unwrap() >= interval.low);
    assert!(d.difference.at_most.unwrap() <= interval.high);
    // The distance (10 (1 - dice)) shrinks, which is a gain.
    let hd = difference(&by_ref(&a), &by_ref(&b), Metric::Hd95, &options).unwrap().unwrap();
    close(hd.difference.value, -1.3 / 3.0);
    assert!(!hd.higher_is_better && hd.gain() > 0.0);
}

#[test]
fn two_seeds_have_a_difference_but_no_interval_and_no_test() {
    let (mut a, b) = three();
    a.remove(&3);
    let d = difference(&by_ref(&a), &by_ref(&b), Metric::Dice, &StudyOptions::default());
    let d = d.unwrap().unwrap();
    close(d.difference.value, 0.04);
    assert_eq!(d.difference.seeds(), 2);
    assert_eq!((d.difference.interval, d.difference.at_least, d.tests), (None, None, None));
    assert!(!d.shown(1.0));
    a.clear();
    let none = difference(&by_ref(&a), &by_ref(&b), Metric::Dice, &StudyOptions::default());
    assert_eq!(none.unwrap(), None);
}

#[test]
fn what_is_not_in_both_is_counted_and_left_out() {
    let (mut a, b) = three();
    a.get_mut(&1).unwrap().cases.push(case("s", "g9", "z", &[("x", 0.1)]));
    a.get_mut(&2).unwrap().cases[0].classes[0].metrics.insert("dice".into(), None);
    let d = difference(&by_ref(&a), &by_ref(&b), Metric::Dice, &StudyOptions::default());
    let d = d.unwrap().unwrap();
    assert_eq!((d.unpaired, d.undefined), (1, 1));
    close(d.difference.by_seed[&1], 0.04);
    close(d.difference.by_seed[&2], 0.05);
}

#[test]
fn runs_of_one_seed_without_a_common_case_are_refused() {
    let (a, _) = three();
    let other = runs(&[(1, &[("h", "z", 0.5)])]);
    let error = difference(&by_ref(&a), &by_ref(&other), Metric::Dice, &StudyOptions::default());
    assert!(matches!(error, Err(MetricError::NothingPaired { .. })));
}

/// `seeds` seeds that all test the same `groups` groups of one case; difference `d(seed, group)`.
fn grid(seeds: u64, groups: usize, d: impl Fn(u64, usize) -> f64) -> (Owned, Owned) {
    let of = |f: &dyn Fn(u64, usize) -> f64| -> Owned {
        (0..seeds)
            .map(|s| {
                let of = |g| case("s", &format!("g{g:03}"), &format!("c{g:03}"), &[("x", f(s, g))]);
                (s, evaluation((0..groups).map(of).collect()))
            })
            .collect()
    };
    (of(&|_, _| 0.5), of(&|s, g| 0.5 + d(s, g)))
}

/// Standard deviation behind a percentile interval, if it were normal.
fn spread(e: &Estimate) -> f64 {
    let i = e.interval.unwrap();
    (i.high - i.low) / (2.0 * 1.959_964)
}

#[test]
fn shared_patients_are_drawn_together() {
    // Every seed sees the same 20 patients with the same differences: training more seeds tells
    // nothing about other patients, so the interval must be that of the patients alone.
    let value = |g: usize| (g as f64 * 0.618_034).fract() * 0.2 - 0.1;
    let options = StudyOptions {
        summary: SummaryOptions { bootstrap: 20_000, ..SummaryOptions::default() },
        ..StudyOptions::default()
    };
    let patients: Vec<f64> = (0..20).map(value).collect();
    let mean = crate::stats::mean(&patients).unwrap();
    let sd = (patients.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20.0).sqrt();
    let of = |seeds: u64| {
        let (a, b) = grid(seeds, 20, |_, g| value(g));
        let d = difference(&by_ref(&a), &by_ref(&b), Metric::Dice, &options).unwrap().unwrap();
        close(d.difference.value, mean);
        spread(&d.difference) / (sd / 20f64.sqrt())
    };
    for seeds in [3, 12] {
        let ratio = of(seeds);
        assert!((ratio - 1.0).abs() < 0.03, "{seeds} seeds: {ratio}");
    }
    // Differences that only depend on the seed: the interval is that of resampled seeds.
    let (a, b) = grid(8, 20, |s, _| (s as f64 - 3.5) * 0.01);
    let d = difference(&by_ref(&a), &by_ref(&b), Metric::Dice, &options).unwrap().unwrap();
    // Population sd of 0..8 is sqrt(5.25).
    let ratio = spread(&d.difference) / (0.01 * (5.25f64 / 8.0).sqrt());
    assert!((ratio - 1.0).abs() < 0.03, "{ratio}");
}

#[test]
fn the_same_seed_gives_the_same_interval() {
    let (a, b) = three();
    let with = |seed| {
        let mut options = StudyOptions::default();
        options.summary.seed = seed;
        difference(&by_ref(&a), &by_ref(&b), Metric::Dice, &options).unwrap().unwrap().difference
    };
    assert_eq!(with(4).interval, with(4).interval);
    assert_ne!(with(4), with(5));
}

#[test]
fn holm_spans_the_table_and_leaves_untested_rows_alone() {
    let test =
        |p: Option<f64>| Tests { flips: None, two_way: None, wilcoxon: None, p, p_holm: None };
    let mut table = [test(Some(0.01)), test(None), test(Some(0.04))];
    correct(table.iter_mut());
    assert_eq!(table.map(|t| t.p_holm), [Some(0.02), None, Some(0.04)]);
}

#[test]
fn area_weights_by_hand() {
    // 0, 1/4, 1: (1/4) / 2, 1 / 2, (3/4) / 2.
    let w = trapezoid_weights(&[0.0, 0.25, 1.0]).unwrap();
    assert_eq!(w, [0.125, 0.5, 0.375]);
    // The range is divided out.
    assert_eq!(trapezoid_weights(&[2.0, 3.0, 6.0]).unwrap(), [0.125, 0.5, 0.375]);
    for bad in
        [&[][..], &[0.5], &[0.0, 0.0, 1.0], &[1.0, 0.0], &[0.0, f64::NAN], &[0.0, f64::INFINITY]]
    {
        assert!(matches!(trapezoid_weights(bad), Err(MetricError::Curve(_))), "{bad:?}");
    }
}

#[test]
fn areas_and_their_difference_by_hand() {
    let at = |low: f64, high: f64| {
        runs(&[
            (1, &[("g1", "a", low), ("g2", "b", high)]),
            (2, &[("g1", "a", low + 0.1), ("g3", "c", high + 0.1)]),
            (3, &[("g4", "d", low), ("g5", "e", high)]),
        ])
    };
    let (zero, quarter, one) = (at(0.4, 0.6), at(0.5, 0.7), at(0.6, 0.6));
    let better = at(0.55, 0.75);
    let mut incomplete = at(0.6, 0.6);
    incomplete.remove(&2);
    let options = StudyOptions::default();
    let curve = [(0.0, by_ref(&zero)), (0.25, by_ref(&quarter)), (1.0, by_ref(&one))];
    let whole = area(&curve, Metric::Dice, &options).unwrap().unwrap();
    // 0.125 * 0.5 + 0.5 * 0.6 + 0.375 * 0.6 = 0.5875, and 0.1 more in the second seed.
    close(whole.by_seed[&1], 0.5875);
    close(whole.by_seed[&2], 0.6875);
    close(whole.value, 0.5875 + 0.1 / 3.0);

    let pairs = [
        (0.0, by_ref(&zero), by_ref(&zero)),
        (0.25, by_ref(&quarter), by_ref(&better)),
        (1.0, by_ref(&one), by_ref(&incomplete)),
    ];
    let d = area_difference(&pairs, Metric::Dice, &options).unwrap().unwrap();
    // Better by 0.05 at a quarter only; the second seed misses a point and takes no part.
    assert_eq!(d.difference.by_seed.keys().copied().collect::<Vec<_>>(), [1, 3]);
    close(d.difference.value, 0.5 * 0.05);
    assert_eq!(d.tests, None);
}

#[test]
fn worst_off_by_the_same_run_and_by_others_by_hand() {
    // Four cases, all tested under three seeds; the lowest quarter is one case.
    let cases = |dice: [f64; 4]| {
        let e = ["a", "b", "c", "d"].iter().zip(dice);
        evaluation(e.map(|(n, d)| case("s", n, n, &[("x", d)])).collect())
    };
    let reference: Owned = [
        (1, cases([0.10, 0.30, 0.8, 0.9])),
        (2, cases([0.40, 0.20, 0.8, 0.9])),
        (3, cases([0.35, 0.40, 0.8, 0.9])),
    ]
    .into();
    let method: Owned = (1..=3).map(|s| (s, cases([0.4, 0.4, 0.8, 0.9]))).collect();
    let w = worst_off_difference(
        &by_ref(&reference),
        &by_ref(&method),
        Metric::Dice,
        &StudyOptions::default(),
    )
    .unwrap();
    // Lowest of the run itself: a (0.1), b (0.2), a (0.35).
    let same = w.by_same_run.unwrap();
    close(same.difference.by_seed[&1], 0.3);
    close(same.difference.by_seed[&2], 0.2);
    close(same.difference.by_seed[&3], 0.05);
    close(w.threshold.unwrap(), 0.65 / 3.0);
    // By the mean of the two others: seed 1: a 0.375, b 0.30 -> b; seed 2: a 0.225 -> a;
    // seed 3: a 0.25, b 0.25, a tie -> a. The flattered 0.3 and 0.2 are gone.
    let other = w.by_other_seeds.unwrap();
    close(other.difference.by_seed[&1], 0.1);
    close(other.difference.by_seed[&2], 0.0);
    close(other.difference.by_seed[&3], 0.05);
}

#[test]
fn cases_of_one_seed_only_cannot_be_ranked_by_another() {
    let (a, b) = three();
    let w = worst_off_difference(&by_ref(&a), &by_ref(&b), Metric::Dice, &StudyOptions::default());
    let other = w.unwrap().by_other_seeds.unwrap();
    // Only a (seeds 1, 2) and b (seeds 1, 3) are tested twice. Seed 1 ranks a 0.6 and b 0.6: a.
    assert_eq!(other.difference.cases, 2);
    close(other.difference.by_seed[&1], 0.02);
    close(other.difference.by_seed[&3], 0.02);
}

#[test]
fn drops_by_hand() {
    let of = |high: f64, low: f64| {
        let cases = |s: u64| {
            let step = s as f64 * 0.01;
            evaluation(vec![
                case("s", &format!("g{s}"), "a", &[("x", high + step)]),
                case("s", &format!("h{s}"), "b", &[("x", low + step)]),
            ])
        };
        (1..=4).map(|s| (s, cases(s))).collect::<Owned>()
    };
    let (clean, noisy) = (of(0.8, 0.6), of(0.7, 0.4));
    let (sturdy, shaken) = (of(0.8, 0.6), of(0.75, 0.5));
    let reference = Drop { clean: by_ref(&clean), noisy: by_ref(&noisy) };
    let method = Drop { clean: by_ref(&sturdy), noisy: by_ref(&shaken) };
    let options = StudyOptions::default();
    let got = drop_ratio(&reference, &method, Metric::Dice, &options).unwrap().unwrap();
    // The reference drops by 0.1 and 0.2, the method by half of it in every case.
    close(got.reference.value, 0.15);
    close(got.method.value, 0.075);
    close(got.difference.value, -0.075);
    close(got.ratio.unwrap(), 0.5);
    let interval = got.interval.unwrap();
    close(interval.low, 0.5);
    close(interval.high, 0.5);
    close(got.at_most.unwrap(), 0.5);
    // The other way round there is nothing to divide by.
    let still = Drop { clean: by_ref(&clean), noisy: by_ref(&clean) };
    let none = drop_ratio(&still, &method, Metric::Dice, &options).unwrap().unwrap();
    assert_eq!((none.ratio, none.interval, none.at_most), (None, None, None));
    // A distance rises where Dice drops, by ten times as much here.
    let hd = drop_ratio(&reference, &method, Metric::Hd95, &options).unwrap().unwrap();
    close(hd.reference.value, 1.5);
    close(hd.ratio.unwrap(), 0.5);
}

#[test]
fn the_published_test_is_scipys() {
    let got = single_value_test(&[0.8123, 0.8034, 0.8201, 0.8177, 0.8090], 0.80).unwrap();
    // scipy.stats.ttest_1samp(x, 0.80)
    assert!((got.test.t - 4.167_824_556_550_518).abs() < 1e-9, "{got:?}");
    assert_eq!((got.runs, got.test.df), (5, 4.0));
    assert_eq!(single_value_test(&[0.8], 0.7), None);
}
