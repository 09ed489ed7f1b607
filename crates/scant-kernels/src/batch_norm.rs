//! Batch norm with an activation behind it, of maps of any number of axes.
//!
//! Equals PyTorch's `batch_norm` in training, then `leaky_relu`. Only the values before the norm are
//! kept for the backward pass; the output is made again where it is needed.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor,
};
use burn::tensor::{DType, Tensor, module};
use burn_flex::FlexTensor;
use scant_compute::norm::{self, Affine, Planes, Statistics};

use crate::activation::activate;
use crate::conv_norm::{BatchStatistics, NormActivation, both, tensor};
use crate::device::on_cpu;

/// `act(γ (x - μ) / √(v + ε) + β)` by the mean and the biased variance of the batch, per channel.
///
/// # Shapes
/// - x, output: `[B, C, ...]`
/// - gamma, beta: `[C]`
///
/// # Panics
/// When the shapes do not fit.
#[must_use]
pub fn batch_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    set: NormActivation,
) -> (Tensor<D>, BatchStatistics) {
    assert!(D > 1, "a batch norm needs images and channels");
    let channels = x.dims()[1];
    let fits = gamma.dims() == [channels] && beta.dims() == [channels];
    assert!(fits, "batch norm of {channels} channels needs as many γ and β");
    let single = [x.dtype(), gamma.dtype(), beta.dtype()].iter().all(|t| *t == DType::F32);
    if !(single && on_cpu(&x.device())) {
        let norm = module::batch_norm_train(x, gamma, beta, set.epsilon);
        let y = activate(norm.output, set.slope);
        return (y, BatchStatistics { mean: norm.mean, variance: norm.variance });
    }
    let (y, statistics) = <Dispatch as NormOps>::batch_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        set,
    );
    (Tensor::from_dispatch(y), BatchStatistics::split(Tensor::from_dispatch(statistics)))
}

/// The operator behind [`batch_norm`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait NormOps: Backend {
    /// See [`batch_norm`]; the statistics are `[2, C]`.
    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// What enters a norm.
#[derive(Debug, Clone)]
struct Inputs {
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    set: NormActivation,
}

impl Inputs {
    fn new([x, gamma, beta]: [FlexTensor; 3], set: NormActivation) -> Self {
        let [x, gamma, beta] = [x, gamma, beta].map(|t| t.to_contiguous());
        Self { x, gamma, beta, set }
    }

    fn shape(&self) -> Vec<usize> {
        self.x.layout().shape().to_vec()
    }

    fn planes(&self) -> Planes {
        let shape = self.shape();
        Planes { batch: shape[0], channels: shape[1], area: shape[2..].iter().product() }
    }

    fn affine(&self, statistics: &Statistics) -> Affine {
        let (epsilon, slope) = (self.set.epsilon as f32, self.set.slope as f32);
        Affine::new(statistics, self.gamma.storage(), self.beta.storage(), epsilon, slope)
    }

    fn forward(&self) -> (FlexTensor, Statistics) {
        let (planes, x) = (self.planes(), self.x.storage());
        let statistics = norm::statistics(planes, x);
        let y = norm::apply(planes, x, &self.affine(&statistics));
        (tensor(y, &self.shape()), statistics)
    }
}

impl NormOps for Flex {
    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (y, statistics) = Inputs::new([x, gamma, beta], set).forward();
        (y, both(&statistics))
    }
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = (Inputs, Statistics);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (inputs, statistics) = ops.state;
        let [of_x, of_gamma, of_beta] = ops.parents;
        let dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (planes, z, dy) = (inputs.planes(), inputs.x.storage(), dy.storage());
        let affine = inputs.affine(&statistics);
        let epsilon = inputs.set.epsilon as f32;
        let gradient = norm::gradient(planes, dy, z, &statistics, &affine, epsilon);
        if let Some(node) = of_x {
            let dx = norm::input_gradient(planes, dy, z, &affine, &gradient);
            grads.register::<Flex>(node.id, tensor(dx, &inputs.shape()));
        }
        for (node, values) in [(of_gamma, gradient.gamma), (of_beta, gradient.beta)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(values, &[planes.channels]));
            }
        }
    }
}

impl<C: CheckpointStrategy> NormOps for Autodiff<Flex, C> {
    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        set: NormActivation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let inputs = Inputs::new([x, gamma, beta].map(|t| t.into_primitive()), set);
        let (y, statistics) = inputs.forward();
        let constant = Self::from_inner(both(&statistics));
        let y = match NormBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((inputs, statistics), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        (y, constant)
    }
}

#[cfg(test)]
mod tests;
