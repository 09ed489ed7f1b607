//! Max and average pooling over two or three axes, with gradients.
//!
//! Max pooling saves one byte per output for its gradient, average pooling nothing. Devices other
//! than the CPU take burn's operators; those exist for two axes only, so that three axes are pooled
//! in two steps there.

mod composed;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::FlexTensor;
use scant_compute::pool::{self, MAX_WINDOW, Windows};

use crate::on_cpu;

/// Largest value of each window: `max_pool2d` of PyTorch.
///
/// Padding never wins, the first of equal values gets the gradient, and NaN wins over any number.
///
/// # Shapes
/// - x: `[B, C, H, W]`
/// - output: `[B, C, (H + 2 padding - kernel) / stride + 1, ...]`, rounded down
///
/// # Panics
/// When a kernel or stride is zero, the padding exceeds half the kernel, or a kernel is larger than
/// the padded image.
#[must_use]
pub fn max_pool2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let windows = flat(x.dims(), kernel, stride, padding);
    if native(&x, &windows) { max(x, windows) } else { composed::max2d(x, kernel, stride, padding) }
}

/// Mean of each window: `avg_pool2d` of PyTorch.
///
/// With `count_include_pad` padded cells count as zeros, else the mean is over the cells inside the
/// image.
///
/// # Shapes
/// - x: `[B, C, H, W]`
/// - output: `[B, C, (H + 2 padding - kernel) / stride + 1, ...]`, rounded down
///
/// # Panics
/// When a kernel or stride is zero, the padding exceeds half the kernel, or a kernel is larger than
/// the padded image.
#[must_use]
pub fn avg_pool2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    count_include_pad: bool,
) -> Tensor<4> {
    let windows = flat(x.dims(), kernel, stride, padding);
    if on_cpu(&x.device()) && x.dtype() == DType::F32 {
        average(x, windows, count_include_pad)
    } else {
        composed::average2d(x, kernel, stride, padding, count_include_pad)
    }
}

/// Largest value of each window of a volume: `max_pool3d` of PyTorch. See [`max_pool2d`].
///
/// # Shapes
/// - x: `[B, C, D, H, W]`
/// - output: `[B, C, (D + 2 padding - kernel) / stride + 1, ...]`, rounded down
///
/// # Panics
/// When a kernel or stride is zero, the padding exceeds half the kernel, or a kernel is larger than
/// the padded volume.
#[must_use]
pub fn max_pool3d(
    x: Tensor<5>,
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
) -> Tensor<5> {
    let [_, _, d, h, w] = x.dims();
    let windows = Windows::new([d, h, w], kernel, stride, padding);
    if native(&x, &windows) { max(x, windows) } else { composed::max3d(x, kernel, stride, padding) }
}

/// Mean of each window of a volume: `avg_pool3d` of PyTorch. See [`avg_pool2d`].
///
/// # Shapes
/// - x: `[B, C, D, H, W]`
/// - output: `[B, C, (D + 2 padding - kernel) / stride + 1, ...]`, rounded down
///
/// # Panics
/// When a kernel or stride is zero, the padding exceeds half the kernel, or a kernel is larger than
/// the padded volume.
#[must_use]
pub fn avg_pool3d(
    x: Tensor<5>,
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    count_include_pad: bool,
) -> Tensor<5> {
    let [_, _, d, h, w] = x.dims();
    let windows = Windows::new([d, h, w], kernel, stride, padding);
    if on_cpu(&x.device()) && x.dtype() == DType::F32 {
        average(x, windows, count_include_pad)
    } else {
        composed::average3d(x, kernel, stride, padding, count_include_pad)
    }
}

/// Windows of an image: a volume of depth one.
fn flat(
    [_, _, h, w]: [usize; 4],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Windows {
    Windows::new(
        [1, h, w],
        [1, kernel[0], kernel[1]],
        [1, stride[0], stride[1]],
        [0, padding[0], padding[1]],
    )
}

/// Whether the loops of `scant-compute` may take the max pooling of `x`.
fn native<const D: usize>(x: &Tensor<D>, windows: &Windows) -> bool {
    on_cpu(&x.device()) && x.dtype() == DType::F32 && windows.volume() <= MAX_WINDOW
}

fn max<const D: usize>(x: Tensor<D>, windows: Windows) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Pooling>::pool_max(x.into_dispatch(), windows))
}

fn average<const D: usize>(x: Tensor<D>, windows: Windows, count_padding: bool) -> Tensor<D> {
    let x = x.into_dispatch();
    Tensor::from_dispatch(<Dispatch as Pooling>::pool_average(x, windows, count_padding))
}

