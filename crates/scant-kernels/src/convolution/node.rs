//! The operators behind the public functions, and their gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use scant_compute::conv::transposed::Transposed;
use scant_compute::conv::{self, Geometry, transposed};

/// Which of the two, with all sizes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layer {
    Plain(Geometry),
    Transposed(Transposed),
}

impl Layer {
    /// Shape of the output, with as many axes as the input has.
    fn output_shape(&self, rank: usize) -> Vec<usize> {
        match self {
            Self::Plain(g) => shape([g.batch, g.outputs], g.output(), rank),
            Self::Transposed(t) => shape([t.batch, t.outputs], t.output(), rank),
        }
    }

    fn input_shape(&self, rank: usize) -> Vec<usize> {
        match self {
            Self::Plain(g) => shape([g.batch, g.inputs], g.image, rank),
            Self::Transposed(t) => shape([t.batch, t.inputs], t.image, rank),
        }
    }

    fn weight_shape(&self, rank: usize) -> Vec<usize> {
        match self {
            Self::Plain(g) => shape([g.outputs, g.inputs / g.groups], g.kernel, rank),
            Self::Transposed(t) => shape([t.inputs, t.outputs / t.groups], t.kernel, rank),
        }
    }

    fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        match self {
            Self::Plain(g) => conv::forward(g, x, weight, bias),
            Self::Transposed(t) => transposed::forward(t, x, weight, bias),
        }
    }

    fn input_gradient(&self, dy: &[f32], weight: &[f32]) -> Vec<f32> {
        match self {
            Self::Plain(g) => conv::input_gradient(g, dy, weight),
            Self::Transposed(t) => transposed::input_gradient(t, dy, weight),
        }
    }

    fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        match self {
            Self::Plain(g) => conv::weight_gradient(g, x, dy),
            Self::Transposed(t) => transposed::weight_gradient(t, x, dy),
        }
    }
}

fn shape(leading: [usize; 2], axes: [usize; 3], rank: usize) -> Vec<usize> {
    [&leading, &axes[5 - rank..]].concat()
}

/// The operators behind [`conv2d`](crate::conv2d) and its siblings.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Convolve: Backend {
    /// The layer without bias.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self>;

    /// The layer with bias.
    fn convolution_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self>;

    /// Gradient of the input from that of the output.
    fn convolution_input_gradient(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self>;

    /// Gradient of the weight.
    fn convolution_weight_gradient(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self>;

    /// Gradient of the bias, `[Co]`.
    fn convolution_bias_gradient(dy: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn tensor(values: Vec<f32>, shape: Vec<usize>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn rank(t: &FlexTensor) -> usize {
    t.layout().shape().len()
}

impl Convolve for Flex {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let y = layer.forward(x.storage(), weight.storage(), None);
        tensor(y, layer.output_shape(rank(&x)))
    }

    fn convolution_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let y = layer.forward(x.storage(), weight.storage(), Some(bias.storage()));
        tensor(y, layer.output_shape(rank(&x)))
    }

    fn convolution_input_gradient(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let (dy, weight) = (dy.to_contiguous(), weight.to_contiguous());
        let dx = layer.input_gradient(dy.storage(), weight.storage());
        tensor(dx, layer.input_shape(rank(&dy)))
    }

    fn convolution_weight_gradient(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let (x, dy) = (x.to_contiguous(), dy.to_contiguous());
        let dw = layer.weight_gradient(x.storage(), dy.storage());
        tensor(dw, layer.weight_shape(rank(&x)))
    }

    fn convolution_bias_gradient(dy: FloatTensor<Self>) -> FloatTensor<Self> {
        let dy = dy.to_contiguous();
        let (batch, channels) = (dy.layout().shape()[0], dy.layout().shape()[1]);
        tensor(conv::bias_gradient(batch, channels, dy.storage()), vec![channels])
    }
}

/// What the gradients of weight and input need; each is kept only if asked for.
#[derive(Debug, Clone)]
struct Saved<T> {
    x: Option<T>,
    weight: Option<T>,
    layer: Layer,
}

#[derive(Debug)]
struct ConvolutionBackward;

#[derive(Debug)]
struct ConvolutionWithBiasBackward;

/// Gradients of input and weight.
fn register<B: Convolve>(
    saved: Saved<FloatTensor<B>>,
    [x_node, weight_node]: [Option<burn::backend::autodiff::NodeId>; 2],
    dy: FloatTensor<B>,
    grads: &mut Gradients,
) {
    if let (Some(node), Some(x)) = (weight_node, saved.x) {
        let dw = B::convolution_weight_gradient(x, dy.clone(), saved.layer);
        grads.register::<B>(node, dw);
    }
    if let (Some(node), Some(weight)) = (x_node, saved.weight) {
        grads.register::<B>(node, B::convolution_input_gradient(dy, weight, saved.layer));
    }
}

impl<B: Convolve> Backward<B, 2> for ConvolutionBackward {
    type State = Saved<FloatTensor<B>>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let dy = grads.consume::<B>(&ops.node);
        register::<B>(ops.state, nodes, dy, grads);
    }
}

impl<B: Convolve> Backward<B, 3> for ConvolutionWithBiasBackward {
    type State = Saved<FloatTensor<B>>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node, bias_node] = ops.parents.map(|node| node.map(|node| node.id));
        let dy = grads.consume::<B>(&ops.node);
        if let Some(node) = bias_node {
            grads.register::<B>(node, B::convolution_bias_gradient(dy.clone()));
        }
        register::<B>(ops.state, [x_node, weight_node], dy, grads);
    }
}

impl<B: Convolve, C: CheckpointStrategy> Convolve for Autodiff<B, C> {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let (for_x, for_weight) = (x.is_tracked(), weight.is_tracked());
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let nodes = [x_node, weight_node];
        match ConvolutionBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    x: for_weight.then(|| x.clone()),
                    weight: for_x.then(|| weight.clone()),
                    layer,
                };
                prep.finish(saved, B::convolution(x, weight, layer))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::convolution(x, weight, layer)),
        }
    }

    fn convolution_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let (for_x, for_weight) = (x.is_tracked(), weight.is_tracked());
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let nodes = [x_node, weight_node, bias_node];
        match ConvolutionWithBiasBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let saved = Saved {
                    x: for_weight.then(|| x.clone()),
                    weight: for_x.then(|| weight.clone()),
                    layer,
                };
                prep.finish(saved, B::convolution_with_bias(x, weight, bias, layer))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::convolution_with_bias(x, weight, bias, layer))
            }
        }
    }

    fn convolution_input_gradient(
        _dy: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _layer: Layer,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of a convolution are not provided")
    }

    fn convolution_weight_gradient(
        _x: FloatTensor<Self>,
        _dy: FloatTensor<Self>,
        _layer: Layer,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of a convolution are not provided")
    }

    fn convolution_bias_gradient(_dy: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("gradients of gradients of a convolution are not provided")
    }
}
