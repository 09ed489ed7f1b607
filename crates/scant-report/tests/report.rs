//! The page as a whole: structure, escaping, self-containment, and what happens to bad input.

#![allow(clippy::unwrap_used, missing_docs, clippy::cast_precision_loss)]

#[path = "support/fake_run.rs"]
mod fake_run;
#[path = "support/self_contained.rs"]
mod self_contained;

use std::fs;
use std::path::Path;

use fake_run::Fake;
use scant_report::{ReportError, load_run, render, write_report};
use self_contained::{assert_self_contained, assert_well_formed};

fn edit(folder: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = folder.join("record.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

fn page(folder: &Path) -> String {
    render(&[load_run(folder).unwrap()]).unwrap()
}

#[test]
fn one_run_tells_everything() {
    let folder = tempfile::tempdir().unwrap();
    let record = fake_run::write(folder.path(), &Fake::default());
    let html = page(folder.path());
    assert_self_contained(&html);
    assert_well_formed(&html);
    for section in ["summary", "training", "results", "cases", "methods"] {
        assert!(html.contains(&format!("id=\"r1-{section}\"")), "{section}");
    }
    assert!(html.contains("attention-unet (8.7 million parameters) was trained to find cyst and wall on 189 images of 63 groups, from clinic-a (base) and clinic-b (novel)"));
    assert!(
        html.contains("<b>clinic-b</b>: a mean Dice of") && html.contains("the worst source, 0.")
    );
    // Warnings stand before anything else, the run's own and those of the reader.
    let notes = html.find("Please note").unwrap();
    assert!(notes < html.find("was trained to find").unwrap());
    assert!(html.contains("validation of clinic-b has only 3 groups"));
    assert!(html.contains("p99_000.png: the file ends in the middle of a row"));
    // The policy beside the numbers, every situation counted.
    assert!(html.contains("Empty masks (policy scant)"));
    for count in ["both empty", "false alarm", "missed", "failed"] {
        assert!(html.contains(&format!(">{count}</th>")), "{count}");
    }
    for title in [
        "Loss",
        "Validation Dice",
        "Learning rate",
        "Discrepancy per tap",
        "Dice of every case",
        "Final α and mean L_fd",
        "bottleneck",
    ] {
        assert!(html.contains(&format!("<figcaption><b>{title}</b>")), "{title}");
    }
    assert!(html.contains("worst-off (lowest 25 % by Dice)"));
    assert!(html.contains(&record.split.hash));
    assert_eq!(html.matches("class=\"case\"").count(), 6);
    assert_eq!(html.matches("<figcaption>difference</figcaption>").count(), 6);
    // Each image is embedded once and shown again by reference.
    assert_eq!(html.matches("<use class=").count(), 18);
    assert!(html.contains("name = &quot;attention-unet&quot;"));
}

#[test]
fn the_same_run_gives_the_same_page() {
    let folder = tempfile::tempdir().unwrap();
    fake_run::write(folder.path(), &Fake::default());
    assert!(page(folder.path()) == page(folder.path()));
}

#[test]
fn two_runs_are_paired() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fake_run::write(&a, &Fake { error: 1.7, name: "plain".into(), ..Fake::default() });
    fake_run::write(&b, &Fake { error: 0.5, seed: 8, name: "better".into(), ..Fake::default() });
    let out = folder.path().join("deep/er/report.html");
    write_report(&[a.clone(), b.clone()], &out).unwrap();
    let html = fs::read_to_string(&out).unwrap();
    assert_self_contained(&html);
    assert_well_formed(&html);
    assert!(html.contains("better is better in Dice than plain: mean difference +0."));
    assert!(html.contains("better against plain: all paired cases"));
    assert!(html.contains("the quarter of the cases plain is worst at"));
    assert!(html.contains("the quarter of the cases plain is best at"));
    assert!(html.contains("Dice of every paired case"));
    for title in ["Dice before and after", "L_fd before and after", "Movement of every case"] {
        assert!(html.contains(&format!("<figcaption><b>{title}</b>")), "{title}");
    }
    // Six cases of the first gallery: image, truth and both predictions, with boxes around errors.
    assert_eq!(html.matches("<figcaption>better: Dice 0.").count(), 6);
    assert!(html.contains("class=\"over miss\"") && html.contains("class=\"over alarm\""));
    assert!(!html.contains("<b>missing</b>"));
    // Activations of both taps, for every case of the first run at least.
    assert!(html.matches("<figcaption>plain: activation, bottleneck</figcaption>").count() == 6);
    assert!(html.contains("id=\"r1\"") && html.contains("id=\"r2\""));
    // Nothing but the page is left behind.
    assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 1);

    // A longer run on another split is said to be one.
    edit(&b, |v| {
        v["split"]["hash"] = "other".into();
        v["phases"].as_array_mut().unwrap().pop();
    });
    let html = render(&[load_run(&a).unwrap(), load_run(&b).unwrap()]).unwrap();
    assert!(html.contains("splits differ (plain: 9f2c4c1be7a2, better: other)"));
    assert!(html.contains("epochs of training differ (plain: 100, better: 60)"));
}

