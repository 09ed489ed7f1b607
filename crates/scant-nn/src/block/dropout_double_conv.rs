//! Two 3x3 convolutions with batch norm and LeakyReLU, and dropout between them.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};
use scant_kernels::ConvInput;

use super::Conv;
use super::conv_norm::conv_norm_activation;

/// PyTorch's default.
const SLOPE: f64 = 0.01;

/// conv3x3 → batch norm → LeakyReLU 0.01 → dropout → conv3x3 → batch norm → LeakyReLU 0.01
/// (`ConvBlock` of HiLab-git/SSL4MIS `networks/unet.py`).
#[derive(Module, Debug)]
pub struct DropoutDoubleConv {
    conv1: Conv,
    norm1: BatchNorm,
    dropout: Dropout,
    conv2: Conv,
    norm2: BatchNorm,
}

impl DropoutDoubleConv {
    /// A stage from `input` to `output` channels that drops with `probability`.
    ///
    /// # Panics
    /// When the probability is not in [0, 1).
    #[must_use]
    pub fn new(input: usize, output: usize, probability: f64, device: &Device) -> Self {
        Self {
            conv1: Conv::new(input, output, 3, device),
            norm1: BatchNormConfig::new(output).init(device),
            dropout: DropoutConfig::new(probability).init(),
            conv2: Conv::new(output, output, 3, device),
            norm2: BatchNormConfig::new(output).init(device),
        }
    }

    /// # Shapes
    /// - x: `[batch, input, rows, columns]`
    /// - output: `[batch, output, rows, columns]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.stage(ConvInput::Plain(x))
    }

    /// [`forward`](Self::forward) of the concatenated channels of a skip connection and the map from
    /// below.
    ///
    /// # Shapes
    /// - skip, below: `[batch, channels, rows, columns]`, together `input` channels
    /// - output: `[batch, output, rows, columns]`
    #[must_use]
    pub fn forward_joined(&self, skip: Tensor<4>, below: Tensor<4>) -> Tensor<4> {
        self.stage(ConvInput::Joined(skip, below))
    }

    fn stage(&self, x: ConvInput) -> Tensor<4> {
        let (first, second) = ((&self.conv1, &self.norm1), (&self.conv2, &self.norm2));
        let dropout = &self.dropout;
        let drops = dropout.prob > 0.0
            && dropout.training.is_enabled()
            && x.representative().device().is_autodiff();
        if !drops {
            return conv_norm_activation(x, [first, second], SLOPE);
        }
        let between = dropout.forward(conv_norm_activation(x, [first], SLOPE));
        conv_norm_activation(ConvInput::Plain(between), [second], SLOPE)
    }

    /// Official name of a part below this block's `conv_conv` sequence, e.g. `norm1` → `1`.
    pub(crate) fn official(part: &str) -> Option<&'static str> {
        Some(match part {
            "conv1" => "0",
            "norm1" => "1",
            "conv2" => "4",
            "norm2" => "5",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Int};

    use super::*;
    use scant_kernels::activate;

    use crate::block::conv_norm::normalise;

    fn stage(probability: f64, device: &Device) -> DropoutDoubleConv {
        let mut stage = DropoutDoubleConv::new(2, 3, probability, device);
        for (conv, factor) in [(&mut stage.conv1, 2.7), (&mut stage.conv2, 1.9)] {
            // Weights without a generator: all tests of the process share the one there is.
            let shape = conv.parameters().0.dims();
            let places =
                Tensor::<1, Int>::arange(0..shape.iter().product::<usize>() as i64, device);
            conv.set_weight((places.float() * factor).sin().reshape(shape));
        }
        stage
    }

    fn values(t: &Tensor<4>) -> Vec<f32> {
        t.to_data().iter::<f32>().collect()
    }

    /// The parts, one after the other, with the same seed for the dropout. Other tests draw from the
    /// same generator at the same time, but not every time.
    #[test]
    fn training_is_its_parts_with_a_dropout_between_them() {
        assert!((0..50).any(|_| is_its_parts(0.0)));
        assert!((0..50).any(|_| is_its_parts(0.6)));
    }

    fn is_its_parts(probability: f64) -> bool {
        let device = Device::flex().autodiff();
        let (whole, parts) = (stage(probability, &device), stage(probability, &device));
        let noise = Distribution::Uniform(-1.0, 1.0);
        let skip = Tensor::<4>::random([2, 1, 4, 6], noise, &device);
        let below = Tensor::<4>::random([2, 1, 4, 6], noise, &device);
        device.seed(9);
        let got = values(&whole.forward_joined(skip.clone(), below.clone()));
        device.seed(9);
        let x = Tensor::cat(vec![skip, below], 1);
        let x = activate(normalise(&parts.norm1, parts.conv1.forward(x)), SLOPE);
        let dropped = parts.dropout.forward(x);
        let zeros = values(&dropped).iter().filter(|v| **v == 0.0).count();
        assert_eq!(zeros > 0, probability > 0.0);
        let want = activate(normalise(&parts.norm2, parts.conv2.forward(dropped)), SLOPE);
        got.iter().zip(values(&want)).all(|(a, b)| (a - b).abs() < 1e-4)
    }

    #[test]
    fn evaluation_drops_nothing() {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::ones([1, 2, 4, 4], &device);
        let (some, none) = (stage(0.9, &device).freeze(), stage(0.0, &device).freeze());
        assert_eq!(values(&some.forward(x.clone())), values(&none.forward(x)));
    }
}
