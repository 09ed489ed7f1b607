//! A plausible study folder made by formulas: records of runs without pictures and without a network.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use scant_core::{
    CaseClassResult, CaseRecord, EmptySituation, Evaluation, RunRecord, SampleId, StudyAxis,
    StudyRecord, StudyRun, StudyStatus,
};

use crate::fake_run::{self, Fake};

/// What differs between fake studies.
#[derive(Debug, Clone)]
#[allow(unreachable_pub)]
pub struct FakeStudy {
    pub name: String,
    pub purpose: String,
    /// Methods with how much better than the first they are, at full strength.
    pub methods: Vec<(String, f64)>,
    pub axes: Vec<(String, Vec<String>)>,
    pub seeds: u64,
    /// How far single cases scatter between runs.
    pub scatter: f64,
    /// Whether every seed tests the same cases.
    pub one_split: bool,
}

impl Default for FakeStudy {
    fn default() -> Self {
        let strings = |v: &[&str]| v.iter().map(|s| (*s).to_string()).collect::<Vec<_>>();
        Self {
            name: "data-addition".into(),
            purpose: "Does adding images of clinic-b help on clinic-a, and by which method?".into(),
            methods: vec![
                ("plain".into(), 0.0),
                ("fd".into(), 0.001),
                ("fd-exch".into(), 0.06),
                ("local-contrast".into(), -0.012),
                ("deep-supervision".into(), 0.004),
            ],
            axes: vec![("fraction".into(), strings(&["0", "1/16", "1/8", "1/4", "1/2", "1"]))],
            seeds: 5,
            scatter: 0.05,
            one_split: false,
        }
    }
}

/// The number behind `1/4` or `0.25`.
fn number(text: &str) -> f64 {
    match text.split_once('/') {
        Some((a, b)) => a.parse::<f64>().unwrap() / b.parse::<f64>().unwrap(),
        None => text.parse().unwrap_or(0.0),
    }
}

/// Between -1 and 1, without any generator.
fn noise(key: &[f64]) -> f64 {
    let mix = key.iter().enumerate().map(|(i, k)| (k + 1.3) * (12.9898 + 7.77 * i as f64));
    (mix.sum::<f64>().sin() * 43_758.545_3).fract()
}

/// Writes `folder/study.json` and the record of every run; nothing for failed and waiting ones.
#[allow(unreachable_pub)]
pub fn write(folder: &Path, fake: &FakeStudy) -> StudyRecord {
    let template = {
        let scratch = tempfile::tempdir().unwrap();
        fake_run::write(scratch.path(), &Fake { cases: 3, ..Fake::default() })
    };
    let mut points: Vec<BTreeMap<String, String>> = vec![BTreeMap::new()];
    for (axis, values) in &fake.axes {
        points = points
            .into_iter()
            .flat_map(|p| {
                values.iter().map(move |v| {
                    let mut p = p.clone();
                    p.insert(axis.clone(), v.clone());
                    p
                })
            })
            .collect();
    }
    let mut runs = Vec::new();
    for (p, at) in points.iter().enumerate() {
        for (m, (method, gain)) in fake.methods.iter().enumerate() {
            for seed in 1..=fake.seeds {
                let name = format!("{method}-{p}-{seed}");
                let run = StudyRun {
                    folder: format!("runs/{name}"),
                    method: method.clone(),
                    at: at.clone(),
                    seed,
                    status: StudyStatus::Finished,
                };
                let record = record(&template, fake, &run, m, *gain);
                let path = folder.join(&run.folder);
                fs::create_dir_all(&path).unwrap();
                let bytes = serde_json::to_vec(&record).unwrap();
                fs::write(path.join("record.json"), bytes).unwrap();
                runs.push(run);
            }
        }
    }
    let study = StudyRecord {
        schema: StudyRecord::SCHEMA,
        scant_version: "0.1.0".into(),
        name: fake.name.clone(),
        purpose: fake.purpose.clone(),
        judge: "base".into(),
        reference: fake.methods[0].0.clone(),
        methods: fake.methods.iter().map(|m| m.0.clone()).collect(),
        axes: fake
            .axes
            .iter()
            .map(|(name, values)| StudyAxis { name: name.clone(), values: values.clone() })
            .collect(),
        runs,
    };
    rewrite(folder, &study);
    study
}

