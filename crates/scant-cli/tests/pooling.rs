//! Which images are trained on, how they are mixed, and how they are made alike.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use scratch::{Scratch, safetensors};

/// Novel images first, then batches of both, with everything that is drawn at random.
const RECIPE: &str = r#"
[model]
name = "unet"
width = 4
depth = 2
[data]
size = [32, 32]
channels = 1
batch = 3
augment = ["flip", "strong-intensity"]
novel_fraction = 0.5
noise_sigma = 0.1
harmonise = { method = "histogram" }
[split]
test = 0.25
validation = 0.0
[[phase]]
name = "novel"
epochs = 6
train_on = "novel"
[[phase]]
name = "both"
epochs = 6
from = "last"
novel_per_batch = 1
"#;

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("mixed.toml", RECIPE.as_bytes());
    scratch
}

fn epochs_logged(scratch: &Scratch, run: &str) -> usize {
    let log = scratch.path(&format!("{run}/metrics.jsonl"));
    std::fs::read_to_string(log).map_or(0, |text| text.lines().count())
}

#[test]
fn each_phase_trains_on_what_it_says_and_the_record_knows() {
    let scratch = scratch();
    let said = scratch.ok("train pool --recipe mixed.toml -o run");
    let mut train: BTreeMap<String, u64> = BTreeMap::new();
    for (source, _) in scratch.part("run", "train") {
        *train.entry(source).or_default() += 1;
    }
    assert_eq!(train.len(), 2, "{train:?}");
    let record = scratch.json("run/record.json");
    let images = |phase: usize| record["phases"][phase]["images"].as_object().unwrap().clone();
    let (novel, both) = (images(0), images(1));
    assert_eq!((novel.len(), both.len()), (1, 2), "{novel:?} {both:?}");
    let (source, half) = novel.iter().next().unwrap();
    assert_eq!(half.as_u64().unwrap(), train[source].div_ceil(2));
    assert_eq!(&both[source], half, "the same share in both phases");
    let base = both.iter().find(|(name, _)| *name != source).unwrap();
    assert_eq!(base.1.as_u64().unwrap(), train[base.0]);
    for says in
        ["phase \"novel\" trains on 3 of 12 images", "harmonise by histogram: fitted on 6 base"]
    {
        assert!(said.stderr.contains(says), "no {says:?} in {said:?}");
    }
    // 3 novel images make one batch of 3; 6 base images in batches of 2 beside 1 novel one make 3.
    assert_eq!(record["phases"][0]["epochs"][0]["step"], 1);
    assert_eq!(record["phases"][1]["epochs"][5]["step"], 6 + 18);

    // What was fitted travels with the model, so the model alone predicts as the run did.
    let (metadata, _) = safetensors(&scratch.read("run/model.safetensors"));
    let card: serde_json::Value =
        serde_json::from_str(metadata["scant"].as_str().unwrap()).unwrap();
    let harmonise = &card["preprocess"]["harmonise"];
    assert_eq!(harmonise["method"], "histogram");
    assert_eq!(harmonise["channels"][0].as_array().unwrap().len(), 1025);
    let said = scratch.ok("train pool --recipe mixed.toml -o chosen --set split.validation=0.25");
    assert!(said.stderr.contains("harmonise by histogram"), "{said:?}");
    let record = scratch.json("chosen/record.json");
    let while_training = record["phases"][1]["best_val_dice"].as_f64().unwrap();
    let again = scratch.ok("evaluate chosen --split validation --json").json();
    let cases = again["evaluation"]["cases"].as_array().unwrap();
    let dice = |case: &serde_json::Value| case["classes"][0]["metrics"]["dice"].as_f64();
    let known: Vec<f64> = cases.iter().filter_map(dice).collect();
    let from_the_file = known.iter().sum::<f64>() / known.len() as f64;
    assert!((while_training - from_the_file).abs() < 1e-12, "{while_training} {from_the_file}");
}

