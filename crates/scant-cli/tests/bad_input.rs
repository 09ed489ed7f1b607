//! Bad input of every kind: the right exit code, one error that names the file and the remedy,
//! nothing on standard output, and nothing written.

#![allow(clippy::unwrap_used)] // As in tests, so in what tests share.

#[path = "scratch/scratch.rs"]
mod scratch;

use ndarray::Array2;
use scratch::Scratch;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const DATA: i32 = 3;

const IMAGE: &str = "pool/site-1/images/p003_f1.png";
const MASK: &str = "pool/site-1/masks/p003_f1.png";
const TRAIN: &str = "train pool --recipe tiny.toml -o run";

/// Runs what must be refused and holds that not a byte of the folder changed.
fn refused(scratch: &Scratch, arguments: &str, code: i32, words: &[&str]) {
    let before = scratch.tree("");
    scratch.run(arguments).refused(code, words);
    let after = scratch.tree("");
    let names = |t: &std::collections::BTreeMap<String, Vec<u8>>| {
        t.keys().cloned().collect::<Vec<String>>()
    };
    assert_eq!(names(&after), names(&before), "scant {arguments} left something behind");
    assert!(after == before, "scant {arguments} changed a file");
}

/// A scratch folder with a trained run.
fn trained() -> Scratch {
    let scratch = Scratch::new();
    scratch.ok(TRAIN);
    scratch
}

/// A PNG by hand: signature, IHDR for 8-bit grey of the given size, ten bytes of zeros deflated
/// without compression, IEND; every CRC is right.
fn png(width: u32, height: u32) -> Vec<u8> {
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| {
                if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 }
            })
        })
    }
    fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let body = [kind.as_slice(), data].concat();
        file.extend(&body);
        file.extend(crc(&body).to_be_bytes());
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes()[..], &[8, 0, 0, 0, 0]].concat();
    chunk(&mut file, b"IHDR", &header);
    // zlib header, one final stored block of 10 zeros, Adler-32 of them (1 + 10 * 65536).
    let stored = [0x78, 0x01, 0x01, 10, 0, 245, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 1];
    chunk(&mut file, b"IDAT", &stored);
    chunk(&mut file, b"IEND", &[]);
    file
}

#[test]
fn the_hand_made_png_is_sound() {
    let scratch = Scratch::new();
    // 9 pixels and a filter byte: the size that the ten stored bytes are right for.
    scratch.write("whole.png", &png(9, 1));
    let image = scant_io::read_mask(&scratch.path("whole.png"), &Default::default()).unwrap();
    assert_eq!(image.values.dim(), (1, 9));
}

#[test]
fn a_pool_that_is_not_there() {
    let scratch = Scratch::new();
    let words = ["nowhere: there is no such pool", "give a pool.toml, or a folder with images/"];
    refused(&scratch, "train nowhere --recipe tiny.toml -o run", DATA, &words);
    refused(&scratch, "inspect nowhere --json", DATA, &words);
}

#[test]
fn a_pool_without_masks() {
    let scratch = Scratch::new();
    let image = scratch.read(IMAGE);
    scratch.write("bare/images/p003_f1.png", &image);
    let words = ["bare: there are images here but no folder of masks", "put the masks into masks/"];
    refused(&scratch, "train bare --recipe tiny.toml -o run", DATA, &words);

    for site in ["site-1", "site-2"] {
        std::fs::remove_dir_all(scratch.path(&format!("pool/{site}/masks"))).unwrap();
    }
    let words = ["pool/site-1/masks: there is no such folder", "give a folder"];
    refused(&scratch, TRAIN, DATA, &words);
    std::fs::create_dir(scratch.path("pool/site-1/masks")).unwrap();
    refused(&scratch, TRAIN, DATA, &["pool/site-1/masks: no masks found", "need a glob"]);
}

