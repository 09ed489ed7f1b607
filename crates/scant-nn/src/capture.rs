//! A forward pass as a graph of operations, recorded and not computed.
//!
//! The network runs its ordinary `forward` on burn's capture device, where every operator leaves a
//! record (`burn-ir`) in place of numbers. Operators of `scant-kernels` take burn's own path there, as
//! on a GPU. A recorded pass has fixed sizes; several of them, with batches of different sizes, show
//! which numbers of the graph come from the batch.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use burn_capture::{CaptureBackend, CaptureError, CaptureScope, CompletedCaptureScope};
use thiserror::Error;

pub use burn_ir::{GraphIr, OperationIr, TensorId, TensorIr};

use crate::weights::{Named, PathVisitor};
use crate::{Model, SegOutput};

/// Which tensors of a forward pass leave the recorded graph. Their names are those of the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outputs {
    /// The auxiliary logits of deep supervision, `aux1` (deepest) and up, beside `logits`.
    pub aux: bool,
    /// The taps, by their names.
    pub taps: bool,
}

/// One recorded forward pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Images in the batch.
    pub batch: usize,
    /// The image. The graph holds it as a tensor of zeros, which stands for any.
    pub input: TensorId,
    /// What was asked for, by name.
    pub outputs: Vec<(String, TensorId)>,
}

/// Forward passes of one network, in the order of the batch sizes that were asked for.
#[derive(Debug, Clone)]
pub struct Captured {
    /// All operations, pass after pass. What lies before the input of the first pass belongs to the
    /// network alone; a later pass may read what an earlier one made from weights.
    pub graph: GraphIr,
    /// Tensors that have values: weights, and constants that the network made on the way.
    pub values: BTreeMap<TensorId, TensorData>,
    /// Official names of parameters and running statistics. Their layout is that of the network,
    /// which may be the transpose of the official one.
    pub names: BTreeMap<TensorId, String>,
    /// The passes.
    pub passes: Vec<Pass>,
}

/// Why nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the forward pass could not be recorded: {0}")]
pub struct RecordError(String);

impl From<CaptureError> for RecordError {
    fn from(error: CaptureError) -> Self {
        Self(error.to_string())
    }
}

thread_local! {
    /// Devices are numbered and never given back, and one takes one recording at a time.
    static DEVICE: Device = Device::capture();
}

/// Runs `record` on the capture device of this thread.
fn on_capture_device(
    record: impl FnOnce(&Device, CaptureScope) -> CompletedCaptureScope,
) -> Result<(GraphIr, BTreeMap<TensorId, TensorData>), RecordError> {
    let device = DEVICE.with(Device::clone);
    let captured = device.capture_scope(|scope| record(&device, scope))?;
    Ok((captured.graph, captured.values))
}

/// What a tensor is called in the graph that is being recorded.
///
/// # Panics
/// When the tensor is on another device.
#[must_use]
pub fn recorded_id<const D: usize>(tensor: &Tensor<D>) -> TensorId {
    let tensor = tensor.clone().try_into_primitive::<CaptureBackend>();
    tensor.expect("a recorded tensor is on the capture device").id()
}

/// Records forward passes on inputs of `shape`, its first size replaced by each of `batches`.
///
/// `prepare` builds the network on the device it is given, and names what has a name. `forward` returns
/// the outputs by name; what it returns beside them is kept until the recording ends, and must hold
/// them: a tensor that is dropped may be overwritten in the record.
///
/// # Errors
/// When a recording is under way on this thread, or an output was dropped.
pub fn record<const D: usize, N, K>(
    shape: [usize; D],
    batches: &[usize],
    prepare: impl FnOnce(&Device) -> (N, BTreeMap<TensorId, String>),
    forward: impl Fn(&N, Tensor<D>) -> (K, Vec<(String, TensorId)>),
) -> Result<Captured, RecordError> {
    let mut names = BTreeMap::new();
    let mut passes = Vec::with_capacity(batches.len());
    let (graph, values) = on_capture_device(|device, scope| {
        let (network, named) = prepare(device);
        names = named;
        let mut alive = Vec::with_capacity(batches.len());
        for &batch in batches {
            let mut shape = shape;
            shape[0] = batch;
            let input = Tensor::zeros(shape, device);
            let id = recorded_id(&input);
            let (kept, outputs) = forward(&network, input);
            passes.push(Pass { batch, input: id, outputs });
            alive.push(kept);
        }
        let outputs: BTreeSet<TensorId> =
            passes.iter().flat_map(|pass| pass.outputs.iter().map(|(_, id)| *id)).collect();
        scope.complete([], outputs)
    })?;
    Ok(Captured { graph, values, names, passes })
}