#[test]
fn a_run_killed_between_and_within_its_phases_ends_in_the_same_bits() {
    let scratch = scratch();
    scratch.ok("train pool --recipe mixed.toml -o whole/run");
    let mut arguments = "train pool --recipe mixed.toml -o killed/run".to_owned();
    for epochs in [2, 6, 8] {
        let mut child = scratch
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while epochs_logged(&scratch, "killed/run") < epochs {
            assert!(started.elapsed() < Duration::from_secs(60), "{epochs} epochs: not in time");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        arguments = "train --resume killed/run".into();
    }
    scratch.ok(&arguments);
    let tensors =
        |run: &str, file: &str| safetensors(&scratch.read(&format!("{run}/run/{file}"))).1;
    for file in ["model.safetensors", "checkpoints/last.safetensors"] {
        assert_eq!(tensors("whole", file), tensors("killed", file), "{file}");
    }
    let images = |run: &str| {
        let record = scratch.json(&format!("{run}/run/record.json"));
        [0, 1].map(|phase| record["phases"][phase]["images"].clone())
    };
    assert_eq!(images("whole"), images("killed"));
}

#[test]
fn what_cannot_be_drawn_is_refused_before_anything_is_written() {
    let scratch = scratch();
    scratch.ok("demo --data-only alone --sites 1 --images 6 --size 48");
    let refused = |pool: &str, set: &str, words: &[&str]| {
        let set: String = set.split(' ').map(|s| format!(" --set {s}")).collect();
        let said = scratch.run(&format!("train {pool} --recipe tiny.toml -o run{set}"));
        said.refused(2, words);
        assert!(!scratch.exists("run"), "{said:?}");
    };
    refused("alone", "data.train_on=novel", &["data.train_on = \"novel\"", "0 novel"]);
    refused("alone", "data.validate_on=novel", &["data.validate_on = \"novel\"", "that role"]);
    refused("alone", "phase.0.train_on=novel", &["phase.0.train_on = \"novel\"", "0 novel"]);
    refused(
        "alone",
        "data.novel_per_batch=1",
        &["data.novel_per_batch = 1", "need both", "0 novel"],
    );
    refused(
        "pool",
        "data.train_on=novel data.novel_fraction=0",
        &["data.train_on", "novel_fraction = 0 takes part"],
    );
    refused(
        "pool",
        "data.novel_per_batch=2",
        &["data.novel_per_batch = 2", "below data.batch = 2"],
    );
    refused("pool", "data.noise_sigma=-0.1", &["data.noise_sigma = -0.1"]);
    refused(
        "pool",
        "data.harmonise.method=macenko",
        &["data.harmonise.method", "data.channels = 3"],
    );
    let said = scratch.run(
        "train pool --recipe tiny.toml -o run --set data.channels=3 --set data.harmonise.method=macenko",
    );
    said.refused(3, &["the image is grey", "site-1/"]);
    assert!(!scratch.exists("run"), "{said:?}");
}

#[test]
fn the_recipes_of_pooling_differ_from_the_plain_one_where_they_say() {
    let scratch = Scratch::new();
    let lines = |name: &str| -> Vec<String> {
        let said = scratch.ok(&format!("train pool --dry-run --recipe pooling/{name}"));
        said.stdout.lines().map(str::to_owned).collect()
    };
    let plain = lines("plain");
    for (name, adds) in [
        ("base-only", "train_on = \"base\""),
        ("fine-tune", "train_on = \"novel\""),
        ("balanced", "balance_sources = true"),
        ("two-stream", "novel_per_batch = 2"),
        ("histogram", "method = \"histogram\""),
        ("reinhard", "method = \"reinhard\""),
        ("macenko", "method = \"macenko\""),
        ("vahadane", "method = \"vahadane\""),
        ("strong-intensity", "augment = [\"flip\", \"rot90\", \"strong-intensity\"]"),
    ] {
        let text = lines(name);
        assert!(text.iter().any(|line| line == adds), "{name}: {text:#?}");
        let missing: Vec<&String> = plain.iter().filter(|line| !text.contains(line)).collect();
        // A value that was written differently; all else of the plain recipe is there.
        assert!(missing.len() <= 1, "{name} lacks {missing:?}");
    }
}
