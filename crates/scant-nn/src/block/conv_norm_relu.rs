//! A convolution without bias, a batch norm, a ReLU.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor};
use scant_kernels::ConvInput;

use super::Conv;
use super::conv_norm::{conv_norm_relu, official_field};

/// 3x3 convolution without bias → batch norm → ReLU, at the size of the input.
#[derive(Module, Debug)]
pub struct ConvNormRelu {
    conv: Conv,
    norm: BatchNorm,
}

impl ConvNormRelu {
    /// From `input` to `output` channels.
    #[must_use]
    pub fn new(input: usize, output: usize, device: &Device) -> Self {
        Self {
            conv: Conv::new(input, output, 3, device).without_bias(),
            norm: BatchNormConfig::new(output).init(device),
        }
    }

    /// # Shapes
    /// - x: `[B, input, H, W]`
    /// - output: `[B, output, H, W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv_norm_relu(ConvInput::Plain(x), [(&self.conv, &self.norm)])
    }

    /// This one and another behind it as one operator.
    ///
    /// # Shapes
    /// - x: see [`ConvInput`], of `input` channels
    /// - output: `[B, output of the second, H, W]`
    #[must_use]
    pub fn then(&self, second: &Self, x: ConvInput) -> Tensor<4> {
        conv_norm_relu(x, [(&self.conv, &self.norm), (&second.conv, &second.norm)])
    }

    /// Official name of a parameter below this block's sequence, e.g. `norm.gamma` → `1.weight`.
    pub(crate) fn official(part: &str, field: &str) -> Option<String> {
        let part = match part {
            "conv" => 0,
            "norm" => 1,
            _ => return None,
        };
        Some(format!("{part}.{}", official_field(field)))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    fn noisy(input: usize, output: usize, device: &Device) -> ConvNormRelu {
        let mut block = ConvNormRelu::new(input, output, device);
        let noise = Distribution::Uniform(-1.0, 1.0);
        block.conv.set_weight(Tensor::random([output, input, 3, 3], noise, device));
        block
    }

    /// Ones through a kernel of ones: 4, 6 or 9 of them; the fresh norm only divides by √(1 + ε).
    #[test]
    fn no_bias_is_added_and_negative_values_are_cut() {
        let device = Device::flex();
        let mut block = ConvNormRelu::new(1, 2, &device);
        let one = Tensor::<4>::ones([1, 1, 3, 3], &device);
        block.conv.set_weight(Tensor::cat(vec![one.clone(), -one], 0));
        let y = block.forward(Tensor::ones([1, 1, 3, 3], &device));
        let got: Vec<f32> = y.to_data().iter::<f32>().collect();
        let want = [4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0];
        let close = |(a, b): (&f32, f32)| (a - b / 1.00001_f32.sqrt()).abs() < 1e-4;
        assert!(got[..9].iter().zip(want).all(close), "{got:?}");
        assert_eq!(got[9..], [0.0; 9]);
    }

    #[test]
    fn two_at_once_are_one_after_the_other() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            device.seed(2);
            let (first, second) = (noisy(5, 4, &device), noisy(4, 3, &device));
            let noise = Distribution::Uniform(-1.0, 1.0);
            let a = Tensor::<4>::random([2, 2, 6, 5], noise, &device);
            let b = Tensor::<4>::random([2, 3, 6, 5], noise, &device);
            let both = first.then(&second, ConvInput::Joined(a.clone(), b.clone()));
            let apart = second.forward(first.forward(Tensor::cat(vec![a, b], 1)));
            let far = (both - apart).abs().max().into_scalar::<f32>();
            assert!(far < 1e-4, "{far}");
        }
    }
}
