//! Convolutions whose kernels are standardised.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, module, ops};
use scant_kernels::{ConvOptions, conv2d};

use super::ConvShape;

/// What keeps a kernel of equal values finite; the value of the reference.
const EPSILON: f64 = 1e-5;

/// A convolution of images with weight standardisation (Qiao et al. 2019, arXiv:1903.10520): the
/// weights of every output channel have mean 0 and (biased) variance 1 when they are used. What is
/// stored and trained are the weights before. Without bias; named as PyTorch's `Conv2d`.
///
/// # Rounding
/// Kernels of 3x3 at stride one are not given to Winograd's algorithm, whose rounding error is about
/// 1e-6 of the output, two to five times that of a matrix product. Where many of them follow one
/// another with a norm of few values and a ReLU each (16 units in TransUNet), such an error opens other
/// ReLUs: with it an eighth of the gradients of the published network, on an image of 64 x 64, were
/// more than 1e-3 of their norm away from those of double precision; without it none were. Larger
/// images and other weights do this to any single precision, PyTorch's too.
#[derive(Module, Debug)]
pub struct StdConv {
    /// `[output, input / groups, kh, kw]`
    weight: Param<Tensor<4>>,
    #[module(skip)]
    options: ConvOptions<2>,
}

impl StdConv {
    /// All zero; values are set by [`crate::weights::initialise`].
    ///
    /// # Panics
    /// When a bias is wanted or the groups do not divide the channels.
    #[must_use]
    pub fn new(shape: ConvShape<2>, device: &Device) -> Self {
        assert!(!shape.bias, "a standardised convolution has no bias");
        let [rows, columns] = shape.kernel;
        let weight = [shape.output, shape.inputs_per_group(), rows, columns];
        Self { weight: Initializer::Zeros.init(weight, device), options: shape.options }
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, (H + 2 padding - dilation (kh - 1) - 1) / stride + 1, ...]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = standardised(self.weight.val());
        let ConvOptions { stride, padding, dilation, groups } = self.options;
        if weight.dims()[2..] == [3, 3] && stride == [1, 1] {
            let options = ops::ConvOptions::new(stride, padding, dilation, groups);
            return module::conv2d(x, weight, None, options);
        }
        conv2d(x, weight, None, self.options)
    }
}

/// Every output channel to mean 0 and variance 1.
///
/// # Shapes
/// - weight, output: `[output, ...]`
fn standardised(weight: Tensor<4>) -> Tensor<4> {
    let dims = weight.dims();
    let rows: Tensor<2> = weight.reshape([dims[0], dims[1] * dims[2] * dims[3]]);
    let centred = rows.clone() - rows.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    (centred / (variance + EPSILON).sqrt()).reshape(dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(t: &Tensor<D>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    /// 1, 2, 3, 6 have mean 3 and variance 3.5; equal weights become zeros.
    #[test]
    fn output_channels_are_standardised_by_themselves() {
        let device = Device::flex();
        let weight = [1.0, 2.0, 3.0, 6.0, 7.0, 7.0, 7.0, 7.0];
        let weight = Tensor::<1>::from_floats(weight, &device).reshape([2, 2, 1, 2]);
        let unit = 3.50001_f32.sqrt().recip();
        let want = [-2.0 * unit, -unit, 0.0, 3.0 * unit, 0.0, 0.0, 0.0, 0.0];
        let got = values(&standardised(weight.clone()));
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");

        let shape = ConvShape::new(2, 2, [1, 2]).without_bias().strided([1, 2]);
        let mut conv = StdConv::new(shape, &device);
        conv.weight = Param::from_tensor(weight);
        let x = Tensor::<1>::from_floats([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 2.0], &device);
        let y = conv.forward(x.reshape([1, 2, 1, 4]));
        assert_eq!(y.dims(), [1, 2, 1, 2]);
        // First window: 1 of the first input, 1 of the second. Second: 1 and twice the last.
        let want = [-2.0 * unit, -unit + 6.0 * unit, 0.0, 0.0];
        let got = values(&y);
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{got:?}");
    }

    /// Other kernels and strides are another path; with zeros around, the middle of a stride of one is
    /// the output of a stride of two that starts there.
    #[test]
    fn both_paths_are_the_same_convolution() {
        let device = Device::flex();
        let noise = burn::tensor::Distribution::Uniform(-1.0, 1.0);
        let shape = ConvShape::new(3, 2, [3, 3]).padded().without_bias();
        let mut fine = StdConv::new(shape, &device);
        fine.weight = Param::from_tensor(Tensor::random([2, 3, 3, 3], noise, &device));
        let mut coarse = StdConv::new(shape.strided([2, 2]), &device);
        coarse.weight = fine.weight.clone();
        let x = Tensor::<4>::random([2, 3, 5, 5], noise, &device);
        let (fine, coarse) = (values(&fine.forward(x.clone())), values(&coarse.forward(x)));
        let of = |plane: usize, r: usize, c: usize| fine[plane * 25 + 10 * r + 2 * c];
        for plane in 0..4 {
            for (r, c) in [(0, 0), (0, 2), (1, 1), (2, 1)] {
                let (a, b) = (of(plane, r, c), coarse[plane * 9 + 3 * r + c]);
                assert!((a - b).abs() < 1e-5, "{a} and {b}");
            }
        }
    }

    /// Neither a scale nor an offset of the weights changes anything, so the gradient is orthogonal
    /// to both.
    #[test]
    fn the_gradient_does_not_change_mean_and_scale() {
        let device = Device::flex().autodiff();
        let mut conv = StdConv::new(ConvShape::new(1, 1, [2, 2]).without_bias(), &device);
        let weight = Tensor::<1>::from_floats([0.3, -0.1, 0.8, 0.2], &device);
        conv.weight = Param::from_tensor(weight.reshape([1, 1, 2, 2])).set_require_grad(true);
        let x = Tensor::<1>::from_floats([1.0, -2.0, 0.5, 3.0], &device).reshape([1, 1, 2, 2]);
        let grads = conv.forward(x).sum().backward();
        let gradient = conv.weight.val().grad(&grads).unwrap();
        let along = (gradient.clone() * conv.weight.val().inner()).sum().into_scalar::<f32>();
        let sum = gradient.clone().sum().into_scalar::<f32>();
        assert!(gradient.abs().max().into_scalar::<f32>() > 0.1);
        assert!(sum.abs() < 1e-5 && along.abs() < 1e-3, "{sum} {along}");
    }

    #[test]
    #[should_panic(expected = "has no bias")]
    fn a_bias_is_refused() {
        let _ = StdConv::new(ConvShape::new(1, 1, [1, 1]), &Device::flex());
    }
}
