//! The end of a residual block: the sum of two branches and the activation after it.
//!
//! Only the output is kept for the backward pass, and both branches get the same gradient.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};
use burn_flex::FlexTensor;
use scant_compute::residual;

use crate::activation::activate;
use crate::conv_norm::tensor;
use crate::device::on_cpu;

/// `act(a + b)`; `act(v)` is v above zero and slope · v elsewhere: slope 0 is ReLU, 0.01 LeakyReLU.
///
/// # Shapes
/// - a, b, output: the same
///
/// # Panics
/// When the shapes differ, or the slope is negative.
#[must_use]
pub fn residual_sum<const D: usize>(a: Tensor<D>, b: Tensor<D>, slope: f64) -> Tensor<D> {
    assert_eq!(a.dims(), b.dims(), "the branches are not of one size");
    assert!(slope >= 0.0, "a negative slope hides the sign of the sum");
    let single = a.dtype() == DType::F32 && b.dtype() == DType::F32;
    if !(single && on_cpu(&a.device())) {
        return activate(a + b, slope);
    }
    let y =
        <Dispatch as Branches>::residual_sum(a.into_dispatch(), b.into_dispatch(), slope as f32);
    Tensor::from_dispatch(y)
}

/// The operator behind [`residual_sum`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Branches: Backend {
    /// See [`residual_sum`].
    fn residual_sum(a: FloatTensor<Self>, b: FloatTensor<Self>, slope: f32) -> FloatTensor<Self>;
}

impl Branches for Flex {
    fn residual_sum(a: FloatTensor<Self>, b: FloatTensor<Self>, slope: f32) -> FloatTensor<Self> {
        let (a, b) = (a.to_contiguous(), b.to_contiguous());
        let y = residual::sum(a.storage(), b.storage(), slope);
        tensor(y, &a.layout().shape().to_vec())
    }
}

#[derive(Debug)]
struct SumBackward;

impl Backward<Flex, 2> for SumBackward {
    type State = (FlexTensor, f32);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (y, slope) = ops.state;
        let dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let dx = residual::gradient(dy.storage(), y.storage(), slope);
        let dx = tensor(dx, &y.layout().shape().to_vec());
        for node in ops.parents.into_iter().flatten() {
            grads.register::<Flex>(node.id, dx.clone());
        }
    }
}

impl<C: CheckpointStrategy> Branches for Autodiff<Flex, C> {
    fn residual_sum(a: FloatTensor<Self>, b: FloatTensor<Self>, slope: f32) -> FloatTensor<Self> {
        let nodes = [a.node(), b.node()];
        let y = Flex::residual_sum(a.into_primitive(), b.into_primitive(), slope);
        match SumBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((y.clone(), slope), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::device::fall_through;

    fn values<const D: usize>(t: &Tensor<D>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device).require_grad()
    }

    #[test]
    fn equals_burns_operators() {
        let device = Device::flex().autodiff();
        device.seed(9);
        for slope in [0.0, 0.01] {
            let (a, b) = (random([2, 3, 5, 7], &device), random([2, 3, 5, 7], &device));
            let weights = random([2, 3, 5, 7], &device).detach();
            let pass = |elsewhere: bool| {
                let sum = || residual_sum(a.clone(), b.clone(), slope);
                let y = if elsewhere { fall_through(sum) } else { sum() };
                let gradients = (y.clone() * weights.clone()).sum().backward();
                let of = |t: &Tensor<4>| values(&t.grad(&gradients).unwrap());
                [values(&y), of(&a), of(&b)]
            };
            assert_eq!(pass(false), pass(true), "slope {slope}");
        }
    }

    #[test]
    fn branches_may_be_one_or_learn_nothing_or_lie_otherwise() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_floats([-1.0, 2.0], &device).require_grad();
        let gradients = residual_sum(x.clone(), x.clone(), 0.5).sum().backward();
        assert_eq!(values(&x.grad(&gradients).unwrap()), [1.0, 2.0]);

        let fixed = x.clone().detach().set_require_grad(false);
        let gradients = residual_sum(x.clone(), fixed.clone(), 0.5).sum().backward();
        assert_eq!(values(&x.grad(&gradients).unwrap()), [0.5, 1.0]);
        assert!(fixed.grad(&gradients).is_none());

        let rows = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, -40.0]], &Device::flex());
        let sum = residual_sum(rows.clone(), rows.transpose(), 0.5);
        assert_eq!(values(&sum), [2.0, 5.0, 5.0, -40.0]);
    }

    #[test]
    #[should_panic(expected = "not of one size")]
    fn other_shapes_are_refused() {
        let device = Device::flex();
        let one = Tensor::<2>::ones([1, 3], &device);
        let _ = residual_sum(Tensor::<2>::ones([2, 3], &device), one, 0.0);
    }
}
