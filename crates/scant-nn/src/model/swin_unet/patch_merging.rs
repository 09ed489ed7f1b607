//! The way down.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::block::EPSILON;
use crate::block::{LayerNorm, Linear};

/// Joins the channels of two by two tokens.
///
/// # Shapes
/// - x: `[B, 2 H, 2 W, C]`
/// - output: `[B, H, W, 4 C]`; the upper left, lower left, upper right and lower right token, in the
///   order of the reference
pub(super) fn merge(x: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    x.reshape([b, h / 2, 2, w / 2, 2, c]).permute([0, 1, 3, 4, 2, 5]).reshape([
        b,
        h / 2,
        w / 2,
        4 * c,
    ])
}

/// Patch merging: half as many tokens along each axis, of twice as many channels.
#[derive(Module, Debug)]
pub(super) struct PatchMerging {
    norm: LayerNorm,
    reduction: Linear,
}

impl PatchMerging {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Self {
            norm: LayerNorm::new(4 * channels, EPSILON, device),
            reduction: Linear::new(4 * channels, 2 * channels, device).without_bias(),
        }
    }

    /// # Shapes
    /// - x: `[B, 2 H, 2 W, C]`
    /// - output: `[B, H, W, 2 C]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.reduction.forward(self.norm.forward(merge(x)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::patch_expanding::expand;
    use super::super::tests::{counted, filled, values};
    use super::*;

    #[test]
    fn tokens_are_joined_column_by_column() {
        // 0 1 2 3
        // 4 5 6 7
        let joined = merge(counted([1, 2, 4, 1]));
        assert_eq!(joined.dims(), [1, 1, 2, 4]);
        assert_eq!(values(&joined), [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
        // Channels of a token stay together.
        assert_eq!(values(&merge(counted([1, 2, 2, 2]))), [0., 1., 4., 5., 2., 3., 6., 7.]);
    }

    #[test]
    fn a_merged_token_by_hand() {
        let merging = filled(PatchMerging::new(1, &Device::flex()), |path| match path {
            "norm.weight" => vec![1.0, 1.0, 1.0, 2.0],
            "norm.bias" => vec![0.0, 0.0, 0.0, 1.0],
            "reduction.weight" => vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0],
            other => panic!("{other}"),
        });
        // 0, 2, 1, 3 around 1.5 with variance 1.25: -1.3416, 0.4472, -0.4472, 1.3416.
        let y = values(&merging.forward(counted([1, 2, 2, 1])));
        let wanted = [-1.341_64, 0.447_21 + 2.0 * 1.341_64 + 1.0];
        assert!(y.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{y:?}");
    }

    proptest! {
        /// Expanding goes row by row, so that the two middle tokens change places.
        #[test]
        fn expanding_undoes_merging(
            batch in 1_usize..3, h in 1_usize..4, w in 1_usize..4, c in 1_usize..4,
        ) {
            let x = counted([batch, 2 * h, 2 * w, c]);
            let parts = merge(x.clone()).chunk(4, 3);
            prop_assert_eq!(parts.len(), 4);
            let ordered = [0, 2, 1, 3].map(|i| parts[i].clone()).to_vec();
            prop_assert_eq!(values(&expand(Tensor::cat(ordered, 3), 2)), values(&x));
        }
    }
}
