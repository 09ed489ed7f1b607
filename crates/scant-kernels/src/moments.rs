//! Sums of a feature map inside and outside of regions, with gradients.
//!
//! Their gradient is as large as the map. Registered like any other it would be written, then added
//! by another pass to what the rest of the network says about the map: most of its cost. [`tap`]
//! avoids that: it puts a point into the graph where the two meet, and there the gradient is added
//! in place, without ever being a tensor of its own.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::FlexTensor;
use scant_compute::masked_moments::{MaskedMoments, energy};

use crate::device::on_cpu;

/// A feature map that can be looked at for little.
///
/// Made by [`tap`].
#[derive(Debug, Clone)]
pub struct Tap<const D: usize> {
    features: Tensor<D>,
    link: Link,
}

/// Splits a feature map into the tensor the network goes on with and one to be looked at by
/// [`Tap::masked_sums`]. Both have the values of `x`; nothing is copied.
#[must_use]
pub fn tap<const D: usize>(x: Tensor<D>) -> (Tensor<D>, Tap<D>) {
    let link = Link::default();
    if !(fast(&x) && x.device().is_autodiff()) {
        return (x.clone(), Tap { features: x, link });
    }
    let step = |x: Tensor<D>, part: Part| -> Tensor<D> {
        let linked = <Dispatch as MomentOps>::linked(x.into_dispatch(), part, link.clone());
        Tensor::from_dispatch(linked)
    };
    // Backward steps run from the last node to the first. So `Announce` has run before any sum of
    // the tap, which is as deep as `Pass`, and `Collect` runs after all of them.
    let features = step(x, Part::Collect);
    let onwards = step(step(features.clone(), Part::Pass), Part::Announce);
    (onwards, Tap { features, link })
}

impl<const D: usize> Tap<D> {
    /// A map whose gradient is added like any other.
    #[must_use]
    pub fn untied(features: Tensor<D>) -> Self {
        Self { features, link: Link::default() }
    }

    /// The map.
    #[must_use]
    pub fn features(&self) -> &Tensor<D> {
        &self.features
    }

    /// Asks the next backward pass to compare the gradient of the sums with what the rest of the network
    /// says about the map. Nothing is ever seen on devices other than the CPU.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.link.with(|meeting| meeting.watched = Some(Energies::default()));
        Watch(self.link.clone())
    }

    /// Sums inside and outside of each region; both are linear in the features, and the mask is a
    /// constant.
    ///
    /// # Shapes
    /// - features: `[B, C, ...]`
    /// - mask: `[B, R, ...]`, the same pixels
    /// - result: `Σ x m` and `Σ x (1 - m)`, `[B, C, R]` each
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[must_use]
    pub fn masked_sums(&self, mask: Tensor<D>) -> (Tensor<3>, Tensor<3>) {
        let (shape, pixels) = (self.features.dims(), mask.dims());
        let fits = D > 1 && pixels[0] == shape[0] && pixels[2..] == shape[2..];
        assert!(fits, "features {shape:?} and mask {pixels:?} differ in images or pixels");
        let regions = pixels[1];
        let both: Tensor<3> = if fast(&self.features) && mask.dtype() == DType::F32 {
            Tensor::from_dispatch(<Dispatch as MomentOps>::masked_sums(
                self.features.clone().into_dispatch(),
                mask.detach().into_dispatch(),
                self.link.clone(),
            ))
        } else {
            sums_by_tensors(self.features.clone(), mask.detach())
        };
        (both.clone().narrow(2, 0, regions), both.narrow(2, regions, regions))
    }
}

/// [`Tap::masked_sums`] of a map that was not tapped.
///
/// # Panics
/// When the shapes do not fit.
#[must_use]
pub fn masked_sums<const D: usize>(features: Tensor<D>, mask: Tensor<D>) -> (Tensor<3>, Tensor<3>) {
    Tap::untied(features).masked_sums(mask)
}

fn fast<const D: usize>(x: &Tensor<D>) -> bool {
    on_cpu(&x.device()) && x.dtype() == DType::F32
}

