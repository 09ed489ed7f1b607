//! Sizes of a Swin-Unet, and what follows from them.

use serde::{Deserialize, Serialize};

use super::window::window_and_shift;
use crate::model::network::{Shapes, Sizes};
use crate::model::unet_config::tap_names;
use crate::model::{ModelError, check};

/// Sizes of [`SwinUnet`](super::SwinUnet).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwinUnetConfig {
    /// Channels of the tokens of the first stage; doubled at every stage. Published: 96.
    pub embed_dim: usize,
    /// Blocks of each stage, the last stage being the bottleneck; the decoder has as many as the
    /// encoder stage it mirrors. Published: 2, 2, 2, 2.
    pub depths: Vec<usize>,
    /// Attention heads of each stage. Published: 3, 6, 12, 24.
    pub heads: Vec<usize>,
    /// Side of a window in tokens. Published: 7.
    pub window: usize,
    /// Side of the patch of pixels that becomes a token. Published: 4.
    pub patch: usize,
    /// Hidden channels of an MLP, as a multiple of its channels. Published: 4.
    pub mlp_ratio: usize,
    /// Probability that the deepest block leaves out a residual branch of a training sample; it grows
    /// linearly from 0 at the first block. Published: 0.2.
    pub drop_path: f64,
    /// Image channels.
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    pub output_channels: usize,
}

impl Default for SwinUnetConfig {
    fn default() -> Self {
        Self {
            embed_dim: 96,
            depths: vec![2; 4],
            heads: vec![3, 6, 12, 24],
            window: 7,
            patch: 4,
            mlp_ratio: 4,
            drop_path: 0.2,
            input_channels: 3,
            output_channels: 9,
        }
    }
}

impl SwinUnetConfig {
    /// Checks the sizes for the architecture called `model`.
    pub(super) fn validate(&self, model: &'static str) -> Result<(), ModelError> {
        let refuse = |field, allowed: String, got: String| {
            Err(ModelError::Config { model, field, allowed, got })
        };
        check(model, "embed_dim", self.embed_dim, 1..=1024)?;
        check(model, "number of depths", self.depths.len(), 2..=6)?;
        for depth in &self.depths {
            check(model, "depths", *depth, 1..=64)?;
        }
        if self.heads.len() != self.depths.len() {
            let allowed = format!("as many numbers as depths ({})", self.depths.len());
            return refuse("heads", allowed, self.heads.len().to_string());
        }
        for (level, heads) in self.heads.iter().enumerate() {
            let channels = self.channels_at(level);
            if *heads == 0 || !channels.is_multiple_of(*heads) {
                let allowed =
                    format!("a divisor of the {channels} channels of stage {}", level + 1);
                return refuse("heads", allowed, heads.to_string());
            }
        }
        check(model, "window", self.window, 1..=64)?;
        check(model, "patch", self.patch, 1..=32)?;
        check(model, "mlp_ratio", self.mlp_ratio, 1..=16)?;
        if !(0.0..1.0).contains(&self.drop_path) {
            let allowed = "at least 0 and below 1".to_owned();
            return refuse("drop_path", allowed, self.drop_path.to_string());
        }
        Ok(())
    }

    /// Stages, the bottleneck included.
    pub(super) fn stages(&self) -> usize {
        self.depths.len()
    }

    /// Channels of the tokens at `level`, 0 being the largest maps.
    pub(super) fn channels_at(&self, level: usize) -> usize {
        self.embed_dim << level
    }

    /// Channels the patch embedding takes: grey images are repeated to the three of the pretrained
    /// networks.
    pub(super) fn patch_inputs(&self) -> usize {
        if self.input_channels == 1 { 3 } else { self.input_channels }
    }

    /// The probability of every block of a stage to leave out a branch.
    pub(super) fn drop_paths(&self, level: usize) -> Vec<f64> {
        let before: usize = self.depths[..level].iter().sum();
        let last = self.depths.iter().sum::<usize>() - 1;
        let at = |block: usize| self.drop_path * block as f64 / last as f64;
        (before..before + self.depths[level]).map(at).collect()
    }

