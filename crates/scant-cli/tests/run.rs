//! The way of a user: a generated pool, training, and everything that is done with a run after.

#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use std::collections::BTreeSet;

use scant_io::{Limits, read_mask};
use scratch::{Scratch, safetensors};
use serde_json::Value;

const TRAIN: &str = "train pool --recipe tiny.toml -o run";

fn trained() -> Scratch {
    let scratch = Scratch::new();
    scratch.ok(TRAIN);
    scratch
}

/// The evaluation of a part in a run's record.
fn recorded(scratch: &Scratch, run: &str, part: &str) -> Value {
    let record = scratch.json(&format!("{run}/record.json"));
    let all = record["evaluations"].as_array().unwrap();
    let found: Vec<&Value> = all.iter().filter(|e| e["part"] == part).collect();
    assert_eq!(found.len(), 1, "{run}: evaluations of the {part} part");
    found[0].clone()
}

#[test]
fn a_run_leaves_every_file_whole() {
    let scratch = Scratch::new();
    let said = scratch.ok(TRAIN);
    assert!(said.stdout.trim_end().ends_with("\nrun"), "the last line is the folder: {said:?}");
    assert!(said.stdout.contains("lesion"), "the result is on standard output: {said:?}");
    assert!(said.stderr.contains("only   2  loss"), "progress is on standard error: {said:?}");

    let recipe: toml::Table = toml::from_str(&scratch.text("run/recipe.toml")).unwrap();
    assert_eq!(recipe["model"]["width"].as_integer(), Some(4));
    assert_eq!(recipe["optim"]["name"].as_str(), Some("adam"), "defaults are filled in");
    let pool: toml::Table = toml::from_str(&scratch.text("run/pool.toml")).unwrap();
    let images = pool["source"][0]["images"].as_str().unwrap();
    assert!(std::path::Path::new(images).is_absolute(), "{images}");

    let parts = ["train", "validation", "test"].map(|p| scratch.part("run", p));
    let cases: BTreeSet<_> = parts.iter().flatten().collect();
    assert_eq!(cases.len(), 16, "every image is in the split");
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 16, "and in one part only");

    let record = scratch.json("run/record.json");
    assert_eq!(record["schema"], 1);
    assert_eq!(record["name"], "run");
    assert_eq!(record["threads"], 1);
    assert_eq!(record["recipe"].as_str().unwrap(), scratch.text("run/recipe.toml"));
    assert_eq!(record["phases"][0]["ended"], "finished");
    let epochs = record["phases"][0]["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), 2);
    assert_eq!(
        recorded(&scratch, "run", "test")["cases"].as_array().unwrap().len(),
        parts[2].len()
    );
    for item in record["gallery"].as_array().unwrap() {
        for picture in ["image", "truth", "prediction"] {
            let name = format!("run/{}", item[picture].as_str().unwrap());
            assert!(read_mask(&scratch.path(&name), &Limits::default()).is_ok(), "{name}");
        }
    }

    let lines: Vec<Value> = scratch
        .text("run/metrics.jsonl")
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}")))
        .collect();
    assert_eq!(lines.len(), 2, "one line per epoch");
    for (line, epoch) in lines.iter().zip(epochs) {
        assert_eq!(line["phase"], "only");
        for key in ["epoch", "step", "lr", "loss", "grad_norm", "val_dice"] {
            assert_eq!(line[key], epoch[key], "{key}");
        }
        assert!(line["loss"]["total"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(events(&scratch.read("run/events.out.tfevents.0.scant")), 1 + 2);

    let (metadata, weights) = safetensors(&scratch.read("run/model.safetensors"));
    let card: Value = serde_json::from_str(metadata["scant"].as_str().unwrap()).unwrap();
    assert_eq!(card["classes"], serde_json::json!(["background", "lesion"]));
    assert_eq!(card["model"]["width"], 4);
    assert_eq!(card["provenance"]["split_hash"], record["split"]["hash"]);
    assert!(weights.len() > 4 * 8000, "{} bytes of weights", weights.len());
    let (metadata, _) = safetensors(&scratch.read("run/checkpoints/last.safetensors"));
    let state: Value = serde_json::from_str(metadata["state"].as_str().unwrap()).unwrap();
    assert_eq!(state["finished"], true);

    let report = scratch.text("run/report.html");
    assert!(report.starts_with("<!") && report.trim_end().ends_with("</html>"));
    for reference in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!report.contains(reference), "the report needs the network: {reference}");
    }

    let masks: BTreeSet<String> =
        scratch.tree("run/predictions/test").into_keys().filter(|n| !n.ends_with('/')).collect();
    let expected = parts[2].iter().map(|(source, stem)| format!("{source}/{stem}.png")).collect();
    assert_eq!(masks, expected);
    let hidden: Vec<String> =
        scratch.tree("run").into_keys().filter(|n| n.contains(".tmp")).collect();
    assert!(hidden.is_empty(), "temporary files: {hidden:?}");
}

