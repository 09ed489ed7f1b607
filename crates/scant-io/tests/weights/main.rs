//! Weight files written by the libraries themselves (`files/make_*.py`), against what those
//! libraries say is in them.

// Helpers of tests are tests too, which clippy cannot see.
#![allow(clippy::unwrap_used)]

mod damaged_weights;
mod keras_weights;
mod numpy_weights;
mod pytorch_weights;

use std::path::PathBuf;

use scant_core::HostTensor;
use scant_io::weights::{ReadOptions, WeightFile, WeightProblem, read};
use serde_json::Value;

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/weights/files").join(file)
}

fn open(file: &str) -> WeightFile {
    read(&path(file), &ReadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(file: &str, options: &ReadOptions) -> WeightProblem {
    let e = read(&path(file), options).expect_err(file);
    assert_eq!(e.path, path(file));
    assert!(e.to_string().contains(file), "{e}");
    e.problem
}

/// What the library that wrote `file` says is in it.
fn expected(list: &str, file: &str) -> Vec<(String, HostTensor)> {
    let list: Value = serde_json::from_slice(&std::fs::read(path(list)).unwrap()).unwrap();
    let tensor = |entry: &Value| {
        let shape = entry[1].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize);
        let data = entry[2].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32);
        let tensor = HostTensor { shape: shape.collect(), data: data.collect() };
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
        (entry[0].as_str().unwrap().to_owned(), tensor)
    };
    list[file]
        .as_array()
        .unwrap_or_else(|| panic!("{file} is not listed"))
        .iter()
        .map(tensor)
        .collect()
}

/// Same names, same order, same shapes, same values.
fn assert_same(file: &str, found: &[(String, HostTensor)], expected: &[(String, HostTensor)]) {
    let names = |list: &[(String, HostTensor)]| -> Vec<String> {
        list.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(found), names(expected), "{file}");
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{file}: {name}");
    }
}
