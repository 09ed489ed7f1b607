//! The constants by which batch norms of different frameworks differ.

use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::Device;

/// Constants of a batch norm, in PyTorch's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormConstants {
    /// Added to the variance.
    pub epsilon: f64,
    /// How far the running statistics move towards those of a batch. Keras counts the other way
    /// round: its 0.99 is 0.01 here.
    pub momentum: f64,
}

impl NormConstants {
    /// The defaults of PyTorch's `BatchNorm2d`.
    pub const PYTORCH: Self = Self { epsilon: 1e-5, momentum: 0.1 };
    /// The defaults of Keras' `BatchNormalization`.
    pub const KERAS: Self = Self { epsilon: 1e-3, momentum: 0.01 };

    /// A batch norm of these constants.
    pub(super) fn norm(self, channels: usize, device: &Device) -> BatchNorm {
        BatchNormConfig::new(channels)
            .with_epsilon(self.epsilon)
            .with_momentum(self.momentum)
            .init(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_pytorch() {
        let norm = NormConstants::PYTORCH.norm(2, &Device::flex());
        let default = BatchNormConfig::new(2).init(&Device::flex());
        assert_eq!((norm.epsilon, norm.momentum), (default.epsilon, default.momentum));
        let norm = NormConstants::KERAS.norm(2, &Device::flex());
        assert_eq!((norm.epsilon, norm.momentum), (1e-3, 0.01));
    }
}
