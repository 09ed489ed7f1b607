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
use scant_compute::conv_norm::{self, Image, Settings, Stage, Trace};
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
    /// With the precision of the thread that builds the graph.
    fn settings(self) -> Settings {
        let precision = crate::precision();
        Settings { epsilon: self.epsilon as f32, slope: self.slope as f32, precision }
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
    pub(crate) fn split(both: Tensor<2>) -> Self {
        let channels = both.dims()[1];
        let row = |i: usize| both.clone().narrow(0, i, 1).reshape([channels]);
        Self { mean: row(0), variance: row(1) }
    }
}

/// What the first convolution reads. Up-sampled and joined images are never written.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one lives for a moment per layer; a box would be the larger cost
pub enum ConvInput {
    /// `[B, Ci, H, W]`
    Plain(Tensor<4>),
    /// `[B, Ci, H / 2, W / 2]`, every pixel as a square of four: nearest-neighbour up-sampling by two.
    Doubled(Tensor<4>),
    /// `[B, C1, H, W]` and `[B, C2, H, W]`, Ci = C1 + C2: the concatenation of channels.
    Joined(Tensor<4>, Tensor<4>),
}

/// The kind of a [`ConvInput`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One image.
    Plain,
    /// One image, up-sampled.
    Doubled,
    /// Two images.
    Joined,
}

impl ConvInput {
    /// Both tensors; where there is one, the second is a stand-in that nothing reads.
    fn split(self) -> (Tensor<4>, Tensor<4>, Kind) {
        match self {
            Self::Plain(x) => (x.clone(), x.detach(), Kind::Plain),
            Self::Doubled(x) => (x.clone(), x.detach(), Kind::Doubled),
            Self::Joined(first, second) => (first, second, Kind::Joined),
        }
    }

    /// `[B, Ci, H, W]`, written out by burn's operators: for devices and blocks without a fused path.
    #[must_use]
    pub fn written_out(self) -> Tensor<4> {
        match self {
            Self::Plain(x) => x,
            Self::Doubled(x) => {
                let [_, _, rows, columns] = x.dims();
                crate::upsample_nearest2d(x, [2 * rows, 2 * columns])
            }
            Self::Joined(first, second) => Tensor::cat(vec![first, second], 1),
        }
    }

    /// One of the tensors, for its device and type.
    #[must_use]
    pub fn representative(&self) -> &Tensor<4> {
        match self {
            Self::Plain(x) | Self::Doubled(x) | Self::Joined(x, _) => x,
        }
    }

    /// Values per channel that the convolution reads.
    #[must_use]
    pub fn values_per_channel(&self) -> usize {
        let [batch, _, rows, columns] = self.representative().dims();
        let factor = if matches!(self, Self::Doubled(_)) { 4 } else { 1 };
        batch * rows * columns * factor
    }
}

/// One convolution, normalised by the statistics of the batch, and activated.
///
/// # Shapes
/// - x: `f32` on the CPU, see [`ConvInput`]
/// - output: `[B, Co, H, W]`
///
/// # Panics
/// When the shapes do not fit or the tensors are elsewhere.
#[must_use]
pub fn conv_norm(
    x: ConvInput,
    conv: ConvNorm,
    set: NormActivation,
) -> (Tensor<4>, BatchStatistics) {
    let (x, x2, kind) = x.split();
    let (y, statistics) = <Dispatch as Chains>::chain_of_one(
        x.into_dispatch(),
        x2.into_dispatch(),
        conv.weight.into_dispatch(),
        conv.bias.into_dispatch(),
        conv.gamma.into_dispatch(),
        conv.beta.into_dispatch(),
        kind,
        set.settings(),
    );
    (Tensor::from_dispatch(y), BatchStatistics::split(Tensor::from_dispatch(statistics)))
}

/// Two convolutions in a row, as [`conv_norm()`]; the values between them are never written.
///
/// # Shapes
/// - x: `f32` on the CPU, see [`ConvInput`]
/// - output: `[B, Co of the second, H, W]`
///
/// # Panics
/// As [`conv_norm()`].
#[must_use]
pub fn conv_norm_twice(
    x: ConvInput,
    [first, second]: [ConvNorm; 2],
    set: NormActivation,
) -> (Tensor<4>, [BatchStatistics; 2]) {
    let (x, x2, kind) = x.split();
    let (y, one, two) = <Dispatch as Chains>::chain_of_two(
        x.into_dispatch(),
        x2.into_dispatch(),
        first.weight.into_dispatch(),
        first.bias.into_dispatch(),
        first.gamma.into_dispatch(),
        first.beta.into_dispatch(),
        second.weight.into_dispatch(),
        second.bias.into_dispatch(),
        second.gamma.into_dispatch(),
        second.beta.into_dispatch(),
        kind,
        set.settings(),
    );
    let statistics = [one, two].map(|s| BatchStatistics::split(Tensor::from_dispatch(s)));
    (Tensor::from_dispatch(y), statistics)
}

