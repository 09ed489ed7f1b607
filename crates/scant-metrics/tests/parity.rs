//! Every pair of the parity fixtures against the values MONAI and MedPy gave for it.
//!
//! The fixtures are not part of the repository; `SCANT_PARITY` names their folder.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a broken fixture should stop the test"
)]

use std::{fs, path::PathBuf};

use ndarray::{ArrayD, IxDyn};
use safetensors::SafeTensors;
use scant_core::CaseClassResult;
use scant_metrics::{EmptyPolicy, Metric, MetricOptions, evaluate_case};
use serde_json::Value;

const RELATIVE: f64 = 1e-5;

fn folder() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/parity");
    let folder = std::env::var_os("SCANT_PARITY").map_or(default, PathBuf::from);
    if folder.join("metrics.json").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: no parity fixtures in {}", folder.display());
    None
}

fn mask(tensors: &SafeTensors<'_>, name: &str) -> ArrayD<u8> {
    let tensor = tensors.tensor(name).unwrap();
    ArrayD::from_shape_vec(IxDyn(tensor.shape()), tensor.data().to_vec()).unwrap()
}

/// A number of the fixtures; `None` stands for "nan" and for a value the tool refused to give.
fn number(values: &Value, name: &str) -> Option<f64> {
    match values.get(name) {
        Some(Value::String(s)) if s == "nan" => None,
        Some(Value::String(s)) if s == "inf" => Some(f64::INFINITY),
        Some(value) => Some(value.as_f64().unwrap()),
        None => {
            assert!(values.get("error").is_some(), "{name} is missing without an error: {values}");
            None
        }
    }
}

fn same(got: Option<f64>, expected: Option<f64>) -> bool {
    match (got, expected) {
        (None, None) => true,
        (Some(g), Some(e)) => g == e || (g - e).abs() <= RELATIVE * e.abs(),
        _ => false,
    }
}

/// For each tool: policy, key in the file, and which of our metrics answers to which of its names.
type Mapping = (EmptyPolicy, &'static str, &'static [(Metric, &'static str)]);
const TOOLS: [Mapping; 3] = [
    (
        EmptyPolicy::Monai,
        "monai",
        &[
            (Metric::Dice, "dice"),
            (Metric::Iou, "iou"),
            (Metric::Hd, "hd"),
            (Metric::Hd95, "hd95"),
            (Metric::Assd, "assd"),
            (Metric::Nsd, "nsd_tol_1.5"),
        ],
    ),
    (EmptyPolicy::MonaiKeepEmpty, "monai", &[(Metric::Dice, "dice_empty_is_1")]),
    (
        EmptyPolicy::Medpy,
        "medpy",
        &[
            (Metric::Dice, "dc"),
            (Metric::Iou, "jc"),
            (Metric::Hd, "hd"),
            (Metric::Hd95Pooled, "hd95"),
            (Metric::Assd, "assd"),
        ],
    ),
];

#[test]
fn every_pair_equals_monai_and_medpy() {
    let Some(folder) = folder() else { return };
    let bytes = fs::read(folder.join("metrics.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let text = fs::read_to_string(folder.join("metrics.json")).unwrap();
    let pairs: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!pairs.is_empty());

    let mut wrong = Vec::new();
    let mut checked = 0;
    for pair in &pairs {
        let id = pair["id"].as_u64().unwrap();
        let prediction = mask(&tensors, &format!("{id:02}/prediction"));
        let truth = mask(&tensors, &format!("{id:02}/reference"));
        let spacing: Vec<f64> =
            pair["spacing"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        for (policy, tool, names) in TOOLS {
            let options = MetricOptions { policy, nsd_tolerance: 1.5 };
            let result: CaseClassResult = evaluate_case(
                prediction.view(),
                truth.view(),
                Some(&spacing),
                1,
                "object",
                &options,
            )
            .unwrap();
            for (metric, name) in names {
                let (got, expected) = (result.metrics[metric.name()], number(&pair[tool], name));
                checked += 1;
                if !same(got, expected) {
                    wrong.push(format!("pair {id}, {tool} {name}: {got:?} is not {expected:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(checked, 12 * pairs.len());
}
