use scant_core::{CaseRecord, EmptySituation};

use super::*;
use crate::{
    score::fixtures::{case, empty_agreement, evaluation, failed, single},
    stats::WilcoxonMethod,
};

fn options() -> CompareOptions {
    let summary = SummaryOptions { bootstrap: 500, ..SummaryOptions::default() };
    CompareOptions { summary, ..CompareOptions::default() }
}

fn run(a: Vec<CaseRecord>, b: Vec<CaseRecord>) -> Comparison {
    let metrics = [Metric::Dice, Metric::Hd95];
    compare(&evaluation(a), &evaluation(b), &metrics, &options()).unwrap()
}

const A: [f64; 8] = [0.70, 0.80, 0.65, 0.90, 0.77, 0.69, 0.55, 0.61];
/// Differences 0.03, -0.01, 0.05, 0.02, -0.04, 0.07, 0.11, 0.06.
const B: [f64; 8] = [0.73, 0.79, 0.70, 0.92, 0.73, 0.76, 0.66, 0.67];

fn column(values: &[f64]) -> Vec<CaseRecord> {
    let one = |(i, &v): (usize, &f64)| {
        let name = i.to_string();
        case("s", &name, &name, &[("x", v)])
    };
    values.iter().enumerate().map(one).collect()
}

#[test]
fn pinned_to_scipy() {
    let comparison = run(column(&A), column(&B));
    let dice = comparison.overall.metric(Metric::Dice).unwrap();
    assert_eq!((dice.n, dice.groups, dice.test_n), (8, 8, 8));
    assert_eq!((dice.b_better, dice.a_better, dice.equal), (6, 2, 0));
    assert!((dice.mean_difference.unwrap() - 0.036_25).abs() < 1e-12);
    assert!((dice.mean_b.unwrap() - dice.mean_a.unwrap() - 0.036_25).abs() < 1e-12);
    // scipy.stats.wilcoxon([.03, -.01, .05, .02, -.04, .07, .11, .06])
    let w = dice.wilcoxon.unwrap();
    assert_eq!((w.statistic, w.p, w.method), (5.0, 0.078_125, WilcoxonMethod::Exact));
    assert!((w.rank_biserial - 26.0 / 36.0).abs() < 1e-12);
    // scipy.stats.ttest_1samp(the same, 0)
    let t = dice.t_test.unwrap();
    assert!((t.t - 2.172_770_174_813_281_5).abs() < 1e-9);
    assert!((t.p - 0.066_345_123_387_678_65).abs() < 1e-9);
    assert!((dice.cohens_dz.unwrap() - t.t / 8.0_f64.sqrt()).abs() < 1e-12);
    // Two metrics of the same p: Holm doubles the smaller and lifts the other to it.
    assert_eq!(dice.wilcoxon_p_holm, Some(0.156_25));
    let interval = dice.interval.unwrap();
    assert!(interval.low < 0.036_25 && 0.036_25 < interval.high);
}

#[test]
fn better_means_smaller_for_distances() {
    let comparison = run(column(&A), column(&B));
    let hd95 = comparison.overall.metric(Metric::Hd95).unwrap();
    assert!(!hd95.higher_is_better);
    assert_eq!((hd95.b_better, hd95.a_better), (6, 2));
    assert!(hd95.mean_difference.unwrap() < 0.0);
}

#[test]
fn pairs_by_id_whatever_the_order_and_lists_the_rest() {
    let mut b = column(&B);
    b.reverse();
    b.push(case("s", "new", "new", &[("x", 0.1)]));
    let mut a = column(&A);
    a.push(case("s", "old", "old", &[("x", 0.1)]));
    let comparison = run(a, b);
    let stems = |ids: &[SampleId]| ids.iter().map(|i| i.stem.clone()).collect::<Vec<_>>();
    assert_eq!(
        (stems(&comparison.only_a), stems(&comparison.only_b)),
        (vec!["old".into()], vec!["new".into()])
    );
    let straight = run(column(&A), column(&B));
    assert_eq!(comparison.overall, straight.overall);
    assert!(comparison.notes.iter().any(|n| n.contains("1 cases are in the first")));
}

#[test]
fn an_evaluation_equals_itself() {
    let comparison = run(column(&A), column(&A));
    let dice = comparison.overall.metric(Metric::Dice).unwrap();
    assert_eq!((dice.mean_difference, dice.equal), (Some(0.0), 8));
    assert_eq!(dice.interval, Some(Interval { low: 0.0, high: 0.0 }));
    assert_eq!(dice.wilcoxon.unwrap().method, WilcoxonMethod::NoDifference);
    assert_eq!((dice.t_test, dice.t_test_p_holm, dice.cohens_dz), (None, None, None));
}