#[test]
fn runs_without_a_common_case_stand_beside_each_other_unpaired() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fake_run::write(&a, &Fake::default());
    fake_run::write(&b, &Fake { sources: ["x".into(), "y".into()], ..Fake::default() });
    let html = render(&[load_run(&a).unwrap(), load_run(&b).unwrap()]).unwrap();
    assert!(html.contains("have no case in common"));
    assert!(html.contains("cyst-discrepancy (1)") && html.contains("cyst-discrepancy (2)"));
}

#[test]
fn hostile_names_stay_text() {
    let evil = |n: &str| {
        format!("{n}<script>alert(\"{n}\")</script>'\"><img src=x onerror=alert(1)>&amp;")
    };
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake {
        name: evil("run"),
        sources: [evil("a"), evil("b")],
        classes: [evil("c"), evil("d")],
        ..Fake::default()
    };
    fake_run::write(folder.path(), &fake);
    edit(folder.path(), |v| {
        v["warnings"] = serde_json::json!([evil("warning")]);
        v["device"] = evil("device").into();
        v["recipe"] = evil("</pre>").into();
        v["model"]["name"] = evil("model").into();
        v["model"]["config"] = serde_json::json!({ evil("key"): evil("value") });
        v["split"]["how"] = evil("how").into();
        v["phases"][0]["name"] = evil("phase").into();
        v["phases"][0]["epochs"][0]["loss"][evil("loss")] = 1.0.into();
        v["evaluations"][0]["part"] = evil("part").into();
        v["evaluations"][0]["protocol"]["tta"] = evil("tta").into();
        v["evaluations"][0]["cases"][0]["failure"] = evil("failure").into();
        v["evaluations"][0]["cases"][1]["id"]["stem"] = evil("stem").into();
        v["gallery"][0]["id"]["group"] = evil("group").into();
        v["gallery"][0]["truth"] = evil("truth").into();
        let map = v["gallery"][0]["heatmaps"]["dec1"].clone();
        v["gallery"][0]["heatmaps"][evil("tap")] = map;
    });
    let html = page(folder.path());
    assert!(!html.contains("<script") && !html.contains("<img"));
    assert!(html.contains("&lt;script&gt;"));
    assert_self_contained(&html.replace("src=x", ""));
    assert_well_formed(&html);
    let two =
        render(&[load_run(folder.path()).unwrap(), load_run(folder.path()).unwrap()]).unwrap();
    assert!(!two.contains("<script") && !two.contains("<img"));
    assert_well_formed(&two);
}

#[test]
fn a_missing_picture_is_a_gap_and_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let record = fake_run::write(folder.path(), &Fake::default());
    fs::remove_file(folder.path().join(&record.gallery[0].truth)).unwrap();
    fs::write(folder.path().join(&record.gallery[1].image), b"not a png").unwrap();
    let html = page(folder.path());
    // Truth and difference of the first, the image of the second.
    assert_eq!(html.matches("class=\"missing\"").count(), 3);
    assert!(html.contains("picture of") && html.contains("not a readable PNG"));
    assert_well_formed(&html);
}

#[test]
fn numbers_that_json_cannot_spell_leave_gaps() {
    let folder = tempfile::tempdir().unwrap();
    fake_run::write(folder.path(), &Fake::default());
    edit(folder.path(), |v| {
        for i in 20..60 {
            v["phases"][0]["epochs"][i]["loss"]["total"] = serde_json::Value::Null;
            v["phases"][0]["epochs"][i]["grad_norm"] = serde_json::Value::Null;
        }
        v["evaluations"][0]["cases"][0]["discrepancy"]["enc1"] = serde_json::Value::Null;
        v["timing"]["train_secs"] = serde_json::Value::Null;
    });
    let run = load_run(folder.path()).unwrap();
    assert!(run.record.phases[0].epochs[20].loss["total"].is_nan());
    assert!(run.record.phases[0].epochs[19].loss["total"].is_finite());
    let html = render(&[run]).unwrap();
    assert!(html.contains("loss &quot;total&quot; was not a finite number in 40 epoch(s), first in epoch 21 of phase &quot;warm-up&quot;"));
    assert!(html.contains("That took an unknown time"));
    // The letters of an encoded picture may spell anything.
    let words: String = html
        .split("base64,")
        .enumerate()
        .map(|(i, piece)| if i == 0 { piece } else { piece.split_once('"').unwrap().1 })
        .collect();
    assert!(!words.contains("NaN") && !words.contains(">inf"));
}

