//! Advice on a pool: the cheap answer, the trained one, and pools on which there is none.
#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use scratch::Scratch;

/// Small enough for seconds.
const SMALL: &str = "--set model.width=4 --set model.depth=2 --set data.size=[32,32] \
                     --set data.channels=1 --set phase.0.epochs=2 --set phase.1.epochs=1";

fn advice(scratch: &Scratch, arguments: &str) -> scratch::Said {
    scratch.run(&format!("pool-advice pool {SMALL} {arguments}"))
}

#[test]
fn the_cheap_answer_tells_how_far_a_source_is_from_the_base() {
    let scratch = Scratch::new();
    let said = advice(&scratch, "--quick --json -o out --feature-epochs 1");
    assert_eq!(said.code, Some(0), "{said:?}");
    let found = said.json();
    assert_eq!(found["base"], serde_json::json!(["site-1"]));
    let one = &found["advice"][0];
    assert_eq!(one["sources"], serde_json::json!(["site-2"]));
    assert_eq!(one["images"], 8);
    assert!(one["trained"].is_null());
    for kind in ["pixels", "features"] {
        let auc = one["cheap"][kind]["auc"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&auc), "{kind}: {auc}");
        assert_eq!(one["cheap"][kind]["cases"], 16);
    }
    // Another site by construction: other gain, other speckle.
    assert!(one["cheap"]["pixels"]["auc"].as_f64().unwrap() > 0.7, "{one}");
    assert_eq!(scratch.json("out/advice.json"), found);

    // The same source under two names is not told apart by what it is.
    scratch.edit("pool/pool.toml", "site-2/images", "site-1/images");
    scratch.edit("pool/pool.toml", "site-2/masks", "site-1/masks");
    let said = advice(&scratch, "--quick --json -o twin --feature-epochs 0");
    assert_eq!(said.code, Some(0), "{said:?}");
    let auc = said.json()["advice"][0]["cheap"]["pixels"]["auc"].as_f64().unwrap();
    assert!(auc < 0.7, "{auc}");

    let said = advice(&scratch, "--quick -o twin --feature-epochs 0");
    for word in ["AUC", "site-2", "cheap answer"] {
        assert!(said.stdout.contains(word), "no {word}: {said:?}");
    }
}

#[test]
fn the_trained_answer_compares_with_the_base_alone_and_goes_on() {
    let scratch = Scratch::new();
    let arguments = "--seeds 3 --fractions 0.5,1 --methods plain,balanced --feature-epochs 0 \
                     --set split.test=0.4 --memory 100000 -o out";
    let said = advice(&scratch, arguments);
    assert_eq!(said.code, Some(0), "{said:?}");
    for word in ["site-2 (8 images of", "=> ", "plain", "balanced", "fraction 0.5", "Bonferroni"] {
        assert!(said.stdout.contains(word), "no {word}: {said:?}");
    }
    let found = scratch.json("out/advice.json");
    let trained = &found["advice"][0]["trained"];
    assert_eq!(trained["confidence"], 0.9875, "four comparisons");
    let effects = trained["effects"].as_array().unwrap();
    assert_eq!(effects.len(), 4);
    // By hand from the tables of the study: seed by seed the mean over cases, minus the base alone.
    let rows = scratch.text("out/site-2/results.csv");
    let dice = |method: &str, fraction: &str, seed: u64| -> f64 {
        let start = format!("{method},{fraction},{seed},");
        let row = rows.lines().find(|l| l.starts_with(&start)).expect("the run is there");
        row.split(',').nth(4).unwrap().parse().unwrap()
    };
    for effect in effects {
        let (method, fraction) =
            (effect["method"].as_str().unwrap(), effect["fraction"].as_str().unwrap());
        let of = |seed| dice(method, fraction, seed) - dice("base-only", fraction, seed);
        let mean = (1..=3).map(of).sum::<f64>() / 3.0;
        assert!((effect["difference"].as_f64().unwrap() - mean).abs() < 1e-5, "{effect}: {mean}");
        assert_eq!(effect["seeds"], 3);
        assert!(effect["interval"]["low"].as_f64() <= effect["difference"].as_f64());
    }
    let again = advice(&scratch, arguments);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("0 of them to be run"), "{again:?}");
    assert_eq!(again.stdout, said.stdout);
}

#[test]
fn a_pool_without_base_or_novel_gets_one_clear_error() {
    let scratch = Scratch::new();
    scratch.edit("pool/pool.toml", "\"novel\"", "\"base\"");
    advice(&scratch, "-q").refused(2, &["no novel source", "role = \"novel\""]);
    scratch.edit("pool/pool.toml", "\"base\"", "\"novel\"");
    advice(&scratch, "-q").refused(2, &["no base source", "role = \"base\""]);
    advice(&scratch, "-q --fractions 0").refused(2, &["--fractions 0"]);
    advice(&scratch, "-q --margin 0").refused(2, &["--margin 0"]);
    assert!(!scratch.exists("runs"));
}
