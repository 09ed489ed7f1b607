//! PyTorch checkpoints and safetensors.

use std::fs::File;
use std::io::{Read, Write};

use scant_io::weights::{
    ReadOptions, TensorOrder, WeightFormat, WeightLimits, WeightProblem, read,
};
use serde_json::json;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{assert_same, expected, open, path, refused};

/// Reads a file and holds it against what PyTorch says; returns where the state dict was.
fn check(file: &str) -> Option<String> {
    let found = open(file);
    assert_eq!(found.format, WeightFormat::PyTorch, "{file}");
    assert_eq!(found.order, TensorOrder::Network, "{file}");
    assert_same(file, &found.tensors, &expected("pytorch.json", file));
    found.state_dict
}

#[test]
fn state_dicts_of_every_container_are_read() {
    assert_eq!(check("zip.pth"), None);
    assert_eq!(check("legacy.pth"), None);
    assert_eq!(check("protocol4.pth").as_deref(), Some("model"));
    assert_eq!(check("parameters.pth"), None);
    assert_eq!(check("plain.pkl").as_deref(), Some("state_dict"));
}

#[test]
fn views_are_read_as_the_tensors_they_show() {
    for file in ["views.pth", "views_legacy.pth"] {
        check(file);
        let found = open(file);
        assert_eq!(found.get("tied"), found.get("whole"), "{file}");
        assert_eq!(found.get("transposed").unwrap().shape, [6, 4], "{file}");
        assert!(found.get("empty").unwrap().data.is_empty(), "{file}");
    }
}

#[test]
fn every_type_of_number_becomes_f32() {
    check("types.pth");
    let found = open("types.pth");
    assert!(found.get("torch.uint16").is_some() && found.get("torch.bfloat16").is_some());
    assert_eq!(found.skipped.len(), 2, "{:?}", found.skipped);
    assert!(found.skipped[0].contains("complex") && found.skipped[0].contains("Complex"));
    assert!(found.skipped[1].contains("fp8") && found.skipped[1].contains("float8_e4m3fn"));
}

#[test]
fn data_parallel_names_can_be_shortened() {
    let mut found = open("parallel.pth");
    check("parallel.pth");
    assert!(!found.strip_prefix("model."));
    assert!(found.strip_prefix("module."));
    assert_eq!(found.into_weights(), open("zip.pth").into_weights());
}

#[test]
fn an_nnunet_checkpoint_is_read_with_its_plans() {
    assert_eq!(check("nnunet.pth").as_deref(), Some("network_weights"));
    let found = open("nnunet.pth");
    assert_eq!(found.metadata["trainer_name"], json!("nnUNetTrainer"));
    assert_eq!(found.metadata["current_epoch"], json!(1000));
    assert_eq!(found.metadata["inference_allowed_mirroring_axes"], json!([0, 1]));
    let init = &found.metadata["init_args"];
    assert_eq!(init["plans"]["configurations"]["2d"]["patch_size"], json!([64, 64]));
    assert_eq!(init["configuration"], json!("2d"));
    assert!(init.get("device").is_none(), "a torch.device is no plain data");
    assert_eq!(found.metadata["logging"]["train_losses"], json!([-0.5, "NaN"]));
    let skipped = |start: &str| found.skipped.iter().any(|name| name.starts_with(start));
    assert!(skipped("init_args.device (torch.device)"), "{:?}", found.skipped);
    assert!(skipped("optimizer_state (optimiser state)"), "{:?}", found.skipped);
    assert!(skipped("_best_ema (numpy"), "{:?}", found.skipped);
}

#[test]
fn objects_of_the_training_script_do_not_stand_in_the_way() {
    for file in ["training.pth", "training_legacy.pth"] {
        assert_eq!(check(file).as_deref(), Some("state_dict"));
        let found = open(file);
        assert_eq!(found.metadata["epoch"], json!(12));
        assert_eq!(found.metadata["counts"], json!({"a": 2, "b": 1}));
        assert_eq!(found.metadata["table"], json!({"x": [1, 2]}));
        assert_eq!(found.metadata["size"], json!([1, 2]));
        for opaque in [
            "args (argparse.Namespace)",
            "config (__main__.Config)",
            "device (torch.device)",
            "dtype (torch.float16)",
            "big (an integer)",
            "generator (a tensor)",
            "optimizer (optimiser state)",
        ] {
            assert!(
                found.skipped.iter().any(|name| name == opaque),
                "{opaque}: {:?}",
                found.skipped
            );
        }
    }
}

