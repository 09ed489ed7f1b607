//! The bias of the attention between two tokens by where one lies from the other.

use burn::tensor::{Int, Tensor};

/// Rows of the bias table for every pair of tokens of a window: `(a, b)` in row-major order, tokens
/// counted row by row.
///
/// The table has a row for each of the `(2 table - 1)^2` offsets within a window of `table` tokens a
/// side. A smaller `window` uses the middle of it: the same offsets, so the same rows.
pub(super) fn relative_position_index(window: usize, table: usize) -> Vec<i32> {
    debug_assert!(window <= table, "{window} tokens in a table for {table}");
    let tokens = window * window;
    let row = |a: usize, b: usize| {
        let offset = |a: usize, b: usize| a + table - 1 - b;
        let (dy, dx) = (offset(a / window, b / window), offset(a % window, b % window));
        (dy * (2 * table - 1) + dx) as i32
    };
    (0..tokens).flat_map(|a| (0..tokens).map(move |b| row(a, b))).collect()
}

/// Looks the bias up.
///
/// # Shapes
/// - table: `[(2 window - 1)^2, heads]`
/// - index: `[N N]`, of [`relative_position_index`]
/// - output: `[1, heads, N, N]`
pub(super) fn relative_position_bias(table: Tensor<2>, index: Tensor<1, Int>) -> Tensor<4> {
    let (heads, tokens) = (table.dims()[1], index.dims()[0].isqrt());
    table.select(0, index).reshape([1, tokens, tokens, heads]).permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn tokens_of_a_window_of_two_have_nine_offsets() {
        // Tokens (0,0) (0,1) (1,0) (1,1). The middle of the 3 x 3 table, row 4, is a token with
        // itself; from (0,0) to (1,1) is one up and one left: the first row.
        let index = relative_position_index(2, 2);
        assert_eq!(index, [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4]);
        assert_eq!(relative_position_index(1, 1), [0]);
    }

    #[test]
    fn a_smaller_window_uses_the_middle_of_the_table() {
        // Rows of a 5 x 5 table, for windows of 3, that are the inner 3 x 3.
        let inner = |i: i32| 5 * (i / 3 + 1) + i % 3 + 1;
        let wanted: Vec<i32> = relative_position_index(2, 2).into_iter().map(inner).collect();
        assert_eq!(relative_position_index(2, 3), wanted);
        assert_eq!(relative_position_index(1, 3), [12], "alone: the very middle");
    }

    #[test]
    fn every_head_looks_up_its_own_column() {
        let device = Device::flex();
        let table: Vec<f32> = (0..9).flat_map(|i| [i as f32, -(i as f32)]).collect();
        let table = Tensor::from_data(TensorData::new(table, [9, 2]), &device);
        let index = relative_position_index(2, 2);
        let wanted: Vec<f32> = index.iter().map(|i| *i as f32).collect();
        let index = Tensor::from_data(TensorData::new(index, [16]), &device);
        let bias = relative_position_bias(table, index);
        assert_eq!(bias.dims(), [1, 2, 4, 4]);
        let bias: Vec<f32> = bias.to_data().iter::<f32>().collect();
        assert_eq!(bias[..16], wanted);
        assert!(bias[16..].iter().zip(&wanted).all(|(a, b)| *a == -b));
    }
}
