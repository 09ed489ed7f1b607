//! A run is a function of pool, recipe, seed and threads: killed, interrupted or left alone, it ends
//! in the same bits.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use scratch::{Scratch, safetensors};
use serde_json::Value;

/// Two phases with everything that has a memory: moments, moving average, alphas, heads beside the network,
/// weights of sources, a schedule, gathered gradients, and random augmentation. Ten batches an epoch make three steps of three and one
/// of one.
const RECIPE: &str = r#"
[model]
name = "attention-unet"
width = 4
depth = 2
[data]
size = [32, 32]
channels = 1
batch = 1
[optim]
name = "adamw"
lr = 3e-3
schedule = "cosine"
clip_norm = 1.0
accumulate = 3
[ema]
decay = 0.9
[[phase]]
name = "warm-up"
epochs = 8
[[phase]]
name = "discrepancy"
epochs = 8
[phase.loss]
dice = 1.0
bce = 1.0
feature_discrepancy = { form = "region-mean", alpha = "ascent" }
deep_supervision = {}
local_contrast = { regions = 9, region_size = 1 }
pixel_contrast = { width = 8 }
group_dro = { step = 0.05 }
"#;

const EPOCHS: usize = 16;
const KILLED: Option<i32> = Some(9);

/// A pool, the recipe, and an uninterrupted run of it in `whole/run`: model files hold the name of
/// their run, so all runs here have the same.
fn with_a_whole_run() -> Scratch {
    with_a_whole_run_of(RECIPE)
}

fn with_a_whole_run_of(recipe: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("two.toml", recipe.as_bytes());
    scratch.ok(&train("whole"));
    assert_eq!(epochs_logged(&scratch, "whole"), EPOCHS);
    scratch
}

fn train(name: &str) -> String {
    format!("train pool --recipe two.toml -o {name}/run")
}

fn resume(name: &str) -> String {
    format!("train --resume {name}/run")
}

fn epochs_logged(scratch: &Scratch, name: &str) -> usize {
    let log = scratch.path(&format!("{name}/run/metrics.jsonl"));
    std::fs::read_to_string(log).map_or(0, |text| text.lines().count())
}

fn start(scratch: &Scratch, arguments: &str) -> Child {
    scratch
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("scant {arguments}: {e}"))
}