#[test]
fn a_mask_of_another_size() {
    let scratch = Scratch::new();
    scant_io::write_grey8(&scratch.path(MASK), Array2::zeros((10, 12)).view()).unwrap();
    let words = [MASK, "10 rows x 12 columns", IMAGE, "48 x 48", "export the mask on the grid"];
    refused(&scratch, TRAIN, DATA, &words);
}

#[test]
fn a_mask_value_that_nobody_listed() {
    let scratch = Scratch::new();
    let mut mask = Array2::zeros((48, 48));
    mask[[3, 4]] = 7;
    scant_io::write_grey8(&scratch.path(MASK), mask.view()).unwrap();
    let words = [MASK, "mask value 7 stands on 1 pixel", "listed: 0, 1", "add e.g. `7 ="];
    refused(&scratch, TRAIN, DATA, &words);
}

#[test]
fn a_damaged_image() {
    let scratch = Scratch::new();
    let bytes = scratch.read(IMAGE);
    scratch.write(IMAGE, &bytes[..bytes.len() / 2]);
    let words = [IMAGE, "the file is damaged", "fetch or export it again", "--skip-bad"];
    refused(&scratch, TRAIN, DATA, &words);
    scratch.write(IMAGE, b"GIF89a and no more");
    refused(&scratch, TRAIN, DATA, &[IMAGE, "not PNG, JPEG, BMP or TIFF", "convert the file"]);
    scratch.write(IMAGE, b"");
    refused(&scratch, TRAIN, DATA, &[IMAGE, "leave such cases out with --skip-bad"]);

    // The remedy that is offered works, and says what it did.
    let said = scratch.ok(&format!("{TRAIN} --skip-bad"));
    assert!(said.stderr.contains("left out: pool/site-1/images/p003_f1.png"), "{said:?}");
    assert!(!scratch.text("run/split.toml").contains("p003_f1"), "the bad case is in the split");
}

#[test]
fn an_image_that_announces_more_than_memory_holds() {
    let scratch = Scratch::new();
    scratch.write(IMAGE, &png(60_000, 60_000));
    let words = [IMAGE, "announces 60000 x 60000 pixels", "leave it out"];
    refused(&scratch, TRAIN, DATA, &words);
    // Below the limit of a side, above that of all pixels.
    scratch.write(IMAGE, &png(30_000, 30_000));
    refused(&scratch, TRAIN, DATA, &[IMAGE, "30000 x 30000 = 900000000 pixels", "leave it out"]);
}

#[test]
fn an_output_that_cannot_be_written() {
    let scratch = trained();
    // Below a regular file: refused to everybody, also where tests run as root.
    let words = ["tiny.toml/below", "cannot be made", "choose a writable place"];
    refused(&scratch, "train pool --recipe tiny.toml -o tiny.toml/below", USAGE, &words);
    refused(&scratch, &format!("predict run {IMAGE} -o tiny.toml/below"), USAGE, &words);
    refused(&scratch, "man tiny.toml/below", USAGE, &words);
    let words = ["tiny.toml/below", "cannot be written"];
    refused(&scratch, "demo --data-only tiny.toml/below", FAILED, &words);
    let words = ["tiny.toml/below.html", "check that the folder exists"];
    refused(&scratch, "report run -o tiny.toml/below.html", FAILED, &words);
}

#[test]
fn an_output_that_is_there_already() {
    let scratch = trained();
    let words = ["run: exists already", "--resume", "another folder with -o"];
    refused(&scratch, TRAIN, USAGE, &words);
    refused(&scratch, "demo --data-only pool", USAGE, &["pool", "choose another"]);
    scratch.write("masks/p003_f1.png", b"mine");
    let predict = format!("predict run {IMAGE} -o masks");
    refused(&scratch, &predict, USAGE, &["masks/p003_f1.png exists already", "--overwrite"]);
    let onto = format!("predict run {IMAGE} -o pool/site-1/images --overwrite");
    refused(&scratch, &onto, USAGE, &[IMAGE, "replaced by its own mask", "-o"]);
    scratch.ok(&format!("{predict} --overwrite"));
    assert_ne!(scratch.read("masks/p003_f1.png"), b"mine");
}

