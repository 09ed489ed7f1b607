//! A recorded forward pass in, an ONNX file out.
//!
//! [`export`] records the network's ordinary `forward` (see [`scant_nn::capture`]) and translates every
//! operation into nodes of ONNX, operator set [`OPSET`]. Nothing is computed and no other program is
//! needed. The input is called `image`; outputs are `logits`, and `aux1`.. and the taps by name if asked
//! for. Weights keep their official names. The same network gives the same bytes.
//!
//! The size of the image is fixed. The batch is free where the passes that are recorded for several
//! batches differ in nothing but sizes that follow the batch; [`OnnxFile::batch`] says whether they do.
//!
//! What has no translation is an error that names the operation, never a node that computes something
//! else.

mod batch;
mod element;
mod graph;
mod proto;
mod translate;
mod write;

use scant_nn::Model;
use scant_nn::capture::{Captured, Outputs, RecordError, capture};
use thiserror::Error;

use batch::reconcile;

/// The operator set of the files: the first with LayerNormalization, read by every runtime of the last
/// years.
pub const OPSET: i64 = 17;

/// Batches that are recorded where the batch is to be free. Primes, which are unlikely among the sizes
/// of a network: what varies by them varies by the batch. The last only serves where that fails.
const BATCHES: [usize; 4] = [7, 11, 13, 1];

/// Which batches the file shall take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchSize {
    /// Any, where the network allows.
    #[default]
    Any,
    /// This many images, always.
    Fixed(usize),
}

/// Which batches the file takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// Any number of images.
    Dynamic,
    /// Only this many.
    Fixed {
        /// Images in a batch.
        images: usize,
        /// Why, where any was asked for.
        reason: Option<String>,
    },
}

/// What the caller adds to a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Which batches it takes.
    pub batch: BatchSize,
    /// Outputs beside the logits.
    pub outputs: Outputs,
    /// Keys and values of `metadata_props`, such as how an image is prepared.
    pub metadata: Vec<(String, String)>,
    /// Text for people.
    pub description: String,
}

/// An ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnnxFile {
    /// To be written as they are.
    pub bytes: Vec<u8>,
    /// Which batches it takes.
    pub batch: Batch,
    /// Operator set.
    pub opset: i64,
    /// Names of the outputs, in order.
    pub outputs: Vec<String>,
    /// Number of nodes.
    pub nodes: usize,
}

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OnnxError {
    /// Nothing was recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// An operation that this exporter does not know, or not in this form.
    #[error("operation {operation} of the network has no translation to ONNX: {reason}")]
    Operation {
        /// What burn calls it.
        operation: String,
        /// What is in the way.
        reason: String,
    },
    /// A recording whose parts do not belong together.
    #[error("the recorded graph is not complete: {0}")]
    Incomplete(String),
    /// More than fits into one message.
    #[error(
        "the file would have {bytes} bytes, and ONNX files end at 2147483647; a narrower network is smaller"
    )]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
    },
}

/// Exports `model` for images of `input_channels` channels, `size[0]` rows and `size[1]` columns.
///
/// # Errors
/// When an operation of the network has no translation, or the file would be too large.
///
/// # Panics
/// When the network cannot take images of this size.
pub fn export(
    model: &Model,
    input_channels: usize,
    size: [usize; 2],
    options: &Options,
) -> Result<OnnxFile, OnnxError> {
    let captured = match options.batch {
        BatchSize::Any => capture(model, input_channels, size, &BATCHES, options.outputs)?,
        BatchSize::Fixed(batch) => capture(model, input_channels, size, &[batch], options.outputs)?,
    };
    export_captured(captured, options)
}

/// Exports recorded passes. One pass gives a file for its batch. With several, the batch is free if all
/// but the last differ in nothing else; else the last one is exported.
///
/// # Errors
/// As [`export`], and when there is no pass.
pub fn export_captured(captured: Captured, options: &Options) -> Result<OnnxFile, OnnxError> {
    let Some((last, others)) = captured.passes.split_last() else {
        return Err(OnnxError::Incomplete("no pass was recorded".into()));
    };
    let fixed = |reason| Batch::Fixed { images: last.batch, reason };
    let (graph, batch) = if others.is_empty() {
        (translate::pass(&captured, last)?, fixed(None))
    } else {
        let mut passes = Vec::with_capacity(others.len());
        for pass in others {
            passes.push((pass.batch, translate::pass(&captured, pass)?));
        }
        match reconcile(&passes, &captured.values) {
            Ok(graph) => (graph, Batch::Dynamic),
            Err(reason) => (translate::pass(&captured, last)?, fixed(Some(reason))),
        }
    };
    let outputs = graph.outputs.iter().map(|output| output.name.clone()).collect();
    let model = write::model(&graph, &captured, options)?;
    drop(captured); // of large networks, one copy of the weights less
    let nodes = model.graph.as_ref().map_or(0, |graph| graph.node.len());
    Ok(OnnxFile { bytes: write::encode(&model)?, batch, opset: OPSET, outputs, nodes })
}

#[cfg(test)]
mod tests;
