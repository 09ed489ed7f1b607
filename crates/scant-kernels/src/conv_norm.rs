//! 3x3 convolutions with batch norm and activation, one or two in a row, as one operator.
//!
//! See `scant_compute::conv_norm` for what is saved by that. Other devices take burn's operators
//! apart; the caller decides, with [`on_cpu`](crate::on_cpu), because a module that normalises has
//! running statistics to look after in either case.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use scant_compute::conv_norm::Settings;

mod node;

use node::Chains;
pub(crate) use node::{both, tensor};

/// A 3x3 convolution and the norm behind it.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    /// `[Co, Ci, 3, 3]`
    pub weight: Tensor<4>,
    /// `[Co]`
    pub bias: Tensor<1>,
    /// γ, `[Co]`
    pub gamma: Tensor<1>,
    /// β, `[Co]`
    pub beta: Tensor<1>,
}

/// What the convolutions of one call share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormActivation {
    /// ε of the norm.
    pub epsilon: f64,
    /// Slope of the activation below zero: 0 is ReLU, 0.01 LeakyReLU, 1 nothing.
    pub slope: f64,
}

impl NormActivation {
    /// With the precision of the thread that builds the graph.
    fn settings(self) -> Settings {
        let precision = crate::precision();
        Settings { epsilon: self.epsilon as f32, slope: self.slope as f32, precision }
    }
}

/// Mean and biased variance of a batch, without gradients.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// `[Co]`
    pub mean: Tensor<1>,
    /// `[Co]`
    pub variance: Tensor<1>,
}

impl BatchStatistics {
    /// From `[2, Co]`.
    pub(crate) fn split(both: Tensor<2>) -> Self {
        let channels = both.dims()[1];
        let row = |i: usize| both.clone().narrow(0, i, 1).reshape([channels]);
        Self { mean: row(0), variance: row(1) }
    }
}

/// What the first convolution reads. Up-sampled and joined images are never written.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one lives for a moment per layer; a box would be the larger cost
pub enum ConvInput {
    /// `[B, Ci, H, W]`
    Plain(Tensor<4>),
    /// `[B, Ci, H / 2, W / 2]`, every pixel as a square of four: nearest-neighbour up-sampling by two.
    Doubled(Tensor<4>),
    /// `[B, C1, H, W]` and `[B, C2, H, W]`, Ci = C1 + C2: the concatenation of channels.
    Joined(Tensor<4>, Tensor<4>),
}

/// The kind of a [`ConvInput`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One image.
    Plain,
    /// One image, up-sampled.
    Doubled,
    /// Two images.
    Joined,
}

impl ConvInput {
    /// Both tensors; where there is one, the second is a stand-in that nothing reads.
    fn split(self) -> (Tensor<4>, Tensor<4>, Kind) {
        match self {
            Self::Plain(x) => (x.clone(), x.detach(), Kind::Plain),
            Self::Doubled(x) => (x.clone(), x.detach(), Kind::Doubled),
            Self::Joined(first, second) => (first, second, Kind::Joined),
        }
    }

    /// `[B, Ci, H, W]`, written out by burn's operators: for devices and blocks without a fused path.
    #[must_use]
    pub fn written_out(self) -> Tensor<4> {
        match self {
            Self::Plain(x) => x,
            Self::Doubled(x) => {
                let [_, _, rows, columns] = x.dims();
                crate::upsample_nearest2d(x, [2 * rows, 2 * columns])
            }
            Self::Joined(first, second) => Tensor::cat(vec![first, second], 1),
        }
    }

    /// One of the tensors, for its device and type.
    #[must_use]
    pub fn representative(&self) -> &Tensor<4> {
        match self {
            Self::Plain(x) | Self::Doubled(x) | Self::Joined(x, _) => x,
        }
    }

    /// Values per channel that the convolution reads.
    #[must_use]
    pub fn values_per_channel(&self) -> usize {
        let [batch, _, rows, columns] = self.representative().dims();
        let factor = if matches!(self, Self::Doubled(_)) { 4 } else { 1 };
        batch * rows * columns * factor
    }
}

/// One convolution, normalised by the statistics of the batch, and activated.
///
/// # Shapes
/// - x: `f32` on the CPU, see [`ConvInput`]
/// - output: `[B, Co, H, W]`
///
/// # Panics
/// When the shapes do not fit or the tensors are elsewhere.
#[must_use]
pub fn conv_norm(
    x: ConvInput,
    conv: ConvNorm,
    set: NormActivation,
) -> (Tensor<4>, BatchStatistics) {
    let (x, x2, kind) = x.split();
    let (y, statistics) = <Dispatch as Chains>::chain_of_one(
        x.into_dispatch(),
        x2.into_dispatch(),
        conv.weight.into_dispatch(),
        conv.bias.into_dispatch(),
        conv.gamma.into_dispatch(),
        conv.beta.into_dispatch(),
        kind,
        set.settings(),
    );
    (Tensor::from_dispatch(y), BatchStatistics::split(Tensor::from_dispatch(statistics)))
}

/// Two convolutions in a row, as [`conv_norm()`]; the values between them are never written.
///
/// # Shapes
/// - x: `f32` on the CPU, see [`ConvInput`]
/// - output: `[B, Co of the second, H, W]`
///
/// # Panics
/// As [`conv_norm()`].
#[must_use]
pub fn conv_norm_twice(
    x: ConvInput,
    [first, second]: [ConvNorm; 2],
    set: NormActivation,
) -> (Tensor<4>, [BatchStatistics; 2]) {
    let (x, x2, kind) = x.split();
    let (y, one, two) = <Dispatch as Chains>::chain_of_two(
        x.into_dispatch(),
        x2.into_dispatch(),
        first.weight.into_dispatch(),
        first.bias.into_dispatch(),
        first.gamma.into_dispatch(),
        first.beta.into_dispatch(),
        second.weight.into_dispatch(),
        second.bias.into_dispatch(),
        second.gamma.into_dispatch(),
        second.beta.into_dispatch(),
        kind,
        set.settings(),
    );
    let statistics = [one, two].map(|s| BatchStatistics::split(Tensor::from_dispatch(s)));
    (Tensor::from_dispatch(y), statistics)
}

/// Convolutions with fixed statistics, which become part of the filters. Without gradients.
///
/// # Shapes
/// - x: `f32` on the CPU, see [`ConvInput`]
/// - output: `[B, Co of the last, H, W]`
///
/// # Panics
/// When there is no convolution, the shapes do not fit, or the tensors are elsewhere or tracked.
#[must_use]
pub fn conv_norm_infer(
    x: ConvInput,
    stages: Vec<(ConvNorm, BatchStatistics)>,
    set: NormActivation,
) -> Tensor<4> {
    let step = |x: ConvInput, (conv, statistics): (ConvNorm, BatchStatistics)| {
        let (x, x2, kind) = x.split();
        ConvInput::Plain(Tensor::from_dispatch(<Dispatch as Chains>::fixed(
            x.into_dispatch(),
            x2.into_dispatch(),
            conv.weight.into_dispatch(),
            conv.bias.into_dispatch(),
            conv.gamma.into_dispatch(),
            conv.beta.into_dispatch(),
            statistics.mean.into_dispatch(),
            statistics.variance.into_dispatch(),
            kind,
            set.settings(),
        )))
    };
    assert!(!stages.is_empty(), "at least one convolution is needed");
    stages.into_iter().fold(x, step).written_out()
}

#[cfg(test)]
mod tests;