#[test]
fn an_empty_run_is_still_a_page() {
    let folder = tempfile::tempdir().unwrap();
    fake_run::write(folder.path(), &Fake::default());
    edit(folder.path(), |v| {
        v["phases"] = serde_json::json!([]);
        v["evaluations"][0]["cases"] = serde_json::json!([]);
        v["gallery"] = serde_json::json!([]);
    });
    let html = page(folder.path());
    assert!(html.contains("no evaluated cases") && html.contains("No epoch was finished"));
    assert_well_formed(&html);
    edit(folder.path(), |v| {
        v["evaluations"] = serde_json::json!([]);
        v["phases"] = serde_json::json!([{ "name": "p", "epochs": [], "best_epoch": null, "best_val_dice": null, "ended": null }]);
    });
    let html = page(folder.path());
    assert!(html.contains("has not been evaluated") && html.contains("has no finished epoch"));
}

#[test]
fn terms_that_contribute_nothing_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fake_run::write(folder.path(), &Fake::default());
    edit(folder.path(), |v| {
        for epoch in v["phases"][1]["epochs"].as_array_mut().unwrap() {
            epoch["loss"]["feature_discrepancy"] = 0.0.into();
            for alpha in epoch["alpha"].as_object_mut().unwrap().values_mut() {
                *alpha = 0.0.into();
            }
        }
    });
    let html = page(folder.path());
    assert!(html.contains("loss term &quot;feature_discrepancy&quot; was 0 in every epoch of phase &quot;discrepancy&quot;"));
    assert!(html.contains("every discrepancy weight α stayed 0"));
}

#[test]
fn an_unknown_policy_is_a_warning_and_not_the_end() {
    let folder = tempfile::tempdir().unwrap();
    fake_run::write(folder.path(), &Fake::default());
    edit(folder.path(), |v| v["evaluations"][0]["protocol"]["empty_policy"] = "mine".into());
    let html = page(folder.path());
    assert!(
        html.contains("cannot be summarised")
            && html.contains("&quot;mine&quot; is not an empty-mask policy")
    );
    assert!(html.contains("Dice of every case"));
}

#[test]
fn bad_records_name_the_file_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.html");
    let error = |folders: &[std::path::PathBuf]| write_report(folders, &out).unwrap_err();
    assert!(matches!(error(&[]), ReportError::NoRuns));

    let run = folder.path().join("run");
    let text = error(std::slice::from_ref(&run)).to_string();
    assert!(text.contains("record.json") && text.contains("give the run folder"), "{text}");

    fake_run::write(&run, &Fake::default());
    let path = run.join("record.json");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let text = error(std::slice::from_ref(&run)).to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(text.contains("ends too early") && text.contains("--resume"), "{text}");

    fs::write(&path, b"{ \"schema\": 1 nonsense }").unwrap();
    let text = error(std::slice::from_ref(&run)).to_string();
    assert!(text.contains("is damaged at line 1, column"), "{text}");

    fs::write(&path, b"{ \"schema\": 1 }").unwrap();
    let text = error(std::slice::from_ref(&run)).to_string();
    assert!(text.contains("missing field `scant_version`"), "{text}");

    fs::write(&path, b"[]").unwrap();
    assert!(error(std::slice::from_ref(&run)).to_string().contains("no \"schema\" number"));

    fs::write(&path, b"{ \"schema\": 99, \"scant_version\": \"9.1.0\" }").unwrap();
    let text = error(&[run]).to_string();
    assert!(text.contains("version 99") && text.contains("9.1.0"), "{text}");
    assert!(!out.exists());
}

#[test]
fn the_record_itself_may_be_named() {
    let folder = tempfile::tempdir().unwrap();
    fake_run::write(folder.path(), &Fake::default());
    let run = load_run(&folder.path().join("record.json")).unwrap();
    assert_eq!(run.folder, folder.path());
}
