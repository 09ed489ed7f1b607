//! A study is its runs, each as if it had been run alone: whatever is shared, killed, interrupted or
//! added.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use scratch::{Scratch, safetensors};
use serde_json::Value;

/// Two phases with everything that has a memory.
const RECIPE: &str = r#"
[model]
name = "attention-unet"
width = 4
depth = 2
[data]
size = [32, 32]
channels = 1
batch = 2
[optim]
name = "adamw"
lr = 3e-3
schedule = "cosine"
[ema]
decay = 0.9
[[phase]]
name = "warm-up"
epochs = 4
[[phase]]
name = "second"
epochs = 4
"#;

const FD: &str = "loss = { dice = 1.0, bce = 1.0, feature_discrepancy = \
                  { form = \"region-mean\", alpha = \"ascent\" } }";

const STUDY: &str = r#"
name = "trial"
purpose = "does it run?"
pool = "pool"
judge = "base"
reference = "plain"
seeds = [1, 2]
set = ["split.test=0.3"]
[[axis]]
name = "rate"
key = "phase.second.lr"
values = [1e-3, 1e-2]
[[method]]
name = "plain"
recipe = "two.toml"
[[method]]
name = "fd"
recipe = "two.toml"
set = ['phase.second.loss.feature_discrepancy={ form = "region-mean", alpha = "ascent" }', "phase.second.loss.dice=1.0", "phase.second.loss.bce=1.0"]
[run]
parallel = 2
memory_mib = 100000
keep = "models"
"#;

fn prepared() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("two.toml", RECIPE.as_bytes());
    scratch.write("study.toml", STUDY.as_bytes());
    scratch
}

fn weights(scratch: &Scratch, run: &str) -> Vec<u8> {
    safetensors(&scratch.read(&format!("{run}/model.safetensors"))).1
}

/// The record without what takes time or says where it is.
fn record(scratch: &Scratch, run: &str) -> Value {
    let mut record = scratch.json(&format!("{run}/record.json"));
    for key in ["timing", "name"] {
        record[key].take();
    }
    for phase in record["phases"].as_array_mut().unwrap() {
        for epoch in phase["epochs"].as_array_mut().unwrap() {
            epoch["seconds"].take();
        }
    }
    record
}

#[test]
fn phases_taken_over_end_in_the_same_bits() {
    let scratch = prepared();
    scratch.write("fd.toml", format!("{RECIPE}{FD}").as_bytes());
    let first = RECIPE.split("[[phase]]\nname = \"second\"").next().unwrap();
    scratch.write("first.toml", first.as_bytes());
    scratch.ok("train pool --recipe first.toml -o first --no-evaluate");
    for (recipe, from) in [("two", ""), ("fd", ""), ("fd", "last"), ("two", "scratch")] {
        let name = format!("{recipe}{from}");
        if !from.is_empty() {
            let text = scratch.text(&format!("{recipe}.toml"));
            let with = format!("name = \"second\"\nfrom = \"{from}\"");
            scratch.write(
                &format!("{name}.toml"),
                text.replace("name = \"second\"", &with).as_bytes(),
            );
        }
        scratch.ok(&format!("train pool --recipe {name}.toml -o {name}/whole --no-report"));
        let said = scratch
            .ok(&format!("train pool --recipe {name}.toml -o {name}/taken --phases-from first"));
        assert!(said.stderr.contains("the first 1 phase is taken over from first"), "{said:?}");
        assert!(!said.stderr.contains("warm-up"), "it was trained again: {said:?}");
        let (whole, taken) = (format!("{name}/whole"), format!("{name}/taken"));
        assert!(weights(&scratch, &whole) == weights(&scratch, &taken), "{name}");
        for best in ["best-0", "best-1"] {
            let of = |run: &str| {
                safetensors(&scratch.read(&format!("{run}/checkpoints/{best}.safetensors"))).1
            };
            assert!(of(&whole) == of(&taken), "{name}: {best}");
        }
        let (mut a, mut b) = (record(&scratch, &whole), record(&scratch, &taken));
        // Only one of them was asked for pictures.
        a["gallery"].take();
        b["gallery"].take();
        assert_eq!(a, b, "{name}");
        assert!(!scratch.exists(&format!("{whole}/report.html")));
        assert!(scratch.exists(&format!("{taken}/report.html")));
        assert!(a["evaluations"][0]["cases"].as_array().unwrap().len() > 1);
    }
    assert!(weights(&scratch, "two/whole") != weights(&scratch, "fd/whole"), "the loss matters");
}

