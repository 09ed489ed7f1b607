//! The Vision Transformers of Google as the encoder of a TransUNet.
//!
//! google-research/vision_transformer publishes its weights as NumPy archives; `R50+ViT-B_16.npz`
//! of ImageNet-21k is the one the paper starts from. Their names and layouts are those of Flax:
//! kernels of convolutions `[rows, columns, input, output]`, those of linear layers `[input, output]`
//! with the heads as an axis of their own, scales of group norms `[1, 1, 1, channels]`.
//!
//! Reference: Beckschen/TransUNet `networks/vit_seg_modeling.py`, the methods `load_from`.
//!
//! # Deviations
//! - Grids of tokens that are not square, see [`from_npz_on_grid`].
//! - The reference stops at a tensor that is missing or of another size; here the caller decides.

use crate::model::Shapes;
use crate::weights::{HostTensor, Weights};

const POSITIONS: &str = "transformer.embeddings.position_embeddings";

/// What an archive holds for a network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapped {
    /// By official name, in the shapes of the network.
    pub tensors: Weights,
    /// Interpolated on the way: official name, shape in the archive, shape in the network.
    pub reshaped: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Tensors the network has in its encoder and the archive should have, but has not: official
    /// name, name in the archive.
    pub missing: Vec<(String, String)>,
    /// Tensors of another size, which were left out: official name, shape in the archive, shape in
    /// the network.
    pub misfits: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// What nothing was read from; the class token and the classifier of ImageNet are among it.
    pub unused: Vec<String>,
}

/// How an array becomes a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    /// `[rows, columns, input, output]` to `[output, input, rows, columns]`.
    Convolution,
    /// `[input.., output..]` to `[output, input]`.
    Linear,
    /// Any sizes to one axis.
    Vector,
    /// `[1, 1 + tokens, hidden]`, the class token first, to `[1, tokens, hidden]` of another grid.
    Positions,
}

/// Maps an archive on the network whose tensors have the shapes `targets`, by official name; its
/// tokens stand on a square grid.
///
/// Only the encoder is in such an archive: the tensors of the decoder are neither in the result nor
/// missing.
#[must_use]
pub fn from_npz(npz: &Weights, targets: &Shapes) -> Mapped {
    let tokens = targets.get(POSITIONS).and_then(|shape| shape.get(1)).copied();
    let side = tokens.unwrap_or_default().isqrt();
    from_npz_on_grid(npz, targets, [side, side])
}

/// [`from_npz`] where the tokens of the network stand on a grid of so many rows and columns.
#[must_use]
pub fn from_npz_on_grid(npz: &Weights, targets: &Shapes, grid: [usize; 2]) -> Mapped {
    let mut mapped = Mapped::default();
    let mut used = std::collections::BTreeSet::new();
    for (name, shape) in targets {
        let Some((source, layout)) = source(name) else { continue };
        let Some(array) = npz.get(&source) else {
            mapped.missing.push((name.clone(), source));
            continue;
        };
        let data = match layout {
            Layout::Convolution => convolution(array, shape),
            Layout::Linear => linear(array, shape),
            Layout::Vector => vector(array, shape),
            Layout::Positions => positions(array, shape, grid),
        };
        used.insert(source);
        let Some(data) = data else {
            mapped.misfits.push((name.clone(), array.shape.clone(), shape.clone()));
            continue;
        };
        if layout == Layout::Positions && !copied(&array.shape, shape) {
            mapped.reshaped.push((name.clone(), array.shape.clone(), shape.clone()));
        }
        mapped.tensors.insert(name.clone(), HostTensor { shape: shape.clone(), data });
    }
    mapped.unused = npz.keys().filter(|name| !used.contains(*name)).cloned().collect();
    mapped
}

/// Where the tensor of an official name stands in an archive; `None` for those of the decoder.
fn source(name: &str) -> Option<(String, Layout)> {
    let parts: Vec<&str> = name.split('.').collect();
    let (layer, layout) = match parts[..] {
        ["transformer", "embeddings", "position_embeddings"] => {
            let source = "Transformer/posembed_input/pos_embedding".to_owned();
            return Some((source, Layout::Positions));
        }
        ["transformer", "embeddings", "patch_embeddings", _] => {
            ("embedding".to_owned(), Layout::Convolution)
        }
        ["transformer", "embeddings", "hybrid_model", "root", "conv", _] => {
            ("conv_root".to_owned(), Layout::Convolution)
        }
        ["transformer", "embeddings", "hybrid_model", "root", "gn", _] => {
            ("gn_root".to_owned(), Layout::Vector)
        }
        ["transformer", "embeddings", "hybrid_model", "body", stage, unit, part, _] => {
            let (part, layout) = match part {
                "downsample" => ("conv_proj", Layout::Convolution),
                "conv1" | "conv2" | "conv3" => (part, Layout::Convolution),
                "gn1" | "gn2" | "gn3" | "gn_proj" => (part, Layout::Vector),
                _ => return None,
            };
            (format!("{stage}/{unit}/{part}"), layout)
        }
        ["transformer", "encoder", "encoder_norm", _] => {
            ("Transformer/encoder_norm".to_owned(), Layout::Vector)
        }
        ["transformer", "encoder", "layer", index, ref part @ .., _] => {
            let (part, layout) = match *part {
                ["attention_norm"] => ("LayerNorm_0".to_owned(), Layout::Vector),
                ["ffn_norm"] => ("LayerNorm_2".to_owned(), Layout::Vector),
                ["ffn", "fc1"] => ("MlpBlock_3/Dense_0".to_owned(), Layout::Linear),
                ["ffn", "fc2"] => ("MlpBlock_3/Dense_1".to_owned(), Layout::Linear),
                ["attn", which @ ("query" | "key" | "value" | "out")] => {
                    (format!("MultiHeadDotProductAttention_1/{which}"), Layout::Linear)
                }
                _ => return None,
            };
            (format!("Transformer/encoderblock_{index}/{part}"), layout)
        }
        _ => return None,
    };
    match (*parts.last()?, layout) {
        ("weight", Layout::Vector) => Some((format!("{layer}/scale"), layout)),
        ("weight", _) => Some((format!("{layer}/kernel"), layout)),
        ("bias", _) => Some((format!("{layer}/bias"), Layout::Vector)),
        _ => None,
    }
}