/// Records forward passes of `model` on images of `[batch, input channels, rows, columns]` (volumes
/// have their depth before the rows), one for each of `batches`.
///
/// The weights are copied once. The network behaves as when it predicts: norms use their running
/// statistics.
///
/// # Errors
/// When a recording is under way on this thread.
///
/// # Panics
/// When `size` has another number of axes than what the network takes.
pub fn capture(
    model: &Model,
    input_channels: usize,
    size: &[usize],
    batches: &[usize],
    wanted: Outputs,
) -> Result<Captured, RecordError> {
    // `valid` gives running statistics of their own, which moving to a device would else change in
    // the network that was handed in.
    let settled = model.valid();
    let prepare = |device: &Device| {
        let model = settled.to_device(device);
        let names = official_names(&model);
        (model, names)
    };
    match (model.dimensions(), size) {
        (2, &[rows, columns]) => {
            record([0, input_channels, rows, columns], batches, prepare, |model, image| {
                let output = model.forward(image);
                let named = named_outputs(&output, wanted);
                (output, named)
            })
        }
        (3, &[depth, rows, columns]) => {
            record([0, input_channels, depth, rows, columns], batches, prepare, |model, volume| {
                let output = model.forward_volume(volume);
                let named = named_outputs(&output, wanted);
                (output, named)
            })
        }
        (axes, _) => panic!("the network takes {axes} axes, not a size of {size:?}"),
    }
}

fn named_outputs<const D: usize>(
    output: &SegOutput<D>,
    wanted: Outputs,
) -> Vec<(String, TensorId)> {
    let mut named = vec![("logits".to_owned(), recorded_id(&output.logits))];
    if wanted.aux {
        let aux = output.aux.iter().enumerate();
        named.extend(aux.map(|(i, logits)| (format!("aux{}", i + 1), recorded_id(logits))));
    }
    if wanted.taps {
        named.extend(output.taps.iter().map(|tap| (tap.name.clone(), recorded_id(&tap.features))));
    }
    named
}

/// Parameters and running statistics of a network on the capture device.
fn official_names(model: &Model) -> BTreeMap<TensorId, String> {
    let mut names = BTreeMap::new();
    let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
        if let (Some(id), Some(name)) = (tensor.recorded(), model.official_name(path)) {
            names.insert(id, name);
        }
    });
    model.visit(&mut visitor);
    names
}

#[cfg(test)]
mod tests {
    use burn_ir::ModuleOperationIr;

    use super::*;
    use crate::model::{ModelConfig, UNetConfig};
    use crate::weights;

    fn net() -> Model {
        let sizes = UNetConfig { width: 2, depth: 2, input_channels: 3, output_channels: 2 };
        ModelConfig::AttentionUNet(sizes).init(&Device::flex(), 1).unwrap()
    }

    #[test]
    fn every_weight_is_recorded_under_its_official_name() {
        let model = net();
        let captured = capture(&model, 3, &[8, 12], &[1], Outputs::default()).unwrap();
        let expected = weights::export(&model);
        let names: BTreeSet<&String> = captured.names.values().collect();
        assert_eq!(names, expected.keys().collect());
        for (id, name) in &captured.names {
            let value = &captured.values[id];
            assert_eq!(value.iter::<f32>().collect::<Vec<_>>(), expected[name].data, "{name}");
            assert_eq!(value.shape().to_vec(), expected[name].shape, "{name}");
        }
    }

    #[test]
    fn the_network_stays_where_it_is() {
        let model = net();
        let before = weights::export(&model);
        let _ = capture(&model, 3, &[8, 8], &[2], Outputs::default()).unwrap();
        assert_eq!(weights::export(&model), before);
        let y = model.forward(Tensor::ones([1, 3, 8, 8], &Device::flex())).logits;
        assert_eq!(y.dims(), [1, 2, 8, 8]);
    }

    #[test]
    fn a_network_that_trains_is_recorded_as_it_predicts() {
        let device = Device::flex().autodiff();
        let sizes = UNetConfig { width: 2, depth: 1, input_channels: 1, output_channels: 1 };
        let model = ModelConfig::UNet(sizes).init(&device, 1).unwrap();
        let captured = capture(&model, 1, &[4, 4], &[1], Outputs::default()).unwrap();
        let norms = captured.graph.operations.iter().filter(|operation| {
            matches!(operation, OperationIr::Module(ModuleOperationIr::BatchNorm(_)))
        });
        // Two stages on the way down, one on the way up and the up-sampling before it.
        assert_eq!(norms.count(), 2 * 2 + 2 + 1);
    }

    #[test]
    fn each_batch_has_its_own_outputs() {
        let wanted = Outputs { aux: true, taps: true };
        let captured = capture(&net(), 3, &[8, 8], &[2, 5], wanted).unwrap();
        assert_eq!(captured.passes.len(), 2);
        let shape = |id: TensorId| {
            let nodes = captured.graph.operations.iter().flat_map(OperationIr::nodes);
            let shape = nodes.into_iter().find(|t| t.id == id).map(|t| t.shape.to_vec());
            shape.unwrap()
        };
        for (pass, batch) in captured.passes.iter().zip([2, 5]) {
            assert_eq!(pass.batch, batch);
            assert_eq!(shape(pass.input), [batch, 3, 8, 8]);
            let names: Vec<&str> = pass.outputs.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["logits", "enc1", "enc2", "bottleneck", "dec2", "dec1"]);
            assert_eq!(shape(pass.outputs[0].1), [batch, 2, 8, 8]);
            assert_eq!(shape(pass.outputs[3].1), [batch, 8, 2, 2]);
        }
    }

    #[test]
    fn a_recording_inside_a_recording_is_refused() {
        let mut inner = None;
        let outer = on_capture_device(|_, scope| {
            inner = Some(capture(&net(), 3, &[8, 8], &[1], Outputs::default()));
            scope.complete([], [])
        });
        assert!(outer.is_ok());
        let error = inner.unwrap().unwrap_err().to_string();
        assert!(error.contains("already active"), "{error}");
    }
}
