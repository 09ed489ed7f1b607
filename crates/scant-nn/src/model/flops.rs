//! How much arithmetic a network is, counted on its recorded forward pass.
//!
//! Counted are convolutions, transposed convolutions, linear layers and other products of matrices, as
//! direct ones: two operations (multiply, add) for every pair that is multiplied. Norms, activations,
//! pooling, resampling and losses are left out; they cost memory traffic rather than arithmetic. An
//! implementation that multiplies less often (Winograd) is measured against the same count.
//!
//! In a training step each product is done again for the gradient of either side, unless that side
//! holds nothing that is learned: nobody asks for the gradient of the image.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::Device;
use burn_ir::{FloatOperationIr, ModuleOperationIr, OperationIr, TensorId, TensorIr};

use super::{Model, ModelConfig};
use crate::capture::{record, recorded_id};
use crate::weights::{Named, PathVisitor, is_statistic};

/// Floating-point operations on one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flops {
    /// A forward pass.
    pub forward: u64,
    /// A training step: forward, gradient of the weights, gradient of the inputs; nobody asks for
    /// the gradient of the image.
    pub step: u64,
}

impl ModelConfig {
    /// Operations on one image of the given rows and columns, or volume of the given depth, rows and
    /// columns, from the network itself. It is built without weights, so that the largest takes no
    /// memory.
    ///
    /// # Panics
    /// When a size of the network is outside what the architecture allows, or `size` has another number
    /// of axes than what the network takes.
    #[must_use]
    pub fn flops(&self, size: &[usize]) -> Flops {
        let mut parameters = BTreeSet::new();
        let prepare = |device: &Device| {
            let model = self.zeros(device).unwrap_or_else(|error| panic!("{error}"));
            parameters = learned_tensors(&model);
            (model, BTreeMap::new())
        };
        let channels = self.input_channels();
        let captured = match (self.dimensions(), size) {
            (2, &[rows, columns]) => {
                record([1, channels, rows, columns], &[1], prepare, |model, image| {
                    let output = model.forward(image);
                    let logits = vec![("logits".to_owned(), recorded_id(&output.logits))];
                    (output, logits)
                })
            }
            (3, &[depth, rows, columns]) => {
                record([1, channels, depth, rows, columns], &[1], prepare, |model, volume| {
                    let output = model.forward_volume(volume);
                    let logits = vec![("logits".to_owned(), recorded_id(&output.logits))];
                    (output, logits)
                })
            }
            _ => panic!("{} takes no input of size {size:?}", self.name()),
        };
        let captured = captured.unwrap_or_else(|error| panic!("{error}"));
        count(&captured.graph.operations, parameters)
    }
}

/// Parameters of a network on the capture device. Looking at them also builds them.
fn learned_tensors(model: &Model) -> BTreeSet<TensorId> {
    let mut ids = BTreeSet::new();
    let mut visitor = PathVisitor::new(|path: &str, tensor: Named<'_>| {
        if !is_statistic(path) {
            ids.extend(tensor.recorded());
        }
    });
    model.visit(&mut visitor);
    ids
}

/// A product of two tensors.
struct Product<'a> {
    flops: u64,
    sides: [&'a TensorIr; 2],
}

/// Sums over operations in their order. `learned` are the parameters; what is made from them joins them.
fn count(operations: &[OperationIr], mut learned: BTreeSet<TensorId>) -> Flops {
    let mut flops = Flops { forward: 0, step: 0 };
    for operation in operations {
        for Product { flops: each, sides } in products(operation) {
            let gradients = sides.iter().filter(|side| learned.contains(&side.id)).count();
            flops.forward += each;
            flops.step += each * (1 + gradients as u64);
        }
        if operation.inputs().any(|input| learned.contains(&input.id)) {
            learned.extend(operation.outputs().map(|output| output.id));
        }
    }
    flops
}

fn values(tensor: &TensorIr) -> u64 {
    tensor.shape.iter().product::<usize>() as u64
}

