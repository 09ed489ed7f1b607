//! The other half of the encoder: the deepest map as tokens through a Vision Transformer
//! (Dosovitskiy et al. 2021, arXiv:2010.11929), without class token.

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Initializer};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};
use scant_kernels::upsample_bilinear2d;

use super::config::TransUNetConfig;
use super::resnet::ResNet;
use crate::Tap;
use crate::block::{Conv, LayerNorm, Linear, SelfAttention};

const EPSILON: f64 = 1e-6;

/// Image to tokens with positions.
#[derive(Module, Debug)]
struct Embeddings {
    hybrid_model: ResNet,
    /// 1x1: every pixel of the deepest map is a patch.
    patch_embeddings: Conv,
    /// `[1, rows columns, hidden]`
    position_embeddings: Param<Tensor<3>>,
    dropout: Dropout,
    #[module(skip)]
    grid: [usize; 2],
}

impl Embeddings {
    fn new(config: &TransUNetConfig, device: &Device) -> Self {
        let [rows, columns] = config.grid;
        let positions = [1, rows * columns, config.hidden];
        Self {
            hybrid_model: ResNet::new(config, device),
            patch_embeddings: Conv::new(16 * config.width, config.hidden, 1, device),
            position_embeddings: Initializer::Zeros.init(positions, device),
            dropout: DropoutConfig::new(config.dropout).init(),
            grid: config.grid,
        }
    }

    /// # Shapes
    /// - image: `[B, C, H, W]`, sides divisible by 16
    /// - output: `[B, hidden, H / 16, W / 16]`, and the skips of [`ResNet::forward`]
    fn forward(&self, image: Tensor<4>, taps: &mut Vec<Tap>) -> (Tensor<4>, [Tensor<4>; 3]) {
        let (x, skips) = self.hybrid_model.forward(image, taps);
        let x = self.patch_embeddings.forward(x);
        let [_, _, rows, columns] = x.dims();
        let positions = on_grid(self.position_embeddings.val(), self.grid, [rows, columns]);
        (self.dropout.forward(x + positions), skips)
    }
}

/// Position embeddings as a map, resized where the grids differ, corners on corners as in the loader
/// of the reference.
///
/// # Shapes
/// - positions: `[1, rows columns, hidden]` of the grid `from`
/// - output: `[1, hidden, rows, columns]` of the grid `to`
fn on_grid(positions: Tensor<3>, from: [usize; 2], to: [usize; 2]) -> Tensor<4> {
    let map = to_map(positions, from);
    if from == to { map } else { upsample_bilinear2d(map, to, true) }
}

/// # Shapes
/// - tokens: `[B, rows columns, hidden]`
/// - output: `[B, hidden, rows, columns]`
fn to_map(tokens: Tensor<3>, [rows, columns]: [usize; 2]) -> Tensor<4> {
    let [batch, _, hidden] = tokens.dims();
    tokens.swap_dims(1, 2).reshape([batch, hidden, rows, columns])
}

/// Two linear layers with a GELU between.
#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    dropout: Dropout,
}

impl Mlp {
    fn new(config: &TransUNetConfig, device: &Device) -> Self {
        Self {
            fc1: Linear::new(config.hidden, config.mlp, device),
            fc2: Linear::new(config.mlp, config.hidden, device),
            dropout: DropoutConfig::new(config.dropout).init(),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.dropout.forward(gelu(self.fc1.forward(x)));
        self.dropout.forward(self.fc2.forward(x))
    }
}

/// One transformer layer, normalised before its halves.
#[derive(Module, Debug)]
struct Layer {
    attention_norm: LayerNorm,
    attn: SelfAttention,
    ffn_norm: LayerNorm,
    ffn: Mlp,
}

impl Layer {
    fn new(config: &TransUNetConfig, device: &Device) -> Self {
        let norm = || LayerNorm::new(config.hidden, EPSILON, device);
        Self {
            attention_norm: norm(),
            attn: SelfAttention::new(config.hidden, config.heads, device),
            ffn_norm: norm(),
            ffn: Mlp::new(config, device),
        }
    }

    /// # Shapes
    /// - x, output: `[B, tokens, hidden]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.attn.forward(self.attention_norm.forward(x));
        x.clone() + self.ffn.forward(self.ffn_norm.forward(x))
    }
}

/// Layers, and a norm behind the last.
#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
    encoder_norm: LayerNorm,
}

/// The encoder of a TransUNet. Fields have the names of the reference.
#[derive(Module, Debug)]
pub(super) struct Transformer {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl Transformer {
    pub(super) fn new(config: &TransUNetConfig, device: &Device) -> Self {
        Self {
            embeddings: Embeddings::new(config, device),
            encoder: Encoder {
                layer: (0..config.layers).map(|_| Layer::new(config, device)).collect(),
                encoder_norm: LayerNorm::new(config.hidden, EPSILON, device),
            },
        }
    }

    /// Taps enc2, enc3, enc4 and, the encoded tokens as a map, the bottleneck.
    ///
    /// # Shapes
    /// - image: `[B, C, H, W]`, sides divisible by 16
    /// - output: `[B, hidden, H / 16, W / 16]`, and the skips of [`ResNet::forward`]
    pub(super) fn forward(
        &self,
        image: Tensor<4>,
        taps: &mut Vec<Tap>,
    ) -> (Tensor<4>, [Tensor<4>; 3]) {
        let (map, skips) = self.embeddings.forward(image, taps);
        let [batch, hidden, rows, columns] = map.dims();
        let tokens = map.reshape([batch, hidden, rows * columns]).swap_dims(1, 2);
        let tokens = self.encoder.layer.iter().fold(tokens, |x, layer| layer.forward(x));
        let encoded = to_map(self.encoder.encoder_norm.forward(tokens), [rows, columns]);
        (Tap::on(taps, "bottleneck", encoded), skips)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(t: &Tensor<4>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    /// Two values per position: the first counts columns, the second ten per row.
    fn positions() -> Tensor<3> {
        let rows = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 10.0], [1.0, 10.0], [2.0, 10.0]];
        Tensor::<2>::from_floats(rows, &Device::flex()).unsqueeze()
    }

    #[test]
    fn tokens_are_laid_out_row_by_row() {
        let map = on_grid(positions(), [2, 3], [2, 3]);
        assert_eq!(map.dims(), [1, 2, 2, 3]);
        let want = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 10.0, 10.0, 10.0];
        assert_eq!(values(&map), want);
    }

    #[test]
    fn another_grid_is_interpolated_between_the_corners() {
        let map = on_grid(positions(), [2, 3], [3, 5]);
        let columns = [0.0, 0.5, 1.0, 1.5, 2.0];
        let rows = [0.0_f32, 5.0, 10.0].map(|v| [v; 5]).concat();
        assert_eq!(values(&map), [columns.repeat(3), rows].concat());
        // A single row has only the first corner.
        let map = on_grid(positions(), [2, 3], [1, 2]);
        assert_eq!(values(&map), [0.0, 2.0, 0.0, 0.0]);
    }
}
