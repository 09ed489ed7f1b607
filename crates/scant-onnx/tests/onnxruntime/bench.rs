//! Collects graphs with the outputs burn computes, and has ONNX Runtime compute them as well.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData};
use scant_nn::capture::{record, recorded_id};
use scant_onnx::{Batch, OnnxFile, Options, export_captured};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Largest distance from burn, relative to the largest value.
const TOLERANCE: f64 = 1e-4;

pub(crate) struct Bench {
    folder: TempDir,
    files: usize,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder can be made"), files: 0 }
    }

    /// A function of one tensor whose first axis is the batch: exported with a free batch, and run on
    /// batches of one and three.
    pub(crate) fn case<const D: usize, const R: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        f: impl Fn(Tensor<D>) -> Tensor<R>,
    ) {
        let nothing = |_: &Device| ((), BTreeMap::new());
        let captured = record(shape, &[7, 11, 13, 1], nothing, |(), x| {
            let y = f(x);
            let outputs = vec![("y".to_owned(), recorded_id(&y))];
            (y, outputs)
        });
        let captured = captured.unwrap_or_else(|error| panic!("{name}: {error}"));
        let file = export_captured(captured, &Options::default());
        let file = file.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(file.batch, Batch::Dynamic, "{name}");
        let runs = [1, 3].map(|batch| {
            let mut shape = shape;
            shape[0] = batch;
            let x = Tensor::from_data(noise(&shape), &Device::flex());
            (x.to_data(), vec![("y".to_owned(), f(x).to_data())])
        });
        self.file(name, &file, &runs);
    }

    /// A file with inputs and the outputs they should give.
    pub(crate) fn file(
        &mut self,
        name: &str,
        file: &OnnxFile,
        runs: &[(TensorData, Vec<(String, TensorData)>)],
    ) {
        let runs: Vec<Value> = runs
            .iter()
            .map(|(input, outputs)| {
                let outputs: BTreeMap<&String, Value> =
                    outputs.iter().map(|(name, data)| (name, values(data))).collect();
                json!({"input": values(input), "outputs": outputs})
            })
            .collect();
        let path = self.folder.path().join(format!("{name}.onnx"));
        assert!(!path.exists(), "two cases are called {name}");
        let runs = Value::from(runs).to_string();
        std::fs::write(&path, &file.bytes).expect("a graph can be written");
        std::fs::write(path.with_extension("json"), runs).expect("values can be written");
        self.files += 1;
    }

    /// Runs all files.
    pub(crate) fn compare(self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run_onnx.py");
        let (python, _made) = python();
        let run = Command::new(&python).arg(script).arg(self.folder.path()).output();
        let run = run.unwrap_or_else(|error| panic!("{}: {error}", python.display()));
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{}: {errors}", python.display());
        let printed = String::from_utf8_lossy(&run.stdout);
        let results: BTreeMap<String, Value> =
            serde_json::from_str(printed.lines().last().unwrap_or_default())
                .expect("the script prints one line of JSON");
        assert_eq!(results.len(), self.files);
        let mut wrong = Vec::new();
        for (name, result) in results {
            // The figures of the cases that pass, for `--nocapture`.
            let _ = writeln!(std::io::stdout(), "{name}: {result}");
            if !result["far"].as_f64().is_some_and(|far| far < TOLERANCE) {
                wrong.push(format!("{name}: {result}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Numbers of either sign that do not repeat, none of them zero.
pub(crate) fn noise(shape: &[usize]) -> TensorData {
    let mut state = 0x9e37_79b9_u32;
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 + 0.5) / (1_u32 << 23) as f32 - 1.0
        })
        .collect();
    TensorData::new(values, shape.to_vec())
}

/// JSON has no numbers beyond the finite ones; they become null.
fn values(data: &TensorData) -> Value {
    let values: Vec<Value> = data.iter::<f64>().map(Value::from).collect();
    json!({"shape": data.shape().to_vec(), "values": values})
}

/// The interpreter, and the folder it lies in if it was made for this run.
fn python() -> (PathBuf, Option<TempDir>) {
    if let Some(python) = std::env::var_os("SCANT_PYTHON") {
        return (python.into(), None);
    }
    assert!(
        std::env::var_os("SCANT_INSTALL").is_some_and(|wish| wish == "1"),
        "SCANT_PYTHON names a Python with onnx, onnxruntime and numpy; SCANT_INSTALL=1 installs them"
    );
    let folder = TempDir::new().expect("a temporary folder can be made");
    let run = |program: &Path, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).status();
        assert!(status.is_ok_and(|status| status.success()), "{} failed", program.display());
    };
    run(Path::new("python3"), &["-m", "venv", &folder.path().to_string_lossy()]);
    let python = folder.path().join("bin/python");
    run(&python, &["-m", "pip", "install", "--quiet", "numpy", "onnx", "onnxruntime"]);
    (python, Some(folder))
}
