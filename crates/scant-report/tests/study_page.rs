//! Studies: the numbers of generated records, the words made of them, and what happens to bad input.

#![allow(clippy::unwrap_used, missing_docs, clippy::cast_precision_loss)]

#[path = "support/fake_run.rs"]
mod fake_run;
#[path = "support/fake_study.rs"]
mod fake_study;
#[path = "support/self_contained.rs"]
mod self_contained;

use std::fs;

use fake_study::FakeStudy;
use scant_core::StudyStatus;
use scant_report::{
    ReportError, is_study, load_study, render_study, study_csv, study_markdown, study_text,
    write_study,
};
use self_contained::{assert_self_contained, assert_well_formed};

/// Two methods, no axis, no scatter between runs: the difference is the gain in every case.
fn exact(gain: f64) -> FakeStudy {
    FakeStudy {
        methods: vec![("plain".into(), 0.0), ("better".into(), gain)],
        axes: vec![],
        scatter: 0.0,
        seeds: 6,
        one_split: true,
        ..FakeStudy::default()
    }
}

/// Fields of the CSV line that starts so, by name of the column.
fn csv_row(csv: &str, starts: &str) -> std::collections::BTreeMap<String, String> {
    let mut lines = csv.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let line = lines.find(|l| l.starts_with(starts)).unwrap();
    head.into_iter().map(String::from).zip(line.split(',').map(String::from)).collect()
}

#[test]
fn the_whole_study_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fake_study::write(folder.path(), &FakeStudy::default());
    assert!(is_study(folder.path()) && is_study(&folder.path().join("study.json")));
    let out = folder.path().join("report.html");
    write_study(folder.path(), &out).unwrap();
    let html = fs::read_to_string(&out).unwrap();
    assert_self_contained(&html);
    assert_well_formed(&html);
    for words in [
        "Does adding images of clinic-b help on clinic-a",
        "Judged by test cases of the base sources",
        "150 of 150 runs are in these numbers",
        "fd-exch beats plain in Dice at fraction 1&#x2f;8 by 0.0",
        "deep-supervision are not distinguishable from plain at any point",
        "No method is distinguishable from plain at fraction 0",
        "corrected for that number (Holm)",
        "Over the whole curve, fd-exch lies above plain",
        "5 seeds per method and point, 100 epochs, attention-unet with 8.7 million parameters at 160 x 160 pixels",
        "Dice over added images",
        "Paired differences, seed by seed",
        "Area under Dice over fraction",
        "Worst-off quarter of the cases of plain",
        "regression to the mean",
        "The published test: runs against one baseline number (too generous)",
        "Empty masks (policy scant)",
    ] {
        assert!(html.contains(words), "{words}");
    }
    // A method that is as good as the reference is never called better.
    assert!(!html.contains("deep-supervision beats"));
    let markdown = fs::read_to_string(folder.path().join("table.md")).unwrap();
    assert!(markdown.contains("| method | fraction 0 | fraction 1/16 | fraction 1/8 |"));
    let csv = fs::read_to_string(folder.path().join("table.csv")).unwrap();
    // Five methods, six fractions, three metrics, and the head.
    assert_eq!(csv.lines().count(), 5 * 6 * 3 + 1);
}

#[test]
fn numbers_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let study = fake_study::write(folder.path(), &exact(0.02));
    // The luck of a run is 0.01 at most; take it out, so that only the gain is left.
    for run in &study.runs {
        let path = folder.path().join(&run.folder).join("record.json");
        let mut v: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let cases = v["evaluations"][0]["cases"].as_array_mut().unwrap();
        for (i, case) in cases.iter_mut().enumerate() {
            let base = 0.5 + 0.01 * (i % 7) as f64;
            let gain = if run.method == "better" { 0.02 } else { 0.0 };
            case["classes"][0]["metrics"]["dice"] = (base + gain).into();
        }
        fs::write(path, serde_json::to_vec(&v).unwrap()).unwrap();
    }
    let loaded = load_study(folder.path()).unwrap();
    let csv = study_csv(&loaded);
    let number = |row: &str, column: &str| csv_row(&csv, row)[column].parse::<f64>().unwrap();
    // 32 cases of the base source: i % 7 sums to 4 * 21 + 0 + 1 + 2 + 3 = 90.
    let mean = 0.5 + 0.01 * 90.0 / 32.0;
    assert!((number("plain,dice", "mean") - mean).abs() < 1e-12);
    assert!((number("better,dice", "mean") - mean - 0.02).abs() < 1e-12);
    for column in ["difference", "difference_low", "difference_high", "at_least", "at_most"] {
        assert!((number("better,dice", column) - 0.02).abs() < 1e-12, "{column}");
    }
    let row = csv_row(&csv, "better,dice");
    assert_eq!(
        (row["seeds"].as_str(), row["groups"].as_str(), row["cases"].as_str()),
        ("6", "16", "32")
    );
    // 96 equal contributions, more patterns than are tried: (hits + 1) / 10001 without a hit.
    assert!((number("better,dice", "p_flips") - 1.0 / 10_001.0).abs() < 1e-12);
    assert_eq!(row["differences_by_seed"].split(' ').count(), 6);
    assert_eq!(csv_row(&csv, "plain,dice")["difference"], "");
    let text = study_text(&loaded);
    assert!(
        text.contains("better beats plain in Dice at the one setting by 0.020 [0.020, 0.020]"),
        "{text}"
    );
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    let markdown = study_markdown(&loaded);
    assert!(markdown.contains("**+0.0200 (0.0200–0.0200)**"), "{markdown}");
}

