//! The convolutional half of the encoder: a ResNet with group norms and standardised convolutions
//! (BiT, Kolesnikov et al. 2020, arXiv:1912.11370), without its last stage.
//!
//! In the reference its classes are called pre-activation; they are not, the ReLU follows the sum.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor};
use scant_kernels::max_pool2d;

use super::config::{GROUPS, TransUNetConfig};
use crate::Tap;
use crate::block::{ConvShape, GroupNorm, StdConv};

/// ε of the norms but those of the projections, which have PyTorch's default.
const EPSILON: f64 = 1e-6;
const PROJECTION_EPSILON: f64 = 1e-5;

/// Standardised convolution, square, "same" padding, without bias.
fn conv(input: usize, output: usize, kernel: usize, stride: usize, device: &Device) -> StdConv {
    let shape = ConvShape::new(input, output, [kernel; 2]).padded().strided([stride; 2]);
    StdConv::new(shape.without_bias(), device)
}

/// Convolution of 7x7 pixels to half the size, norm, ReLU.
#[derive(Module, Debug)]
struct Root {
    conv: StdConv,
    gn: GroupNorm,
}

impl Root {
    fn new(input: usize, width: usize, device: &Device) -> Self {
        Self {
            conv: conv(input, width, 7, 2, device),
            gn: GroupNorm::new(GROUPS, width, EPSILON, device),
        }
    }

    fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        relu(self.gn.forward(self.conv.forward(image)))
    }
}

/// 1x1 down, 3x3 with the stride, 1x1 up, each normalised; added to the input, which is projected
/// where sizes differ.
#[derive(Module, Debug)]
struct Unit {
    conv1: StdConv,
    gn1: GroupNorm,
    conv2: StdConv,
    gn2: GroupNorm,
    conv3: StdConv,
    gn3: GroupNorm,
    downsample: Option<StdConv>,
    /// One group per channel.
    gn_proj: Option<GroupNorm>,
}

impl Unit {
    fn new(input: usize, output: usize, stride: usize, device: &Device) -> Self {
        let middle = output / 4;
        let norm = |channels| GroupNorm::new(GROUPS, channels, EPSILON, device);
        let projects = stride != 1 || input != output;
        Self {
            conv1: conv(input, middle, 1, 1, device),
            gn1: norm(middle),
            conv2: conv(middle, middle, 3, stride, device),
            gn2: norm(middle),
            conv3: conv(middle, output, 1, 1, device),
            gn3: norm(output),
            downsample: projects.then(|| conv(input, output, 1, stride, device)),
            gn_proj: projects.then(|| GroupNorm::new(output, output, PROJECTION_EPSILON, device)),
        }
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, ceil(H / stride), ceil(W / stride)]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let residual = match (&self.downsample, &self.gn_proj) {
            (Some(conv), Some(norm)) => norm.forward(conv.forward(x.clone())),
            _ => x.clone(),
        };
        let y = relu(self.gn1.forward(self.conv1.forward(x)));
        let y = relu(self.gn2.forward(self.conv2.forward(y)));
        relu(residual + self.gn3.forward(self.conv3.forward(y)))
    }
}

/// Units of one size.
#[derive(Module, Debug)]
struct Stage {
    units: Vec<Unit>,
}

impl Stage {
    fn new(input: usize, output: usize, stride: usize, units: usize, device: &Device) -> Self {
        let first = Unit::new(input, output, stride, device);
        let others = (1..units).map(|_| Unit::new(output, output, 1, device));
        Self { units: std::iter::once(first).chain(others).collect() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.units.iter().fold(x, |x, unit| unit.forward(x))
    }
}

/// See the module header.
#[derive(Module, Debug)]
pub(super) struct ResNet {
    root: Root,
    body: Vec<Stage>,
}

impl ResNet {
    pub(super) fn new(config: &TransUNetConfig, device: &Device) -> Self {
        let (w, [first, second, third]) = (config.width, config.units);
        Self {
            root: Root::new(config.root_channels(), w, device),
            body: vec![
                Stage::new(w, 4 * w, 1, first, device),
                Stage::new(4 * w, 8 * w, 2, second, device),
                Stage::new(8 * w, 16 * w, 2, third, device),
            ],
        }
    }

    /// Taps the maps of the skip connections as enc2, enc3, enc4.
    ///
    /// # Shapes
    /// - image: `[B, C, H, W]`, sides divisible by 16
    /// - first output: `[B, 16 w, H / 16, W / 16]`
    /// - skips, deepest first: `[B, 8 w, H / 8, W / 8]`, `[B, 4 w, H / 4, W / 4]`,
    ///   `[B, w, H / 2, W / 2]`
    pub(super) fn forward(
        &self,
        image: Tensor<4>,
        taps: &mut Vec<Tap>,
    ) -> (Tensor<4>, [Tensor<4>; 3]) {
        let [_, _, rows, columns] = image.dims();
        let half = Tap::on(taps, "enc2", self.root.forward(image));
        // Without padding, which costs one row and column: 111 becomes 55, not 56.
        let x = max_pool2d(half.clone(), [3, 3], [2, 2], [0, 0]);
        let x = self.body[0].forward(x);
        let [batch, channels, r, c] = x.dims();
        let quarter = Tap::on(taps, "enc3", zero_padded(x, [rows / 4, columns / 4]));
        // The zeros are for the skip connection alone.
        let x = quarter.clone().slice([0..batch, 0..channels, 0..r, 0..c]);
        let eighth = Tap::on(taps, "enc4", self.body[1].forward(x));
        (self.body[2].forward(eighth.clone()), [eighth, quarter, half])
    }
}

/// Adds zeros below and on the right up to `size`.
fn zero_padded(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, rows, columns] = x.dims();
    x.pad([(0, size[0] - rows), (0, size[1] - columns)], PadMode::Constant(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_stand_below_and_on_the_right() {
        let x = Tensor::<4>::ones([1, 1, 1, 2], &Device::flex());
        let values: Vec<f32> = zero_padded(x, [2, 3]).to_data().iter::<f32>().collect();
        assert_eq!(values, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    /// The smallest image too: 16, 8, 3 padded to 4, 2, 1.
    #[test]
    fn every_multiple_of_sixteen_has_the_sizes_of_the_reference() {
        let device = Device::flex();
        let config = TransUNetConfig { width: 32, units: [1, 1, 1], ..TransUNetConfig::default() };
        let resnet = ResNet::new(&config, &device);
        for [m, n] in [[1, 1], [2, 5], [3, 4]] {
            let mut taps = Vec::new();
            let image = Tensor::zeros([1, 3, 16 * m, 16 * n], &device);
            let (x, skips) = resnet.forward(image, &mut taps);
            assert_eq!(x.dims(), [1, 512, m, n]);
            let want = [[1, 256, 2 * m, 2 * n], [1, 128, 4 * m, 4 * n], [1, 32, 8 * m, 8 * n]];
            assert_eq!(skips.map(|s| s.dims()), want);
            let tapped: Vec<_> = taps.iter().rev().map(|t| t.features.dims()).collect();
            assert_eq!(tapped, want);
        }
    }
}