/// The same `[B, C, 2 R]` by burn's own operators, for every other device: one matrix product with
/// the masks, which keeps the gradient free of temporaries as large as the features.
fn sums_by_tensors<const D: usize>(features: Tensor<D>, mask: Tensor<D>) -> Tensor<3> {
    let (shape, regions) = (features.dims(), mask.dims()[1]);
    let n = shape[2..].iter().product::<usize>();
    let inside = mask.reshape([shape[0], regions, n]);
    let outside = -inside.clone() + 1.0;
    let masks = Tensor::cat(vec![inside, outside], 1).swap_dims(1, 2);
    features.reshape([shape[0], shape[1], n]).matmul(masks)
}

/// What a backward pass saw at a tap.
#[derive(Debug, Clone)]
pub struct Watch(Link);

impl Watch {
    /// Euclidean norm of the gradient that came from the sums over that of all the rest; `None` before
    /// the backward pass, and where there was no other gradient.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let seen = self.0.with(|meeting| meeting.watched)?;
        (seen.rest > 0.0 && seen.sums.is_finite()).then(|| (seen.sums / seen.rest).sqrt())
    }
}

/// Squared norms of gradients at a tap.
#[derive(Debug, Clone, Copy, Default)]
struct Energies {
    rest: f64,
    sums: f64,
}

/// What the steps of one tap tell each other during a backward pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link(Arc<Mutex<Meeting>>);

#[derive(Debug, Default)]
struct Meeting {
    /// Whether a gradient from the rest of the network will come by.
    announced: bool,
    /// Masks and gradients of sums, waiting for it.
    waiting: Vec<Box<dyn Any + Send>>,
    /// Norms of the two, where somebody asked for them.
    watched: Option<Energies>,
}

impl Link {
    fn with<R>(&self, f: impl FnOnce(&mut Meeting) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The steps of a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Adds what waits to the gradient.
    Collect,
    /// Only keeps the two others apart.
    Pass,
    /// Says that a gradient will come by.
    Announce,
}

/// The operators behind [`tap`] and [`masked_sums`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait MomentOps: Backend {
    /// The same tensor, as a step of a tap.
    fn linked(x: FloatTensor<Self>, part: Part, link: Link) -> FloatTensor<Self>;

    /// `[B, C, 2 R]`: inside of every region, then outside.
    fn masked_sums(
        features: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        link: Link,
    ) -> FloatTensor<Self>;

    /// Gradient of features of the given shape from that of the sums.
    fn masked_sums_gradient(
        mask: FloatTensor<Self>,
        sums_gradient: FloatTensor<Self>,
        shape: Vec<usize>,
    ) -> FloatTensor<Self>;

    /// `gradient` plus that of the sums, in place where nobody else holds it.
    fn add_masked_sums_gradient(
        gradient: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        sums_gradient: FloatTensor<Self>,
        link: Link,
    ) -> FloatTensor<Self>;
}

fn sizes(features: &[usize], mask: &FlexTensor) -> MaskedMoments {
    MaskedMoments {
        batch: features[0],
        channels: features[1],
        regions: mask.layout().shape()[1],
        pixels: features[2..].iter().product(),
    }
}

fn shape(t: &FlexTensor) -> Vec<usize> {
    let shape = t.layout().shape();
    (0..shape.num_dims()).map(|axis| shape[axis]).collect()
}

impl MomentOps for Flex {
    fn linked(x: FloatTensor<Self>, _part: Part, _link: Link) -> FloatTensor<Self> {
        x
    }

    fn masked_sums(
        features: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        _link: Link,
    ) -> FloatTensor<Self> {
        let (features, mask) = (features.to_contiguous(), mask.to_contiguous());
        let s = sizes(&shape(&features), &mask);
        let sums = s.sums(features.storage(), mask.storage());
        FlexTensor::from_data(TensorData::new(sums, [s.batch, s.channels, 2 * s.regions]))
    }

