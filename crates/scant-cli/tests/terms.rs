//! Terms beside the segmentation loss: what a run records of them, warns of, and refuses.

#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use scratch::Scratch;
use serde_json::Value;

const USAGE: i32 = 2;

fn recipe(phases: &str) -> String {
    format!(
        "[model]\nname = \"unet\"\nwidth = 4\ndepth = 2\n[data]\nsize = [32, 32]\nchannels = 1\n\
         batch = 2\n{phases}"
    )
}

fn warnings(record: &Value) -> String {
    record["warnings"].to_string()
}

#[test]
fn every_term_is_recorded_each_epoch() {
    let scratch = Scratch::new();
    let phases = "[[phase]]\nname = \"contrast\"\nepochs = 2\nloss = { local_contrast = {} }\n\
                  [[phase]]\nname = \"all\"\nepochs = 2\nfrom = \"last\"\n\
                  loss = { dice = 1.0, bce = 1.0, deep_supervision = {}, pixel_contrast = {}, \
                  group_dro = { step = 0.5 } }\n";
    scratch.write("all.toml", recipe(phases).as_bytes());
    scratch.ok("train pool --recipe all.toml -o run");
    let record = scratch.json("run/record.json");
    let terms = |phase: usize, epoch: usize| -> Vec<String> {
        let loss = &record["phases"][phase]["epochs"][epoch]["loss"];
        loss.as_object().unwrap().keys().cloned().collect()
    };
    for epoch in 0..2 {
        assert_eq!(terms(0, epoch), ["local_contrast", "total"]);
        let wanted = [
            "bce",
            "deep_supervision",
            "dice",
            "group_dro",
            "group_loss/site-1",
            "group_loss/site-2",
            "group_weight/site-1",
            "group_weight/site-2",
            "pixel_contrast",
            "total",
        ];
        assert_eq!(terms(1, epoch), wanted);
    }
    let of = |epoch: usize, term: &str| {
        record["phases"][1]["epochs"][epoch]["loss"][term].as_f64().unwrap()
    };
    assert!(of(1, "deep_supervision") < of(0, "deep_supervision"), "its weight falls to 0");
    let together = of(1, "group_weight/site-1") + of(1, "group_weight/site-2");
    assert!((together - 1.0).abs() < 1e-9, "{together}");
    assert!(!warnings(&record).contains("nothing"), "{}", warnings(&record));
}

#[test]
fn terms_that_do_nothing_are_warned_of() {
    let scratch = Scratch::new();
    let phases = "[[phase]]\nname = \"weak\"\nepochs = 1\nloss = { dice = 1.0, bce = 1.0, \
                  deep_supervision = { weight = 1e-9 }, pixel_contrast = { weight = 1e-9 }, \
                  group_dro = { step = 1e-12 } }\n";
    scratch.write("weak.toml", recipe(phases).as_bytes());
    let said = scratch.ok("train pool --recipe weak.toml -o run");
    let record = scratch.json("run/record.json");
    for words in ["deep_supervision was at most", "pixel_contrast was at most", "stayed equal"] {
        assert!(warnings(&record).contains(words), "no {words:?} in {}", warnings(&record));
        assert!(said.stderr.contains(words), "{said:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let scratch = Scratch::new();
    let refused = |loss: &str, words: &[&str]| {
        let phases = format!("[[phase]]\nname = \"only\"\nepochs = 1\nloss = {loss}\n");
        scratch.write("bad.toml", recipe(&phases).as_bytes());
        scratch.run("train pool --recipe bad.toml -o run").refused(USAGE, words);
        assert!(!scratch.exists("run"));
    };
    refused("{ deep_supervision = {} }", &["every segmentation loss weight is 0"]);
    let beside = &["loss.group_dro", "needs a segmentation term beside it"];
    refused("{ local_contrast = {}, group_dro = {} }", beside);
    refused("{ dice = 1.0, local_contrast = { regions = 10 } }", &["regions = 10", "9 or 13"]);
    refused(
        "{ dice = 1.0, local_contrast = { tap = \"bottleneck\", regions = 9, region_size = 3, widht = 2 } }",
        &["did you mean `width`"],
    );
    refused("{ dice = 1.0, pixel_contrast = { tap = \"dec2\", stride = 3 } }", &["stride = 3"]);
    refused(
        "{ dice = 1.0, deep_supervision = { taps = \"encoder\" } }",
        &["\"decoder\" or a list"],
    );
    refused("{ dice = 1.0, deep_supervision = { weight = 0.0 } }", &["weight = 0", "above 0"]);
    refused("{ dice = 1.0, group_dro = { step = -1.0 } }", &["group_dro.step = -1"]);
}

#[test]
fn one_source_alone_is_trained_and_warned_of() {
    let scratch = Scratch::new();
    let phases = "[[phase]]\nname = \"only\"\nepochs = 1\nloss = { dice = 1.0, group_dro = {} }\n";
    scratch.write("dro.toml", recipe(phases).as_bytes());
    scratch.ok("train pool/site-1 --recipe dro.toml --set model.source_norm=true -o run");
    let warnings = warnings(&scratch.json("run/record.json"));
    for words in ["one source to train on, so it was the plain loss", "model.source_norm was asked"]
    {
        assert!(warnings.contains(words), "no {words:?} in {warnings}");
    }
}