    /// Tokens along each axis at `level` of an image of a [`padded`](Self::padded) size.
    pub(super) fn map_at(&self, image: [usize; 2], level: usize) -> [usize; 2] {
        image.map(|side| (side / self.patch) >> level)
    }

    /// The smallest image of at least this size whose maps can be cut into windows at every stage.
    ///
    /// Its sides are multiples of `patch 2^(stages - 1)`, and so that windows divide every map. A
    /// multiple of that times the window always does; where maps are no larger than a window, less may.
    pub(super) fn padded(&self, size: [usize; 2]) -> [usize; 2] {
        let step = self.patch << (self.stages() - 1);
        let fits = |image: [usize; 2]| {
            (0..self.stages()).all(|level| {
                let map = self.map_at(image, level);
                let (window, _) = window_and_shift(map, self.window);
                map.iter().all(|side| side.is_multiple_of(window))
            })
        };
        let sides = |side: usize| {
            let first = side.div_ceil(step).max(1);
            (first..=first.next_multiple_of(self.window)).map(move |n| n * step)
        };
        let [rows, columns] = size;
        sides(rows)
            .flat_map(|r| sides(columns).map(move |c| [r, c]))
            .filter(|image| fits(*image))
            .min_by_key(|[r, c]| r * c)
            .expect("multiples of the window fit")
    }

    /// Reads the sizes off the tensors of the official network. `drop_path` leaves no trace in them and
    /// is the published one; three image channels may also be grey ones, see the header of the module.
    pub(super) fn deduce(shapes: &Shapes) -> Option<Self> {
        let size = |name: &str, axis: usize| shapes.get(name)?.get(axis).copied();
        let block = |stage: usize, block: usize, tensor: &str| {
            format!("layers.{stage}.blocks.{block}.{tensor}")
        };
        let has = |i: &usize, j: usize| shapes.contains_key(&block(*i, j, "norm1.weight"));
        let table = "attn.relative_position_bias_table";
        let stages = (0..).take_while(|i| has(i, 0)).count();
        let depths = (0..stages).map(|i| (0..).take_while(|j| has(&i, *j)).count()).collect();
        let heads = (0..stages).map(|i| size(&block(i, 0, table), 1)).collect::<Option<_>>()?;
        let embed_dim = size("patch_embed.proj.weight", 0)?;
        let default = Self::default();
        Some(Self {
            embed_dim,
            depths,
            heads,
            window: size(&block(0, 0, table), 0)?.isqrt().div_ceil(2),
            patch: size("patch_embed.proj.weight", 2)?,
            mlp_ratio: size(&block(0, 0, "mlp.fc1.weight"), 0)?.checked_div(embed_dim)?,
            drop_path: default.drop_path,
            input_channels: size("patch_embed.proj.weight", 1)?,
            output_channels: size("output.weight", 0)?,
        })
    }
}

impl Sizes for SwinUnetConfig {
    fn channels(&self) -> [usize; 2] {
        [self.input_channels, self.output_channels]
    }

    fn set_channels(&mut self, [input, output]: [usize; 2]) {
        self.input_channels = input;
        self.output_channels = output;
    }

