use super::*;
use crate::score::fixtures::{case, empty_agreement, evaluation, failed, single};

fn quick() -> SummaryOptions {
    SummaryOptions { bootstrap: 200, ..SummaryOptions::default() }
}

fn dice(summary: &Summary, source: Option<&str>, class: Option<&str>) -> MetricSummary {
    summary.row(source, class).unwrap().metrics[&Metric::Dice]
}

#[test]
fn rows_by_hand() {
    let all = evaluation(vec![
        case("a", "g1", "1", &[("x", 0.9), ("y", 0.5)]),
        case("a", "g1", "2", &[("x", 0.7)]),
        case("b", "g1", "1", &[("x", 0.2)]),
        empty_agreement("b", "g2", "2"),
    ]);
    let summary = summarise(&all, &quick()).unwrap();
    let overall = summary.row(None, None).unwrap();
    // The group g1 of source a is not the group g1 of source b.
    assert_eq!((overall.cases, overall.groups, overall.situations.total()), (4, 3, 5));
    assert_eq!(overall.situations.both_empty, 1);
    assert_eq!(overall.distance_unit, "px");
    let d = dice(&summary, None, None);
    assert_eq!((d.n, d.n_undefined, d.groups), (4, 1, 2));
    assert!((d.mean.unwrap() - 2.3 / 4.0).abs() < 1e-12);
    assert!((d.median.unwrap() - 0.6).abs() < 1e-12);
    assert_eq!((d.min, d.max), (Some(0.2), Some(0.9)));
    // numpy.std([.9, .5, .7, .2], ddof=1)
    assert!((d.sd.unwrap() - 0.298_607_881_119_482).abs() < 1e-12);
    assert!((dice(&summary, None, Some("x")).mean.unwrap() - 0.6).abs() < 1e-12);
    assert_eq!(dice(&summary, Some("a"), Some("y")).mean, Some(0.5));
    assert_eq!(dice(&summary, Some("b"), None).mean, Some(0.2));
    assert!(summary.row(Some("b"), Some("y")).is_none());
    assert_eq!(summary.metrics, [Metric::Dice, Metric::Hd95]);
    assert!(summary.notes[0].contains("policy scant"));
    assert_eq!(summary.policy_text, summary.notes[0]);
}

#[test]
fn intervals_resample_groups_not_images() {
    let mut cases = Vec::new();
    for (group, value) in [("g1", 0.2), ("g2", 0.8)] {
        for i in 0..50 {
            cases.push(case("s", group, &format!("{group}-{i}"), &[("x", value)]));
        }
    }
    let d = dice(&summarise(&evaluation(cases), &quick()).unwrap(), None, None);
    let interval = d.interval.unwrap();
    // Two patients: the mean of a resample is 0.2, 0.5 or 0.8, however many images they have.
    assert!((interval.low - 0.2).abs() < 1e-12 && (interval.high - 0.8).abs() < 1e-12);
    assert_eq!((d.n, d.groups), (100, 2));
}

#[test]
fn failed_cases_count_as_zero_for_every_class_of_their_source() {
    let all = evaluation(vec![
        case("a", "1", "1", &[("x", 1.0), ("y", 1.0)]),
        case("b", "2", "2", &[("y", 0.5)]),
        failed("a", "3", "3"),
        failed("b", "4", "4"),
    ]);
    let summary = summarise(&all, &quick()).unwrap();
    assert_eq!(dice(&summary, Some("a"), None).mean, Some(0.5));
    assert_eq!(dice(&summary, Some("a"), Some("x")).mean, Some(0.5));
    assert_eq!(dice(&summary, Some("b"), None).mean, Some(0.25));
    assert_eq!(dice(&summary, None, None).n, 6);
    let overall = summary.row(None, None).unwrap();
    assert_eq!(overall.situations.failed, 3);
    let hd95 = overall.metrics[&Metric::Hd95];
    assert_eq!((hd95.n, hd95.n_undefined), (3, 3));
    assert!(summary.notes.iter().any(|n| n.contains("2 of 4 cases could not be predicted")));
}

#[test]
fn an_evaluation_of_failures_only_is_zero_not_empty() {
    let summary = summarise(&evaluation(vec![failed("a", "1", "1")]), &quick()).unwrap();
    let d = dice(&summary, None, None);
    assert_eq!((d.n, d.mean, d.interval), (1, Some(0.0), None));
    assert!(summary.notes.iter().any(|n| n.contains("no interval")));
}