/// Convolutions with fixed statistics, which become part of the filters. Without gradients.
///
/// # Shapes
/// - x: `f32` on the CPU, see [`ConvInput`]
/// - output: `[B, Co of the last, H, W]`
///
/// # Panics
/// When there is no convolution, the shapes do not fit, or the tensors are elsewhere or tracked.
#[must_use]
pub fn conv_norm_infer(
    x: ConvInput,
    stages: Vec<(ConvNorm, BatchStatistics)>,
    set: NormActivation,
) -> Tensor<4> {
    let step = |x: ConvInput, (conv, statistics): (ConvNorm, BatchStatistics)| {
        let (x, x2, kind) = x.split();
        ConvInput::Plain(Tensor::from_dispatch(<Dispatch as Chains>::fixed(
            x.into_dispatch(),
            x2.into_dispatch(),
            conv.weight.into_dispatch(),
            conv.bias.into_dispatch(),
            conv.gamma.into_dispatch(),
            conv.beta.into_dispatch(),
            statistics.mean.into_dispatch(),
            statistics.variance.into_dispatch(),
            kind,
            set.settings(),
        )))
    };
    assert!(!stages.is_empty(), "at least one convolution is needed");
    stages.into_iter().fold(x, step).written_out()
}

/// The operators behind the functions of this module.
#[backend_extension(Flex, Autodiff)]
#[allow(clippy::too_many_arguments)] // the macro takes tensors, not arrays of them
pub(crate) trait Chains: Backend {
    /// See [`conv_norm()`]; the statistics are `[2, Co]`.
    fn chain_of_one(
        x: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        kind: Kind,
        set: Settings,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`conv_norm_twice`].
    fn chain_of_two(
        x: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        kind: Kind,
        set: Settings,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`conv_norm_infer`].
    fn fixed(
        x: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        kind: Kind,
        set: Settings,
    ) -> FloatTensor<Self>;
}

pub(crate) fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// Inputs of a chain: both images, then weight, bias, γ and β of each stage.
#[derive(Debug, Clone)]
struct Inputs {
    tensors: Vec<FlexTensor>,
    kind: Kind,
}

/// Tensors before those of the stages.
const IMAGES: usize = 2;

impl Inputs {
    fn new(tensors: impl IntoIterator<Item = FlexTensor>, kind: Kind) -> Self {
        Self { tensors: tensors.into_iter().map(|t| t.to_contiguous()).collect(), kind }
    }

    fn shape(&self, i: usize) -> Vec<usize> {
        self.tensors[i].layout().shape().to_vec()
    }

    fn image(&self) -> Image<'_> {
        let values = |i: usize| self.tensors[i].storage::<f32>();
        match self.kind {
            Kind::Plain => Image::Plain(values(0)),
            Kind::Doubled => Image::Doubled(values(0)),
            Kind::Joined => Image::Joined(values(0), self.shape(0)[1], values(1)),
        }
    }

    fn stages(&self) -> Vec<Stage<'_>> {
        self.tensors[IMAGES..]
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
        let mut image = self.shape(0);
        match self.kind {
            Kind::Plain => {}
            Kind::Doubled => image[2..].iter_mut().for_each(|n| *n *= 2),
            Kind::Joined => {
                let second = self.shape(1);
                let alike = image[0] == second[0] && image[2..] == second[2..];
                assert!(
                    alike,
                    "joined images {image:?} and {second:?} differ in more than channels"
                );
                image[1] += second[1];
            }
        }
        let mut inputs = image[1];
        for at in (IMAGES..self.tensors.len()).step_by(4) {
            let weight = self.shape(at);
            assert_eq!(weight[1..], [inputs, 3, 3], "the image has {inputs} channels");
            inputs = weight[0];
            let numbers = (at + 1..at + 4).all(|i| self.shape(i) == [inputs]);
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

    fn forward(&self, set: Settings) -> (FlexTensor, Vec<Trace>) {
        let s = self.sizes();
        let (y, traces) = conv_norm::forward(s, self.image(), &self.stages(), set);
        (tensor(y, &[s.batch, s.outputs, s.rows, s.columns]), traces)
    }
}

