//! Up- and down-sampling to a given size over two or three axes, with gradients.
//!
//! Nothing is saved for the gradient. Devices other than the CPU take burn's nearest neighbour where
//! every arithmetic finds the same neighbours, and else select neighbours axis by axis.

mod composed;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::FlexTensor;
use scant_compute::resample::{self, Resize};

use crate::on_cpu;

/// Each pixel takes the value at `floor(position · input / output)`: mode `nearest` of PyTorch's
/// `interpolate` with a `size`.
///
/// # Shapes
/// - x: `[B, C, H, W]`
/// - output: `[B, C, size[0], size[1]]`
///
/// # Panics
/// When a side is zero.
#[must_use]
pub fn upsample_nearest2d(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let resize = flat(x.dims(), size);
    if native(&x) { run(x, resize, Mode::Nearest) } else { composed::nearest2d(x, size) }
}

/// Weighted mean of the four pixels around each position: mode `bilinear` of PyTorch's
/// `interpolate` with a `size`.
///
/// With `align_corners` the corner pixels of input and output coincide, else their outer edges do.
///
/// # Shapes
/// - x: `[B, C, H, W]`
/// - output: `[B, C, size[0], size[1]]`
///
/// # Panics
/// When a side is zero.
#[must_use]
pub fn upsample_bilinear2d(x: Tensor<4>, size: [usize; 2], align_corners: bool) -> Tensor<4> {
    let resize = flat(x.dims(), size);
    if native(&x) {
        run(x, resize, Mode::Linear { align_corners })
    } else {
        composed::linear(x, &size, align_corners)
    }
}

/// Mode `nearest` for volumes. See [`upsample_nearest2d`].
///
/// # Shapes
/// - x: `[B, C, D, H, W]`
/// - output: `[B, C, size[0], size[1], size[2]]`
///
/// # Panics
/// When a side is zero.
#[must_use]
pub fn upsample_nearest3d(x: Tensor<5>, size: [usize; 3]) -> Tensor<5> {
    let [_, _, d, h, w] = x.dims();
    let resize = Resize::new([d, h, w], size);
    if native(&x) { run(x, resize, Mode::Nearest) } else { composed::nearest(x, &size) }
}

/// Weighted mean of the eight voxels around each position: mode `trilinear` of PyTorch's
/// `interpolate`. See [`upsample_bilinear2d`].
///
/// # Shapes
/// - x: `[B, C, D, H, W]`
/// - output: `[B, C, size[0], size[1], size[2]]`
///
/// # Panics
/// When a side is zero.
#[must_use]
pub fn upsample_trilinear3d(x: Tensor<5>, size: [usize; 3], align_corners: bool) -> Tensor<5> {
    let [_, _, d, h, w] = x.dims();
    let resize = Resize::new([d, h, w], size);
    if native(&x) {
        run(x, resize, Mode::Linear { align_corners })
    } else {
        composed::linear(x, &size, align_corners)
    }
}

/// An image as a volume of depth one.
fn flat([_, _, h, w]: [usize; 4], size: [usize; 2]) -> Resize {
    Resize::new([1, h, w], [1, size[0], size[1]])
}

/// Whether the loops of `scant-compute` may take `x`.
fn native<const D: usize>(x: &Tensor<D>) -> bool {
    on_cpu(&x.device()) && x.dtype() == DType::F32
}

fn run<const D: usize>(x: Tensor<D>, resize: Resize, mode: Mode) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Resampling>::resample(x.into_dispatch(), resize, mode))
}

/// How values between the positions are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Nearest,
    Linear { align_corners: bool },
}

/// The operators behind the public functions, for images and volumes.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Resampling: Backend {
    /// To another size.
    fn resample(x: FloatTensor<Self>, resize: Resize, mode: Mode) -> FloatTensor<Self>;

    /// Gradient of the input of [`resample`](Resampling::resample).
    fn resample_gradient(dy: FloatTensor<Self>, resize: Resize, mode: Mode) -> FloatTensor<Self>;
}

/// A tensor like `like` but with planes of another size, filled by `fill`.
fn with_plane(like: &FlexTensor, plane: [usize; 3], fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut shape = like.layout().shape().to_vec();
    let axes = shape.len() - 2;
    shape[2..].copy_from_slice(&plane[3 - axes..]);
    let mut values = vec![0.0; shape.iter().product()];
    fill(&mut values);
    FlexTensor::from_data(TensorData::new(values, shape))
}

impl Resampling for Flex {
    fn resample(x: FloatTensor<Self>, resize: Resize, mode: Mode) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        with_plane(&x, resize.output(), |y| match mode {
            Mode::Nearest => resample::nearest(&resize, x.storage(), y),
            Mode::Linear { align_corners } => {
                resample::linear(&resize, align_corners, x.storage(), y);
            }
        })
    }

    fn resample_gradient(dy: FloatTensor<Self>, resize: Resize, mode: Mode) -> FloatTensor<Self> {
        let dy = dy.to_contiguous();
        with_plane(&dy, resize.input(), |dx| match mode {
            Mode::Nearest => resample::nearest_gradient(&resize, dy.storage(), dx),
            Mode::Linear { align_corners } => {
                resample::linear_gradient(&resize, align_corners, dy.storage(), dx);
            }
        })
    }
}

#[derive(Debug)]
struct ResampleBackward;

impl<B: Resampling> Backward<B, 1> for ResampleBackward {
    type State = (Resize, Mode);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x] = ops.parents;
        let (resize, mode) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        if let Some(node) = x {
            grads.register::<B>(node.id, B::resample_gradient(dy, resize, mode));
        }
    }
}

impl<B: Resampling, C: CheckpointStrategy> Resampling for Autodiff<B, C> {
    fn resample(x: FloatTensor<Self>, resize: Resize, mode: Mode) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let y = B::resample(x, resize, mode);
        match ResampleBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((resize, mode), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn resample_gradient(
        _dy: FloatTensor<Self>,
        _resize: Resize,
        _mode: Mode,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of a resampling are not provided")
    }
}

#[cfg(test)]
mod tests;
