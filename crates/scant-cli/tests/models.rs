//! `scant models`: the list, weights of other programs in, ONNX out.

#[path = "scratch/scratch.rs"]
mod scratch;

use scratch::Scratch;

const USAGE: i32 = 2;
const DATA: i32 = 3;

/// Written by PyTorch and NumPy, see `models/make.py`.
fn with_file(scratch: &Scratch, name: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models/");
    let bytes = std::fs::read(format!("{folder}{name}")).expect("the file is in the repository");
    scratch.write(name, &bytes);
}

#[test]
fn the_list_tells_what_every_network_is() {
    let scratch = Scratch::empty();
    let list = scratch.ok("models --json").json();
    let list = list.as_array().unwrap();
    assert!(list.len() >= 15, "{}", list.len());
    for network in list {
        let name = network["name"].as_str().unwrap();
        assert!(network["parameters"].as_u64().unwrap() > 1_000_000, "{name}");
        assert!(network["flops"].as_u64().unwrap() > 1_000_000_000, "{name}");
        assert!(network["taps"].as_array().unwrap().len() >= 5, "{name}");
        assert_eq!(network["default"]["name"], name);
        assert!(network["paper"].as_str().unwrap().contains("20"), "{name}: a year");
    }
    let said = scratch.ok("models").stdout;
    for word in [
        "34.5 M parameters    130.7 GFLOP at 256 x 256",
        "transunet",
        "105.3 M",
        "GFLOP at 256 x 256",
        "GFLOP at 64 x 64 x 64",
        "window = 7",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_checkpoint_of_pytorch_predicts_and_starts_a_training() {
    let scratch = Scratch::new();
    with_file(&scratch, "unet.pth");
    let report = scratch.ok("models import unet.pth --model unet --json").json();
    assert_eq!(report["format"], "pytorch");
    assert_eq!(report["state_dict"], "state_dict");
    assert_eq!(report["model"]["width"], 2);
    assert_eq!(report["model"]["output_channels"], 2);
    assert_eq!(report["missing"].as_array().unwrap().len(), 0);
    assert_eq!(report["unexpected"].as_array().unwrap().len(), 0);
    let matched = report["matched"].as_array().unwrap().len();

    // Two softmax channels are one logit here, and the file is complete.
    let line = "models import unet.pth --model unet --classes background,lesion --recipe tiny.toml \
                --license CC0-1.0 -o lesion.safetensors";
    let said = scratch.ok(line).stdout;
    for word in ["folded", "Conv_1x1.weight", "lesion.safetensors"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    scratch.ok("predict lesion.safetensors pool/site-1/images -o masks");
    assert!(scratch.tree("masks").len() >= 8);

    scratch.ok("models import unet.pth --model unet -o start.safetensors");
    let train = "train pool --recipe tiny.toml -o run --set model.width=2 --set model.depth=1 \
                 --set model.weights=start.safetensors";
    let said = scratch.ok(train);
    let words = format!("{} of {matched} tensors start from start.safetensors", matched - 2);
    assert!(said.stderr.contains(&words), "{words}: {said:?}");
    assert!(said.stderr.contains("Conv_1x1.bias"), "the head is new: {said:?}");
    assert!(scratch.text("run/recipe.toml").contains("weights = \"start.safetensors\""));
}

#[test]
fn a_run_becomes_an_onnx_file() {
    let scratch = Scratch::new();
    scratch.ok("train pool --recipe tiny.toml -o run");
    let said = scratch.ok("models export run -o net.onnx").stdout;
    for word in ["net.onnx", "1 channels of 32 x 32", "any number of images", "opset 17"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let bytes = scratch.read("net.onnx");
    let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    for text in ["Conv1.conv.0.weight", "image", "logits", "\"threshold\":0.5", "z-score"] {
        assert!(holds(text), "{text}");
    }
    scratch.run("models export run -o net.onnx").refused(USAGE, &["net.onnx", "--overwrite"]);
    scratch.ok("models export run -o net.onnx --overwrite --size 40x24 --batch 2");
    let line = "models export run -o volume.onnx --size 8x8x8";
    scratch.run(line).refused(USAGE, &["--size", "rows x columns"]);
    assert!(!scratch.exists("volume.onnx"));
}

#[test]
fn what_does_not_fit_is_refused_and_writes_nothing() {
    let scratch = Scratch::new();
    for name in ["unet.pth", "encoder.npz"] {
        with_file(&scratch, name);
    }
    scratch.write("text.pth", b"not a checkpoint");
    for (line, code, words) in [
        ("unet.pth --model u-net", USAGE, &["u-net", "scant models"] as &[&str]),
        ("unet.pth --model cmu-net --from keras", DATA, &["unet.pth", "keras", "pytorch"]),
        ("unet.pth --model unet --from h5", USAGE, &["--from", "h5", "safetensors"]),
        ("unet.pth --model unet --key ema", DATA, &["unet.pth", "ema"]),
        ("unet.pth --model vnet", DATA, &["unet.pth", "vnet", "none of its"]),
        ("unet.pth --model unet --set width=0", USAGE, &["width", "2 to 1024"]),
        ("encoder.npz --model unet", DATA, &["encoder.npz", "embedding/kernel"]),
        ("text.pth --model unet", DATA, &["text.pth"]),
        ("missing.pth --model unet", DATA, &["missing.pth"]),
        ("unet.pth --model unet --classes a,b", USAGE, &["--recipe"]),
    ] {
        scratch.run(&format!("models import {line} -o out.safetensors")).refused(code, words);
        assert!(!scratch.exists("out.safetensors"), "{line}");
    }
    let three = "models import unet.pth --model unet --classes background,a,b --recipe tiny.toml -o out.safetensors";
    scratch.run(three).refused(DATA, &["Conv_1x1", "--classes"]);
    scratch.ok("models import unet.pth --model unet -o start.safetensors");
    let other = "train pool --recipe tiny.toml -o run --set model.name=ssl4mis-unet --set model.weights=start.safetensors";
    scratch.run(other).refused(USAGE, &["start.safetensors", "none of the tensors"]);
    assert!(!scratch.exists("run"));
}
