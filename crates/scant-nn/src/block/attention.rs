//! Attention of every token to every token.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

use super::Linear;

/// Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2): per head
/// `softmax(Q K^T / sqrt(size / heads)) V`, the heads side by side through `out`. Without dropout.
#[derive(Module, Debug)]
pub struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    #[module(skip)]
    heads: usize,
}

impl SelfAttention {
    /// Of tokens of `size` values with `heads` heads, all layers with bias.
    ///
    /// # Panics
    /// When the heads do not divide the values.
    #[must_use]
    pub fn new(size: usize, heads: usize, device: &Device) -> Self {
        let fits = heads > 0 && size.is_multiple_of(heads);
        assert!(fits, "{heads} heads do not divide {size} values");
        let linear = || Linear::new(size, size, device);
        Self { query: linear(), key: linear(), value: linear(), out: linear(), heads }
    }

    /// # Shapes
    /// - x, output: `[B, tokens, size]`
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, size] = x.dims();
        let per_head = size / self.heads;
        let split = |x: Tensor<3>| -> Tensor<4> {
            x.reshape([batch, tokens, self.heads, per_head]).swap_dims(1, 2) // [B, heads, tokens, per head]
        };
        // Scaled before the product: fewer values than after it.
        let scale = (per_head as f64).sqrt().recip();
        let query = split(self.query.forward(x.clone()) * scale);
        let key = split(self.key.forward(x.clone()));
        let value = split(self.value.forward(x));
        let attention = softmax(query.matmul(key.swap_dims(2, 3)), 3); // [B, heads, tokens, tokens]
        let joined = attention.matmul(value).swap_dims(1, 2).reshape([batch, tokens, size]);
        self.out.forward(joined)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleMapper, Param};
    use burn::tensor::{Distribution, TensorData};

    use super::*;

    /// Fills every parameter with noise, biases too.
    struct Noise;

    impl ModuleMapper for Noise {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|t| t.random_like(Distribution::Uniform(-0.7, 0.7)))
        }
    }

    fn values<const D: usize>(t: &Tensor<D>) -> Vec<f64> {
        t.to_data().iter::<f32>().map(f64::from).collect()
    }

    /// `x W^T + b` of one token, from the layer's answers to unit vectors.
    fn rows(layer: &Linear, x: &[f64], size: usize) -> Vec<Vec<f64>> {
        let device = Device::flex();
        let tokens = x.len() / size;
        let x: Vec<f32> = x.iter().map(|v| *v as f32).collect();
        let x = Tensor::<3>::from_data(TensorData::new(x, [1, tokens, size]), &device);
        values(&layer.forward(x)).chunks(size).map(<[f64]>::to_vec).collect()
    }

    #[test]
    fn it_equals_the_sums_written_out() {
        let device = Device::flex();
        device.seed(5);
        let (size, heads, tokens) = (6, 2, 5);
        let attention = SelfAttention::new(size, heads, &device).map(&mut Noise);
        let noise = Distribution::Uniform(-2.0, 2.0);
        let batch = Tensor::<3>::random([2, tokens, size], noise, &device);
        let got = values(&attention.forward(batch.clone()));
        for (image, got) in got.chunks(tokens * size).enumerate() {
            let x = values(&batch.clone().narrow(0, image, 1));
            let q = rows(&attention.query, &x, size);
            let k = rows(&attention.key, &x, size);
            let v = rows(&attention.value, &x, size);
            let mut joined = vec![0.0; tokens * size];
            let width = size / heads;
            for head in 0..heads {
                let of = head * width..(head + 1) * width;
                for i in 0..tokens {
                    let score = |j: usize| -> f64 {
                        of.clone().map(|c| q[i][c] * k[j][c]).sum::<f64>() / (width as f64).sqrt()
                    };
                    let weights: Vec<f64> = (0..tokens).map(|j| score(j).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for c in of.clone() {
                        let mean = (0..tokens).map(|j| weights[j] / total * v[j][c]).sum::<f64>();
                        joined[i * size + c] = mean;
                    }
                }
            }
            let want = rows(&attention.out, &joined, size).concat();
            let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 1e-5, "image {image} differs by {far}");
        }
    }

    /// One token attends to itself alone: queries and keys do not matter.
    #[test]
    fn a_single_token_is_only_projected() {
        let device = Device::flex();
        device.seed(6);
        let attention = SelfAttention::new(4, 4, &device).map(&mut Noise);
        let x = Tensor::<3>::random([1, 1, 4], Distribution::Uniform(-1.0, 1.0), &device);
        let want = attention.out.forward(attention.value.forward(x.clone()));
        let far = (attention.forward(x) - want).abs().max().into_scalar::<f32>();
        assert!(far < 1e-6, "{far}");
    }

    #[test]
    #[should_panic(expected = "5 heads do not divide 12 values")]
    fn heads_that_do_not_divide_are_refused() {
        let _ = SelfAttention::new(12, 5, &Device::flex());
    }
}