#[test]
fn a_recipe_that_means_nothing() {
    let scratch = Scratch::new();
    scratch.write("typo.toml", scratch::TINY.replace("depth =", "dept =").as_bytes());
    let words = ["recipe", "line 2", "model.dept", "did you mean `depth`?"];
    refused(&scratch, "train pool --recipe typo.toml -o run", USAGE, &words);
    scratch.write("broken.toml", b"[model\n");
    refused(&scratch, "train pool --recipe broken.toml -o run", USAGE, &["recipe", "line 1"]);
    let words = ["no recipe \"supervised/unett\"", "built-in recipes", "supervised/unet"];
    refused(&scratch, "train pool --recipe supervised/unett -o run", USAGE, &words);
    refused(&scratch, "recipes supervised/unett", USAGE, &words);
}

#[test]
fn a_set_that_means_nothing() {
    let scratch = Scratch::new();
    for (set, words) in [
        ("optim", ["--set optim", "write key=value"]),
        ("optim..lr=1", ["--set optim..lr=1", "empty part"]),
        ("optim.lrr=1", ["unknown field `lrr`", "did you mean `lr`?"]),
        ("optim.lr=fast", ["\"fast\"", "expected f64"]),
        ("optim.lr=-1", ["optim.lr = -1", "above 0"]),
        ("phase.7.epochs=3", ["--set phase.7.epochs=3", "no phase called \"7\""]),
        ("phase.only.epochs=0", ["phase.0.epochs = 0", "at least 1"]),
        ("model.name=unett", ["model.name", "did you mean \"unet\"?"]),
        ("data.augment=[\"flipp\"]", ["flipp", "flip"]),
        // What only shows once the network or the batches are made must not leave a folder either.
        ("model.width=0", ["width", "2 to 1024"]),
        ("model.depth=40", ["depth", "40"]),
        ("model.name=vnet", ["\"vnet\"", "this network takes volumes"]),
        ("phase.0.loss={dice=1,feature_discrepancy={layers=[\"enc9\"]}}", ["enc9", "enc1"]),
    ] {
        refused(&scratch, &format!("{TRAIN} --set {set}"), USAGE, &words);
    }
}

#[test]
fn an_instruction_set_that_is_none() {
    let scratch = Scratch::empty();
    let mut command = scratch.command("bench infer --size 8 --width 2");
    let output = command.env("SCANT_SIMD", "avx7").output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{said}");
    assert!(said.contains("avx7") && said.contains("avx2 or portable"), "{said}");
}

#[test]
fn arguments_that_mean_nothing() {
    let scratch = trained();
    let device = ["device \"cuda:0\" is not in this build", "it has: cpu"];
    if cfg!(not(any(feature = "cuda", feature = "cuda-llvm"))) {
        refused(&scratch, "train pool --recipe tiny.toml -o new --device cuda:0", USAGE, &device);
        refused(&scratch, &format!("predict run {IMAGE} -o new --device cuda:0"), USAGE, &device);
        refused(&scratch, "evaluate run --device cuda", USAGE, &["--features cuda", "devices.md"]);
    }
    for device in ["gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1"] {
        let said = format!("\"{device}\" is no device");
        let words = [said.as_str(), "auto, cpu, cuda:N"];
        refused(&scratch, &format!("evaluate run --device {device}"), USAGE, &words);
    }
    refused(&scratch, "train pool --recip tiny.toml", USAGE, &["--recip", "--recipe"]);
    refused(&scratch, "trian pool", USAGE, &["trian", "train"]);
    let words = ["\"dise\" is not a metric", "dice, iou"];
    refused(&scratch, "compare run run --metrics dise", USAGE, &words);
    let words = ["\"strict\" is not an empty-mask policy", "monai"];
    refused(&scratch, "evaluate run --empty strict", USAGE, &words);
    for (option, words) in [
        ("--tile 3", ["--tile 3", "16 to 16384"]),
        ("--tile 16 --overlap 1", ["--overlap 1", "0 to 0.9"]),
        ("--threshold 2", ["--threshold 2", "0 to 1"]),
    ] {
        refused(&scratch, &format!("predict run {IMAGE} -o new {option}"), USAGE, &words);
    }
    refused(&scratch, "demo --data-only new --sites 0", USAGE, &["sites = 0", "1 to 20"]);
}

