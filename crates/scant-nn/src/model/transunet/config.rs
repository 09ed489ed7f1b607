//! Sizes of a TransUNet.

use serde::{Deserialize, Serialize};

use crate::model::network::{Shapes, Sizes};
use crate::model::{ModelError, check};

/// How much smaller the map of tokens is than the image.
pub(super) const STRIDE: usize = 16;
/// Groups of the group norms; every number of channels before one must divide by it.
pub(super) const GROUPS: usize = 32;

/// Sizes of a [`TransUNet`](super::TransUNet); the default is R50-ViT-B/16 for the nine classes of
/// Synapse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransUNetConfig {
    /// Values per token. ViT-B: 768.
    pub hidden: usize,
    /// Attention heads; must divide `hidden`. ViT-B: 12.
    pub heads: usize,
    /// Transformer layers. ViT-B: 12.
    pub layers: usize,
    /// Values between the two linear layers of a transformer layer. ViT-B: 3072.
    pub mlp: usize,
    /// Bottleneck units of the three residual stages. R50: 3, 4, 9.
    pub units: [usize; 3],
    /// Channels of the first convolution, a multiple of 32; the residual stages have 4, 8 and 16 times
    /// as many. R50: 64.
    pub width: usize,
    /// Channels of the decoder's first convolution. Published: 512.
    pub head_channels: usize,
    /// Channels of the four decoder stages, deepest first. Published: 256, 128, 64, 16.
    pub decoder_channels: [usize; 4],
    /// How many of the skip connections are used, deepest first. Published: 3.
    pub skips: usize,
    /// Rows and columns of the position embeddings: those of the training images divided by 16,
    /// rounded up. Training sets it. Published: 14, 14.
    pub grid: [usize; 2],
    /// Share of the values that are dropped after the embeddings and after both linear layers of a
    /// transformer layer, while training. Published: 0.1.
    pub dropout: f64,
    /// Image channels. A single one is repeated to three.
    pub input_channels: usize,
    /// Logit channels: 1 for a single foreground class, else one per class with the background.
    pub output_channels: usize,
}

impl Default for TransUNetConfig {
    fn default() -> Self {
        Self {
            hidden: 768,
            heads: 12,
            layers: 12,
            mlp: 3072,
            units: [3, 4, 9],
            width: 64,
            head_channels: 512,
            decoder_channels: [256, 128, 64, 16],
            skips: 3,
            grid: [14, 14],
            dropout: 0.1,
            input_channels: 3,
            output_channels: 9,
        }
    }
}

impl TransUNetConfig {
    /// Checks the sizes for the architecture called `model`.
    pub(super) fn validate(&self, model: &'static str) -> Result<(), ModelError> {
        check(model, "hidden", self.hidden, 1..=8192)?;
        check(model, "heads", self.heads, 1..=self.hidden)?;
        let refused = |field, allowed: String, got: String| {
            Err(ModelError::Config { model, field, allowed, got })
        };
        if !self.hidden.is_multiple_of(self.heads) {
            let allowed = format!("a divisor of hidden = {}", self.hidden);
            return refused("heads", allowed, self.heads.to_string());
        }
        check(model, "layers", self.layers, 1..=128)?;
        check(model, "mlp", self.mlp, 1..=65_536)?;
        for units in self.units {
            check(model, "units", units, 1..=64)?;
        }
        check(model, "width", self.width, GROUPS..=1024)?;
        if !self.width.is_multiple_of(GROUPS) {
            let allowed = format!("a multiple of {GROUPS}, the groups of its norms");
            return refused("width", allowed, self.width.to_string());
        }
        check(model, "head_channels", self.head_channels, 1..=8192)?;
        for channels in self.decoder_channels {
            check(model, "decoder_channels", channels, 1..=8192)?;
        }
        check(model, "skips", self.skips, 0..=3)?;
        for side in self.grid {
            check(model, "grid", side, 1..=1024)?;
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refused("dropout", "from 0 to below 1".to_owned(), self.dropout.to_string());
        }
        Ok(())
    }

    /// Channels of the skip connections, deepest first.
    pub(super) fn skip_channels(&self) -> [usize; 3] {
        [8 * self.width, 4 * self.width, self.width]
    }

    /// Channels of the image the first convolution sees.
    pub(super) fn root_channels(&self) -> usize {
        if self.input_channels == 1 { 3 } else { self.input_channels }
    }

