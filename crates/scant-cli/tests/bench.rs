//! `scant bench`: what it prints, and what it refuses. Times are not judged.

#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use scratch::Scratch;
use serde_json::Value;

const USAGE: i32 = 2;
const TINY: &str = "--width 2 --depth 2 --size 16x24 --channels 1 --repeats 3 --warmup 1";

fn number(figures: &Value, key: &str) -> f64 {
    let found = figures.pointer(key).unwrap_or_else(|| panic!("no {key} in {figures}"));
    found.as_f64().unwrap_or_else(|| panic!("{key} is no number: {figures}"))
}

/// Everything that has to hold for any measurement.
fn consistent(figures: &Value, batch: f64) {
    for key in ["median", "min", "max"] {
        assert!(number(figures, &format!("/seconds/{key}")) > 0.0, "{key}: {figures}");
    }
    let all: Vec<f64> =
        figures["seconds"]["all"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
    assert_eq!(all.len(), 3, "{figures}");
    let median = number(figures, "/seconds/median");
    let mut sorted = all.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted[1], median, "{figures}");
    let near = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} and {b}: {figures}");
    near(number(figures, "/images_per_second"), batch / median);
    let rate = number(figures, "/gflop_per_second");
    near(rate, number(figures, "/gflop") / median);
    assert!(rate > 0.0 && number(figures, "/peak_gflop_per_second") > 0.0, "{figures}");
    near(number(figures, "/share_of_peak"), rate / number(figures, "/peak_gflop_per_second"));
    assert_eq!(figures["threads"], 1);
    assert!(["fp32", "bf16"].contains(&figures["precision"].as_str().unwrap()));
    assert!(["avx512", "avx2", "portable"].contains(&figures["simd"].as_str().unwrap()));
    if cfg!(target_os = "linux") {
        let (before, peak) =
            (number(figures, "/memory_before_mib"), number(figures, "/memory_peak_mib"));
        assert!(before > 0.0 && peak >= before, "{figures}");
    }
}

/// Operations of the tiny network, grey to one logit, on one image of 16 x 24: multiply and add for
/// every weight and output pixel. Stages have 384, 96 and 24 pixels and 2, 4 and 8 channels.
fn tiny_forward(gated: bool) -> f64 {
    let down = 384 * (2 + 2 * 2) + 96 * (2 * 4 + 4 * 4) + 24 * (4 * 8 + 8 * 8);
    let up = 96 * (8 * 4 + 8 * 4 + 4 * 4) + 384 * (4 * 2 + 4 * 2 + 2 * 2);
    let head = 384 * 2;
    let gates = if gated { 96 * (2 * 4 * 2 + 2) + 384 * (2 * 2 + 1) } else { 0 };
    f64::from(2 * (9 * (down + up) + head + gates)) / 1e9
}

/// The first convolution needs no gradient of its input, which is the image.
const TINY_FIRST: f64 = (2 * 9 * 384 * 2) as f64 / 1e9;

