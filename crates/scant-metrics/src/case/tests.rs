use ndarray::{ArrayD, IxDyn};
use scant_core::EmptySituation;

use super::*;

fn options(policy: EmptyPolicy) -> MetricOptions {
    MetricOptions { policy, nsd_tolerance: 1.0 }
}

fn blank() -> ArrayD<u8> {
    ArrayD::zeros(IxDyn(&[3, 4]))
}

fn run(prediction: &ArrayD<u8>, truth: &ArrayD<u8>, policy: EmptyPolicy) -> CaseClassResult {
    evaluate_case(prediction.view(), truth.view(), None, 2, "nucleus", &options(policy)).unwrap()
}

fn get(result: &CaseClassResult, metric: Metric) -> Option<f64> {
    *result.metrics.get(metric.name()).unwrap()
}

#[test]
fn a_case_by_hand() {
    let (mut prediction, mut truth) = (blank(), blank());
    for x in 0..3 {
        prediction[[1, x]] = 2;
    }
    truth[[1, 2]] = 2;
    truth[[1, 3]] = 2;
    // Another class is background to this one.
    truth[[0, 0]] = 1;
    let result = run(&prediction, &truth, EmptyPolicy::Scant);
    assert_eq!((result.tp, result.fp, result.fn_, result.tn), (1, 2, 1, 8));
    assert_eq!((result.class.as_str(), result.situation), ("nucleus", EmptySituation::BothPresent));
    let expect = [
        (Metric::Dice, 0.4),
        (Metric::Iou, 0.25),
        (Metric::Precision, 1.0 / 3.0),
        (Metric::Recall, 0.5),
        // Distances 2, 1, 0 forward and 0, 1 backward.
        (Metric::Hd, 2.0),
        (Metric::Hd95, 1.9),
        (Metric::Hd95Pooled, 1.8),
        (Metric::Assd, 0.8),
        (Metric::Nsd, 0.8),
    ];
    assert_eq!(result.metrics.len(), expect.len());
    for (metric, value) in expect {
        assert!((get(&result, metric).unwrap() - value).abs() < 1e-12, "{metric}");
    }
}

#[test]
fn every_empty_situation_under_every_preset_follows_its_table() {
    let mut some = blank();
    some[[2, 1]] = 2;
    let situations = [
        (blank(), blank(), EmptySituation::BothEmpty),
        (some.clone(), blank(), EmptySituation::FalseAlarm),
        (blank(), some.clone(), EmptySituation::Missed),
    ];
    for policy in EmptyPolicy::ALL {
        for (prediction, truth, situation) in &situations {
            let result = run(prediction, truth, policy);
            assert_eq!(result.situation, *situation);
            for metric in Metric::ALL {
                let expected = match policy.fill(metric, *situation) {
                    Fill::Undefined => None,
                    Fill::Value(value) => Some(value),
                    Fill::Diagonal => Some(5.0),
                    Fill::Infinite => Some(f64::INFINITY),
                    Fill::Measured => panic!("{policy} measures {metric} in {situation:?}"),
                };
                assert_eq!(get(&result, metric), expected, "{policy} {metric} {situation:?}");
            }
        }
    }
}

#[test]
fn a_miss_is_never_better_than_the_worst_prediction_under_the_default() {
    let (mut far, mut truth) = (blank(), blank());
    far[[0, 0]] = 2;
    truth[[2, 3]] = 2;
    let wrong = run(&far, &truth, EmptyPolicy::default());
    let missed = run(&blank(), &truth, EmptyPolicy::default());
    for metric in Metric::ALL {
        let (wrong, missed) = (get(&wrong, metric).unwrap(), get(&missed, metric).unwrap());
        let worse = if metric.is_distance() { missed > wrong } else { missed <= wrong };
        assert!(worse, "{metric}: missed {missed}, wrong {wrong}");
    }
}

#[test]
fn one_pixel_images() {
    let one = |id: u8| ArrayD::from_elem(IxDyn(&[1, 1]), id);
    let hit = run(&one(2), &one(2), EmptyPolicy::Scant);
    assert_eq!((get(&hit, Metric::Dice), get(&hit, Metric::Hd)), (Some(1.0), Some(0.0)));
    let missed = run(&one(0), &one(2), EmptyPolicy::Scant);
    assert_eq!(get(&missed, Metric::Dice), Some(0.0));
    assert_eq!(get(&missed, Metric::Hd95), Some(2.0_f64.sqrt()));
    assert_eq!(get(&missed, Metric::Nsd), Some(0.0));
}

#[test]
fn the_diagonal_is_in_the_unit_of_the_case() {
    let mut truth = blank();
    truth[[0, 0]] = 2;
    let run = |spacing: &[f64]| {
        let options = options(EmptyPolicy::Scant);
        evaluate_case(blank().view(), truth.view(), Some(spacing), 2, "x", &options).unwrap()
    };
    assert_eq!(get(&run(&[2.0, 0.5]), Metric::Hd), Some(40.0_f64.sqrt()));
}

#[test]
fn bad_arguments_are_refused_even_when_a_mask_is_empty() {
    let blank = blank();
    let run = |spacing: Option<&[f64]>, nsd_tolerance: f64| {
        let options = MetricOptions { policy: EmptyPolicy::Scant, nsd_tolerance };
        evaluate_case(blank.view(), blank.view(), spacing, 1, "x", &options)
    };
    assert!(matches!(run(Some(&[1.0]), 1.0), Err(MetricError::Spacing { .. })));
    assert_eq!(run(None, -1.0), Err(MetricError::Tolerance(-1.0)));
    assert!(matches!(run(None, f64::NAN), Err(MetricError::Tolerance(_))));
    assert!(run(None, 0.0).is_ok());
}
