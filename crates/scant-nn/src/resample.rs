//! Fitting any input size to a network that halves it several times.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

/// Pads `[B, C, H, W]` below and to the right by repeating the edge, so that both sides divide by
/// `multiple`. Returns what was added to rows and columns.
pub(crate) fn pad_to_multiple(x: Tensor<4>, multiple: usize) -> (Tensor<4>, [usize; 2]) {
    let [_, _, h, w] = x.dims();
    let padding = [h.next_multiple_of(multiple) - h, w.next_multiple_of(multiple) - w];
    if padding == [0, 0] {
        return (x, padding);
    }
    (x.pad((0, padding[1], 0, padding[0]), PadMode::Edge), padding)
}

/// Undoes [`pad_to_multiple`] on a map of the padded size.
pub(crate) fn crop(x: Tensor<4>, padding: [usize; 2]) -> Tensor<4> {
    if padding == [0, 0] {
        return x;
    }
    let [b, c, h, w] = x.dims();
    x.slice([0..b, 0..c, 0..h - padding[0], 0..w - padding[1]])
}
