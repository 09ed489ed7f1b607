//! 3x3 convolutions with batch norm and activation, one or two in a row, as one operator.
//!
//! See `scant_compute::conv_norm` for what is saved by that. Other devices take burn's operators
//! apart; the caller decides, with [`on_cpu`](crate::on_cpu), because a module that normalises has
//! running statistics to look after in either case.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor,
};
use burn::tensor::{Tensor, TensorData};
use burn_flex::FlexTensor;
use scant_compute::conv_norm::{self, Settings, Stage, Trace};
use scant_compute::norm::Statistics;
use scant_compute::winograd::Sizes;

/// A 3x3 convolution and the norm behind it.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    /// `[Co, Ci, 3, 3]`
    pub weight: Tensor<4>,
    /// `[Co]`
    pub bias: Tensor<1>,
    /// γ, `[Co]`
    pub gamma: Tensor<1>,
    /// β, `[Co]`
    pub beta: Tensor<1>,
}

/// What the convolutions of one call share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormActivation {
    /// ε of the norm.
    pub epsilon: f64,
    /// Slope of the activation below zero: 0 is ReLU, 0.01 LeakyReLU, 1 nothing.
    pub slope: f64,
}

impl NormActivation {
    fn settings(self) -> Settings {
        Settings { epsilon: self.epsilon as f32, slope: self.slope as f32 }
    }
}

/// Mean and biased variance of a batch, without gradients.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// `[Co]`
    pub mean: Tensor<1>,
    /// `[Co]`
    pub variance: Tensor<1>,
}

impl BatchStatistics {
    /// From `[2, Co]`.
    fn split(both: Tensor<2>) -> Self {
        let channels = both.dims()[1];
        let row = |i: usize| both.clone().narrow(0, i, 1).reshape([channels]);
        Self { mean: row(0), variance: row(1) }
    }
}

/// One convolution, normalised by the statistics of the batch, and activated.
///
/// # Shapes
/// - x: `[B, Ci, H, W]`, `f32` on the CPU
/// - output: `[B, Co, H, W]`
///
/// # Panics
/// When the shapes do not fit or the tensors are elsewhere.
#[must_use]
pub fn conv_norm(
    x: Tensor<4>,
    conv: ConvNorm,
    set: NormActivation,
) -> (Tensor<4>, BatchStatistics) {
    let (y, statistics) = <Dispatch as Chains>::chain_of_one(
        x.into_dispatch(),
        conv.weight.into_dispatch(),
        conv.bias.into_dispatch(),
        conv.gamma.into_dispatch(),
        conv.beta.into_dispatch(),
        set,
    );
    (Tensor::from_dispatch(y), BatchStatistics::split(Tensor::from_dispatch(statistics)))
}

/// Two convolutions in a row, as [`conv_norm`]; the values between them are never written.
///
/// # Shapes
/// - x: `[B, Ci, H, W]`, `f32` on the CPU
/// - output: `[B, Co of the second, H, W]`
///
/// # Panics
/// As [`conv_norm`].
#[must_use]
pub fn conv_norm_twice(
    x: Tensor<4>,
    [first, second]: [ConvNorm; 2],
    set: NormActivation,
) -> (Tensor<4>, [BatchStatistics; 2]) {
    let (y, one, two) = <Dispatch as Chains>::chain_of_two(
        x.into_dispatch(),
        first.weight.into_dispatch(),
        first.bias.into_dispatch(),
        first.gamma.into_dispatch(),
        first.beta.into_dispatch(),
        second.weight.into_dispatch(),
        second.bias.into_dispatch(),
        second.gamma.into_dispatch(),
        second.beta.into_dispatch(),
        set,
    );
    let statistics = [one, two].map(|s| BatchStatistics::split(Tensor::from_dispatch(s)));
    (Tensor::from_dispatch(y), statistics)
}

/// Convolutions with fixed statistics, which become part of the filters. Without gradients.
///
/// # Shapes
/// - x: `[B, Ci, H, W]`, `f32` on the CPU
/// - output: `[B, Co of the last, H, W]`
///
/// # Panics
/// When there is no convolution, the shapes do not fit, or the tensors are elsewhere or tracked.
#[must_use]
pub fn conv_norm_infer(
    x: Tensor<4>,
    stages: Vec<(ConvNorm, BatchStatistics)>,
    set: NormActivation,
) -> Tensor<4> {
    stages.into_iter().fold(x, |x, (conv, statistics)| {
        Tensor::from_dispatch(<Dispatch as Chains>::fixed(
            x.into_dispatch(),
            conv.weight.into_dispatch(),
            conv.bias.into_dispatch(),
            conv.gamma.into_dispatch(),
            conv.beta.into_dispatch(),
            statistics.mean.into_dispatch(),
            statistics.variance.into_dispatch(),
            set,
        ))
    })
}

/// The operators behind the functions of this module.
#[backend_extension(Flex, Autodiff)]
#[allow(clippy::too_many_arguments)] // the macro takes tensors, not arrays of them
pub(crate) trait Chains: Backend {
    /// See [`conv_norm`]; the statistics are `[2, Co]`.
    fn chain_of_one(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`conv_norm_twice`].
    fn chain_of_two(
        x: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`conv_norm_infer`].
    fn fixed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        set: NormActivation,
    ) -> FloatTensor<Self>;
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// Inputs of a chain: the image, then weight, bias, γ and β of each stage.
#[derive(Debug, Clone)]
struct Inputs(Vec<FlexTensor>);

impl Inputs {
    fn new(tensors: impl IntoIterator<Item = FlexTensor>) -> Self {
        Self(tensors.into_iter().map(|t| t.to_contiguous()).collect())
    }

    fn image(&self) -> &[f32] {
        self.0[0].storage()
    }

