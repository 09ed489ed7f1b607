//! Macenko et al., *A method for normalizing histology slides for quantitative analysis*, ISBI 2009.
//!
//! Densities of tissue lie near a plane, spanned by the two eigenvectors of their covariance with the
//! largest eigenvalues. In that plane the 1st and 99th percentile of the angle are the two stains.
//! Amounts follow by least squares, and are scaled so that their 99th percentiles agree.
//!
//! Reference: `mitkovetta/staining-normalization` and `EIDOSLAB/torchstain`, whose optics these are:
//! intensities `i` of 0 to 255 have the density `-ln((i + 1) / 240)`, 0.15 in every channel is tissue.
//!
//! Deviations: eigenvectors are turned so that the first points to positive densities (else angles
//! wrap); images of little tissue or of one stain stay as they are; what is fitted on several images is
//! the median of each number; results are not rounded to 8 bits.

use ndarray::Array3;

use super::optical::{self, Stains, Unmixed, dot};
use crate::preprocess::normalise::percentile;

/// Intensity of unstained glass: 240 of 255.
const LIGHT: f64 = 240.0 / 255.0;
/// Percentile of the angles, as a share, at either end.
const TAIL: f64 = 0.01;

/// The stains of an image; none where there is too little tissue.
pub(super) fn fit(pixels: &Array3<f32>) -> Option<Stains> {
    unmix(pixels).map(|unmixed| unmixed.stains)
}

/// Gives an image other stains; false where there is too little tissue.
pub(super) fn apply(like: &Stains, pixels: &mut Array3<f32>) -> bool {
    let Some(unmixed) = unmix(pixels) else { return false };
    unmixed.restain(like, LIGHT, pixels);
    true
}

fn unmix(pixels: &Array3<f32>) -> Option<Unmixed> {
    let densities = optical::densities(pixels, |v| -((v * 255.0 + 1.0) / 240.0).ln());
    let tissue = optical::tissue(&densities)?;
    let [mut first, second] = plane(&tissue);
    if first.iter().sum::<f64>() < 0.0 {
        first = first.map(|v| -v);
    }
    let mut angles: Vec<f32> =
        tissue.iter().map(|d| dot(d, &second).atan2(dot(d, &first)) as f32).collect();
    let [low, high] = [TAIL, 1.0 - TAIL].map(|share| {
        let angle = f64::from(percentile(&mut angles, share));
        let (sine, cosine) = angle.sin_cos();
        [0, 1, 2].map(|c| first[c] * cosine + second[c] * sine)
    });
    let stains = optical::ordered(low, high)?;
    // Normal equations; the stains have length 1.
    let together = dot(&stains[0], &stains[1]);
    let determinant = 1.0 - together * together;
    Unmixed::new(stains, &densities, |d| {
        let (a, b) = (dot(d, &stains[0]), dot(d, &stains[1]));
        [(a - together * b) / determinant, (b - together * a) / determinant]
    })
}

/// The two directions in which densities vary most.
fn plane(densities: &[[f64; 3]]) -> [[f64; 3]; 2] {
    let n = densities.len() as f64;
    let mean = [0, 1, 2].map(|c| densities.iter().map(|d| d[c]).sum::<f64>() / n);
    let mut matrix = [[0.0; 3]; 3];
    for d in densities {
        let d = [0, 1, 2].map(|c| d[c] - mean[c]);
        for (row, x) in matrix.iter_mut().zip(d) {
            for (sum, y) in row.iter_mut().zip(d) {
                *sum += x * y / n;
            }
        }
    }
    let (values, vectors) = eigen(matrix);
    let mut order = [0, 1, 2];
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    [vectors[order[0]], vectors[order[1]]]
}

/// Eigenvalues and eigenvectors of a symmetric matrix by Jacobi's rotations.
fn eigen(mut a: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    let mut v = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    // Three by three: a handful of sweeps is exact to rounding.
    for _ in 0..30 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            if a[p][q] == 0.0 {
                continue;
            }
            let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let cosine = 1.0 / (t * t + 1.0).sqrt();
            let sine = t * cosine;
            for row in &mut a {
                (row[p], row[q]) =
                    (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
            }
            let (rp, rq) = (a[p], a[q]);
            a[p] = [0, 1, 2].map(|k| cosine * rp[k] - sine * rq[k]);
            a[q] = [0, 1, 2].map(|k| sine * rp[k] + cosine * rq[k]);
            // Rows of `v` are the eigenvectors.
            let (vp, vq) = (v[p], v[q]);
            v[p] = [0, 1, 2].map(|k| cosine * vp[k] - sine * vq[k]);
            v[q] = [0, 1, 2].map(|k| sine * vp[k] + cosine * vq[k]);
        }
    }
    ([a[0][0], a[1][1], a[2][2]], v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_solve_their_equation() {
        let matrix = [[2.0, -1.0, 0.5], [-1.0, 3.0, 0.25], [0.5, 0.25, 1.0]];
        let (values, vectors) = eigen(matrix);
        for (value, vector) in values.iter().zip(&vectors) {
            for (row, x) in matrix.iter().zip(vector) {
                assert!((dot(row, vector) - value * x).abs() < 1e-12, "{values:?}");
            }
            assert!((dot(vector, vector) - 1.0).abs() < 1e-12);
        }
        assert!((values.iter().sum::<f64>() - 6.0).abs() < 1e-12);
    }
}