#[test]
fn more_misses_never_improve_a_mean_under_the_default() {
    use ndarray::{ArrayD, IxDyn};
    let mut truth = ArrayD::<u8>::zeros(IxDyn(&[6, 6]));
    truth[[5, 5]] = 1;
    let mut poor = ArrayD::<u8>::zeros(IxDyn(&[6, 6]));
    poor[[0, 0]] = 1;
    let blank = ArrayD::<u8>::zeros(IxDyn(&[6, 6]));
    let mut last: Option<SummaryRow> = None;
    for misses in 0..4 {
        let cases = (0..4).map(|i| {
            let prediction = if i < misses { &blank } else { &poor };
            let options = crate::MetricOptions::default();
            let result =
                crate::evaluate_case(prediction.view(), truth.view(), None, 1, "x", &options);
            let mut record = empty_agreement("s", &i.to_string(), &i.to_string());
            record.classes = vec![result.unwrap()];
            record
        });
        let summary = summarise(&evaluation(cases.collect()), &quick()).unwrap();
        let row = summary.row(None, None).unwrap().clone();
        assert_eq!(row.situations.missed, misses);
        if let Some(before) = last {
            for metric in Metric::ALL {
                let (old, new) = (before.metrics[&metric], row.metrics[&metric]);
                assert_eq!(old.n, new.n, "{metric}");
                let (old, new) = (old.mean.unwrap(), new.mean.unwrap());
                let worse = if metric.is_distance() { new > old } else { new <= old };
                assert!(worse, "{metric}: {old} then {new}");
            }
        }
        last = Some(row);
    }
}

#[test]
fn an_infinity_survives_json() {
    let values = [(Metric::Dice, Some(0.0)), (Metric::Hd, Some(f64::INFINITY))];
    let mut all = evaluation(vec![
        single("1", EmptySituation::Missed, &values),
        single("2", EmptySituation::BothPresent, &[(Metric::Hd, Some(1.0))]),
    ]);
    all.protocol.empty_policy = "monai".into();
    let read: Evaluation = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
    assert_eq!(read.cases[0].classes[0].metrics["hd"], None);
    for evaluation in [&all, &read] {
        let summary = summarise(evaluation, &quick()).unwrap();
        let hd = summary.row(None, None).unwrap().metrics[&Metric::Hd];
        assert_eq!((hd.n, hd.n_infinite, hd.mean), (2, 1, Some(f64::INFINITY)));
        assert_eq!((hd.min, hd.interval), (Some(1.0), None));
        assert!(summary.notes.iter().any(|n| n.contains("hd is infinite in 1 of 2")));
    }
}

#[test]
fn a_summary_survives_json_and_the_order_of_cases() {
    let mut all = evaluation(vec![
        case("b", "g1", "1", &[("x", 0.31)]),
        case("a", "g2", "2", &[("x", 0.73)]),
        case("a", "g3", "3", &[("x", 0.57)]),
    ]);
    let summary = summarise(&all, &quick()).unwrap();
    let text = serde_json::to_string(&summary).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    all.cases.reverse();
    let again = summarise(&all, &quick()).unwrap();
    let (a, b) = (dice(&summary, None, None), dice(&again, None, None));
    assert_eq!((a.interval, a.median), (b.interval, b.median));
    assert!((a.mean.unwrap() - b.mean.unwrap()).abs() < 1e-15);
}

#[test]
fn bad_requests_are_named() {
    let one = case("a", "1", "1", &[("x", 0.5)]);
    let summarised = |e: &Evaluation| summarise(e, &quick());
    assert!(matches!(summarised(&evaluation(vec![])), Err(MetricError::NoCases(_))));
    let twice = evaluation(vec![one.clone(), one.clone()]);
    assert!(matches!(summarised(&twice), Err(MetricError::DuplicateCase { .. })));
    let doubled = evaluation(vec![case("a", "1", "1", &[("x", 0.5), ("x", 0.6)])]);
    assert!(matches!(summarised(&doubled), Err(MetricError::DuplicateClass { .. })));
    let mut strange = evaluation(vec![one.clone()]);
    strange.protocol.empty_policy = "skip".into();
    assert!(matches!(summarised(&strange), Err(MetricError::UnknownPolicy { .. })));
    let options = SummaryOptions { confidence: 95.0, ..quick() };
    assert_eq!(summarise(&evaluation(vec![one]), &options), Err(MetricError::Confidence(95.0)));
}

#[test]
fn units_that_cannot_be_averaged_are_noted() {
    let mut mm = case("b", "2", "2", &[("x", 0.5)]);
    mm.distance_unit = "mm".into();
    let summary =
        summarise(&evaluation(vec![case("a", "1", "1", &[("x", 0.5)]), mm]), &quick()).unwrap();
    assert_eq!(summary.row(None, None).unwrap().distance_unit, "mixed");
    assert_eq!(summary.row(Some("b"), None).unwrap().distance_unit, "mm");
    assert!(summary.notes.iter().any(|n| n.contains("per source only")));
}