    fn stages(&self) -> Vec<Stage<'_>> {
        self.0[1..]
            .chunks_exact(4)
            .map(|t| Stage {
                weight: t[0].storage(),
                bias: Some(t[1].storage()),
                gamma: t[2].storage(),
                beta: t[3].storage(),
            })
            .collect()
    }

    /// The sizes of the whole chain, checked.
    fn sizes(&self) -> Sizes {
        let shape = |t: &FlexTensor| t.layout().shape().to_vec();
        let image = shape(&self.0[0]);
        let mut inputs = image[1];
        for stage in self.0[1..].chunks_exact(4) {
            let weight = shape(&stage[0]);
            assert_eq!(weight[1..], [inputs, 3, 3], "the image has {inputs} channels");
            inputs = weight[0];
            let numbers = stage[1..].iter().all(|t| shape(t) == [inputs]);
            assert!(numbers, "bias and norm need one number per output channel");
        }
        Sizes {
            batch: image[0],
            inputs: image[1],
            outputs: inputs,
            rows: image[2],
            columns: image[3],
        }
    }

    fn forward(&self, set: NormActivation) -> (FlexTensor, Vec<Trace>) {
        let s = self.sizes();
        let (y, traces) = conv_norm::forward(s, self.image(), &self.stages(), set.settings());
        (tensor(y, &[s.batch, s.outputs, s.rows, s.columns]), traces)
    }
}

/// `[2, C]`
fn both(s: &Statistics) -> FlexTensor {
    tensor([s.mean.as_slice(), &s.variance].concat(), &[2, s.mean.len()])
}

impl Chains for Flex {
    fn chain_of_one(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (y, traces) = Inputs::new([x, weight, bias, gamma, beta]).forward(set);
        (y, both(&traces[0].statistics))
    }

    fn chain_of_two(
        x: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let inputs = [x, weight1, bias1, gamma1, beta1, weight2, bias2, gamma2, beta2];
        let (y, traces) = Inputs::new(inputs).forward(set);
        (y, both(&traces[0].statistics), both(&traces[1].statistics))
    }

    fn fixed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        set: NormActivation,
    ) -> FloatTensor<Self> {
        let inputs = Inputs::new([x, weight, bias, gamma, beta]);
        let (s, mean, variance) = (inputs.sizes(), mean.to_contiguous(), variance.to_contiguous());
        let statistics = Statistics {
            mean: mean.storage::<f32>().to_vec(),
            variance: variance.storage::<f32>().to_vec(),
        };
        assert_eq!(statistics.mean.len(), s.outputs, "one mean per output channel is needed");
        let (image, stages) = (inputs.image(), inputs.stages());
        let y = conv_norm::infer(s, image, &stages, &[statistics], set.settings());
        tensor(y, &[s.batch, s.outputs, s.rows, s.columns])
    }
}

/// What the backward pass of a chain needs.
#[derive(Debug, Clone)]
struct Saved {
    inputs: Inputs,
    traces: Arc<Vec<Trace>>,
    set: NormActivation,
}

#[derive(Debug)]
struct ChainBackward;

impl<const N: usize> Backward<Flex, N> for ChainBackward {
    type State = Saved;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let Saved { inputs, traces, set } = ops.state;
        let s = inputs.sizes();
        let dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (dx, stages) = conv_norm::backward(
            s,
            inputs.image(),
            &inputs.stages(),
            &traces,
            dy.storage(),
            set.settings(),
            ops.parents[0].is_some(),
        );
        let mut values = vec![dx.unwrap_or_default()];
        for g in stages {
            // The norm takes away what the bias adds.
            let bias = vec![0.0; g.beta.len()];
            values.extend([g.weight, bias, g.gamma, g.beta]);
        }
        for ((parent, values), like) in ops.parents.iter().zip(values).zip(&inputs.0) {
            if let Some(node) = parent {
                grads.register::<Flex>(node.id, tensor(values, &like.layout().shape().to_vec()));
            }
        }
    }
}

/// The chain and its node; `N` is the number of inputs.
fn tracked<const N: usize, C: CheckpointStrategy>(
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
    set: NormActivation,
) -> (FloatTensor<Autodiff<Flex, C>>, Vec<FloatTensor<Autodiff<Flex, C>>>) {
    let nodes = inputs.each_ref().map(|t| t.node());
    let inputs = Inputs::new(inputs.map(|t| t.into_primitive()));
    let constant = |t: &Trace| Autodiff::<Flex, C>::from_inner(both(&t.statistics));
    match ChainBackward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (y, traces) = inputs.forward(set);
            let statistics = traces.iter().map(constant).collect();
            (prep.finish(Saved { inputs, traces: Arc::new(traces), set }, y), statistics)
        }
        OpsKind::UnTracked(prep) => {
            let (y, traces) = inputs.forward(set);
            (prep.finish(y), traces.iter().map(constant).collect())
        }
    }
}

impl<C: CheckpointStrategy> Chains for Autodiff<Flex, C> {
    fn chain_of_one(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (y, mut statistics) = tracked::<5, C>([x, weight, bias, gamma, beta], set);
        (y, statistics.remove(0))
    }

    fn chain_of_two(
        x: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let inputs = [x, weight1, bias1, gamma1, beta1, weight2, bias2, gamma2, beta2];
        let (y, mut statistics) = tracked::<9, C>(inputs, set);
        let first = statistics.remove(0);
        (y, first, statistics.remove(0))
    }

    fn fixed(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _mean: FloatTensor<Self>,
        _variance: FloatTensor<Self>,
        _set: NormActivation,
    ) -> FloatTensor<Self> {
        panic!("a convolution with fixed statistics has no gradient; use the parts")
    }
}

#[cfg(test)]
mod tests;
