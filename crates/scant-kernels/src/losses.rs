//! The sums over pixels behind the segmentation losses, with the gradient of the logits.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Int, Tensor, TensorData, activation};
use burn_flex::FlexTensor;
use scant_compute::segmentation_loss::{ClassId, SUMS, SegmentationSums};

pub use scant_compute::segmentation_loss::Terms;

use crate::device::on_cpu;

/// Sums over the pixels of each image and logit channel.
///
/// With one channel the probability is the sigmoid of the logit and the class is 1; with several it
/// is the softmax, and channel `k` is class `k`. A pixel of any other id belongs to no channel.
///
/// # Shapes
/// each `[B, K]`
#[derive(Debug, Clone)]
pub struct PixelSums {
    /// `Σ y p`
    pub both: Tensor<2>,
    /// `Σ y`, without gradient.
    pub truth: Tensor<2>,
    /// `Σ p`
    pub predicted: Tensor<2>,
    /// `Σ (1 - y) x - ln sigmoid(x)`: PyTorch's `binary_cross_entropy_with_logits`, summed.
    pub bce: Tensor<2>,
    /// `-Σ y ln softmax(x)`: PyTorch's `cross_entropy`, summed by class of the pixel.
    pub ce: Tensor<2>,
}

/// What segmentation losses are made of. Sums that `terms` does not ask for are 0.
///
/// On the CPU nothing of the size of the image is kept for the backward pass but the logits and the
/// classes themselves.
///
/// # Shapes
/// - logits: `[B, K, ...]`
/// - classes: `[B, ...]`, the same pixels
///
/// # Panics
/// When the shapes do not fit, or [`Terms::ce`] is asked of a single channel.
#[must_use]
pub fn segmentation_sums<const D: usize, const P: usize>(
    logits: Tensor<D>,
    classes: Tensor<P, Int>,
    terms: Terms,
) -> PixelSums {
    let (shape, pixels) = (logits.dims(), classes.dims());
    let fits = D == P + 1 && P > 0 && pixels[0] == shape[0] && pixels[1..] == shape[2..];
    assert!(fits, "logits {shape:?} and classes {pixels:?} differ in images or pixels");
    assert!(!(terms.ce && shape[1] == 1), "a single channel has no softmax");
    let sums = if on_cpu(&logits.device()) && logits.dtype() == DType::F32 {
        Tensor::from_dispatch(<Dispatch as SegmentationOps>::segmentation_sums(
            logits.into_dispatch(),
            classes.into_dispatch(),
            terms,
        ))
    } else {
        sums_by_tensors(logits, classes, terms)
    };
    let [b, k, _] = sums.dims();
    let column = |i: usize| sums.clone().narrow(2, i, 1).reshape([b, k]);
    PixelSums {
        both: column(0),
        truth: column(1).detach(),
        predicted: column(2),
        bce: column(3),
        ce: column(4),
    }
}

/// The same `[B, K, SUMS]` by burn's own operators, for every other device.
fn sums_by_tensors<const D: usize, const P: usize>(
    logits: Tensor<D>,
    classes: Tensor<P, Int>,
    terms: Terms,
) -> Tensor<3> {
    let shape = logits.dims();
    let (b, k, n) = (shape[0], shape[1], shape[2..].iter().product::<usize>());
    let (x, classes) = (logits.reshape([b, k, n]), classes.reshape([b, n]));
    let first = usize::from(k == 1);
    let planes = (first..first + k).map(|id| {
        let id = i64::try_from(id).expect("class ids fit in 63 bits");
        classes.clone().equal_elem(id).float()
    });
    let y = Tensor::<2>::stack::<3>(planes.collect(), 1);
    let zeros = Tensor::zeros([b, k, 1], &x.device());
    let mut columns = vec![zeros; SUMS];
    columns[1] = y.clone().sum_dim(2);
    if terms.overlap {
        let p = match k {
            1 => activation::sigmoid(x.clone()),
            _ => activation::softmax(x.clone(), 1),
        };
        columns[0] = (y.clone() * p.clone()).sum_dim(2);
        columns[2] = p.sum_dim(2);
    }
    if terms.bce {
        // log sigmoid has an exact derivative everywhere; the form with max(x, 0) and |x| does not
        // at x = 0, where every fresh output layer starts.
        let pixels = (-y.clone() + 1.0) * x.clone() - activation::log_sigmoid(x.clone());
        columns[3] = pixels.sum_dim(2);
    }
    if terms.ce {
        columns[4] = -(y * activation::log_softmax(x, 1)).sum_dim(2);
    }
    Tensor::cat(columns, 2)
}