    /// Reads the sizes off the tensors of the reference.
    ///
    /// Three things no tensor tells: the heads are those of the Vision Transformer of that width, the
    /// grid is square as it always is in the reference, the dropout is the published one. And a
    /// network of grey images has the tensors of one of colour images.
    pub(super) fn deduce(shapes: &Shapes) -> Option<Self> {
        let size = |name: &str, axis: usize| shapes.get(name)?.get(axis).copied();
        let count = |name: &dyn Fn(usize) -> String, from: usize| {
            (from..).take_while(|&i| shapes.contains_key(&name(i))).count()
        };
        let tokens = size("transformer.embeddings.position_embeddings", 1)?;
        let side = tokens.isqrt();
        let hidden = size("transformer.embeddings.position_embeddings", 2)?;
        let root = "transformer.embeddings.hybrid_model.root.conv.weight";
        let body = "transformer.embeddings.hybrid_model.body";
        let units = |block| count(&|u| format!("{body}.block{block}.unit{u}.conv1.weight"), 1);
        let decoder = |stage, axis| size(&format!("decoder.blocks.{stage}.conv1.0.weight"), axis);
        let mut config = Self {
            hidden,
            heads: heads(hidden)?,
            layers: count(&|i| format!("transformer.encoder.layer.{i}.attn.query.weight"), 0),
            mlp: size("transformer.encoder.layer.0.ffn.fc1.weight", 0)?,
            units: [units(1), units(2), units(3)],
            width: size(root, 0)?,
            head_channels: size("decoder.conv_more.0.weight", 0)?,
            decoder_channels: [decoder(0, 0)?, decoder(1, 0)?, decoder(2, 0)?, decoder(3, 0)?],
            skips: 0,
            grid: [side, side],
            input_channels: size(root, 1)?,
            output_channels: size("segmentation_head.0.weight", 0)?,
            ..Self::default()
        };
        for stage in 0..3 {
            if decoder(stage, 1)? > config.stage_input(stage) {
                config.skips = stage + 1;
            }
        }
        (side * side == tokens).then_some(config)
    }

    /// Channels that a decoder stage gets from below.
    pub(super) fn stage_input(&self, stage: usize) -> usize {
        stage.checked_sub(1).map_or(self.head_channels, |below| self.decoder_channels[below])
    }
}

/// Heads of the Vision Transformers: 64 values each, in the huge one 80.
fn heads(hidden: usize) -> Option<usize> {
    match hidden {
        1280 => Some(16),
        _ => (hidden > 0 && hidden.is_multiple_of(64)).then_some(hidden / 64),
    }
}

impl Sizes for TransUNetConfig {
    fn channels(&self) -> [usize; 2] {
        [self.input_channels, self.output_channels]
    }

    fn set_channels(&mut self, [input, output]: [usize; 2]) {
        self.input_channels = input;
        self.output_channels = output;
    }

    fn fit(&mut self, size: &[usize]) {
        if let [rows, columns] = *size {
            self.grid = [rows.div_ceil(STRIDE), columns.div_ceil(STRIDE)];
        }
    }

    /// There is no encoder map at full resolution, so that it starts at level 2.
    fn tap_names(&self) -> Vec<String> {
        ["enc2", "enc3", "enc4", "bottleneck", "dec4", "dec3", "dec2", "dec1"]
            .map(str::to_owned)
            .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut TransUNetConfig)) -> String {
        let mut config = TransUNetConfig::default();
        change(&mut config);
        config.validate("transunet").unwrap_err().to_string()
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        assert_eq!(TransUNetConfig::default().validate("transunet"), Ok(()));
        assert_eq!(
            refused(|c| c.width = 48),
            "transunet: width must be a multiple of 32, the groups of its norms, got 48"
        );
        assert_eq!(
            refused(|c| c.heads = 7),
            "transunet: heads must be a divisor of hidden = 768, got 7"
        );
        assert_eq!(refused(|c| c.skips = 4), "transunet: skips must be 0 to 3, got 4");
        assert!(refused(|c| c.heads = 0).contains("heads must be 1 to 768"));
        assert!(refused(|c| c.units = [3, 0, 9]).contains("units must be 1 to 64, got 0"));
        assert!(refused(|c| c.grid = [14, 0]).contains("grid must be"));
        assert!(refused(|c| c.decoder_channels[3] = 0).contains("decoder_channels must be"));
        assert!(refused(|c| c.dropout = 1.0).contains("dropout must be from 0 to below 1, got 1"));
        assert!(refused(|c| c.dropout = f64::NAN).contains("dropout must be"));
    }

    #[test]
    fn the_grid_is_that_of_the_padded_training_images() {
        let mut config = TransUNetConfig::default();
        config.fit(&[512, 200]);
        assert_eq!(config.grid, [32, 13]);
        config.fit(&[1, 16]);
        assert_eq!(config.grid, [1, 1]);
    }

    #[test]
    fn heads_are_those_of_the_vision_transformers() {
        let of = |hidden| heads(hidden);
        // Tiny, small, base, large, huge.
        assert_eq!([192, 384, 768, 1024, 1280].map(of), [3, 6, 12, 16, 16].map(Some));
        assert_eq!([0, 100].map(of), [None, None]);
    }
}