/// Options that make a network tiny, and the size of its input.
fn tiny(name: &str) -> (String, Vec<usize>) {
    let sets = |sizes: &[&str]| {
        sizes.iter().map(|size| format!("--set {size} ")).collect::<String>()
            + "--channels 1 --repeats 3 --warmup 1"
    };
    match name {
        "swin-unet" => {
            let sizes = ["embed_dim=4", "depths=[1,1]", "heads=[1,1]", "window=2", "patch=2"];
            (sets(&sizes), vec![16, 24])
        }
        "transunet" => {
            let small = ["hidden=64", "heads=1", "layers=1", "mlp=8", "units=[1,1,1]", "width=32"];
            let decoder = ["head_channels=4", "decoder_channels=[4,4,4,4]"];
            (sets(&[&small[..], &decoder].concat()), vec![16, 24])
        }
        "nnunet" | "nnunet-resenc" => {
            let stages = ["features=[2,4]", "kernels=[[3,3],[3,3]]", "strides=[[1,1],[2,2]]"];
            let blocks = ["encoder_blocks=[1,1]", "decoder_blocks=[1]"];
            (sets(&[&stages[..], &blocks].concat()), vec![16, 24])
        }
        "nnunet-3d" | "nnunet-resenc-3d" => {
            let kernels = "kernels=[[3,3,3],[3,3,3]]";
            let stages = ["features=[2,4]", kernels, "strides=[[1,1,1],[2,2,2]]"];
            let blocks = ["encoder_blocks=[1,1]", "decoder_blocks=[1]"];
            (sets(&[&stages[..], &blocks].concat()), vec![4, 16, 24])
        }
        "vnet" | "unet3d" => (sets(&["width=2", "depth=1"]), vec![4, 16, 24]),
        "ssl4mis-unet" => (sets(&["width=2", "depth=2", "dropout=[0,0.1,0.2]"]), vec![16, 24]),
        _ => (sets(&["width=2", "depth=2"]), vec![16, 24]),
    }
}

#[test]
fn a_step_is_measured_for_every_model() {
    let scratch = Scratch::empty();
    let models = scratch.ok("models --json").json();
    let names: Vec<&str> =
        models.as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"unet") && names.contains(&"attention-unet"));
    for name in names {
        let (options, size) = tiny(name);
        let text: Vec<String> = size.iter().map(ToString::to_string).collect();
        let size_option = text.join("x");
        let line =
            format!("bench step --model {name} --batch 2 {options} --size {size_option} --json");
        let figures = scratch.ok(&line).json();
        consistent(&figures, 2.0);
        assert_eq!(figures["what"], "step");
        assert_eq!(figures["model"]["name"], name);
        assert_eq!(figures["batch"], 2);
        assert_eq!(figures["size"], serde_json::json!(size));
        assert_eq!(figures["loss"], serde_json::json!(["bce", "dice"]));
        if ["unet", "attention-unet"].contains(&name) {
            let step = 2.0 * (3.0 * tiny_forward(name == "attention-unet") - TINY_FIRST);
            assert!((number(&figures, "/gflop") - step).abs() < 1e-12, "{figures}");
        }
    }
}

#[test]
fn a_forward_pass_is_measured() {
    let scratch = Scratch::empty();
    let figures = scratch.ok(&format!("bench infer {TINY} --json")).json();
    consistent(&figures, 1.0);
    assert_eq!(figures["what"], "infer");
    assert_eq!(figures["loss"], serde_json::json!([]));
    assert!((number(&figures, "/gflop") - tiny_forward(false)).abs() < 1e-12, "{figures}");
    let figures = scratch.ok(&format!("bench infer {TINY} --batch 3 --json")).json();
    consistent(&figures, 3.0);
    assert!((number(&figures, "/gflop") - 3.0 * tiny_forward(false)).abs() < 1e-12, "{figures}");
}

#[test]
fn loss_terms_and_classes_are_those_asked_for() {
    let scratch = Scratch::empty();
    let line = format!("bench step {TINY} --loss dice-ce --classes 4 --fd --json");
    let figures = scratch.ok(&line).json();
    consistent(&figures, 2.0);
    assert_eq!(figures["loss"], serde_json::json!(["ce", "dice", "feature_discrepancy"]));
    assert_eq!(figures["model"]["output_channels"], 4);
    // Without --loss the discrepancy comes on top of the recipes' default.
    let figures = scratch.ok(&format!("bench step {TINY} --fd --json")).json();
    assert_eq!(figures["loss"], serde_json::json!(["bce", "dice", "feature_discrepancy"]));
}

