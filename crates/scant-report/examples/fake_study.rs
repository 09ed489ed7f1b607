//! Writes seeded fake studies and their reports, to look at the pages without training anything.
//!
//! `cargo run -p scant-report --example fake_study -- OUT`

#![allow(clippy::unwrap_used, missing_docs, clippy::cast_precision_loss)]

#[path = "../tests/support/fake_run.rs"]
mod fake_run;
#[path = "../tests/support/fake_study.rs"]
mod fake_study;

use fake_study::FakeStudy;

fn main() {
    let out = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "fake".into()));
    let strings = |v: &[&str]| v.iter().map(|s| (*s).to_string()).collect::<Vec<_>>();
    let write = |name: &str, fake: &FakeStudy| {
        let folder = out.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        fake_study::write(&folder, fake);
        scant_report::write_study(&folder, &folder.join("report.html")).unwrap();
    };
    write("addition", &FakeStudy::default());
    let few = FakeStudy::default().methods.into_iter().take(3).collect();
    write(
        "noise",
        &FakeStudy {
            name: "noise-robustness".into(),
            methods: few,
            axes: vec![("noise".into(), strings(&["0", "0.05", "0.1", "0.2"]))],
            ..FakeStudy::default()
        },
    );
    write("losses", &FakeStudy { name: "losses".into(), axes: vec![], ..FakeStudy::default() });
    write(
        "layers",
        &FakeStudy {
            name: "layers".into(),
            axes: vec![("layers".into(), strings(&["all", "bottleneck", "decoder"]))],
            seeds: 2,
            ..FakeStudy::default()
        },
    );
}
