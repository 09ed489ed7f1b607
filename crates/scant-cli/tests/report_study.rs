//! `scant report` on studies.

#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use scratch::Scratch;

/// Three seeds of two methods by the `tiny` recipe of [`Scratch`], trained one by one.
const STUDY: &str = r#"{
  "schema": 1, "scant_version": "0.1.0", "name": "small", "purpose": "Is a run like itself?",
  "judge": "all", "reference": "plain", "methods": ["plain", "again"], "axes": [],
  "runs": [
    {"folder": "a", "method": "plain", "at": {}, "seed": 1, "status": {"state": "finished"}},
    {"folder": "a", "method": "again", "at": {}, "seed": 1, "status": {"state": "finished"}},
    {"folder": "b", "method": "plain", "at": {}, "seed": 2, "status": {"state": "failed", "why": "no memory"}},
    {"folder": "c", "method": "again", "at": {}, "seed": 2, "status": {"state": "waiting"}}
  ]
}"#;

#[test]
fn a_study_folder_has_its_own_page() {
    let scratch = Scratch::new();
    scratch.ok("train pool --recipe tiny.toml -o study/a");
    scratch.write("study/study.json", STUDY.as_bytes());
    scratch.ok("report study");
    let html = std::fs::read_to_string(scratch.path("study/report.html")).unwrap();
    assert!(html.contains("Is a run like itself?") && html.contains("no memory"));
    assert!(html.contains("1 seed so far: nothing is claimed"));
    let csv = std::fs::read_to_string(scratch.path("study/table.csv")).unwrap();
    let again = csv.lines().find(|l| l.starts_with("again,dice,1,")).unwrap();
    // The same run twice: no difference.
    assert_eq!(again.split(',').nth(8), Some("0"), "{again}");
    let markdown = std::fs::read_to_string(scratch.path("study/table.md")).unwrap();
    assert!(markdown.starts_with("# small\n"));
    // Named by its record, to another place.
    scratch.ok("report study/study.json --out pages/small.html");
    assert!(scratch.path("pages/table.csv").is_file());
}

#[test]
fn a_study_is_reported_alone() {
    let scratch = Scratch::empty();
    scratch.write("study/study.json", STUDY.as_bytes());
    scratch.write("other/record.json", b"{}");
    scratch.run("report study other").refused(2, &["a study has a page of its own"]);
}