/// The operators behind the public functions, for any number of leading axes.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Pooling: Backend {
    /// Largest value of each window.
    fn pool_max(x: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self>;

    /// The same, and which cell of the window it was, as `u8`.
    fn pool_max_with_cells(
        x: FloatTensor<Self>,
        windows: Windows,
    ) -> (FloatTensor<Self>, IntTensor<Self>);

    /// Gradient of the input of [`pool_max`](Pooling::pool_max).
    fn pool_max_gradient(
        dy: FloatTensor<Self>,
        cells: IntTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self>;

    /// Mean of each window.
    fn pool_average(
        x: FloatTensor<Self>,
        windows: Windows,
        count_padding: bool,
    ) -> FloatTensor<Self>;

    /// Gradient of the input of [`pool_average`](Pooling::pool_average).
    fn pool_average_gradient(
        dy: FloatTensor<Self>,
        windows: Windows,
        count_padding: bool,
    ) -> FloatTensor<Self>;
}

/// `shape` with its last axes replaced by those of `plane`, as many as there are beside batch and
/// channels.
fn with_plane(shape: &[usize], plane: [usize; 3]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    let axes = shape.len() - 2;
    shape[2..].copy_from_slice(&plane[3 - axes..]);
    shape
}

fn zeros<T: Clone + Default>(shape: &[usize]) -> Vec<T> {
    vec![T::default(); shape.iter().product()]
}

impl Pooling for Flex {
    fn pool_max(x: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let shape = with_plane(x.layout().shape(), windows.output());
        let mut y = zeros(&shape);
        pool::max_values(&windows, x.storage(), &mut y);
        FlexTensor::from_data(TensorData::new(y, shape))
    }

    fn pool_max_with_cells(
        x: FloatTensor<Self>,
        windows: Windows,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let x = x.to_contiguous();
        let shape = with_plane(x.layout().shape(), windows.output());
        let (mut y, mut cells) = (zeros(&shape), zeros::<u8>(&shape));
        pool::max(&windows, x.storage(), &mut y, &mut cells);
        let cells = FlexTensor::from_data(TensorData::new(cells, shape.clone()));
        (FlexTensor::from_data(TensorData::new(y, shape)), cells)
    }

    fn pool_max_gradient(
        dy: FloatTensor<Self>,
        cells: IntTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self> {
        let dy = dy.to_contiguous();
        let shape = with_plane(dy.layout().shape(), windows.input());
        let mut dx = zeros(&shape);
        pool::max_gradient(&windows, dy.storage(), cells.storage(), &mut dx);
        FlexTensor::from_data(TensorData::new(dx, shape))
    }

    fn pool_average(
        x: FloatTensor<Self>,
        windows: Windows,
        count_padding: bool,
    ) -> FloatTensor<Self> {
        let x = x.to_contiguous();
        let shape = with_plane(x.layout().shape(), windows.output());
        let mut y = zeros(&shape);
        pool::average(&windows, count_padding, x.storage(), &mut y);
        FlexTensor::from_data(TensorData::new(y, shape))
    }

    fn pool_average_gradient(
        dy: FloatTensor<Self>,
        windows: Windows,
        count_padding: bool,
    ) -> FloatTensor<Self> {
        let dy = dy.to_contiguous();
        let shape = with_plane(dy.layout().shape(), windows.input());
        let mut dx = zeros(&shape);
        pool::average_gradient(&windows, count_padding, dy.storage(), &mut dx);
        FlexTensor::from_data(TensorData::new(dx, shape))
    }
}

#[derive(Debug)]
struct MaxBackward;

impl<B: Pooling> Backward<B, 1> for MaxBackward {
    type State = (IntTensor<B>, Windows);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x] = ops.parents;
        let (cells, windows) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        if let Some(node) = x {
            grads.register::<B>(node.id, B::pool_max_gradient(dy, cells, windows));
        }
    }
}

#[derive(Debug)]
struct AverageBackward;

impl<B: Pooling> Backward<B, 1> for AverageBackward {
    type State = (Windows, bool);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x] = ops.parents;
        let (windows, count_padding) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        if let Some(node) = x {
            grads.register::<B>(node.id, B::pool_average_gradient(dy, windows, count_padding));
        }
    }
}

impl<B: Pooling, C: CheckpointStrategy> Pooling for Autodiff<B, C> {
    fn pool_max(x: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match MaxBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, cells) = B::pool_max_with_cells(x, windows);
                prep.finish((cells, windows), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::pool_max(x, windows)),
        }
    }

    fn pool_max_with_cells(
        _x: FloatTensor<Self>,
        _windows: Windows,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        panic!("the cells of a max pooling are not differentiable; use pool_max")
    }

    fn pool_max_gradient(
        _dy: FloatTensor<Self>,
        _cells: IntTensor<Self>,
        _windows: Windows,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of a pooling are not provided")
    }

    fn pool_average(
        x: FloatTensor<Self>,
        windows: Windows,
        count_padding: bool,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let y = B::pool_average(x, windows, count_padding);
        match AverageBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((windows, count_padding), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn pool_average_gradient(
        _dy: FloatTensor<Self>,
        _windows: Windows,
        _count_padding: bool,
    ) -> FloatTensor<Self> {
        panic!("gradients of gradients of a pooling are not provided")
    }
}

#[cfg(test)]
mod tests;