    fn masked_sums_gradient(
        mask: FloatTensor<Self>,
        sums_gradient: FloatTensor<Self>,
        shape: Vec<usize>,
    ) -> FloatTensor<Self> {
        let (mask, sums_gradient) = (mask.to_contiguous(), sums_gradient.to_contiguous());
        let gradient = sizes(&shape, &mask).gradient(mask.storage(), sums_gradient.storage());
        FlexTensor::from_data(TensorData::new(gradient, shape))
    }

    fn add_masked_sums_gradient(
        gradient: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        sums_gradient: FloatTensor<Self>,
        link: Link,
    ) -> FloatTensor<Self> {
        let (mask, sums_gradient) = (mask.to_contiguous(), sums_gradient.to_contiguous());
        // A copy of the handle would make the storage a shared one: taken by value instead.
        let whole = gradient.bytes().len() == size_of::<f32>() * gradient.layout().num_elements();
        let mut gradient =
            if whole && gradient.is_contiguous() { gradient } else { gradient.to_contiguous() };
        let s = sizes(&shape(&gradient), &mask);
        link.with(|meeting| {
            if let Some(seen) = &mut meeting.watched {
                // With several sums of one tap the first meets the rest alone.
                if seen.rest == 0.0 {
                    seen.rest = energy(gradient.storage());
                }
                seen.sums += s.gradient_energy(mask.storage(), sums_gradient.storage());
            }
        });
        s.add_gradient(mask.storage(), sums_gradient.storage(), gradient.storage_mut());
        gradient
    }
}

#[derive(Debug)]
struct LinkedBackward;

impl<B: MomentOps> Backward<B, 1> for LinkedBackward {
    type State = (Part, Link);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let (part, link) = ops.state;
        let mut gradient = grads.consume::<B>(&ops.node);
        match part {
            Part::Announce => link.with(|meeting| meeting.announced = true),
            Part::Pass => {}
            Part::Collect => {
                for waiting in link.with(|meeting| std::mem::take(&mut meeting.waiting)) {
                    let (mask, sums_gradient) = *waiting
                        .downcast::<(FloatTensor<B>, FloatTensor<B>)>()
                        .expect("a graph has one backend");
                    let link = link.clone();
                    gradient = B::add_masked_sums_gradient(gradient, mask, sums_gradient, link);
                }
            }
        }
        if let Some(node) = node {
            grads.register::<B>(node.id, gradient);
        }
    }
}

#[derive(Debug)]
struct MaskedSumsBackward;

impl<B: MomentOps> Backward<B, 1> for MaskedSumsBackward {
    type State = (FloatTensor<B>, Vec<usize>, Link);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let (mask, shape, link) = ops.state;
        let sums_gradient = grads.consume::<B>(&ops.node);
        let Some(node) = node else { return };
        let waits = link.with(|meeting| {
            if meeting.announced {
                meeting.waiting.push(Box::new((mask.clone(), sums_gradient.clone())));
            }
            meeting.announced
        });
        if !waits {
            let gradient = B::masked_sums_gradient(mask, sums_gradient, shape);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: MomentOps, C: CheckpointStrategy> MomentOps for Autodiff<B, C> {
    fn linked(x: FloatTensor<Self>, part: Part, link: Link) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match LinkedBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((part, link.clone()), B::linked(x, part, link)),
            OpsKind::UnTracked(prep) => prep.finish(B::linked(x, part, link)),
        }
    }

    fn masked_sums(
        features: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        link: Link,
    ) -> FloatTensor<Self> {
        let (features, node) = features.into_parts();
        let mask = mask.into_primitive();
        match MaskedSumsBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = (mask.clone(), features.shape().to_vec(), link.clone());
                prep.finish(state, B::masked_sums(features, mask, link))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::masked_sums(features, mask, link)),
        }
    }

    fn masked_sums_gradient(
        _mask: FloatTensor<Self>,
        _sums_gradient: FloatTensor<Self>,
        _shape: Vec<usize>,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of masked sums are not provided")
    }

    fn add_masked_sums_gradient(
        _gradient: FloatTensor<Self>,
        _mask: FloatTensor<Self>,
        _sums_gradient: FloatTensor<Self>,
        _link: Link,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of masked sums are not provided")
    }
}

#[cfg(test)]
mod tests;