#[test]
fn nothing_in_a_pickle_is_run() {
    for file in ["evil.pth", "evil_legacy.pth"] {
        assert_eq!(check(file).as_deref(), Some("state_dict"));
        let found = open(file);
        let opaque = ["first (posix.system)", "second (__builtin__.eval)", "x (posix.system)"];
        assert_eq!(found.skipped, opaque, "{file}");
        assert!(found.metadata.is_empty(), "{file}");
    }
    // What Python would have run makes this file in the current folder.
    assert!(!std::path::Path::new("scant-was-here").exists());
}

#[test]
fn a_key_chooses_among_several_state_dicts() {
    let with_key = |key: &str| ReadOptions { key: Some(key.into()), ..ReadOptions::default() };
    match refused("two.pth", &ReadOptions::default()) {
        WeightProblem::Ambiguous { known } => assert_eq!(known, ["student", "teacher"]),
        other => panic!("{other}"),
    }
    let student = read(&path("two.pth"), &with_key("student")).unwrap();
    let teacher = read(&path("two.pth"), &with_key("teacher")).unwrap();
    assert_eq!(student.state_dict.as_deref(), Some("student"));
    assert_eq!(student.into_weights(), open("zip.pth").into_weights());
    assert_ne!(teacher.get("0.bias"), open("zip.pth").get("0.bias"));
    match refused("two.pth", &with_key("model")) {
        WeightProblem::UnknownKey { key, known } => {
            assert_eq!((key.as_str(), known), ("model", vec!["student".into(), "teacher".into()]));
        }
        other => panic!("{other}"),
    }
    let root = read(&path("zip.pth"), &with_key("")).unwrap();
    assert_eq!(root.tensors.len(), open("zip.pth").tensors.len());
    let wrong = refused("types.safetensors", &with_key("model"));
    assert!(matches!(wrong, WeightProblem::KeyNotUsed { .. }));
}

#[test]
fn what_holds_no_state_dict_says_what_it_holds() {
    let said = |file: &str| refused(file, &ReadOptions::default()).to_string();
    assert!(said("module.pth").contains("torch.nn.modules.container.Sequential"));
    assert!(said("module_inside.pth").contains("under \"model\""));
    assert!(said("module.pth").contains("state_dict()"), "the remedy");
    assert!(said("no_tensors.pth").contains("the entries epoch, loss"));
    assert!(said("scripted.pt").contains("TorchScript"));
}

#[test]
fn another_format_than_asked_is_refused() {
    let options = ReadOptions { format: Some(WeightFormat::Keras), ..ReadOptions::default() };
    let said = refused("zip.pth", &options).to_string();
    assert!(said.contains("keras") && said.contains("pytorch"), "{said}");
    let options = ReadOptions { format: Some(WeightFormat::PyTorch), ..ReadOptions::default() };
    assert!(read(&path("legacy.pth"), &options).is_ok());
}

#[test]
fn files_of_big_endian_machines_are_read() {
    // What such a machine would have written: the bytes of each value turned round, and a note.
    let mut archive = ZipArchive::new(File::open(path("parameters.pth")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("big.pth");
    let mut out = ZipWriter::new(File::create(&place).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if name.contains("/data/") {
            bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        } else if name.ends_with("/byteorder") {
            bytes = b"big".to_vec();
        }
        out.start_file(name, stored).unwrap();
        out.write_all(&bytes).unwrap();
    }
    out.finish().unwrap();
    let found = read(&place, &ReadOptions::default()).unwrap();
    assert_same("big.pth", &found.tensors, &expected("pytorch.json", "parameters.pth"));
}

#[test]
fn limits_hold_before_values_are_read() {
    let total = open("zip.pth").value_count();
    let limited = |max_values| ReadOptions {
        limits: WeightLimits { max_values, ..WeightLimits::default() },
        ..ReadOptions::default()
    };
    for file in ["zip.pth", "legacy.pth"] {
        assert!(read(&path(file), &limited(total)).is_ok());
        let refusal = refused(file, &limited(total - 1));
        assert!(matches!(refusal, WeightProblem::TooLarge(_)), "{refusal}");
    }
}

#[test]
fn safetensors_come_with_their_metadata() {
    let mut found = open("types.safetensors");
    assert_eq!(found.format, WeightFormat::Safetensors);
    assert_eq!(found.metadata["format"], json!("pt"));
    assert_eq!(found.metadata["epoch"], json!("3"));
    assert_eq!(found.skipped, ["fp8 (F8_E4M3)"]);
    found.tensors.sort_by(|a, b| a.0.cmp(&b.0));
    assert_same(
        "types.safetensors",
        &found.tensors,
        &expected("pytorch.json", "types.safetensors"),
    );
}
