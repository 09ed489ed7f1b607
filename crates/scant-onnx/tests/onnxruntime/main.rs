//! Exported graphs against ONNX Runtime: operators one by one, then networks.
//!
//! Needs a Python with `onnx`, `onnxruntime` and `numpy`: `SCANT_PYTHON` names it, or `SCANT_INSTALL=1` has
//! one made in a temporary folder. Run with `cargo test -p scant-onnx -- --ignored`.

mod bench;
mod layers;
mod networks;
mod operators;
#[allow(dead_code)] // the contract asks more of it
#[path = "../../../scant-nn/tests/contract/small.rs"]
mod small;