/// Number of records of a TensorBoard event file: length, its checksum, payload, its checksum.
fn events(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let whole = 8 + 4 + usize::try_from(length).unwrap() + 4;
        assert!(bytes.len() >= whole, "the event file ends within record {count}");
        bytes = &bytes[whole..];
        count += 1;
    }
    count
}

#[test]
fn rounded_products_train_almost_alike() {
    let scratch = Scratch::new();
    let line = "train pool --recipe demo/demo --set phase.0.epochs=1 --set phase.1.epochs=1";
    let losses = |precision: &str| -> Vec<f64> {
        scratch.ok(&format!("{line} --set precision={precision} -o {precision}"));
        let recipe: toml::Table =
            toml::from_str(&scratch.text(&format!("{precision}/recipe.toml"))).unwrap();
        assert_eq!(recipe["precision"].as_str(), Some(precision));
        let record = scratch.json(&format!("{precision}/record.json"));
        let phases = record["phases"].as_array().unwrap();
        let total = |p: &Value| p["epochs"][0]["loss"]["total"].as_f64().unwrap();
        phases.iter().map(total).collect()
    };
    let (single, rounded) = (losses("fp32"), losses("bf16"));
    assert_eq!((single.len(), rounded.len()), (2, 2));
    for (a, b) in single.iter().zip(&rounded) {
        assert!(b.is_finite() && a != b && (a - b).abs() < 0.1 * a, "{rounded:?} for {single:?}");
    }
    let said = scratch.run(&format!("{line} --set precision=bf17 -o other"));
    said.refused(2, &["bf17", "`fp32` or `bf16`"]);
    assert!(!scratch.path("other").exists());
}

#[test]
fn evaluating_again_gives_the_same_numbers() {
    let scratch = trained();
    let first = recorded(&scratch, "run", "test");
    let again = scratch.ok("evaluate run --json").json();
    assert_eq!(again["evaluation"], first);
    assert_eq!(recorded(&scratch, "run", "test"), first, "the record keeps one test evaluation");

    // The model alone on the same part, and the masks that the run left, judged as files.
    let model = "evaluate run/model.safetensors pool --split-file run/split.toml --json";
    assert_eq!(scratch.ok(model).json()["evaluation"], first);
    let masks = "evaluate run/predictions/test pool --split-file run/split.toml --json";
    let masks = scratch.ok(masks).json();
    let judged = |e: &Value| -> Vec<(Value, Value)> {
        let cases = e["cases"].as_array().unwrap();
        cases.iter().map(|c| (c["id"].clone(), c["classes"].clone())).collect()
    };
    assert_eq!(judged(&masks["evaluation"]), judged(&first));

    let text = scratch.ok("evaluate run --split validation --csv cases.csv");
    assert!(text.stdout.contains("Dice") && text.stdout.contains("bootstrap"), "{text:?}");
    let validation = recorded(&scratch, "run", "validation");
    assert_eq!(validation["cases"].as_array().unwrap().len(), 2);
    assert_eq!(recorded(&scratch, "run", "test"), first, "one part does not touch another");
    assert_eq!(scratch.text("cases.csv").lines().count(), 1 + 2, "a header and two cases");
}