    fn tap_names(&self) -> Vec<String> {
        tap_names(self.stages().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ModelConfig;

    #[test]
    fn drop_paths_grow_over_the_encoder() {
        let config = SwinUnetConfig::default();
        let all: Vec<f64> = (0..4).flat_map(|level| config.drop_paths(level)).collect();
        for (i, p) in all.iter().enumerate() {
            assert!((p - 0.2 * i as f64 / 7.0).abs() < 1e-12, "{all:?}");
        }
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn images_are_padded_to_what_windows_divide() {
        let published = SwinUnetConfig::default();
        assert_eq!(published.padded([224, 224]), [224, 224]);
        assert_eq!(published.padded([1, 225]), [224, 448]);
        // Eight tokens divide into windows of eight, and so do four and two into their own.
        let eight = SwinUnetConfig { window: 8, ..published.clone() };
        assert_eq!(eight.padded([256, 256]), [256, 256]);
        assert_eq!(eight.padded([128, 128]), [128, 128]);
        assert_eq!(eight.padded([30, 97]), [32, 128]);
        assert_eq!(eight.padded([100, 100]), [128, 128]);
        assert_eq!(eight.padded([257, 100]), [384, 128]);
        let flat = SwinUnetConfig { depths: vec![1, 1], heads: vec![1, 1], ..published };
        // 12 x 6 tokens, then 6 x 3: windows of 6 and 3.
        assert_eq!(flat.padded([48, 24]), [48, 24]);
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let published = SwinUnetConfig::default();
        assert_eq!(published.validate("m"), Ok(()));
        let refused = |config: SwinUnetConfig| config.validate("m").unwrap_err().to_string();
        let config = SwinUnetConfig { heads: vec![3, 6, 12], ..published.clone() };
        assert_eq!(refused(config), "m: heads must be as many numbers as depths (4), got 3");
        let config = SwinUnetConfig { heads: vec![3, 5, 12, 24], ..published.clone() };
        let divisor = "m: heads must be a divisor of the 192 channels of stage 2, got 5";
        assert_eq!(refused(config), divisor);
        let config = SwinUnetConfig { drop_path: 1.0, ..published.clone() };
        assert_eq!(refused(config), "m: drop_path must be at least 0 and below 1, got 1");
        let config = SwinUnetConfig { depths: vec![2], ..published.clone() };
        assert_eq!(refused(config), "m: number of depths must be 2 to 6, got 1");
        let config = SwinUnetConfig { depths: vec![2, 2, 0, 2], ..published };
        assert_eq!(refused(config), "m: depths must be 1 to 64, got 0");
    }

    #[test]
    fn products_are_counted_by_hand() {
        let config = SwinUnetConfig {
            embed_dim: 2,
            depths: vec![1, 1],
            heads: vec![1, 1],
            window: 2,
            patch: 2,
            mlp_ratio: 3,
            drop_path: 0.0,
            input_channels: 1,
            output_channels: 5,
        };
        // 4 x 4 tokens of 2 channels, windows of 4; 2 x 2 tokens of 4 channels in one window.
        let upper = (4 * 4 + 6 * 4 + 2 * 4 * 2, 16);
        let lower = (4 * 16 + 6 * 16 + 2 * 4 * 4, 4);
        let wanted = [
            (4 * 3 * 2, 16),
            upper,
            (8 * 4, 4),
            lower,
            (4 * 8, 4),
            (4 * 2, 16),
            upper,
            (2 * 4 * 2 + 2 * 4 * 5, 16),
        ];
        let multiplied: usize = wanted.iter().map(|(values, rows)| values * rows).sum();
        let flops = ModelConfig::SwinUnet(config).flops(&[8, 7]);
        assert_eq!(flops.forward, 2 * multiplied as u64);
    }

    proptest! {
        #[test]
        fn padding_is_enough_and_never_too_much(
            rows in 1_usize..700, columns in 1_usize..700, window in 1_usize..9, stages in 2_usize..5,
        ) {
            let (depths, heads) = (vec![2; stages], vec![1; stages]);
            let config = SwinUnetConfig { window, depths, heads, ..SwinUnetConfig::default() };
            let padded = config.padded([rows, columns]);
            let whole = (4 * window) << (stages - 1);
            prop_assert!(padded[0] >= rows && padded[1] >= columns);
            let most = rows.next_multiple_of(whole) * columns.next_multiple_of(whole);
            prop_assert!(padded[0] * padded[1] <= most);
            prop_assert_eq!(config.padded(padded), padded);
            for level in 0..stages {
                let map = config.map_at(padded, level);
                prop_assert_eq!(map.map(|side| (side * 4) << level), padded);
                let (side, shift) = window_and_shift(map, window);
                prop_assert!(shift < side && map.iter().all(|n| n % side == 0));
            }
        }
    }
}
