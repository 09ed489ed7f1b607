//! The Swin transformer block.

use burn::module::Module;
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};

use super::SwinUnetConfig;
use super::attention::WindowAttention;
use super::window::Windows;
use crate::block::{DropPath, LayerNorm, Linear};

/// Epsilon of every layer norm.
pub(super) const EPSILON: f64 = 1e-5;

/// Two linear layers with an exact GELU between.
#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn new(channels: usize, hidden: usize, device: &Device) -> Self {
        let fc1 = Linear::new(channels, hidden, device);
        Self { fc1, fc2: Linear::new(hidden, channels, device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.fc2.forward(gelu(self.fc1.forward(x)))
    }
}

/// Attention in windows, then an MLP, both on a residual branch after a layer norm (Liu et al. 2021,
/// eq. 3). Every second block of a stage shifts the map before it cuts it into windows.
#[derive(Module, Debug)]
pub(super) struct SwinBlock {
    norm1: LayerNorm,
    attn: WindowAttention,
    norm2: LayerNorm,
    mlp: Mlp,
    drop_path: DropPath,
    shifted: bool,
}

impl SwinBlock {
    /// The blocks of the stage at `level`, 0 being the largest maps.
    pub(super) fn stage(config: &SwinUnetConfig, level: usize, device: &Device) -> Vec<Self> {
        let channels = config.channels_at(level);
        let block = |(i, drop)| Self {
            norm1: LayerNorm::new(channels, EPSILON, device),
            attn: WindowAttention::new(channels, config.heads[level], config.window, device),
            norm2: LayerNorm::new(channels, EPSILON, device),
            mlp: Mlp::new(channels, channels * config.mlp_ratio, device),
            drop_path: DropPath::new(drop),
            shifted: i % 2 == 1,
        };
        config.drop_paths(level).into_iter().enumerate().map(block).collect()
    }

    /// # Shapes
    /// - x, output: `[B, H, W, C]`, of the map that `windows` are of
    pub(super) fn forward(&self, x: Tensor<4>, windows: &Windows) -> Tensor<4> {
        let cut = windows.cut(self.norm1.forward(x.clone()), self.shifted);
        let cut = self.attn.forward(cut, windows.index(), windows.mask(self.shifted));
        let x = x + self.drop_path.forward(windows.join(cut, self.shifted));
        let branch = self.mlp.forward(self.norm2.forward(x.clone()));
        x + self.drop_path.forward(branch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{counted, filled, random, small, values};
    use super::*;

    #[test]
    fn the_mlp_uses_the_exact_gelu() {
        let mlp = filled(Mlp::new(1, 2, &Device::flex()), |path| match path {
            "fc1.weight" => vec![1.0, -1.0],
            "fc1.bias" => vec![0.0; 2],
            "fc2.weight" => vec![1.0, 2.0],
            "fc2.bias" => vec![0.5],
            other => panic!("{other}"),
        });
        // 1 times 0.8413447 and -1 times 0.1586553, the normal distribution below 1 and -1. With the
        // tanh formula the sum were 1.02357.
        let y = values(&mlp.forward(Tensor::ones([1, 1, 1, 1], &Device::flex())));
        assert!((y[0] - 1.024_034_2).abs() < 1e-6, "{y:?}");
    }

    fn stage() -> (Vec<SwinBlock>, Windows) {
        let device = Device::flex();
        (SwinBlock::stage(&small(), 0, &device), Windows::new([4, 4], 2, &device))
    }

    #[test]
    fn branches_of_zeros_leave_the_map_alone() {
        let (blocks, windows) = stage();
        let x = counted([1, 4, 4, 4]);
        for block in &blocks {
            assert_eq!(values(&block.forward(x.clone(), &windows)), values(&x));
        }
    }

    /// Which of the tokens of a 4 x 4 map change with the one at (row, column).
    fn reached(block: &SwinBlock, windows: &Windows, [row, column]: [usize; 2]) -> Vec<[usize; 2]> {
        let x = counted([1, 4, 4, 4]).sin();
        let spot = [0..1, row..row + 1, column..column + 1, 0..4];
        let other = x
            .clone()
            .slice_assign(spot, Tensor::from_floats([[[[3.0, 0.0, 0.0, 0.0]]]], &x.device()));
        let [a, b] = [x, other].map(|x| values(&block.forward(x, windows)));
        (0..16)
            .filter(|i| a[4 * i..4 * i + 4] != b[4 * i..4 * i + 4])
            .map(|i| [i / 4, i % 4])
            .collect()
    }

    #[test]
    fn tokens_see_their_window_and_a_shift_does_not_tie_opposite_sides() {
        let (blocks, windows) = stage();
        Device::flex().seed(2);
        let blocks: Vec<SwinBlock> = blocks.into_iter().map(random).collect();
        let corner = [[0, 0], [0, 1], [1, 0], [1, 1]];
        assert_eq!(reached(&blocks[0], &windows, [0, 0]), corner);
        assert_eq!(reached(&blocks[0], &windows, [1, 1]), corner);
        assert_eq!(reached(&blocks[1], &windows, [1, 1]), [[1, 1], [1, 2], [2, 1], [2, 2]]);
        // The window of the corners holds four parts of the map, that of a side two.
        assert_eq!(reached(&blocks[1], &windows, [0, 0]), [[0, 0]]);
        assert_eq!(reached(&blocks[1], &windows, [0, 1]), [[0, 1], [0, 2]]);
        assert_eq!(reached(&blocks[1], &windows, [2, 3]), [[1, 3], [2, 3]]);
    }
}
