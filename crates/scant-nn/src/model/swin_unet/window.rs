//! Windows: cutting a map into them, shifting it before, and who may look at whom.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::relative_position::relative_position_index;

/// Added to the attention between tokens that only the cyclic shift has brought into one window.
const APART: f64 = -100.0;

/// Side of the windows on a map of this size, and how far every other block shifts it. A map that is
/// no larger than one window along an axis has windows of that size and is not shifted.
pub(super) fn window_and_shift([rows, columns]: [usize; 2], window: usize) -> (usize, usize) {
    let shortest = rows.min(columns);
    if shortest <= window { (shortest, 0) } else { (window, window / 2) }
}

/// # Shapes
/// - x: `[B, H, W, C]`, H and W multiples of w = `window`
/// - output: `[B H/w W/w, w w, C]`, windows row by row, tokens of each row by row
pub(super) fn window_partition(x: Tensor<4>, window: usize) -> Tensor<3> {
    let [b, h, w, c] = x.dims();
    let (rows, columns) = (h / window, w / window);
    x.reshape([b, rows, window, columns, window, c]).swap_dims(2, 3).reshape([
        b * rows * columns,
        window * window,
        c,
    ])
}

/// The inverse of [`window_partition`] for a map of `[H, W]`.
///
/// # Shapes
/// - windows: `[B H/w W/w, w w, C]`
/// - output: `[B, H, W, C]`
pub(super) fn window_reverse(windows: Tensor<3>, window: usize, [h, w]: [usize; 2]) -> Tensor<4> {
    let [count, tokens, c] = windows.dims();
    let (rows, columns) = (h / window, w / window);
    let b = count * tokens / (h * w);
    windows.reshape([b, rows, columns, window, window, c]).swap_dims(2, 3).reshape([b, h, w, c])
}

/// Moves a map by `shift` rows and columns; what leaves on one side comes in on the other.
///
/// # Shapes
/// - x, output: `[B, H, W, C]`
pub(super) fn cyclic_shift(x: Tensor<4>, shift: isize) -> Tensor<4> {
    x.roll(&[shift, shift], &[1, 2])
}

/// Which part of the map each token of a shifted map comes from, in the order of
/// [`window_partition`]. The shift brings the first rows below the last and the first columns beside
/// the last: tokens of one window that were no neighbours before have different numbers.
fn regions([h, w]: [usize; 2], window: usize, shift: usize) -> Vec<f32> {
    let band = |at: usize, side: usize| match at {
        at if at < side - window => 0,
        at if at < side - shift => 1,
        _ => 2,
    };
    let mut regions = Vec::with_capacity(h * w);
    for top in (0..h).step_by(window) {
        for left in (0..w).step_by(window) {
            for y in top..top + window {
                for x in left..left + window {
                    regions.push((3 * band(y, h) + band(x, w)) as f32);
                }
            }
        }
    }
    regions
}

/// # Shapes
/// - output: `[H/w W/w, 1, N, N]`, 0 where two tokens of a window of the shifted map may look at each
///   other, [`APART`] where not
fn attention_mask(map: [usize; 2], window: usize, shift: usize, device: &Device) -> Tensor<4> {
    let (tokens, numbers) = (window * window, regions(map, window, shift));
    let count = numbers.len() / tokens;
    let numbers = Tensor::<1>::from_data(TensorData::from(numbers.as_slice()), device);
    let across: Tensor<4> = numbers.clone().reshape([count, 1, 1, tokens]);
    let down: Tensor<4> = numbers.reshape([count, 1, tokens, 1]);
    (across - down).abs().clamp_max(1.0) * APART
}

/// How the maps of a stage are cut, for all its blocks.
#[derive(Debug)]
pub(super) struct Windows {
    map: [usize; 2],
    /// Side in tokens.
    side: usize,
    shift: usize,
    /// See [`relative_position_index`].
    index: Tensor<1, Int>,
    /// See [`attention_mask`]; none where nothing is shifted.
    mask: Option<Tensor<4>>,
}

impl Windows {
    /// Of maps of `[H, W]` tokens for blocks with bias tables of `window`.
    pub(super) fn new(map: [usize; 2], window: usize, device: &Device) -> Self {
        let (side, shift) = window_and_shift(map, window);
        let index = relative_position_index(side, window);
        Self {
            map,
            side,
            shift,
            index: Tensor::from_data(TensorData::from(index.as_slice()), device),
            mask: (shift > 0).then(|| attention_mask(map, side, shift, device)),
        }
    }