#[test]
fn terms_with_heads_of_their_own_are_measured() {
    let scratch = Scratch::empty();
    let measured = |loss: &str| {
        let line = format!("bench step {TINY} --loss {{dice=1.0,bce=1.0,{loss}}} --json");
        let figures = scratch.ok(&line).json();
        consistent(&figures, 2.0);
        figures
    };
    for (loss, term) in [
        ("deep_supervision={}", "deep_supervision"),
        ("local_contrast={region_size=1,tap=\"dec1\"}", "local_contrast"),
        ("pixel_contrast={stride=2}", "pixel_contrast"),
        ("group_dro={}", "group_dro"),
    ] {
        let mut wanted = vec!["bce", "dice", term];
        wanted.sort_unstable();
        assert_eq!(measured(loss)["loss"], serde_json::json!(wanted));
    }
    let refused = |loss: &str, words: &[&str]| {
        scratch.run(&format!("bench step {TINY} --loss {loss}")).refused(USAGE, words);
    };
    refused(
        "{dice=1.0,local_contrast={tap=\"bottleneck\"}}",
        &["local_contrast.tap", "8 x 8", "4 x 6"],
    );
    refused("{dice=1.0,pixel_contrast={strid=2}}", &["strid", "did you mean `stride`"]);
    refused("{dice=", &["--loss"]);
    let line = "bench step --model nnunet --set features=[2,4,4] --set kernels=[[3,3],[3,3],[3,3]] \
                --set strides=[[1,1],[2,2],[2,2]] --set encoder_blocks=[1,1,1] \
                --set decoder_blocks=[1,1] --channels 1 --size 16x24 \
                --loss {dice=1.0,deep_supervision={}}";
    scratch.run(line).refused(USAGE, &["nnunet has deep supervision of its own"]);
}

#[test]
fn the_precision_is_the_one_asked_for() {
    let scratch = Scratch::empty();
    for (what, batch) in [("step", 2.0), ("infer", 1.0)] {
        let line = format!("bench {what} {TINY} --json");
        let [single, rounded] = ["fp32", "bf16"].map(|precision| {
            let figures = scratch.ok(&format!("{line} --precision {precision}")).json();
            assert_eq!(figures["precision"], precision);
            consistent(&figures, batch);
            number(&figures, "/gflop")
        });
        assert_eq!(single, rounded, "operations are counted, not bits");
    }
}

#[test]
fn the_text_says_what_was_measured_and_where() {
    let scratch = Scratch::empty();
    let said = scratch.ok(&format!("bench step {TINY}"));
    for word in ["seconds", "median", "images/s", "GFLOP/s", "% of", "1 thread", "2 x 1 x 16 x 24"]
    {
        assert!(said.stdout.contains(word), "no {word:?} in {said:?}");
    }
}

#[test]
fn bad_arguments_are_refused() {
    let scratch = Scratch::empty();
    let refused = |line: &str, words: &[&str]| scratch.run(line).refused(USAGE, words);
    refused("bench step --model unett", &["unett", "did you mean", "unet"]);
    refused("bench step --precision bf17", &["bf17", "fp32"]);
    refused("bench step --loss dice-foo", &["--loss", "foo", "dice, bce, ce, iou"]);
    refused("bench step --loss dice-dice", &["twice"]);
    refused("bench step --size 0", &["--size", "256"]);
    refused("bench step --size 32x", &["--size", "192x256"]);
    refused("bench infer --size 32x20000", &["20000", "16384"]);
    refused("bench step --batch 0", &["--batch"]);
    refused("bench step --repeats 0", &["--repeats"]);
    refused("bench step --classes 1", &["--classes"]);
    refused("bench step --channels 2", &["channels = 2", "1 (grey) or 3"]);
    refused("bench infer --width 1", &["width", "2 to 1024"]);
    refused("bench infer --depth 9", &["depth", "1 to 7"]);
    refused("bench infer --fd", &["--fd"]);
    refused("bench step --device gpu", &["\"gpu\" is no device", "cpu"]);
    // Nothing was written on the way.
    assert!(scratch.tree("").is_empty());
}