#[test]
fn phases_of_another_run_are_not_taken_over() {
    let scratch = prepared();
    let first = RECIPE.split("[[phase]]\nname = \"second\"").next().unwrap();
    scratch.write("first.toml", first.as_bytes());
    scratch.ok("train pool --recipe first.toml -o first --no-evaluate");
    let refused = |arguments: &str, words: &[&str]| {
        let given = |flag: &str, default: &str| {
            if arguments.contains(flag) { String::new() } else { format!("{flag} {default}") }
        };
        let (recipe, from) = (given("--recipe", "two.toml"), given("--phases-from", "first"));
        let said = scratch.run(&format!("train pool {recipe} {from} -q -o new {arguments}"));
        said.refused(2, words);
        assert!(!scratch.exists("new"), "{arguments}: it left a folder");
    };
    refused("--set optim.lr=0.1", &["optim.lr is 0.003 there and 0.1 here"]);
    refused("--set phase.warm-up.epochs=5", &["phase.warm-up.epochs is 4 there and 5 here"]);
    refused("--seed 1", &["seed is 0 there and 1 here"]);
    refused("--set model.width=8", &["model.width"]);
    refused("--set limit.steps=3", &["limit.steps = 3"]);
    refused("--recipe first.toml", &["no phase beyond"]);
    refused("--phases-from nowhere", &["nowhere", "recipe.toml"]);
    scratch.edit("first/split.toml", "[train", "[excluded.nobody]\n[train");
    refused("", &["split.toml differs", "--split first/split.toml"]);
    scratch.edit("first/split.toml", "[excluded.nobody]\n[train", "[train");
    scratch.edit("first/pool.toml", "name = ", "name  = ");
    refused("", &["pool.toml differs"]);
    scratch.edit("first/pool.toml", "name  = ", "name = ");

    scratch.ok("train pool --recipe first.toml -o short --no-evaluate --steps 3");
    let said = scratch.run("train pool --recipe two.toml -q -o new --phases-from short");
    said.refused(2, &["cut short by a limit"]);
    scratch.ok("train pool --recipe two.toml -o new --phases-from first --no-evaluate");
}

