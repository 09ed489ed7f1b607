//! Attention among the tokens of a window.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};

use super::relative_position::relative_position_bias;
use crate::block::Linear;

/// Multi-head self-attention with a bias by relative position (Liu et al. 2021, eq. 4):
/// `softmax(q k^T / sqrt(d) + bias + mask) v` for every head, joined by a linear layer.
#[derive(Module, Debug)]
pub(super) struct WindowAttention {
    /// `[(2 window - 1)^2, heads]`
    relative_position_bias_table: Param<Tensor<2>>,
    /// All heads of the queries, then of the keys, then of the values.
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl WindowAttention {
    pub(super) fn new(channels: usize, heads: usize, window: usize, device: &Device) -> Self {
        let offsets = (2 * window - 1).pow(2);
        Self {
            relative_position_bias_table: Initializer::Zeros.init([offsets, heads], device),
            qkv: Linear::new(channels, 3 * channels, device),
            proj: Linear::new(channels, channels, device),
            heads,
        }
    }

    /// # Shapes
    /// - x, output: `[M, N, C]`, M windows of N tokens
    /// - index: `[N N]`, rows of the bias table
    /// - mask: `[W, 1, N, N]`, added to the attention of window m at `m % W`
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        index: Tensor<1, Int>,
        mask: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let [m, n, c] = x.dims();
        let (h, d) = (self.heads, c / self.heads);
        let qkv = self.qkv.forward(x).reshape([m, n, 3 * h, d]).swap_dims(1, 2);
        let [q, k, v] = [0, 1, 2].map(|part| qkv.clone().narrow(1, part * h, h)); // [M, h, N, d]
        let scores = (q * (d as f64).powf(-0.5)).matmul(k.transpose()); // [M, h, N, N]
        let bias = relative_position_bias(self.relative_position_bias_table.val(), index);
        let scores = match mask {
            None => scores + bias,
            Some(mask) => {
                let w = mask.dims()[0];
                let bias = (bias + mask).reshape([1, w, h, n, n]);
                (scores.reshape([m / w, w, h, n, n]) + bias).reshape([m, h, n, n])
            }
        };
        let heads = softmax(scores, 3).matmul(v); // [M, h, N, d]
        self.proj.forward(heads.swap_dims(1, 2).reshape([m, n, c]))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::super::tests::{filled, values};
    use super::*;

    fn identity(size: usize) -> Vec<f32> {
        (0..size * size).map(|i| f32::from(u8::from(i % (size + 1) == 0))).collect()
    }

    /// Queries, keys and values are the tokens themselves.
    fn attention(channels: usize, heads: usize, table: &[f32]) -> WindowAttention {
        filled(WindowAttention::new(channels, heads, 2, &Device::flex()), |path| match path {
            "relative_position_bias_table" => table.to_vec(),
            "qkv.weight" => identity(channels).repeat(3),
            "qkv.bias" => vec![0.0; 3 * channels],
            "proj.weight" => identity(channels),
            "proj.bias" => (0..channels).map(|c| if c == 0 { 10.0 } else { 0.0 }).collect(),
            other => panic!("{other}"),
        })
    }

    fn close(got: &[f32], wanted: &[f32]) {
        let near =
            got.len() == wanted.len() && got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "{got:?} instead of {wanted:?}");
    }

    /// Two tokens, (1, 0) and (0, 2), of two heads with one channel each.
    #[test]
    fn two_tokens_by_hand() {
        let device = Device::flex();
        let third = 3.0_f32.ln();
        // Rows for the pairs 00, 01, 10, 11, columns for the heads.
        let mut table = vec![-1.0, 0.0, third, 0.0, 0.0, third, 0.0, -4.0];
        table.resize(18, 7.0);
        let attention = attention(2, 2, &table);
        let index = || Tensor::<1, Int>::from_data(TensorData::from([0, 1, 2, 3]), &device);
        let x = Tensor::<3>::from_floats([[[1.0, 0.0], [0.0, 2.0]]], &device);
        // First head: scores (1 - 1, 0 + ln 3), weights (1/4, 3/4) of values (1, 0); then halves.
        // Second head: scores (0, 0), halves of values (0, 2); then (0 + ln 3, 4 - 4).
        let free = [10.25, 1.0, 10.5, 0.5];
        close(&values(&attention.forward(x.clone(), index(), None)), &free);
        // Masks alternate from window to window: alone, a token keeps its value.
        let mask = Tensor::<4>::from_floats(
            [[[[0.0, 0.0], [0.0, 0.0]]], [[[0.0, -100.0], [-100.0, 0.0]]]],
            &device,
        );
        let alone = [11.0, 0.0, 10.0, 2.0];
        let y = attention.forward(x.repeat_dim(0, 4), index(), Some(mask));
        close(&values(&y), &[free, alone, free, alone].concat());
    }

    #[test]
    fn scores_are_scaled_by_the_channels_of_a_head() {
        let device = Device::flex();
        let attention = attention(4, 1, &[0.0; 9]);
        let index = Tensor::<1, Int>::from_data(TensorData::from([0, 0, 0, 0]), &device);
        let x = Tensor::<3>::from_floats([[[2.0, 0.0, 0.0, 0.0], [0.0; 4]]], &device);
        // Score 2 * 2 / sqrt(4) with itself, 0 with the other.
        let kept = 2.0 * 2.0_f32.exp() / (2.0_f32.exp() + 1.0);
        let wanted = [10.0 + kept, 0.0, 0.0, 0.0, 11.0, 0.0, 0.0, 0.0];
        close(&values(&attention.forward(x, index, None)), &wanted);
    }
}
