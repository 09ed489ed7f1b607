//! What every network returns.

use burn::tensor::Tensor;

/// One intermediate feature map, by name.
///
/// What comes after the map in the network must start from `features`: gradients that other losses
/// leave at [`Tap::moments`] are then added to that of `features` in place.
#[derive(Debug, Clone)]
pub struct Tap {
    /// `enc1` (full resolution) .. `encN`, `bottleneck`, `decN` (deepest) .. `dec1` (full resolution).
    pub name: String,
    /// # Shapes
    /// `[batch, channels, rows, columns]` at the stage's own resolution.
    pub features: Tensor<4>,
    /// The same map for sums over regions, whose gradient costs little this way; see
    /// [`tapped_region_features`](crate::loss::feature_discrepancy::tapped_region_features).
    pub moments: scant_kernels::Tap<4>,
}

impl Tap {
    /// Splits a map on its way through the network.
    ///
    /// # Shapes
    /// - map: `[batch, channels, rows, columns]`
    #[must_use]
    pub fn new(name: String, map: Tensor<4>) -> Self {
        let (features, moments) = scant_kernels::tap(map);
        Self { name, features, moments }
    }
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