#[test]
fn a_missing_prediction_is_a_failed_case() {
    let scratch = trained();
    let (source, stem) = scratch.part("run", "test")[0].clone();
    std::fs::remove_file(scratch.path(&format!("run/predictions/test/{source}/{stem}.png")))
        .unwrap();
    let said = scratch.run("evaluate run/predictions/test pool --split-file run/split.toml --json");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains(&format!("{source}/{stem}: no prediction")), "{said:?}");
    let cases = said.json()["evaluation"]["cases"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 4, "it still counts");
    assert_eq!(cases.iter().filter(|c| c["failure"].is_string()).count(), 1);
}

#[test]
fn prediction_repeats_the_masks_of_the_run_in_the_values_of_the_pool() {
    let scratch = Scratch::new();
    // Masks of 0 and 255, as most tools draw them, so that ids and values differ.
    for (name, bytes) in scratch.tree("pool") {
        if name.contains("/masks/") && !name.ends_with('/') {
            let path = scratch.path(&format!("pool/{name}"));
            assert!(!bytes.is_empty(), "{name}");
            let ids = read_mask(&path, &Limits::default()).unwrap().values;
            scant_io::write_grey8(&path, ids.mapv(|v| if v == 0 { 0 } else { 255 }).view())
                .unwrap();
        }
    }
    scratch.edit("pool/pool.toml", "1 = \"lesion\"", "255 = \"lesion\"");
    scratch.ok(TRAIN);

    let test = scratch.part("run", "test");
    let images: Vec<String> =
        test.iter().map(|(source, stem)| format!("pool/{source}/images/{stem}.png")).collect();
    let predict = format!("predict run {} -o masks --json", images.join(" "));
    let said = scratch.ok(&predict).json();
    assert_eq!(said["predicted"].as_array().unwrap().len(), test.len());
    assert_eq!(said["failed"], serde_json::json!([]));
    let mut foreground = 0;
    for ((source, stem), image) in test.iter().zip(&images) {
        let read = |name: &str| read_mask(&scratch.path(name), &Limits::default()).unwrap().values;
        let of_run = read(&format!("run/predictions/test/{source}/{stem}.png"));
        let predicted = read(&format!("masks/{stem}.png"));
        assert_eq!(predicted, of_run.mapv(|id| id * 255), "{stem}");
        assert_eq!(predicted.dim(), read(image).dim(), "{stem}: the size of its image");
        foreground += predicted.iter().filter(|&&v| v == 255).count();
    }
    assert!(foreground > 0, "the test compares nothing but background");
    assert_eq!(scratch.tree("masks").len(), test.len(), "masks and nothing else");

    // A folder, with probabilities, by the model file alone.
    scratch.ok("predict run/model.safetensors pool/site-1/images -o site --probabilities");
    assert_eq!(scratch.tree("site").len(), 2 * 8);
    let (source, stem) = &test[0];
    assert_eq!(source, "site-1");
    let mask = format!("{stem}.png");
    assert_eq!(scratch.read(&format!("site/{mask}")), scratch.read(&format!("masks/{mask}")));
    let p = read_mask(
        &scratch.path(&format!("site/{stem}.lesion.probability.png")),
        &Limits::default(),
    );
    let p = p.unwrap().values;
    let mask =
        read_mask(&scratch.path(&format!("site/{mask}")), &Limits::default()).unwrap().values;
    for (p, m) in p.iter().zip(&mask) {
        // Half of 65535, give or take its rounding.
        assert!((*m == 255) == (*p >= 32768) || (32767..=32768).contains(p), "p {p}, mask {m}");
    }
}

