//! Two-dimensional convolution, stride one, that keeps the image size, with gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor, TensorData, module, ops};
use burn_flex::FlexTensor;
use gemm::Parallelism;
use rayon::prelude::*;

use crate::im2col::{self, Sizes};
use crate::on_cpu;

/// Convolution with zero padding `k / 2`. Other devices than the CPU take burn's.
///
/// # Shapes
/// - x: `[B, Ci, H, W]`
/// - weight: `[Co, Ci, k, k]`, k odd
/// - bias: `[Co]`
/// - output: `[B, Co, H, W]`
///
/// # Panics
/// When the shapes do not fit or k is even.
#[must_use]
pub fn conv2d_same(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let ([_, channels, ..], [outputs, inputs, kernel, kernel_columns]) = (x.dims(), weight.dims());
    assert_eq!(channels, inputs, "the image has {channels} channels, the kernel {inputs}");
    assert!(kernel == kernel_columns && kernel % 2 == 1, "the kernel must be square and odd");
    assert_eq!(bias.dims(), [outputs], "one bias per output channel is needed");
    let single = [x.dtype(), weight.dtype(), bias.dtype()].iter().all(|t| *t == DType::F32);
    if !(single && on_cpu(&x.device())) {
        let options = ops::ConvOptions::new([1, 1], [kernel / 2; 2], [1, 1], 1);
        return module::conv2d(x, weight, Some(bias), options);
    }
    Tensor::from_dispatch(<Dispatch as ConvSame>::conv_same(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// The operators behind [`conv2d_same`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait ConvSame: Backend {
    /// See [`conv2d_same`].
    fn conv_same(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Gradient of the input from that of the output, `[B, Co, H, W]` to `[B, Ci, H, W]`.
    fn conv_same_input_gradient(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Gradient of a `kernel` x `kernel` weight, `[Co, Ci, k, k]`.
    fn conv_same_weight_gradient(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        kernel: usize,
    ) -> FloatTensor<Self>;

    /// Gradient of the bias, `[Co]`.
    fn conv_same_bias_gradient(dy: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Whole images to worker threads when there are enough of them, else the threads share each image.
fn per_image(batch: usize) -> (bool, Parallelism) {
    let threads = rayon::current_num_threads();
    if batch >= threads { (true, Parallelism::None) } else { (false, Parallelism::Rayon(threads)) }
}

fn dims(t: &FlexTensor) -> [usize; 4] {
    let shape = t.layout().shape();
    [shape[0], shape[1], shape[2], shape[3]]
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

fn convolve(x: &[f32], batch: usize, s: Sizes, weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let mut y = vec![0.0; batch * s.outputs * s.pixels()];
    let (apart, parallelism) = per_image(batch);
    let inputs = s.inputs * s.pixels();
    let one = |(image, y): (usize, &mut [f32])| {
        let x = &x[image * inputs..(image + 1) * inputs];
        im2col::forward(s, x, weight, bias, y, parallelism);
    };
    let chunk = s.outputs * s.pixels();
    if apart {
        y.par_chunks_exact_mut(chunk).enumerate().for_each(one);
    } else {
        y.chunks_exact_mut(chunk).enumerate().for_each(one);
    }
    y
}

impl ConvSame for Flex {
    fn conv_same(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let ([batch, inputs, rows, columns], [outputs, _, kernel, _]) = (dims(&x), dims(&weight));
        let s = Sizes { inputs, outputs, rows, columns, kernel };
        let y = convolve(x.storage(), batch, s, weight.storage(), Some(bias.storage()));
        tensor(y, &[batch, outputs, rows, columns])
    }

    fn conv_same_input_gradient(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (dy, weight) = (dy.to_contiguous(), weight.to_contiguous());
        let ([batch, outputs, rows, columns], [_, inputs, kernel, _]) = (dims(&dy), dims(&weight));
        let reversed = im2col::reversed(weight.storage(), outputs, inputs, kernel);
        let s = Sizes { inputs: outputs, outputs: inputs, rows, columns, kernel };
        tensor(convolve(dy.storage(), batch, s, &reversed, None), &[batch, inputs, rows, columns])
    }

    fn conv_same_weight_gradient(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        kernel: usize,
    ) -> FloatTensor<Self> {
        let (x, dy) = (x.to_contiguous(), dy.to_contiguous());
        let ([batch, inputs, rows, columns], [_, outputs, ..]) = (dims(&x), dims(&dy));
        let s = Sizes { inputs, outputs, rows, columns, kernel };
        let (apart, parallelism) = per_image(batch);
        let size = outputs * inputs * kernel * kernel;
        let (x_size, dy_size) = (inputs * s.pixels(), outputs * s.pixels());
        let (x, dy): (&[f32], &[f32]) = (x.storage(), dy.storage());
        let one = |image: usize| {
            let mut dw = vec![0.0; size];
            let x = &x[image * x_size..(image + 1) * x_size];
            let dy = &dy[image * dy_size..(image + 1) * dy_size];
            im2col::weight_gradient(s, x, dy, &mut dw, parallelism);
            dw
        };
        let parts: Vec<Vec<f32>> = if apart {
            (0..batch).into_par_iter().map(one).collect()
        } else {
            (0..batch).map(one).collect()
        };
        // Added image by image, so that the sum does not depend on which thread was first.
        let mut dw = vec![0.0; size];
        for part in &parts {
            dw.iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
        }
        tensor(dw, &[outputs, inputs, kernel, kernel])
    }

    fn conv_same_bias_gradient(dy: FloatTensor<Self>) -> FloatTensor<Self> {
        let dy = dy.to_contiguous();
        let [batch, outputs, rows, columns] = dims(&dy);
        let pixels = rows * columns;
        let values: &[f32] = dy.storage();
        let sum = |channel: usize| -> f32 {
            let planes = (0..batch).map(|b| (b * outputs + channel) * pixels);
            let total: f64 = planes.map(|p| plane_sum(&values[p..p + pixels])).sum();
            total as f32
        };
        let sums: Vec<f32> = (0..outputs).into_par_iter().map(sum).collect();
        tensor(sums, &[outputs])
    }
}

/// Sum of a plane: sixteen running sums that the compiler can keep in registers.
fn plane_sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f32; 16];
    let mut total = 0.0_f64;
    // Lanes are emptied now and then, so that single precision does not wear off on large planes.
    for block in values.chunks(1024) {
        let parts = block.chunks_exact(16);
        let rest: f32 = parts.remainder().iter().sum();
        for part in parts {
            lanes.iter_mut().zip(part).for_each(|(lane, v)| *lane += v);
        }
        total += f64::from(rest) + lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
        lanes = [0.0; 16];
    }
    total
}

#[derive(Debug)]
struct ConvSameBackward;

impl<B: ConvSame> Backward<B, 3> for ConvSameBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, usize);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (x, weight, kernel) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, B::conv_same_bias_gradient(dy.clone()));
        }
        if let Some(node) = weight_node {
            let dw = B::conv_same_weight_gradient(x, dy.clone(), kernel);
            grads.register::<B>(node.id, dw);
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::conv_same_input_gradient(dy, weight));
        }
    }
}

impl<B: ConvSame, C: CheckpointStrategy> ConvSame for Autodiff<B, C> {
    fn conv_same(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let nodes = [x_node, weight_node, bias_node];
        match ConvSameBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                use burn::backend::TensorMetadata;
                let kernel = weight.shape()[2];
                let state = (x.clone(), weight.clone(), kernel);
                prep.finish(state, B::conv_same(x, weight, bias))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::conv_same(x, weight, bias)),
        }
    }

    fn conv_same_input_gradient(
        _dy: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of a convolution are not provided")
    }

    fn conv_same_weight_gradient(
        _x: FloatTensor<Self>,
        _dy: FloatTensor<Self>,
        _kernel: usize,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of a convolution are not provided")
    }

    fn conv_same_bias_gradient(_dy: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("gradients of gradients of a convolution are not provided")
    }
}

#[cfg(test)]
mod tests;
