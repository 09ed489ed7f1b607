//! The operators behind the public functions, and their gradients.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Flex, backend_extension, tensor::FloatTensor,
};
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use scant_compute::conv_norm::{self, Image, Settings, Stage, Trace};
use scant_compute::norm::Statistics;
use scant_compute::winograd::Sizes;

use super::Kind;

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
