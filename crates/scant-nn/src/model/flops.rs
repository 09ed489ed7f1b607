//! How much arithmetic a network is.
//!
//! Counted are the convolutions, as direct ones: two operations (multiply, add) for every weight and
//! output pixel; likewise linear layers and the products of attention. Norms, activations, pooling and losses are left out; they cost memory traffic
//! rather than arithmetic. An implementation that multiplies less often (Winograd) is measured
//! against the same count.

use super::{ModelConfig, UNetConfig};

/// Floating-point operations on one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flops {
    /// A forward pass.
    pub forward: u64,
    /// A training step: forward, gradient of the weights, gradient of the inputs; nobody asks for
    /// the gradient of the image.
    pub step: u64,
}

/// A sum over convolutions on maps of one image.
#[derive(Debug, Default)]
struct Count {
    forward: u64,
    of_the_image: u64,
}

impl Count {
    /// A convolution with kernels of `weights` values in all, at every one of `pixels` outputs.
    fn conv(&mut self, weights: usize, pixels: usize) {
        self.forward += 2 * (weights as u64) * (pixels as u64);
    }

    /// The same, where the input is the image.
    fn first(&mut self, weights: usize, pixels: usize) {
        let before = self.forward;
        self.conv(weights, pixels);
        self.of_the_image += self.forward - before;
    }

    fn flops(&self) -> Flops {
        Flops { forward: self.forward, step: 3 * self.forward - self.of_the_image }
    }
}

impl ModelConfig {
    /// Operations on one image of the given rows and columns, sides padded as the network pads them.
    #[must_use]
    pub fn flops(&self, size: &[usize]) -> Flops {
        let size = [size[0], size[1]];
        let mut count = Count::default();
        match self {
            Self::UNet(c) => unet(c, size, &mut count),
            Self::AttentionUNet(c) => {
                unet(c, size, &mut count);
                gates(c, size, &mut count);
            }
            Self::SwinUnet(c) => {
                for (i, (weights, rows)) in c.products(size).into_iter().enumerate() {
                    if i == 0 { count.first(weights, rows) } else { count.conv(weights, rows) }
                }
            }
            #[allow(unreachable_patterns)]
            _ => {}
        }
        count.flops()
    }
}

/// Pixels of every stage, 0 being full resolution.
fn pixels(config: &UNetConfig, [rows, columns]: [usize; 2], level: usize) -> usize {
    let side = |n: usize| n.next_multiple_of(1 << config.depth) >> level;
    side(rows) * side(columns)
}

/// What all networks of the family share: two 3x3 convolutions per stage on the way down, three on
/// the way up, a 1x1 head.
fn unet(config: &UNetConfig, size: [usize; 2], count: &mut Count) {
    let c = |level| config.channels(level);
    for level in 0..=config.depth {
        let pixels = pixels(config, size, level);
        if level == 0 {
            count.first(9 * config.input_channels * c(0), pixels);
        } else {
            count.conv(9 * c(level - 1) * c(level), pixels);
        }
        count.conv(9 * c(level) * c(level), pixels);
    }
    for level in 0..config.depth {
        let pixels = pixels(config, size, level);
        count.conv(9 * c(level + 1) * c(level), pixels); // after the repetition
        count.conv(9 * 2 * c(level) * c(level), pixels);
        count.conv(9 * c(level) * c(level), pixels);
    }
    count.conv(c(0) * config.output_channels, pixels(config, size, 0));
}