#[test]
fn bad_images_do_not_keep_good_ones_from_their_masks() {
    let scratch = trained();
    let image = scratch.read("pool/site-1/images/p001_f1.png");
    scratch.write("damaged.png", &image[..image.len() / 2]);
    let images =
        "pool/site-1/images/p001_f1.png gone.png damaged.png pool/site-2/images/p009_f1.png";
    let said = scratch.run(&format!("predict run {images} -o masks --json"));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("gone.png: there is no such image"), "{said:?}");
    assert!(said.stderr.contains("damaged.png: the file is damaged"), "{said:?}");
    assert!(said.stderr.contains("2 of 4 image(s) could not be predicted"), "{said:?}");
    let names = |list: &Value| -> Vec<String> {
        let images = list.as_array().unwrap().iter();
        images.map(|i| i["image"].as_str().unwrap().to_owned()).collect()
    };
    let json = said.json();
    assert_eq!(names(&json["failed"]), ["gone.png", "damaged.png"]);
    assert_eq!(names(&json["predicted"]).len(), 2);
    let masks: Vec<String> = scratch.tree("masks").into_keys().collect();
    assert_eq!(masks, ["p001_f1.png", "p009_f1.png"]);
}

#[test]
fn two_runs_are_compared_and_reported() {
    let scratch = trained();
    scratch.ok("train pool --recipe tiny.toml -o other --set split.seed=0 --seed 1 --epochs 1");
    assert_eq!(scratch.text("other/metrics.jsonl").lines().count(), 1, "--epochs");
    assert_eq!(scratch.part("run", "test"), scratch.part("other", "test"), "split.seed");

    let json = scratch.ok("compare run other --json --metrics dice,hd95").json();
    assert_eq!(json[0]["baseline"], "run");
    assert_eq!(json[0]["run"], "other");
    let overall = &json[0]["comparison"]["overall"];
    assert_eq!(overall["cases"], 4);
    let dice = |run: &str| -> f64 {
        let e = recorded(&scratch, run, "test");
        let cases = e["cases"].as_array().unwrap().clone();
        let each = cases.iter().filter_map(|c| c["classes"][0]["metrics"]["dice"].as_f64());
        let all: Vec<f64> = each.collect();
        assert_eq!(all.len(), 4, "{run}: {e}");
        all.iter().sum::<f64>() / 4.0
    };
    let metrics = overall["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 2);
    let found = metrics[0]["mean_difference"].as_f64().unwrap();
    assert!((found - (dice("other") - dice("run"))).abs() < 1e-12, "{found}");
    assert!(found.abs() > 1e-9, "other seeds, other numbers");

    let text = scratch.ok("compare run other run").stdout;
    assert!(text.contains("other minus run") && text.contains("run minus run"), "{text}");
    let same = scratch.ok("compare run run --json").json();
    assert_eq!(same[0]["comparison"]["overall"]["metrics"][0]["mean_difference"], 0.0);

    let said = scratch.ok("report run other -o both.html");
    assert_eq!(said.stdout, "both.html\n");
    let html = scratch.text("both.html");
    assert!(html.trim_end().ends_with("</html>"));
    assert!(html.contains("other") && html.len() > scratch.text("run/report.html").len());
    // The record is all that a report needs.
    scratch.write("elsewhere/record.json", &scratch.read("run/record.json"));
    scratch.ok("report elsewhere");
    assert!(scratch.text("elsewhere/report.html").trim_end().ends_with("</html>"));
}

#[test]
fn a_dry_run_writes_nothing_and_inspection_reports() {
    let scratch = Scratch::new();
    let before = scratch.tree("");
    let said = scratch.ok(&format!("{TRAIN} --dry-run --set optim.lr=0.5"));
    let both: toml::Table = toml::from_str(said.stdout.split("\nseed = ").next().unwrap())
        .unwrap_or_else(|e| panic!("{e}: {said:?}"));
    assert_eq!(both["optim"]["lr"].as_float(), Some(0.5));
    assert!(said.stdout.contains("[test"), "{said:?}");

    let json = scratch.ok("inspect pool --json").json();
    assert_eq!(json["images"], 16);
    assert_eq!(json["sources"].as_array().unwrap().len(), 2);
    let text = scratch.ok("inspect pool");
    assert!(text.stdout.contains("16 image(s), 16 labelled"), "{text:?}");
    assert!(scratch.tree("") == before, "looking changed something");
}

#[test]
fn the_lists_of_this_build_are_machine_readable() {
    let scratch = Scratch::new();
    for (list, member) in [
        ("models", "attention-unet"),
        ("losses", "feature_discrepancy"),
        ("recipes", "demo/demo"),
        ("formats", "PNG"),
    ] {
        let json = scratch.ok(&format!("{list} --json")).json();
        let names: Vec<&str> =
            json.as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
        assert!(names.contains(&member), "{list}: {names:?}");
        let text = scratch.ok(list).stdout;
        for name in names {
            assert!(text.contains(name), "{list} says {name} only to machines");
        }
    }
    // A recipe that is printed can be used.
    for name in scratch.ok("recipes --json").json().as_array().unwrap() {
        let name = name["name"].as_str().unwrap();
        let text = scratch.ok(&format!("recipes {name}")).stdout;
        scratch.write("printed.toml", text.as_bytes());
        scratch.ok("train pool --recipe printed.toml --dry-run");
    }
}

#[test]
fn every_command_has_help_completions_and_a_manual_page() {
    let scratch = Scratch::new();
    let help = scratch.ok("--help").stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.split_whitespace().next())
        .filter(|c| *c != "help" && c.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let expected = [
        "demo",
        "inspect",
        "train",
        "evaluate",
        "predict",
        "compare",
        "report",
        "bench",
        "models",
        "losses",
        "recipes",
        "formats",
        "completions",
        "man",
    ];
    for command in expected {
        assert!(commands.contains(&command), "{command} is not in {commands:?}");
    }
    scratch.ok("man pages/of/scant");
    for command in expected {
        let text = scratch.ok(&format!("{command} --help")).stdout;
        assert!(text.contains(&format!("Usage: scant {command}")), "{text}");
        let page = scratch.text(&format!("pages/of/scant/scant-{command}.1"));
        assert!(page.contains(".SH NAME") && page.contains(".SH OPTIONS"), "{command}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = scratch.ok(&format!("completions {shell}")).stdout;
        assert!(script.contains("scant") && script.contains("evaluate"), "{shell}");
    }
    assert!(scratch.ok("--version").stdout.starts_with("scant "));
}

#[test]
fn a_discrepancy_that_does_nothing_is_said_and_recorded() {
    let scratch = Scratch::new();
    let with = |alpha: &str| {
        format!(
            "\n[[phase]]\nname = \"fd\"\nepochs = 1\n\
             loss = {{ dice = 1.0, feature_discrepancy = {{ form = \"pixel-mean\", alpha = {alpha} }} }}\n"
        )
    };
    let tiny = scratch.text("tiny.toml");
    let warnings = |alpha: &str, run: &str| -> (String, Vec<String>) {
        scratch.write("fd.toml", format!("{tiny}{}", with(alpha)).as_bytes());
        let said = scratch.ok(&format!("train pool --recipe fd.toml --no-evaluate -o {run}"));
        let record = scratch.json(&format!("{run}/record.json"));
        let all = record["warnings"].as_array().unwrap().iter();
        (said.stderr, all.map(|w| w.as_str().unwrap().to_owned()).collect())
    };
    let inert = "{ rule = \"fixed\", value = 0.0 }";
    let (stderr, recorded) = warnings(inert, "inert");
    assert!(stderr.contains("is expected to stay inert"), "{stderr}");
    assert!(stderr.contains("every alpha stayed 0"), "{stderr}");
    assert_eq!(recorded.iter().filter(|w| w.contains("\"fd\"")).count(), 2, "{recorded:?}");

    let (stderr, recorded) = warnings("{ rule = \"fixed\", value = 1e-9 }", "tiny");
    assert!(stderr.contains("as good as nothing"), "{stderr}");
    assert_eq!(recorded.iter().filter(|w| w.contains("\"fd\"")).count(), 1, "{recorded:?}");

    let (stderr, recorded) = warnings("{ rule = \"fixed\", value = 0.5 }", "active");
    assert!(!stderr.contains("fd\""), "{stderr}");
    assert!(recorded.iter().all(|w| !w.contains("\"fd\"")), "{recorded:?}");
}