/// Every output takes one pass over a kernel.
fn conv<'a>(x: &'a TensorIr, weight: &'a TensorIr, out: &TensorIr) -> Vec<Product<'a>> {
    let kernel = values(weight) / weight.shape[0] as u64;
    vec![Product { flops: 2 * values(out) * kernel, sides: [x, weight] }]
}

/// Every input is spread over a kernel.
fn conv_transpose<'a>(x: &'a TensorIr, weight: &'a TensorIr) -> Vec<Product<'a>> {
    let kernel = values(weight) / weight.shape[0] as u64;
    vec![Product { flops: 2 * values(x) * kernel, sides: [x, weight] }]
}

/// Every output is a product of rows as long as the last axis of the left side.
fn matmul<'a>(left: &'a TensorIr, right: &'a TensorIr, out: &TensorIr) -> Vec<Product<'a>> {
    let inner = left.shape.last().map_or(1, |&size| size as u64);
    vec![Product { flops: 2 * values(out) * inner, sides: [left, right] }]
}

fn products(operation: &OperationIr) -> Vec<Product<'_>> {
    use ModuleOperationIr as Op;
    match operation {
        OperationIr::Float(_, FloatOperationIr::Matmul(op)) => matmul(&op.lhs, &op.rhs, &op.out),
        OperationIr::Module(Op::Linear(op)) => matmul(&op.x, &op.weight, &op.out),
        OperationIr::Module(Op::Conv1d(op)) => conv(&op.x, &op.weight, &op.out),
        OperationIr::Module(Op::Conv2d(op)) => conv(&op.x, &op.weight, &op.out),
        OperationIr::Module(Op::Conv3d(op)) => conv(&op.x, &op.weight, &op.out),
        OperationIr::Module(Op::ConvTranspose1d(op)) => conv_transpose(&op.x, &op.weight),
        OperationIr::Module(Op::ConvTranspose2d(op)) => conv_transpose(&op.x, &op.weight),
        OperationIr::Module(Op::ConvTranspose3d(op)) => conv_transpose(&op.x, &op.weight),
        OperationIr::Module(Op::Attention(op)) => {
            // Queries with keys, then what they weigh with values.
            let pairs = 2 * values(&op.query) / op.query.shape[3] as u64 * op.key.shape[2] as u64;
            vec![
                Product { flops: pairs * op.query.shape[3] as u64, sides: [&op.query, &op.key] },
                Product { flops: pairs * op.value.shape[3] as u64, sides: [&op.query, &op.value] },
            ]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;
    use burn::tensor::ops::{AttentionModuleOptions, ConvTransposeOptions};
    use burn::tensor::{Tensor, module};

    use super::*;
    use crate::model::UNetConfig;

    /// Of a function of a `[1, 2, 4, 6]` map and a learned number.
    fn of(f: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>) -> Flops {
        let mut parameters = BTreeSet::new();
        let prepare = |device: &Device| {
            let learned = Tensor::<4>::zeros([1, 1, 1, 1], device);
            parameters.insert(recorded_id(&learned));
            (learned, BTreeMap::new())
        };
        let captured = record([1, 2, 4, 6], &[1], prepare, |learned, x| {
            let y = f(x, learned.clone());
            let outputs = vec![("y".to_owned(), recorded_id(&y))];
            (y, outputs)
        });
        count(&captured.unwrap().graph.operations, parameters)
    }

    fn config(width: usize, depth: usize, channels: usize, logits: usize) -> UNetConfig {
        UNetConfig { width, depth, input_channels: channels, output_channels: logits }
    }

    #[test]
    fn a_small_u_net_is_counted_by_hand() {
        // Width 2, depth 1, grey to one logit, 4 x 6 pixels: 24 at full size, 6 below.
        let down = 24 * 9 * (2 + 2 * 2) + 6 * 9 * (2 * 4 + 4 * 4);
        let up = 24 * 9 * (4 * 2 + 4 * 2 + 2 * 2);
        let head = 24 * 2;
        let forward = 2 * (down + up + head);
        assert_eq!(forward, 13_920);
        let first = 2 * 24 * 9 * 2;
        let flops = ModelConfig::UNet(config(2, 1, 1, 1)).flops(&[4, 6]);
        assert_eq!(flops, Flops { forward, step: 3 * forward - first });
        // Gates: 2 channels to 1 twice, 1 to 1.
        let gated = forward + 2 * 24 * (2 + 2 + 1);
        let flops = ModelConfig::AttentionUNet(config(2, 1, 1, 1)).flops(&[4, 6]);
        assert_eq!(flops, Flops { forward: gated, step: 3 * gated - first });
    }

    #[test]
    fn sides_are_padded_as_the_network_pads_them() {
        let net = ModelConfig::UNet(config(4, 3, 3, 2));
        assert_eq!(net.flops(&[17, 8]), net.flops(&[24, 8]));
        assert_ne!(net.flops(&[17, 8]), net.flops(&[16, 8]));
        assert_eq!(net.flops(&[1, 1]), net.flops(&[8, 8]));
    }

    /// U-Nets are also built with 2x2 transposed convolutions on the way up, one weight per output
    /// pixel and pair of channels where this family has nine. That net is 97 GFLOP at 512 x 512, and
    /// 145 in a step on two images of 256 x 256.
    #[test]
    fn the_usual_sizes_have_the_known_counts() {
        let net = ModelConfig::UNet(config(32, 4, 3, 1));
        let giga = |flops: u64| flops as f64 / 1e9;
        let up = |side: usize| -> f64 {
            let maps = (0..4).map(|level| (2 * (32 << level) * (32 << level), side >> level));
            maps.map(|(weights, side)| (2 * weights * side * side) as f64 / 1e9).sum()
        };
        let inference = giga(net.flops(&[512, 512]).forward);
        assert!((inference - 130.9).abs() < 0.1, "{inference}");
        assert!((inference - 8.0 * up(512) - 97.0).abs() < 0.5, "{inference}");
        let step = 2.0 * giga(net.flops(&[256, 256]).step);
        assert!((step - 196.2).abs() < 0.1, "{step}");
        assert!((step - 2.0 * 3.0 * 8.0 * up(256) - 145.0).abs() < 0.5, "{step}");
    }

    #[test]
    fn a_side_without_anything_learned_has_no_gradient() {
        // 4 x 6 by 6 x 4, in each of two channels.
        let forward = 2 * 2 * 4 * 6 * 4;
        let image = of(|x, _| x.clone().matmul(x.swap_dims(2, 3)));
        assert_eq!(image, Flops { forward, step: forward });
        let one = of(|x, learned| (x.clone() * learned).matmul(x.swap_dims(2, 3)));
        assert_eq!(one, Flops { forward, step: 2 * forward });
        let both = of(|x, learned| {
            let x = x * learned;
            x.clone().matmul(x.swap_dims(2, 3))
        });
        assert_eq!(both, Flops { forward, step: 3 * forward });
    }

    #[test]
    fn transposed_convolutions_count_their_inputs() {
        let got = of(|x, learned| {
            let weight = learned.expand([2, 3, 2, 2]);
            let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
            module::conv_transpose2d(x, weight, None, options)
        });
        // 4 x 6 pixels of 2 channels, each to 3 channels of 2 x 2 pixels.
        let forward = 2 * 24 * 2 * 12;
        assert_eq!(got, Flops { forward, step: 2 * forward });
    }

    #[test]
    fn attention_is_two_products_however_it_is_written() {
        let apart = of(|x, learned| {
            let x = x * learned;
            softmax(x.clone().matmul(x.clone().swap_dims(2, 3)), 3).matmul(x)
        });
        let one = of(|x, learned| {
            let (x, options) = (x * learned, AttentionModuleOptions::default());
            module::attention(x.clone(), x.clone(), x, None, None, options)
        });
        assert_eq!(apart, one);
        assert_eq!(apart.forward, 2 * 2 * (4 * 6 * 4 + 4 * 4 * 6));
    }

    #[test]
    fn a_linear_layer_counts_its_weights_at_every_place() {
        let got = of(|x, learned| {
            let weight = learned.reshape([1, 1]).expand([6, 5]);
            module::linear(x, weight, None)
        });
        let forward = 2 * (2 * 4) * 6 * 5;
        assert_eq!(got, Flops { forward, step: 2 * forward });
    }
}