#[test]
fn a_study_is_its_runs_and_shares_what_they_begin_with() {
    let scratch = prepared();
    let said = scratch.ok("study study.toml --dry-run");
    assert!(said.stdout.contains("8 runs, 2 shared beginnings, 40 epochs in all"), "{said:?}");
    assert!(!scratch.exists("runs"), "a dry run writes nothing");

    let said = scratch.ok("study study.toml -o out");
    assert!(said.stdout.ends_with("out\n"), "{said:?}");
    for word in ["trial", "plain", "fd", "0.001", "0.01", "reference"] {
        assert!(said.stdout.contains(word), "no {word}: {said:?}");
    }
    assert!(scratch.text("out/report.html").contains("does it run?"));
    let study = scratch.json("out/study.json");
    assert_eq!(study["methods"], serde_json::json!(["plain", "fd"]));
    assert_eq!(study["axes"][0]["values"], serde_json::json!(["0.001", "0.01"]));
    let runs = study["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 8);
    for run in runs {
        assert_eq!(run["status"]["state"], "finished", "{run}");
        let folder = format!("out/{}", run["folder"].as_str().unwrap());
        assert!(scratch.exists(&format!("{folder}/model.safetensors")));
        for gone in ["checkpoints", "predictions", "gallery", "report.html"] {
            assert!(!scratch.exists(&format!("{folder}/{gone}")), "{folder}/{gone}");
        }
        let discrepancy = &scratch.json(&format!("{folder}/record.json"))["evaluations"][0]["cases"]
            [0]["discrepancy"];
        assert!(!discrepancy.as_object().unwrap().is_empty(), "for every method");
    }
    let left: Vec<String> = scratch.tree("out/runs").into_keys().collect();
    assert!(!left.iter().any(|n| n.ends_with(".log") || n.ends_with(".recipe.toml")), "{left:?}");
    assert!(scratch.tree("out/shared").is_empty(), "what nobody needs any more is gone");

    let rows = |name: &str| scratch.text(name).lines().map(str::to_owned).collect::<Vec<_>>();
    let results = rows("out/results.csv");
    assert_eq!(results.len(), 9);
    assert!(results[0].starts_with("method,rate,seed,cases,dice,iou,hd95"), "{}", results[0]);
    assert!(results[1].starts_with("plain,0.001,1,"), "{}", results[1]);
    let columns = |row: &str| row.split(',').map(str::to_owned).collect::<Vec<_>>();
    let cases = rows("out/cases.csv");
    // By hand: the mean over the judged cases of the first run.
    let judged: Vec<f64> = cases[1..]
        .iter()
        .map(|row| columns(row))
        .filter(|c| c[..3] == ["plain", "0.001", "1"] && c[6] == "true")
        .map(|c| c[7].parse().unwrap())
        .collect();
    assert!(judged.len() >= 2, "{cases:?}");
    let mean = judged.iter().sum::<f64>() / judged.len() as f64;
    let first = columns(&results[1]);
    assert_eq!(first[3], judged.len().to_string());
    assert!((first[4].parse::<f64>().unwrap() - mean).abs() < 1e-5, "{first:?} is not {mean}");
    let novel = cases[1..].iter().map(|r| columns(r)).filter(|c| c[6] == "false").count();
    assert!(novel > 0, "the novel source is there and not judged");

    // The same run, alone and without sharing.
    scratch.write("alone.toml", &scratch.read("out/runs/fd/rate-0.01/s2/recipe.toml"));
    scratch.ok("train pool --recipe alone.toml -o alone --no-report");
    assert!(weights(&scratch, "alone") == weights(&scratch, "out/runs/fd/rate-0.01/s2"));
    let (mut a, mut b) = (record(&scratch, "alone"), record(&scratch, "out/runs/fd/rate-0.01/s2"));
    for one in [&mut a, &mut b] {
        one["split"].take();
    }
    assert_eq!(a, b);

    // Again: nothing is run. More: only what is new is run.
    let before = scratch.tree("out/runs");
    let said = scratch.ok("study study.toml -o out");
    assert!(said.stderr.contains("8 runs, 0 of them to be run"), "{said:?}");
    assert!(scratch.tree("out/runs") == before, "a finished study was changed");
    scratch.edit("study.toml", "values = [1e-3, 1e-2]", "values = [1e-3, 3e-3, 1e-2]");
    let said = scratch.ok("study study.toml -o out --seeds 3");
    assert!(said.stderr.contains("18 runs, 10 of them to be run"), "{said:?}");
    let now = scratch.tree("out/runs");
    assert!(before.iter().all(|(name, bytes)| now.get(name) == Some(bytes)));
    let said = scratch.run("study study.toml -q -o out --set optim.lr=0.1 --seeds 3");
    said.refused(2, &["begun with another file", "optim.lr=0.1", "-o"]);
    scratch.edit("two.toml", "lr = 3e-3", "lr = 4e-3");
    let said = scratch.run("study study.toml -q -o out --seeds 3");
    said.refused(2, &["runs/plain/rate-0.001/s1 was trained by another recipe"]);
}

fn start(scratch: &Scratch, arguments: &str) -> Child {
    scratch
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("scant {arguments}: {e}"))
}

fn wait_until(child: &mut Child, what: &str, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(90), "{what}: not within 90 seconds");
        let ended = child.try_wait().expect("the program can be asked");
        assert!(ended.is_none() || happened(), "{what}: the program ended before ({ended:?})");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn finished(scratch: &Scratch) -> usize {
    let Ok(text) = std::fs::read_to_string(scratch.path("out/results.csv")) else { return 0 };
    text.lines().count().saturating_sub(1)
}

fn results(scratch: &Scratch) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let study = scratch.json("out/study.json");
    for run in study["runs"].as_array().unwrap() {
        let folder = format!("out/{}", run["folder"].as_str().unwrap());
        found.insert(format!("{folder} weights"), weights(scratch, &folder));
        found.insert(folder.clone(), record(scratch, &folder).to_string().into_bytes());
    }
    found
}