#[test]
fn two_seeds_claim_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fake_study::write(folder.path(), &FakeStudy { seeds: 2, ..FakeStudy::default() });
    let loaded = load_study(folder.path()).unwrap();
    let html = render_study(&loaded).unwrap();
    assert!(html.contains("2 seeds so far: nothing is claimed"));
    assert!(!html.contains(" beats ") && !html.contains("class=\"shown\""));
    assert!(!html.contains("class=\"whisker"), "intervals are withheld");
    let row = csv_row(&study_csv(&loaded), "fd-exch,1,dice");
    assert!(row["difference"].parse::<f64>().unwrap() > 0.0);
    for column in ["low", "difference_low", "at_least", "p", "p_holm"] {
        assert_eq!(row[column], "", "{column}");
    }
}

#[test]
fn noise_is_a_ratio_of_losses() {
    let folder = tempfile::tempdir().unwrap();
    let axes = vec![("noise".to_string(), vec!["0".to_string(), "0.1".into(), "0.2".into()])];
    let methods = vec![("plain".to_string(), 0.0), ("sturdy".into(), 0.03)];
    let fake = FakeStudy { axes, methods, scatter: 0.0, ..FakeStudy::default() };
    fake_study::write(folder.path(), &fake);
    let html = render_study(&load_study(folder.path()).unwrap()).unwrap();
    // It loses 0.8 - 4 * 0.03 = 0.68 times sigma in every case, the reference 0.8 times.
    assert!(html.contains(
        "What sturdy loses to noise, in units of what plain loses: 0.85 [0.85, 0.85] at noise 0.1 and \
         0.85 [0.85, 0.85] at noise 0.2."
    ));
    assert!(html.contains("Dice over noise") && html.contains("Loss of Dice to noise"));
}

#[test]
fn what_failed_is_named_and_the_rest_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = fake_study::write(folder.path(), &exact(0.1));
    study.runs[0].status = StudyStatus::Failed { why: "out of <memory>".into() };
    study.runs[1].status = StudyStatus::Waiting;
    study.runs[2].folder = "../elsewhere".into();
    fs::write(folder.path().join(&study.runs[3].folder).join("record.json"), "{").unwrap();
    fake_study::rewrite(folder.path(), &study);
    let loaded = load_study(folder.path()).unwrap();
    let html = render_study(&loaded).unwrap();
    assert_well_formed(&html);
    assert!(html.contains("out of &lt;memory&gt;"));
    assert!(html.contains("elsewhere: not a path inside the study folder"));
    assert!(html.contains("is damaged at line 1"));
    assert!(html.contains("1 run of 12 have not finished"));
    assert!(html.contains("8 of 12 runs are in these numbers"));
    // Two seeds of the reference are left: nothing can be claimed against it.
    assert!(html.contains("nothing is claimed") && !html.contains(" beats "));
    assert!(study_text(&loaded).contains("out of <memory>"));
}

#[test]
fn a_longer_training_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let study = fake_study::write(folder.path(), &exact(0.1));
    let path = folder.path().join(&study.runs.last().unwrap().folder).join("record.json");
    let mut v: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    v["phases"].as_array_mut().unwrap().pop();
    fs::write(path, serde_json::to_vec(&v).unwrap()).unwrap();
    let html = render_study(&load_study(folder.path()).unwrap()).unwrap();
    assert!(html.contains("better trained for 60 to 100 epochs, plain for 100"));
}

#[test]
fn hostile_names_stay_text() {
    let evil = "x<script>alert(1)</script>'\"|*";
    let folder = tempfile::tempdir().unwrap();
    let mut study = fake_study::write(folder.path(), &exact(0.1));
    study.name = evil.into();
    study.purpose = evil.into();
    study.judge = "clinic-a".into();
    study.methods[1] = evil.into();
    for run in study.runs.iter_mut().filter(|r| r.method == "better") {
        run.method = evil.into();
    }
    fake_study::rewrite(folder.path(), &study);
    let loaded = load_study(folder.path()).unwrap();
    let html = render_study(&loaded).unwrap();
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
    assert_self_contained(&html);
    assert_well_formed(&html);
    let markdown = study_markdown(&loaded);
    assert!(!markdown.contains("<script"));
    let columns = |l: &str| l.replace("\\|", "").matches('|').count();
    let table: Vec<&str> = markdown
        .split("Mean Dice")
        .nth(1)
        .unwrap()
        .lines()
        .filter(|l| l.starts_with('|'))
        .collect();
    assert!(columns(table[0]) == columns(table[3]), "{table:?}");
}

#[test]
fn bad_study_records_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!is_study(folder.path()));
    assert!(matches!(load_study(folder.path()), Err(ReportError::Read { .. })));
    let path = folder.path().join("study.json");
    for (text, wanted) in [
        ("{", "damaged"),
        ("{\"schema\": 99}", "layout version 99"),
        ("{}", "schema"),
        ("{\"schema\": 1}", "not a"),
    ] {
        fs::write(&path, text).unwrap();
        let error = load_study(folder.path()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn an_unfinished_study_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = fake_study::write(folder.path(), &exact(0.1));
    for run in &mut study.runs {
        run.status = StudyStatus::Waiting;
    }
    fake_study::rewrite(folder.path(), &study);
    let loaded = load_study(folder.path()).unwrap();
    let html = render_study(&loaded).unwrap();
    assert_well_formed(&html);
    assert!(html.contains("No run of this study has finished"));
    study.reference = "nobody".into();
    study.judge = "nowhere".into();
    for run in &mut study.runs {
        run.status = StudyStatus::Finished;
    }
    fake_study::rewrite(folder.path(), &study);
    let html = render_study(&load_study(folder.path()).unwrap()).unwrap();
    assert!(html.contains("nowhere&quot; is neither a role nor a source of the pool"));
    assert!(html.contains("the reference “nobody” is not among the methods"));
}