/// The operators behind [`segmentation_sums`].
#[backend_extension(Flex, Autodiff)]
pub(crate) trait SegmentationOps: Backend {
    /// `[B, K, SUMS]`
    fn segmentation_sums(
        logits: FloatTensor<Self>,
        classes: IntTensor<Self>,
        terms: Terms,
    ) -> FloatTensor<Self>;

    /// Gradient of the logits from that of the sums.
    fn segmentation_sums_gradient(
        logits: FloatTensor<Self>,
        classes: IntTensor<Self>,
        sums_gradient: FloatTensor<Self>,
        terms: Terms,
    ) -> FloatTensor<Self>;
}

fn sizes(logits: &FlexTensor, terms: Terms) -> SegmentationSums {
    let shape = logits.layout().shape();
    let pixels = (2..shape.num_dims()).map(|axis| shape[axis]).product();
    SegmentationSums { batch: shape[0], channels: shape[1], pixels, terms }
}

/// Runs `f` on the ids as they lie in memory.
fn with_ids<R>(classes: IntTensor<Flex>, f: impl IdsReader<R>) -> R {
    match classes.dtype() {
        DType::I64 => f.read(classes.to_contiguous().storage::<i64>()),
        DType::I32 => f.read(classes.to_contiguous().storage::<i32>()),
        _ => {
            use burn::backend::ops::IntTensorOps;
            let classes = Flex::int_cast(classes, burn::tensor::IntDType::I32);
            f.read(classes.to_contiguous().storage::<i32>())
        }
    }
}

/// A function of ids of any width.
trait IdsReader<R> {
    fn read<I: ClassId>(self, ids: &[I]) -> R;
}

struct Forward<'a>(SegmentationSums, &'a [f32]);

impl IdsReader<Vec<f32>> for Forward<'_> {
    fn read<I: ClassId>(self, ids: &[I]) -> Vec<f32> {
        self.0.sums(self.1, ids)
    }
}

struct Reverse<'a>(SegmentationSums, &'a [f32], &'a [f32]);

impl IdsReader<Vec<f32>> for Reverse<'_> {
    fn read<I: ClassId>(self, ids: &[I]) -> Vec<f32> {
        self.0.gradient(self.1, ids, self.2)
    }
}

impl SegmentationOps for Flex {
    fn segmentation_sums(
        logits: FloatTensor<Self>,
        classes: IntTensor<Self>,
        terms: Terms,
    ) -> FloatTensor<Self> {
        let logits = logits.to_contiguous();
        let s = sizes(&logits, terms);
        let sums = with_ids(classes, Forward(s, logits.storage()));
        FlexTensor::from_data(TensorData::new(sums, [s.batch, s.channels, SUMS]))
    }

    fn segmentation_sums_gradient(
        logits: FloatTensor<Self>,
        classes: IntTensor<Self>,
        sums_gradient: FloatTensor<Self>,
        terms: Terms,
    ) -> FloatTensor<Self> {
        let (logits, sums_gradient) = (logits.to_contiguous(), sums_gradient.to_contiguous());
        let s = sizes(&logits, terms);
        let gradient = with_ids(classes, Reverse(s, logits.storage(), sums_gradient.storage()));
        FlexTensor::from_data(TensorData::new(gradient, logits.layout().shape().clone()))
    }
}

#[derive(Debug)]
struct SegmentationSumsBackward;

impl<B: SegmentationOps> Backward<B, 1> for SegmentationSumsBackward {
    type State = (FloatTensor<B>, IntTensor<B>, Terms);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let (logits, classes, terms) = ops.state;
        let sums_gradient = grads.consume::<B>(&ops.node);
        if let Some(node) = node {
            let gradient = B::segmentation_sums_gradient(logits, classes, sums_gradient, terms);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: SegmentationOps, C: CheckpointStrategy> SegmentationOps for Autodiff<B, C> {
    fn segmentation_sums(
        logits: FloatTensor<Self>,
        classes: IntTensor<Self>,
        terms: Terms,
    ) -> FloatTensor<Self> {
        let (logits, node) = logits.into_parts();
        match SegmentationSumsBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = (logits.clone(), classes.clone(), terms);
                prep.finish(state, B::segmentation_sums(logits, classes, terms))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::segmentation_sums(logits, classes, terms)),
        }
    }

    fn segmentation_sums_gradient(
        _logits: FloatTensor<Self>,
        _classes: IntTensor<Self>,
        _sums_gradient: FloatTensor<Self>,
        _terms: Terms,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of a segmentation loss are not provided")
    }
}

#[cfg(test)]
mod tests;
