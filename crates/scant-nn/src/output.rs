//! What every network returns.

use burn::tensor::Tensor;

/// One intermediate feature map, by name.
#[derive(Debug, Clone)]
pub struct Tap {
    /// `enc1` (full resolution) .. `encN`, `bottleneck`, `decN` (deepest) .. `dec1` (full resolution).
    pub name: String,
    /// # Shapes
    /// `[batch, channels, rows, columns]` at the stage's own resolution.
    pub features: Tensor<4>,
}

/// The result of a forward pass.
#[derive(Debug, Clone)]
pub struct SegOutput {
    /// Scores before sigmoid or softmax.
    ///
    /// # Shapes
    /// `[batch, logit channels, rows, columns]`, the size of the input.
    pub logits: Tensor<4>,
    /// Intermediates in the order encoder 1..n, bottleneck, decoder n..1.
    pub taps: Vec<Tap>,
    /// Auxiliary logits of deep supervision heads at full size, deepest first; empty for most models.
    pub aux: Vec<Tensor<4>>,
    /// Rows and columns that were added below and to the right of the input before the first layer
    /// (taps include them, logits do not). A mask that meets a tap must be padded likewise.
    pub padding: [usize; 2],
}

impl SegOutput {
    /// Names of the taps, in order.
    #[must_use]
    pub fn tap_names(&self) -> Vec<String> {
        self.taps.iter().map(|t| t.name.clone()).collect()
    }
}