fn convolution(array: &HostTensor, shape: &[usize]) -> Option<Vec<f32>> {
    let [output, input, rows, columns] = *shape else { return None };
    let pixels = rows * columns;
    let count = output * input * pixels;
    let fits = array.shape == [rows, columns, input, output] && array.data.len() == count;
    let source = |n: usize| {
        let (kernel, pixel) = (n / pixels, n % pixels);
        (pixel * input + kernel % input) * output + kernel / input
    };
    fits.then(|| (0..count).map(|n| array.data[source(n)]).collect())
}

fn linear(array: &HostTensor, shape: &[usize]) -> Option<Vec<f32>> {
    let [output, input] = *shape else { return None };
    // Heads are an axis of the output of queries, keys and values, and of the input of `out`.
    let splits = (0..array.shape.len()).any(|at| {
        let (before, after) = array.shape.split_at(at);
        before.iter().product::<usize>() == input && after.iter().product::<usize>() == output
    });
    let fits = splits && array.data.len() == input * output;
    let source = |n: usize| n % input * output + n / input;
    fits.then(|| (0..input * output).map(|n| array.data[source(n)]).collect())
}

fn vector(array: &HostTensor, shape: &[usize]) -> Option<Vec<f32>> {
    let fits = shape.len() == 1 && array.data.len() == shape[0];
    fits.then(|| array.data.clone())
}

/// Whether position embeddings are copied: the same, or the same behind a class token.
fn copied(from: &[usize], to: &[usize]) -> bool {
    let behind = |from: &[usize]| from.get(1).copied().unwrap_or_default().checked_sub(1);
    from == to || behind(from) == to.get(1).copied()
}

fn positions(array: &HostTensor, shape: &[usize], grid: [usize; 2]) -> Option<Vec<f32>> {
    let [1, tokens, hidden] = *shape else { return None };
    let [1, from, same] = *array.shape else { return None };
    if hidden != same || array.data.len() != from * hidden {
        return None;
    }
    if from == tokens {
        return Some(array.data.clone());
    }
    let without_class = array.data.get(hidden..)?;
    if from == tokens + 1 {
        return Some(without_class.to_vec());
    }
    let side = (from - 1).isqrt();
    let fits = side > 0 && side * side == from - 1 && grid[0] * grid[1] == tokens && tokens > 0;
    fits.then(|| zoomed(without_class, [side, side], grid, hidden))
}

/// Linear interpolation of both axes, corners on corners: `scipy.ndimage.zoom` of order 1.
///
/// # Shapes
/// - data: `[from.., values]`
/// - output: `[to.., values]`
fn zoomed(data: &[f32], from: [usize; 2], to: [usize; 2], values: usize) -> Vec<f32> {
    /// The two neighbours of a position, and how near the second is.
    fn between(i: usize, from: usize, to: usize) -> [(usize, f64); 2] {
        let step = (from - 1) as f64 / (to.max(2) - 1) as f64;
        let at = (i as f64 * step).min((from - 1) as f64);
        let low = at.floor();
        let high = (low as usize + 1).min(from - 1);
        [(low as usize, 1.0 - (at - low)), (high, at - low)]
    }
    let mut output = Vec::with_capacity(to[0] * to[1] * values);
    for row in 0..to[0] {
        let rows = between(row, from[0], to[0]);
        for column in 0..to[1] {
            let columns = between(column, from[1], to[1]);
            output.extend((0..values).map(|v| {
                let mut sum = 0.0;
                for (r, near_row) in rows {
                    for (c, near_column) in columns {
                        let value = f64::from(data[(r * from[1] + c) * values + v]);
                        sum += near_row * near_column * value;
                    }
                }
                sum as f32
            }));
        }
    }
    output
}

#[cfg(test)]
mod tests;