/// Waits for something to happen while the program runs.
fn wait_until(child: &mut Child, what: &str, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        let ended = child.try_wait().expect("the program can be asked");
        assert!(ended.is_none() || happened(), "{what}: the program ended before ({ended:?})");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends a program that is still running with SIGKILL.
fn kill(mut child: Child) {
    child.kill().expect("SIGKILL can be sent");
    let status = child.wait().expect("the program has ended");
    assert_eq!(status.signal(), KILLED, "the program ended by itself before it was killed");
}

/// Sends SIGINT, as Ctrl-C does; the exit code and what was said on standard error.
fn interrupt(child: Child) -> (Option<i32>, String) {
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(sent.expect("sh runs").success(), "SIGINT could not be sent");
    let output = child.wait_with_output().expect("the program ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Everything of a run that must not depend on interruptions: the model file and the predictions to
/// the byte, the tensors of the checkpoint, and logs and results without their seconds.
fn result(scratch: &Scratch, name: &str) -> BTreeMap<String, Vec<u8>> {
    let run = format!("{name}/run");
    let mut found = scratch.tree(&format!("{run}/predictions"));
    assert!(found.keys().filter(|n| n.ends_with(".png")).count() >= 4, "predictions: {found:?}");
    for file in ["model.safetensors", "recipe.toml", "split.toml"] {
        found.insert(file.into(), scratch.read(&format!("{run}/{file}")));
    }
    let checkpoint = scratch.read(&format!("{run}/checkpoints/last.safetensors"));
    found.insert("checkpoint".into(), safetensors(&checkpoint).1);
    let mut log = String::new();
    for line in scratch.text(&format!("{run}/metrics.jsonl")).lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["seconds"].take();
        log += &format!("{line}\n");
    }
    found.insert("log".into(), log.into_bytes());
    let record = scratch.json(&format!("{run}/record.json"));
    found.insert("evaluations".into(), record["evaluations"].to_string().into_bytes());
    found
}

fn assert_same(scratch: &Scratch, name: &str) {
    let (whole, other) = (result(scratch, "whole"), result(scratch, name));
    assert_eq!(whole.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{name}");
    let differing: Vec<&String> = whole.keys().filter(|k| whole[*k] != other[*k]).collect();
    let log = |r: &BTreeMap<String, Vec<u8>>| String::from_utf8_lossy(&r["log"]).into_owned();
    assert!(differing.is_empty(), "{name}: {differing:?}\n{}\n{}", log(&whole), log(&other));
}

#[test]
fn a_run_killed_again_and_again_ends_in_the_same_bits() {
    let scratch = with_a_whole_run();
    let alphas = scratch.json("whole/run/record.json")["phases"][1]["epochs"][7]["alpha"].clone();
    let moved = alphas.as_object().unwrap().values().any(|a| a.as_f64().unwrap() > 0.0);
    assert!(moved, "the discrepancy takes no part in this test: {alphas}");

    let last = &scratch.json("whole/run/record.json")["phases"][1]["epochs"][7]["loss"];
    for term in ["deep_supervision", "local_contrast", "pixel_contrast", "group_weight/site-1"] {
        assert!(last[term].as_f64().is_some_and(|v| v > 0.0), "{term} takes no part: {last}");
    }
    assert_ne!(last["group_weight/site-1"], 0.5, "the weights of the sources stayed equal");

    // Before the first checkpoint; then a while (milliseconds) after so many epochs have been
    // logged: within phases, about the change of phase (8), and within the second.
    let mut child = start(&scratch, &train("killed"));
    wait_until(&mut child, "recipe.toml", || scratch.exists("killed/run/recipe.toml"));
    kill(child);
    for (epochs, delay) in [(1, 0), (3, 35), (5, 60), (8, 3), (9, 20), (11, 50)] {
        let mut child = start(&scratch, &resume("killed"));
        wait_until(&mut child, &format!("{epochs} epochs"), || {
            epochs_logged(&scratch, "killed") >= epochs
        });
        std::thread::sleep(Duration::from_millis(delay));
        kill(child);
        assert!(epochs_logged(&scratch, "killed") < EPOCHS, "killed too late to matter");
    }
    scratch.ok(&resume("killed"));
    assert_same(&scratch, "killed");
    let left: Vec<String> =
        scratch.tree("killed").into_keys().filter(|n| n.contains(".tmp")).collect();
    assert!(left.is_empty(), "remains of killed writes: {left:?}");
}

/// Norms of their own for every source, which a moving average cannot have.
#[test]
fn norms_of_sources_go_on_in_the_same_bits() {
    let recipe = RECIPE.replace("[ema]\ndecay = 0.9\n", "");
    let recipe = recipe.replace("depth = 2\n", "depth = 2\nsource_norm = true\n");
    let scratch = with_a_whole_run_of(&recipe);
    let mut arguments = train("normed");
    for (epochs, delay) in [(2, 10), (9, 30)] {
        let mut child = start(&scratch, &arguments);
        wait_until(&mut child, &format!("{epochs} epochs"), || {
            epochs_logged(&scratch, "normed") >= epochs
        });
        std::thread::sleep(Duration::from_millis(delay));
        kill(child);
        arguments = resume("normed");
    }
    scratch.ok(&arguments);
    assert_same(&scratch, "normed");

    // The file holds the norms of the other site, and judges each site with its own.
    let model = scratch.read("whole/run/model.safetensors");
    let header = String::from_utf8_lossy(&model).into_owned();
    assert!(header.contains("source_norm/site-2/") && !header.contains("source_norm/site-1/"));
    let cases = |said: &Value| said["evaluation"]["cases"].clone();
    let by_run = scratch.ok("evaluate whole/run --json").json();
    let again = scratch.ok("evaluate whole/run/model.safetensors pool --json").json();
    for case in cases(&by_run).as_array().unwrap() {
        assert!(cases(&again).as_array().unwrap().contains(case), "{case}");
    }
    // Nobody says where an image to predict is from: the norms of the first base site are taken.
    let (source, stem) = scratch.part("whole/run", "test")[0].clone();
    let image = format!("pool/{source}/images/{stem}.png");
    scratch.ok(&format!("predict whole/run/model.safetensors {image} -o masks"));

    let line =
        "train pool --recipe tiny.toml --set model.source_norm=true --set ema.decay=0.9 -o no";
    scratch.run(line).refused(2, &["model.source_norm", "moving average"]);
    let swin = "bench step --model swin-unet --set embed_dim=4 --set depths=[1,1] --set heads=[1,1] \
                --set window=2 --set patch=2 --channels 1 --size 16 --set source_norm=true";
    scratch.run(swin).refused(2, &["swin-unet has no batch norm"]);
    // Gradients of sources that pass apart do not meet at a layer.
    let line = "train pool --recipe pooling/fd --set model.source_norm=true -o no \
                --set phase.second.loss.feature_discrepancy.alpha=balanced";
    scratch.run(line).refused(2, &["model.source_norm", "balanced"]);
    assert!(!scratch.exists("no"));
}

#[test]
fn an_interrupted_run_says_so_and_ends_in_the_same_bits() {
    let scratch = with_a_whole_run();
    let mut arguments = train("stopped");
    let mut within_an_epoch = 0;
    // An epoch that has been logged since the start: Ctrl-C is listened to by then. A while
    // (milliseconds) later, the next epoch is on its way.
    for (epochs, delay) in [(1, 20), (3, 50), (5, 80), (9, 35), (11, 65)] {
        let epochs = epochs.max(epochs_logged(&scratch, "stopped") + 1);
        let mut child = start(&scratch, &arguments);
        wait_until(&mut child, &format!("{epochs} epochs"), || {
            epochs_logged(&scratch, "stopped") >= epochs
        });
        std::thread::sleep(Duration::from_millis(delay));
        let before = position(&scratch, "stopped").0;
        let (code, said) = interrupt(child);
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("continue with: scant train --resume stopped/run"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        let (step, batch) = position(&scratch, "stopped");
        assert!(step >= before, "a checkpoint was written");
        within_an_epoch += usize::from(batch > 0);
        assert!(!scratch.exists("stopped/run/model.safetensors"), "it is not done");
        arguments = resume("stopped");
    }
    assert!(within_an_epoch > 0, "no interruption in the middle of an epoch: nothing was tested");
    let said = scratch.ok(&resume("stopped"));
    assert!(said.stderr.contains("continuing at step"), "{said:?}");
    assert_eq!(position(&scratch, "stopped"), position(&scratch, "whole"));
    assert_same(&scratch, "stopped");
}

/// Optimiser steps of the run, and batches of the current epoch, in the last checkpoint.
fn position(scratch: &Scratch, name: &str) -> (u64, u64) {
    let bytes = scratch.read(&format!("{name}/run/checkpoints/last.safetensors"));
    let state = safetensors(&bytes).0["state"].as_str().unwrap().to_owned();
    let state: Value = serde_json::from_str(&state).unwrap();
    (state["step"].as_u64().unwrap(), state["batch"].as_u64().unwrap())
}

#[test]
fn the_seed_decides_the_bits() {
    let scratch = with_a_whole_run();
    scratch.ok(&train("twin"));
    assert_same(&scratch, "twin");
    // The same images, other weights and another order.
    scratch.ok(&format!("{} --set split.seed=0 --seed 1", train("other")));
    let weights =
        |name: &str| safetensors(&scratch.read(&format!("{name}/run/model.safetensors"))).1;
    assert_eq!(weights("whole"), weights("twin"));
    assert_eq!(weights("whole").len(), weights("other").len());
    assert_ne!(weights("whole"), weights("other"));
    assert_eq!(scratch.part("whole/run", "test"), scratch.part("other/run", "test"));
}

#[test]
fn resuming_what_is_finished_changes_nothing() {
    let scratch = with_a_whole_run();
    scratch.ok("evaluate whole/run --split validation");
    let before = result(&scratch, "whole");
    let parts = |scratch: &Scratch| {
        let record = scratch.json("whole/run/record.json");
        let all = record["evaluations"].as_array().unwrap().clone();
        all.iter().map(|e| e["part"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let sorted = |mut v: Vec<String>| {
        v.sort();
        v
    };
    assert_eq!(sorted(parts(&scratch)), ["test", "validation"]);
    let gallery = scratch.json("whole/run/record.json")["gallery"].clone();
    for how in ["", " --no-evaluate"] {
        let said = scratch.ok(&format!("{}{how}", resume("whole")));
        assert!(said.stderr.contains("training is over already"), "{said:?}");
        assert_eq!(sorted(parts(&scratch)), ["test", "validation"], "{how}");
        assert_eq!(scratch.json("whole/run/record.json")["gallery"], gallery, "{how}");
        let mut after = result(&scratch, "whole");
        // The order of evaluations may change; that of their cases may not.
        for part in ["test", "validation"] {
            let of = |bytes: &[u8]| -> Value {
                let all: Value = serde_json::from_slice(bytes).unwrap();
                all.as_array().unwrap().iter().find(|e| e["part"] == part).unwrap().clone()
            };
            assert_eq!(of(&after["evaluations"]), of(&before["evaluations"]), "{how}");
        }
        after.insert("evaluations".into(), before["evaluations"].clone());
        assert!(after == before, "resuming a finished run{how} changed it");
    }
}

#[test]
fn a_run_whose_recipe_or_pool_was_changed_is_not_resumed() {
    let scratch = Scratch::new();
    scratch.write("two.toml", RECIPE.as_bytes());
    let mut child = start(&scratch, &train("changed"));
    wait_until(&mut child, "2 epochs", || epochs_logged(&scratch, "changed") >= 2);
    kill(child);
    let checkpoint = scratch.read("changed/run/checkpoints/last.safetensors");
    let refused = |code: i32, words: &[&str]| {
        let said = scratch.run(&format!("{} -q", resume("changed")));
        said.refused(code, words);
        let now = scratch.read("changed/run/checkpoints/last.safetensors");
        assert!(now == checkpoint, "a refused resume changed the checkpoint");
        assert!(!scratch.exists("changed/run/model.safetensors"));
    };
    scratch.edit("changed/run/recipe.toml", "lr = 0.003", "lr = 0.004");
    refused(2, &["last.safetensors", "recipe has changed", "resume with the recipe of the run"]);
    scratch.edit("changed/run/recipe.toml", "lr = 0.004", "lr = fast");
    refused(2, &["recipe", "lr = fast"]);
    scratch.edit("changed/run/recipe.toml", "lr = fast", "lr = 0.003");

    let (source, stem) = scratch.part("changed/run", "train")[0].clone();
    let image = format!("pool/{source}/images/{stem}.png");
    let bytes = scratch.read(&image);
    std::fs::remove_file(scratch.path(&image)).unwrap();
    refused(3, &[&stem]);
    scratch.write(&image, &bytes);

    scratch.write("changed/run/checkpoints/last.safetensors", &checkpoint[..checkpoint.len() / 2]);
    let said = scratch.run(&format!("{} -q", resume("changed")));
    said.refused(1, &["last.safetensors", "not a complete model file"]);
    scratch.write("changed/run/checkpoints/last.safetensors", &checkpoint);
    // All as it was: it goes on.
    scratch.ok(&resume("changed"));
    assert_eq!(epochs_logged(&scratch, "changed"), EPOCHS);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint() {
    let scratch = Scratch::new();
    let exploding = RECIPE.replace("name = \"discrepancy\"", "name = \"discrepancy\"\nlr = 1e30");
    scratch.write("two.toml", exploding.as_bytes());
    let said = scratch.run(&format!("{} -q", train("lost")));
    let train_images = scratch.part("lost/run", "train");
    said.refused(
        1,
        &["phase \"discrepancy\", epoch 1", "checkpoints written before stay as they are", "lower"],
    );
    let named = |said: &str| {
        let named = train_images.iter().filter(|(s, stem)| said.contains(&format!("{s}/{stem}")));
        named.count()
    };
    assert!(named(&said.stderr) == 1, "the files of the batch are named: {said:?}");
    assert_eq!(epochs_logged(&scratch, "lost"), 8, "the first phase is kept");
    assert!(!scratch.exists("lost/run/model.safetensors"), "it is not done");

    let checkpoint = scratch.read("lost/run/checkpoints/last.safetensors");
    let (_, data) = safetensors(&checkpoint);
    let finite = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap()).is_finite();
    assert!(data.chunks_exact(4).all(finite), "the checkpoint holds what is no number");
    // It can be continued from, which comes to the same end.
    let again = scratch.run(&format!("{} -q", resume("lost")));
    again.refused(1, &["phase \"discrepancy\", epoch 1"]);
    assert_eq!(again.stderr, said.stderr);
    assert!(scratch.read("lost/run/checkpoints/last.safetensors") == checkpoint);
    // And the best weights of the first phase predict.
    let image = "pool/site-1/images/p001_f1.png";
    scratch.ok(&format!("predict lost/run/checkpoints/best-0.safetensors {image} -o masks"));
    assert!(scratch.exists("masks/p001_f1.png"));
}