/// `[2, C]`
pub(crate) fn both(s: &Statistics) -> FlexTensor {
    tensor([s.mean.as_slice(), &s.variance].concat(), &[2, s.mean.len()])
}

impl Chains for Flex {
    fn chain_of_one(
        x: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        kind: Kind,
        set: Settings,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (y, traces) = Inputs::new([x, x2, weight, bias, gamma, beta], kind).forward(set);
        (y, both(&traces[0].statistics))
    }

    fn chain_of_two(
        x: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        kind: Kind,
        set: Settings,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let inputs = [x, x2, weight1, bias1, gamma1, beta1, weight2, bias2, gamma2, beta2];
        let (y, traces) = Inputs::new(inputs, kind).forward(set);
        (y, both(&traces[0].statistics), both(&traces[1].statistics))
    }

    fn fixed(
        x: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        kind: Kind,
        set: Settings,
    ) -> FloatTensor<Self> {
        let inputs = Inputs::new([x, x2, weight, bias, gamma, beta], kind);
        let (s, mean, variance) = (inputs.sizes(), mean.to_contiguous(), variance.to_contiguous());
        let statistics = Statistics {
            mean: mean.storage::<f32>().to_vec(),
            variance: variance.storage::<f32>().to_vec(),
        };
        assert_eq!(statistics.mean.len(), s.outputs, "one mean per output channel is needed");
        let (image, stages) = (inputs.image(), inputs.stages());
        let y = conv_norm::infer(s, image, &stages, &[statistics], set);
        tensor(y, &[s.batch, s.outputs, s.rows, s.columns])
    }
}

/// What the backward pass of a chain needs.
#[derive(Debug, Clone)]
struct Saved {
    inputs: Inputs,
    traces: Arc<Vec<Trace>>,
    set: Settings,
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
            set,
            ops.parents[..IMAGES].iter().any(Option::is_some),
        );
        // Where there is one image, its stand-in gets no gradient.
        let mut values: Vec<Option<Vec<f32>>> = dx.into_iter().map(Some).collect();
        values.resize(IMAGES, None);
        for g in stages {
            // The norm takes away what the bias adds.
            let bias = vec![0.0; g.beta.len()];
            values.extend([g.weight, bias, g.gamma, g.beta].map(Some));
        }
        for ((parent, values), like) in ops.parents.iter().zip(values).zip(&inputs.tensors) {
            if let (Some(node), Some(values)) = (parent, values) {
                grads.register::<Flex>(node.id, tensor(values, &like.layout().shape().to_vec()));
            }
        }
    }
}

/// A tracked tensor of the CPU.
type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;

/// The chain and its node; `N` is the number of inputs.
fn tracked<const N: usize, C: CheckpointStrategy>(
    inputs: [Tracked<C>; N],
    kind: Kind,
    set: Settings,
) -> (Tracked<C>, Vec<Tracked<C>>) {
    let nodes = inputs.each_ref().map(|t| t.node());
    let inputs = Inputs::new(inputs.map(|t| t.into_primitive()), kind);
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
        x2: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        kind: Kind,
        set: Settings,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (y, mut statistics) = tracked::<6, C>([x, x2, weight, bias, gamma, beta], kind, set);
        (y, statistics.remove(0))
    }

    fn chain_of_two(
        x: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        weight1: FloatTensor<Self>,
        bias1: FloatTensor<Self>,
        gamma1: FloatTensor<Self>,
        beta1: FloatTensor<Self>,
        weight2: FloatTensor<Self>,
        bias2: FloatTensor<Self>,
        gamma2: FloatTensor<Self>,
        beta2: FloatTensor<Self>,
        kind: Kind,
        set: Settings,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let inputs = [x, x2, weight1, bias1, gamma1, beta1, weight2, bias2, gamma2, beta2];
        let (y, mut statistics) = tracked::<10, C>(inputs, kind, set);
        let first = statistics.remove(0);
        (y, first, statistics.remove(0))
    }

    fn fixed(
        _x: FloatTensor<Self>,
        _x2: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _mean: FloatTensor<Self>,
        _variance: FloatTensor<Self>,
        _kind: Kind,
        _set: Settings,
    ) -> FloatTensor<Self> {
        panic!("a convolution with fixed statistics has no gradient; use the parts")
    }
}

#[cfg(test)]
mod tests;