#[test]
fn a_split_that_cannot_be() {
    let scratch = Scratch::new();
    scratch.edit("pool/pool.toml", "'^(p[0-9]+)_'", "'^(p)[0-9]+_'");
    let words = ["split", "16 labelled image(s) in 2 group(s)", "never straddles", "`group` rule"];
    refused(&scratch, TRAIN, DATA, &words);
    scratch.edit("pool/pool.toml", "'^(p)[0-9]+_'", "'^(p[0-9]+)_'");
    scratch
        .write("split.toml", b"seed = 0\nhow = \"by hand\"\n[train.site-1]\np003 = [\"gone\"]\n");
    let words = ["site-1/gone", "not a usable case", "restore them"];
    refused(&scratch, &format!("{TRAIN} --split split.toml"), DATA, &words);
}

#[test]
fn a_model_for_other_classes() {
    let scratch = trained();
    scratch.edit("pool/pool.toml", "\"lesion\"", "\"tumour\"");
    let words = ["[background, lesion]", "[background, tumour]", "rename the pool's classes"];
    refused(&scratch, "evaluate run pool", USAGE, &words);
    refused(&scratch, "evaluate run/model.safetensors pool --json", USAGE, &words);
}

#[test]
fn a_model_that_is_not_whole() {
    let scratch = trained();
    let bytes = scratch.read("run/model.safetensors");
    let words = ["model.safetensors is not a complete model file", "copy or train it again"];
    for keep in [0, 5, 100, bytes.len() / 2, bytes.len() - 1] {
        scratch.write("run/model.safetensors", &bytes[..keep]);
        refused(&scratch, &format!("predict run {IMAGE} -o masks"), FAILED, &words);
        refused(&scratch, "evaluate run", FAILED, &words);
        refused(&scratch, "evaluate run/model.safetensors pool --json", FAILED, &words);
    }
    std::fs::remove_file(scratch.path("run/model.safetensors")).unwrap();
    let words = ["run has no model.safetensors", "a finished run or a model file"];
    refused(&scratch, &format!("predict run {IMAGE} -o masks"), USAGE, &words);
}

#[test]
fn a_run_that_is_not_there() {
    let scratch = trained();
    let words = ["nowhere: is not a run folder", "check the path"];
    refused(&scratch, "compare run nowhere", USAGE, &words);
    refused(&scratch, "compare nowhere run --json", USAGE, &words);
    refused(&scratch, "train --resume nowhere", USAGE, &words);
    let words = ["nowhere/record.json", "give the run folder itself"];
    refused(&scratch, "report run nowhere", USAGE, &words);
    let words = ["nowhere: there is no such model or run", "give a model.safetensors or a run"];
    refused(&scratch, &format!("predict nowhere {IMAGE} -o masks"), USAGE, &words);
    refused(&scratch, "evaluate nowhere pool", USAGE, &["nowhere: there is no such run, model"]);
    let words = ["run has no evaluation of the train part", "scant evaluate run --split train"];
    refused(&scratch, "compare run run --split train", USAGE, &words);
    std::fs::remove_file(scratch.path("run/record.json")).unwrap();
    refused(&scratch, "compare run run", USAGE, &["run/record.json", "cannot be read"]);
    scratch.write("run/record.json", b"{\"schema\":1,");
    refused(&scratch, "compare run run", USAGE, &["run/record.json", "is damaged", "train again"]);
}