#[test]
fn groups_are_the_unit_of_tests_unless_cases_are_asked_for() {
    let of = |values: [f64; 6]| -> Vec<CaseRecord> {
        let one =
            |(i, v): (usize, f64)| case("s", &(i / 2).to_string(), &i.to_string(), &[("x", v)]);
        values.into_iter().enumerate().map(one).collect()
    };
    let a = evaluation(of([0.5; 6]));
    let b = evaluation(of([0.6, 0.7, 0.4, 0.5, 0.8, 0.9]));
    let by = |unit| {
        let options = CompareOptions { unit, ..options() };
        compare(&a, &b, &[Metric::Dice], &options).unwrap().overall.metrics.remove(0)
    };
    let (group, case) = (by(TestUnit::Group), by(TestUnit::Case));
    assert_eq!((group.n, group.test_n, case.n, case.test_n), (6, 3, 6, 6));
    assert_eq!(group.mean_difference, case.mean_difference);
    assert_eq!(group.interval, case.interval);
    assert!(group.wilcoxon.unwrap().p > case.wilcoxon.unwrap().p);
}

#[test]
fn a_failed_case_is_a_zero_on_the_classes_of_the_other_side() {
    let a =
        vec![case("s", "1", "1", &[("x", 0.8), ("y", 0.4)]), case("s", "2", "2", &[("x", 0.6)])];
    let b = vec![failed("s", "1", "1"), failed("s", "2", "2")];
    let dice = run(a, b).overall.metrics.remove(0);
    assert_eq!((dice.n, dice.mean_b), (2, Some(0.0)));
    assert!((dice.mean_a.unwrap() - 0.6).abs() < 1e-12);
    assert_eq!((dice.defined_in_a_only, dice.defined_in_b_only), (0, 0));
}

#[test]
fn one_sided_values_are_counted_and_noted() {
    let alarm = [(Metric::Dice, Some(0.0)), (Metric::Hd95, Some(50.0))];
    let a = vec![empty_agreement("s", "1", "1"), case("s", "2", "2", &[("x", 0.6)])];
    let mut alarmed = single("1", EmptySituation::FalseAlarm, &alarm);
    alarmed.id = a[0].id.clone();
    let b = vec![alarmed, case("s", "2", "2", &[("x", 0.7)])];
    let comparison = run(a, b);
    let dice = comparison.overall.metric(Metric::Dice).unwrap();
    assert_eq!((dice.n, dice.defined_in_b_only, dice.defined_in_neither), (1, 1, 0));
    assert!(
        comparison
            .notes
            .iter()
            .any(|n| n.starts_with("dice: 0 values") && n.contains("1 in the second"))
    );
}

#[test]
fn the_worst_off_are_those_of_the_first() {
    let comparison = run(column(&A), column(&B));
    let worst = comparison.worst_off.as_ref().unwrap();
    assert_eq!(worst.cases, 2);
    // Cases 6 (0.55 -> 0.66) and 7 (0.61 -> 0.67).
    let dice = worst.metric(Metric::Dice).unwrap();
    assert!((dice.mean_difference.unwrap() - 0.085).abs() < 1e-12);
    // Cases 1 (0.80 -> 0.79) and 3 (0.90 -> 0.92).
    let best = comparison.best_off.unwrap().metrics.remove(0);
    assert!((best.mean_difference.unwrap() - 0.005).abs() < 1e-12);
    assert!(comparison.notes.iter().any(|n| n.contains("regression to the mean")));
}

#[test]
fn sources_have_their_own_numbers() {
    let of =
        |x: f64, y: f64| vec![case("p", "1", "1", &[("x", x)]), case("q", "1", "1", &[("x", y)])];
    let comparison = run(of(0.5, 0.5), of(0.6, 0.4));
    let diff = |s: &str| comparison.by_source[s].metrics[0].mean_difference.unwrap();
    assert!((diff("p") - 0.1).abs() < 1e-12 && (diff("q") + 0.1).abs() < 1e-12);
    assert_eq!(comparison.overall.groups, 2);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let a = evaluation(column(&A));
    let refused = |b: &Evaluation| compare(&a, b, &[Metric::Dice], &options()).unwrap_err();
    let mut other = a.clone();
    other.protocol.empty_policy = "monai".into();
    assert!(refused(&other).to_string().contains("empty-mask policy is scant"));
    let mut other = a.clone();
    other.protocol.nsd_tolerance = 1.0;
    assert!(matches!(refused(&other), MetricError::DifferentProtocol { .. }));
    let mut other = a.clone();
    other.cases[3].distance_unit = "mm".into();
    assert!(refused(&other).to_string().contains("s/3"));
    let stranger = evaluation(vec![case("t", "1", "1", &[("x", 0.1)])]);
    assert!(matches!(refused(&stranger), MetricError::NothingPaired { .. }));
}

#[test]
fn a_comparison_survives_json() {
    let comparison = run(column(&A), column(&B));
    let text = serde_json::to_string(&comparison).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), comparison);
}