/// Writes `study.json` anew.
#[allow(unreachable_pub)]
pub fn rewrite(folder: &Path, study: &StudyRecord) {
    fs::write(folder.join("study.json"), serde_json::to_vec_pretty(study).unwrap()).unwrap();
}

fn record(
    template: &RunRecord,
    fake: &FakeStudy,
    run: &StudyRun,
    m: usize,
    gain: f64,
) -> RunRecord {
    let fraction = run.at.get("fraction").map(|v| number(v));
    let sigma = run.at.get("noise").map_or(0.0, |v| number(v));
    let seed = run.seed as f64;
    let strength = fraction.map_or(1.0, f64::sqrt);
    let mut cases = Vec::new();
    for group in 0..16u32 {
        // Half of the patients are tested under a seed, others under another one.
        let tested = fake.one_split || (u64::from(group) + run.seed * 3) % 16 < 8;
        for image in (0..2u32).filter(|_| tested) {
            let (g, i) = (f64::from(group), f64::from(image));
            let place = g * 2.0 + i;
            let hard = 0.72 + 0.16 * (g * 1.7).sin() + 0.06 * noise(&[g, i]);
            let added = 0.05 * strength - 0.05 * f64::from(u8::from(fraction.is_some()));
            let luck =
                0.01 * noise(&[m as f64, seed]) + fake.scatter * noise(&[m as f64, place, seed]);
            let lost = sigma * (0.8 - 4.0 * gain);
            let dice = (hard + added + gain * strength + luck - lost).clamp(0.0, 1.0);
            let taps = template.model.taps.iter().enumerate();
            let discrepancy = taps
                .map(|(t, tap)| {
                    let t = t as f64;
                    let v =
                        2.2 - 1.1 * dice - 0.1 * t - 8.0 * gain + 0.15 * noise(&[t, place, seed]);
                    (tap.clone(), v)
                })
                .collect();
            cases.push(CaseRecord {
                id: SampleId {
                    source: "clinic-a".into(),
                    group: format!("p{group:02}"),
                    stem: format!("p{group:02}_{image}"),
                },
                distance_unit: "mm".into(),
                classes: vec![class("cyst", dice)],
                discrepancy,
                failure: None,
            });
        }
    }
    // A case of the other clinic, which the study is not judged by.
    let mut other = cases[0].clone();
    other.id.source = "clinic-b".into();
    other.classes = vec![class("cyst", 0.1)];
    cases.push(other);
    let mut record = RunRecord {
        name: run.folder.clone(),
        seed: run.seed,
        recipe: template.recipe.clone(),
        evaluations: vec![Evaluation { cases, ..template.evaluations[0].clone() }],
        gallery: Vec::new(),
        warnings: Vec::new(),
        ..template.clone()
    };
    let weighted = run.method.starts_with("fd");
    for (k, phase) in record.phases.iter_mut().enumerate() {
        for epoch in &mut phase.epochs {
            for (t, alpha) in epoch.alpha.values_mut().enumerate() {
                *alpha *= 1.0 + 0.2 * noise(&[t as f64, seed]);
            }
            if !weighted || k == 0 {
                epoch.alpha.clear();
                epoch.discrepancy.clear();
            }
        }
    }
    record
}

fn class(name: &str, dice: f64) -> CaseClassResult {
    let values = [("dice", dice), ("iou", dice / (2.0 - dice)), ("hd95", 20.0 * (1.0 - dice))];
    CaseClassResult {
        class: name.into(),
        tp: 500,
        fp: 100,
        fn_: 100,
        tn: 25_600,
        situation: EmptySituation::BothPresent,
        metrics: values.into_iter().map(|(n, v)| (n.to_string(), Some(v))).collect(),
    }
}