/// Three 1x1 convolutions per skip connection: two to half the channels, one to a single map.
fn gates(config: &UNetConfig, size: [usize; 2], count: &mut Count) {
    for level in 0..config.depth {
        let (channels, pixels) = (config.channels(level), pixels(config, size, level));
        let hidden = channels / 2;
        count.conv(2 * channels * hidden + hidden, pixels);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::weights;

    fn config(width: usize, depth: usize, channels: usize, logits: usize) -> UNetConfig {
        UNetConfig { width, depth, input_channels: channels, output_channels: logits }
    }

    #[test]
    fn a_small_u_net_is_counted_by_hand() {
        // Width 2, depth 1, grey to one logit, 4 x 6 pixels: 24 at full size, 6 below.
        let down = 24 * 9 * (2 + 2 * 2) + 6 * 9 * (2 * 4 + 4 * 4);
        let up = 24 * 9 * (4 * 2 + 4 * 2 + 2 * 2);
        let head = 24 * 2;
        let forward = 2 * (down + up + head);
        assert_eq!(forward, 13_920);
        let first = 2 * 24 * 9 * 2;
        let flops = ModelConfig::UNet(config(2, 1, 1, 1)).flops(&[4, 6]);
        assert_eq!(flops, Flops { forward, step: 3 * forward - first });
        // Gates: 2 channels to 1 twice, 1 to 1.
        let gated = forward + 2 * 24 * (2 + 2 + 1);
        let flops = ModelConfig::AttentionUNet(config(2, 1, 1, 1)).flops(&[4, 6]);
        assert_eq!(flops, Flops { forward: gated, step: 3 * gated - first });
    }

    #[test]
    fn sides_are_padded_as_the_network_pads_them() {
        let net = ModelConfig::UNet(config(4, 3, 3, 2));
        assert_eq!(net.flops(&[17, 8]), net.flops(&[24, 8]));
        assert_ne!(net.flops(&[17, 8]), net.flops(&[16, 8]));
        assert_eq!(net.flops(&[1, 1]), net.flops(&[8, 8]));
    }

    /// U-Nets are also built with 2x2 transposed convolutions on the way up, one weight per output
    /// pixel and pair of channels where this family has nine. That net is 97 GFLOP at 512 x 512, and
    /// 145 in a step on two images of 256 x 256.
    #[test]
    fn the_usual_sizes_have_the_known_counts() {
        let net = ModelConfig::UNet(config(32, 4, 3, 1));
        let giga = |flops: u64| flops as f64 / 1e9;
        let up = |side: usize| -> f64 {
            let maps = (0..4).map(|level| (2 * (32 << level) * (32 << level), side >> level));
            maps.map(|(weights, side)| (2 * weights * side * side) as f64 / 1e9).sum()
        };
        let inference = giga(net.flops(&[512, 512]).forward);
        assert!((inference - 130.9).abs() < 0.1, "{inference}");
        assert!((inference - 8.0 * up(512) - 97.0).abs() < 0.5, "{inference}");
        let step = 2.0 * giga(net.flops(&[256, 256]).step);
        assert!((step - 196.2).abs() < 0.1, "{step}");
        assert!((step - 2.0 * 3.0 * 8.0 * up(256) - 145.0).abs() < 0.5, "{step}");
    }

    /// The same count from the tensors of the built network: every kernel works on the pixels of the
    /// stage its name says.
    #[test]
    fn the_count_agrees_with_the_built_network() {
        for sizes in [config(2, 1, 1, 1), config(4, 3, 3, 2), config(6, 4, 2, 5)] {
            for net in [ModelConfig::UNet(sizes.clone()), ModelConfig::AttentionUNet(sizes.clone())]
            {
                let size = [48, 32];
                let model = net.init(&Device::flex(), 0).unwrap();
                let mut forward = 0;
                for (name, tensor) in weights::export(&model) {
                    if tensor.shape.len() != 4 {
                        continue;
                    }
                    // Conv1.., Up2.., Up_conv2.., Att2..: the stage they stand at; Up2 ends at 1.
                    let stage: String = name.chars().filter(char::is_ascii_digit).take(1).collect();
                    let level = match name.split('.').next().unwrap() {
                        "Conv_1x1" => 0,
                        part if part.starts_with("Conv") => stage.parse::<u32>().unwrap() - 1,
                        _ => stage.parse::<u32>().unwrap() - 2,
                    };
                    let pixels = (size[0] >> level) * (size[1] >> level);
                    forward += 2 * (tensor.shape.iter().product::<usize>() * pixels) as u64;
                }
                assert_eq!(net.flops(&size).forward, forward, "{net:?}");
            }
        }
    }
}
