//! What every network returns.

use burn::tensor::Tensor;

/// One intermediate feature map, by name.
///
/// What comes after the map in the network must start from `features`: gradients that other losses
/// leave at [`Tap::moments`] are then added to that of `features` in place.
#[derive(Debug, Clone)]
pub struct Tap<const D: usize = 4> {
    /// `enc1` (full resolution) .. `encN`, `bottleneck`, `decN` (deepest) .. `dec1` (full resolution).
    /// Maps of one number have one size; a network without a map at some level leaves the number out.
    pub name: String,
    /// # Shapes
    /// `[batch, channels, rows, columns]` (volumes: `[batch, channels, depth, rows, columns]`) at the
    /// stage's own resolution.
    pub features: Tensor<D>,
    /// The same map for sums over regions, whose gradient costs little this way; see
    /// [`tapped_region_features`](crate::loss::feature_discrepancy::tapped_region_features).
    pub moments: scant_kernels::Tap<D>,
}

impl<const D: usize> Tap<D> {
    /// Splits a map on its way through the network.
    ///
    /// # Shapes
    /// - map: `[batch, channels, rows, columns]`, or with depth before the rows
    #[must_use]
    pub fn new(name: String, map: Tensor<D>) -> Self {
        let (features, moments) = scant_kernels::tap(map);
        Self { name, features, moments }
    }

    /// Taps a map: the tap goes into `taps`, and what the network goes on with comes back.
    #[must_use]
    pub fn on(taps: &mut Vec<Self>, name: impl Into<String>, map: Tensor<D>) -> Tensor<D> {
        let tap = Self::new(name.into(), map);
        let onwards = tap.features.clone();
        taps.push(tap);
        onwards
    }
}

/// The result of a forward pass: of images (`D` = 4) or of volumes (`D` = 5).
#[derive(Debug, Clone)]
pub struct SegOutput<const D: usize = 4> {
    /// Scores before sigmoid or softmax.
    ///
    /// # Shapes
    /// `[batch, logit channels, rows, columns]`, the size of the input; volumes have their depth
    /// before the rows.
    pub logits: Tensor<D>,
    /// Intermediates in the order encoder 1..n, bottleneck, decoder n..1.
    pub taps: Vec<Tap<D>>,
    /// Auxiliary logits of deep supervision heads, deepest first, at the sizes of their stages with
    /// the padding; empty for networks without such heads.
    pub aux: Vec<Tensor<D>>,
    /// How much was added to the end of every image axis (volumes: depth first) before the first
    /// layer. Taps and auxiliary logits include it, logits do not. A mask that meets one of them must
    /// be padded likewise.
    pub padding: Vec<usize>,
}

impl<const D: usize> SegOutput<D> {
    /// Names of the taps, in order.
    #[must_use]
    pub fn tap_names(&self) -> Vec<String> {
        self.taps.iter().map(|t| t.name.clone()).collect()
    }
}