#[test]
fn a_study_that_is_killed_and_interrupted_ends_in_the_same_bits() {
    let scratch = prepared();
    // Long enough to be interrupted.
    scratch.edit("study.toml", "split.test=0.3\"", "split.test=0.3\", \"phase.second.epochs=12\"");
    scratch.ok("study study.toml -o out");
    let whole = results(&scratch);
    std::fs::remove_dir_all(scratch.path("out")).unwrap();

    // Killed: its runs end by themselves, and nobody disturbs them.
    for done in [1, 3] {
        let mut child = start(&scratch, "study study.toml -o out");
        wait_until(&mut child, "runs", || finished(&scratch) >= done);
        std::thread::sleep(Duration::from_millis(150));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Interrupted: it says so.
    let mut child = start(&scratch, "study study.toml -o out");
    wait_until(&mut child, "runs", || finished(&scratch) >= 5);
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("the same command again goes on"), "{said}");
    assert!(finished(&scratch) < 8, "interrupted too late to matter");

    // Two at once do not meet in one folder.
    let mut child = start(&scratch, "study study.toml -o out");
    wait_until(&mut child, "the study", || scratch.exists("out/runs"));
    std::thread::sleep(Duration::from_millis(200));
    if child.try_wait().unwrap().is_none() {
        scratch.run("study study.toml -q -o out").refused(2, &["another scant works"]);
    }
    assert!(child.wait().unwrap().success());
    let other = results(&scratch);
    let differing: Vec<&String> = whole.keys().filter(|k| whole[*k] != other[*k]).collect();
    assert!(differing.is_empty() && whole.len() == other.len(), "{differing:?}");
}

#[test]
fn a_run_that_fails_is_written_down_and_the_rest_goes_on() {
    let scratch = prepared();
    scratch.edit("study.toml", "values = [1e-3, 1e-2]", "values = [1e-3, 1e30]");
    scratch.edit("study.toml", "keep = \"models\"", "keep = \"records\"");
    let said = scratch.run("study study.toml -o out --seeds 1");
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in ["2 of 4 runs failed", "the loss became", "--retry"] {
        assert!(said.stderr.contains(word), "no {word}: {said:?}");
    }
    let status = |scratch: &Scratch| {
        let study = scratch.json("out/study.json");
        let runs = study["runs"].as_array().unwrap().clone();
        runs.iter()
            .map(|r| {
                let state = r["status"]["state"].as_str().unwrap().to_owned();
                (r["at"]["rate"].as_str().unwrap().to_owned(), state, r["status"]["why"].clone())
            })
            .collect::<Vec<_>>()
    };
    for (rate, state, why) in status(&scratch) {
        assert_eq!(state == "finished", rate == "0.001", "{rate}: {state}");
        assert_eq!(why.is_string(), rate != "0.001");
    }
    assert!(!scratch.exists("out/runs/plain/rate-0.001/s1/model.safetensors"));
    // Left alone without --retry, tried again with it.
    let said = scratch.run("study study.toml -o out --seeds 1");
    assert!(
        said.code == Some(1) && said.stderr.contains("4 runs, 0 of them to be run"),
        "{said:?}"
    );
    let said = scratch.run("study study.toml -o out --seeds 1 --retry");
    assert!(
        said.code == Some(1) && said.stderr.contains("4 runs, 2 of them to be run"),
        "{said:?}"
    );
}

#[test]
fn a_study_that_cannot_be_meant_is_refused_before_anything_is_written() {
    let scratch = prepared();
    let refused = |old: &str, new: &str, code: i32, words: &[&str]| {
        scratch.edit("study.toml", old, new);
        scratch.run("study study.toml -q -o out").refused(code, words);
        assert!(!scratch.exists("out"), "{new}: it left a folder");
        scratch.edit("study.toml", new, old);
    };
    refused("seeds = [1, 2]", "seed = [1, 2]", 2, &["did you mean `seeds`"]);
    refused("phase.second.lr", "phase.third.lr", 2, &["method \"plain\"", "called \"third\""]);
    refused("judge = \"base\"", "judge = \"bas\"", 2, &["judge = \"bas\"", "site-1"]);
    refused("recipe = \"two.toml\"\nset", "recipe = \"tow.toml\"\nset", 2, &["tow.toml"]);
    refused("pool = \"pool\"", "pool = \"nowhere\"", 3, &["nowhere"]);
}
