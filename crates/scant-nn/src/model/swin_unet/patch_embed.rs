//! From pixels to tokens.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::SwinUnetConfig;
use super::block::EPSILON;
use crate::block::{Conv2d, ConvShape, LayerNorm};

/// Patch embedding: a token per patch of pixels, by a convolution that steps from patch to patch, and a
/// layer norm.
#[derive(Module, Debug)]
pub(super) struct PatchEmbed {
    proj: Conv2d,
    norm: LayerNorm,
    inputs: usize,
}

impl PatchEmbed {
    pub(super) fn new(config: &SwinUnetConfig, device: &Device) -> Self {
        let (inputs, side) = (config.patch_inputs(), [config.patch; 2]);
        let shape = ConvShape::new(inputs, config.embed_dim, side).strided(side);
        Self {
            proj: Conv2d::new(shape, device),
            norm: LayerNorm::new(config.embed_dim, EPSILON, device),
            inputs,
        }
    }

    /// A grey image is repeated where the convolution takes more channels.
    ///
    /// # Shapes
    /// - image: `[B, C, H p, W p]` for patches of p pixels
    /// - output: `[B, H, W, embed_dim]`
    pub(super) fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let grey = image.dims()[1] == 1;
        let image = if grey { image.repeat_dim(1, self.inputs) } else { image };
        self.norm.forward(self.proj.forward(image).permute([0, 2, 3, 1]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{counted, filled, small, values};
    use super::*;

    #[test]
    fn a_token_is_made_of_the_pixels_of_its_patch() {
        let config = SwinUnetConfig { embed_dim: 2, input_channels: 1, ..small() };
        let embed = filled(PatchEmbed::new(&config, &Device::flex()), |path| match path {
            // The sum of all pixels of all three channels; nothing.
            "proj.weight" => [[1.0; 12], [0.0; 12]].concat(),
            "proj.bias" => vec![0.0, 40.0],
            "norm.weight" => vec![1.0, 2.0],
            "norm.bias" => vec![0.0, 0.5],
            other => panic!("{other}"),
        });
        // 0 1 | 2 3     Sums 30 and 54 (thrice 10 and 18) beside 40; two values are always one
        // 4 5 | 6 7     deviation from their mean.
        let y = embed.forward(counted([1, 1, 2, 4]));
        assert_eq!(y.dims(), [1, 1, 2, 2]);
        let wanted = [-1.0, 2.5, 1.0, -1.5];
        assert!(values(&y).iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{y}");
    }
}
