//! Writes seeded fake runs and their reports, to look at the page without training anything.
//!
//! `cargo run -p scant-report --example fake_report -- OUT`

#![allow(clippy::unwrap_used, missing_docs, clippy::cast_precision_loss)]

#[path = "../tests/support/fake_run.rs"]
mod fake_run;

use fake_run::Fake;

fn main() {
    let out = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "fake".into()));
    let (a, b) = (out.join("cyst-discrepancy"), out.join("cyst-baseline"));
    fake_run::write(&a, &Fake::default());
    fake_run::write(
        &b,
        &Fake { seed: 8, name: "cyst-baseline".into(), error: 1.7, ..Fake::default() },
    );
    scant_report::write_report(std::slice::from_ref(&a), &out.join("one.html")).unwrap();
    let gaps = out.join("gaps");
    let record = fake_run::write(&gaps, &Fake::default());
    std::fs::remove_file(gaps.join(&record.gallery[0].truth)).unwrap();
    scant_report::write_report(&[gaps], &out.join("gaps.html")).unwrap();
    scant_report::write_report(&[a, b], &out.join("two.html")).unwrap();
}