    /// Cuts a map into windows, shifted or not.
    ///
    /// # Shapes
    /// - x: `[B, H, W, C]`
    /// - output: `[B H/w W/w, N, C]`
    pub(super) fn cut(&self, x: Tensor<4>, shifted: bool) -> Tensor<3> {
        let x = if shifted { cyclic_shift(x, -self.shift.cast_signed()) } else { x };
        window_partition(x, self.side)
    }

    /// The inverse of [`cut`](Self::cut).
    ///
    /// # Shapes
    /// - windows: `[B H/w W/w, N, C]`
    /// - output: `[B, H, W, C]`
    pub(super) fn join(&self, windows: Tensor<3>, shifted: bool) -> Tensor<4> {
        let x = window_reverse(windows, self.side, self.map);
        if shifted { cyclic_shift(x, self.shift.cast_signed()) } else { x }
    }

    /// Rows of the bias table, `[N N]`.
    pub(super) fn index(&self) -> Tensor<1, Int> {
        self.index.clone()
    }

    /// What is added to the attention of the windows of [`cut`](Self::cut): `[H/w W/w, 1, N, N]`.
    pub(super) fn mask(&self, shifted: bool) -> Option<Tensor<4>> {
        self.mask.clone().filter(|_| shifted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{counted, values};
    use super::*;

    #[test]
    fn windows_are_counted_row_by_row() {
        // 0  1 |  2  3      Two rows of two windows.
        // 4  5 |  6  7
        // 8  9 | 10 11
        let windows = window_partition(counted([1, 4, 4, 1]), 2);
        assert_eq!(windows.dims(), [4, 4, 1]);
        let first = [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0];
        assert_eq!(values(&windows)[..8], first);
        assert_eq!(values(&windows)[8..], first.map(|v| v + 8.0));
    }

    #[test]
    fn a_shift_wraps_around() {
        let x = counted([1, 2, 3, 1]);
        assert_eq!(values(&cyclic_shift(x.clone(), -1)), [4.0, 5.0, 3.0, 1.0, 2.0, 0.0]);
        assert_eq!(values(&cyclic_shift(x.clone(), 1)), [5.0, 3.0, 4.0, 2.0, 0.0, 1.0]);
        assert_eq!(values(&cyclic_shift(x.clone(), 0)), values(&x));
    }

    /// Four rows and six columns, windows of two, shifted by one: the last row and the last column
    /// came from the other side.
    #[test]
    fn tokens_from_the_other_side_are_apart() {
        #[rustfmt::skip]
        let wanted = [
            [0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 1, 2],
            [3, 3, 6, 6], [3, 3, 6, 6], [4, 5, 7, 8],
        ];
        let numbers: Vec<usize> = regions([4, 6], 2, 1).into_iter().map(|v| v as usize).collect();
        assert_eq!(numbers, wanted.concat());
        let mask = attention_mask([4, 6], 2, 1, &Device::flex());
        assert_eq!(mask.dims(), [6, 1, 4, 4]);
        let mask = values(&mask);
        for (numbers, mask) in wanted.iter().zip(mask.chunks(16)) {
            for (a, row) in numbers.iter().zip(mask.chunks(4)) {
                for (b, value) in numbers.iter().zip(row) {
                    assert_eq!(*value, if a == b { 0.0 } else { -100.0 });
                }
            }
        }
    }

    #[test]
    fn a_map_of_one_window_is_not_shifted() {
        assert_eq!(window_and_shift([56, 56], 7), (7, 3));
        assert_eq!(window_and_shift([7, 7], 7), (7, 0));
        assert_eq!(window_and_shift([4, 12], 7), (4, 0));
        assert_eq!(window_and_shift([8, 14], 7), (7, 3));
        let windows = Windows::new([2, 4], 3, &Device::flex());
        assert!(windows.mask(true).is_none());
        assert_eq!(windows.index().dims(), [16]);
        let x = counted([1, 2, 4, 1]);
        assert_eq!(values(&windows.cut(x.clone(), true)), values(&windows.cut(x, false)));
    }

    proptest! {
        #[test]
        fn joining_undoes_cutting(
            batch in 1_usize..3, rows in 1_usize..4, columns in 1_usize..4, channels in 1_usize..4,
            window in 1_usize..5, shifted: bool,
        ) {
            let map = [rows * window, columns * window];
            let windows = Windows::new(map, window, &Device::flex());
            let x = counted([batch, map[0], map[1], channels]);
            let cut = windows.cut(x.clone(), shifted);
            let count = batch * rows * columns;
            prop_assert_eq!(cut.dims(), [count, window * window, channels]);
            prop_assert_eq!(values(&windows.join(cut, shifted)), values(&x));
        }
    }
}
