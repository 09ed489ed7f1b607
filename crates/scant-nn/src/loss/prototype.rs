//! Feature discrepancy against prototypes: each region must be told from the other by what *other*
//! images say foreground and background are.
//!
//! With `f_i`, `b_i` the mean features of region and rest of image `i`, scaled to unit length, and the
//! prototypes `P_i`, `Q_i` the mean foreground and background of the peers of `i`, scaled likewise,
//!
//! `L_i = -1/2 [log σ(f_i · (P_i - Q_i) / τ) + log σ(b_i · (Q_i - P_i) / τ)]`.
//!
//! Distances of one image alone (every [`FdForm`](super::feature_discrepancy::FdForm) with a logarithm)
//! leave each image free to separate along a direction of its own, and the pairs of
//! [`exchangeable`](super::exchangeable) only ask that foreground *differs* from another image's
//! background. Here both regions must also *agree* with those of their peers: with peers from the other
//! data set, that is the invariance which the exchangeable term is after.
//!
//! Range: above 0, `log 2` where nothing is told apart. It is blind to the scale of the features, so
//! growing a layer gains nothing. Gradient: to all features, those of the prototypes too.
//! Reduction: mean over the images that have a peer, then over regions.
//!
//! Source: ours; the prototypes are those of Snell et al. 2017 (arXiv:1703.05175), the two-way
//! cross-entropy over cosines that of InfoNCE (van den Oord et al. 2018, arXiv:1807.03748).

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};

use super::feature_discrepancy::{Discrepancy, RegionFeatures};
use super::mean_where;

/// Whose features make the prototypes of an image: `peers[i]` are positions in the batch.
///
/// # Shapes
/// - result: `[1]`; contributions count images
///
/// # Panics
/// When there is not one list of peers per image, or a peer lies outside the batch.
#[must_use]
pub fn prototype_discrepancy(
    regions: &RegionFeatures,
    peers: &[Vec<usize>],
    temperature: f64,
) -> Discrepancy {
    let [n, channels, count] = regions.fg.dims();
    assert_eq!(peers.len(), n, "one list of peers per image of the batch is needed");
    let device = regions.fg.device();
    let mut of = vec![0.0_f32; n * n];
    for (i, peers) in peers.iter().enumerate() {
        for &peer in peers {
            assert!(peer < n && peer != i, "image {i} of {n} cannot have peer {peer}");
            of[i * n + peer] = 1.0;
        }
    }
    let of = Tensor::<2>::from_data(TensorData::new(of, [n, n]), &device);
    let weight = regions.valid.clone().reshape([n, 1, count]);
    let seen = of.clone().matmul(regions.valid.clone()); // [B, R], peers that count
    let valid = regions.valid.clone() * seen.clamp_max(1.0);
    let unit = |x: Tensor<3>| -> Tensor<3> {
        let norm = (x.clone().square().sum_dim(1) + EPS).sqrt();
        x / norm
    };
    let prototype = |x: Tensor<3>| -> Tensor<3> {
        let x = (x * weight.clone()).reshape([n, channels * count]);
        // The length of a sum is lost in the scaling, so it need not be divided by the number of peers.
        unit(of.clone().matmul(x).reshape([n, channels, count]))
    };
    let (fg, bg) = (unit(regions.fg.clone()), unit(regions.bg.clone()));
    let direction = (prototype(fg.clone()) - prototype(bg.clone())) / temperature;
    let along =
        |x: Tensor<3>| -> Tensor<2> { (x * direction.clone()).sum_dim(1).reshape([n, count]) };
    let loss = (log_sigmoid(along(fg)) + log_sigmoid(-along(bg))) * -0.5;
    let rows = valid.clone().sum_dim(0); // [1, R]
    let per_region = (loss * valid.clone()).sum_dim(0) / rows.clone().clamp_min(1.0);
    Discrepancy {
        value: mean_where(per_region, rows.clamp_max(1.0)),
        contributions: valid.max_dim(1).sum(),
    }
}

/// Keeps the length of a vector of zeros from dividing by zero.
const EPS: f64 = 1e-12;

#[cfg(test)]
mod tests;
