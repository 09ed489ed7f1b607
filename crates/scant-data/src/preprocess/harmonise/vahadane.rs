//! Vahadane et al., *Structure-Preserving Color Normalization and Sparse Stain Separation for
//! Histological Images*, IEEE TMI 35(8), 2016.
//!
//! Stains `D` (columns of length at most 1) and amounts `A`, neither of them negative, minimise
//! `mean over pixels of 1/2 |v - D a|^2 + lambda |a|_1`, `lambda = 0.1` (equation 5). Amounts of all
//! pixels then follow with `lambda = 0.01`, and are scaled so that their 99th percentiles agree.
//!
//! Reference: `Peter554/StainTools`, which has the problem solved by SPAMS and takes the same two
//! lambdas; intensities `i` of 0 to 255 have the density `-ln(max(i, 1) / 255)`.
//!
//! Deviations: with two stains the amounts have a closed form, so the alternation is over all (at most
//! 20 000, evenly taken) tissue pixels at once and draws nothing at random; it starts from the
//! haematoxylin and eosin of Ruifrok and Johnston 2001; tissue is found as by Macenko, not by
//! luminance; images of little tissue or of one stain stay as they are; what is fitted on several
//! images is the median of each number; results are not rounded to 8 bits.

use ndarray::Array3;

use super::optical::{self, Stains, Unmixed, dot};

const LAMBDA_STAINS: f64 = 0.1;
const LAMBDA_AMOUNTS: f64 = 0.01;
/// Tissue pixels that the stains are found from.
const MOST_PIXELS: usize = 20_000;
const ROUNDS: usize = 500;
/// The alternation ends when no number of the stains moves by more.
const SETTLED: f64 = 1e-6;
/// Ruifrok and Johnston 2001.
const START: [[f64; 3]; 2] = [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]];

/// The stains of an image; none where there is too little tissue.
pub(super) fn fit(pixels: &Array3<f32>) -> Option<Stains> {
    unmix(pixels).map(|unmixed| unmixed.stains)
}

/// Gives an image other stains; false where there is too little tissue.
pub(super) fn apply(like: &Stains, pixels: &mut Array3<f32>) -> bool {
    let Some(unmixed) = unmix(pixels) else { return false };
    unmixed.restain(like, 1.0, pixels);
    true
}

fn unmix(pixels: &Array3<f32>) -> Option<Unmixed> {
    let densities = optical::densities(pixels, |v| -(v.max(1.0 / 255.0)).ln());
    let tissue = optical::tissue(&densities)?;
    let step = tissue.len().div_ceil(MOST_PIXELS);
    let taken: Vec<[f64; 3]> = tissue.into_iter().step_by(step).collect();
    let found = stains(&taken);
    let stains = optical::ordered(found[0], found[1])?;
    let code = Code::new(stains, LAMBDA_AMOUNTS);
    Unmixed::new(stains, &densities, |d| code.amounts(d))
}

/// Alternates between amounts and stains.
fn stains(densities: &[[f64; 3]]) -> [[f64; 3]; 2] {
    let mut stains = START.map(|s| optical::unit(s).unwrap_or(s));
    for _ in 0..ROUNDS {
        let code = Code::new(stains, LAMBDA_STAINS);
        // Sums of a a' and of v a'.
        let (mut aa, mut va) = ([[0.0; 2]; 2], [[0.0; 3]; 2]);
        for density in densities {
            let amounts = code.amounts(density);
            for (s, x) in amounts.into_iter().enumerate() {
                aa[s][0] += x * amounts[0];
                aa[s][1] += x * amounts[1];
                for (sum, v) in va[s].iter_mut().zip(density) {
                    *sum += v * x;
                }
            }
        }
        let before = stains;
        // Block-coordinate descent of Mairal et al. 2010, algorithm 2.
        for _ in 0..5 {
            for s in 0..2 {
                if aa[s][s] <= 0.0 {
                    continue; // A stain that nothing uses stays.
                }
                let moved = [0, 1, 2].map(|c| {
                    let explained = stains[0][c] * aa[0][s] + stains[1][c] * aa[1][s];
                    (stains[s][c] + (va[s][c] - explained) / aa[s][s]).max(0.0)
                });
                let length = dot(&moved, &moved).sqrt().max(1.0);
                stains[s] = moved.map(|v| v / length);
            }
        }
        let change = (0..2).flat_map(|s| (0..3).map(move |c| (s, c)));
        if change.fold(0.0, |most: f64, (s, c)| most.max((stains[s][c] - before[s][c]).abs()))
            < SETTLED
        {
            break;
        }
    }
    stains
}

/// Amounts of two given stains: `min 1/2 |v - D a|^2 + lambda (a1 + a2)` over `a >= 0`.
struct Code {
    stains: [[f64; 3]; 2],
    lambda: f64,
    /// `D' D`
    own: [f64; 2],
    together: f64,
    determinant: f64,
}

impl Code {
    fn new(stains: [[f64; 3]; 2], lambda: f64) -> Self {
        let own = stains.map(|s| dot(&s, &s));
        let together = dot(&stains[0], &stains[1]);
        let determinant = own[0] * own[1] - together * together;
        Self { stains, lambda, own, together, determinant }
    }

    /// The optimum is where the gradient vanishes, if that is not negative, and else on one of the two
    /// borders: the problem is convex.
    fn amounts(&self, density: &[f64; 3]) -> [f64; 2] {
        let gain = self.stains.map(|s| dot(&s, density) - self.lambda);
        if self.determinant > 1e-12 {
            let both = [
                (self.own[1] * gain[0] - self.together * gain[1]) / self.determinant,
                (self.own[0] * gain[1] - self.together * gain[0]) / self.determinant,
            ];
            if both[0] >= 0.0 && both[1] >= 0.0 {
                return both;
            }
        }
        let one =
            [0, 1].map(|s| if self.own[s] > 0.0 { (gain[s] / self.own[s]).max(0.0) } else { 0.0 });
        // What one stain alone lowers the sum by.
        let lowers = [0, 1].map(|s| one[s] * gain[s] - 0.5 * self.own[s] * one[s] * one[s]);
        if lowers[0] >= lowers[1] { [one[0], 0.0] } else { [0.0, one[1]] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_the_minimum() {
        let stains = START.map(|s| optical::unit(s).unwrap());
        let code = Code::new(stains, 0.1);
        let cost = |v: &[f64; 3], a: [f64; 2]| {
            let rest = [0, 1, 2].map(|c| v[c] - stains[0][c] * a[0] - stains[1][c] * a[1]);
            0.5 * dot(&rest, &rest) + 0.1 * (a[0] + a[1])
        };
        for v in [[0.9, 1.2, 0.4], [0.1, 1.0, 0.1], [0.8, 0.3, 0.4], [0.01, 0.02, 0.0]] {
            let found = code.amounts(&v);
            assert!(found.iter().all(|a| *a >= 0.0));
            for i in -20..=20 {
                for j in -20..=20 {
                    let other = [found[0] + 0.01 * f64::from(i), found[1] + 0.01 * f64::from(j)];
                    if other.iter().all(|a| *a >= 0.0) {
                        assert!(cost(&v, found) <= cost(&v, other) + 1e-12, "{v:?} {found:?}");
                    }
                }
            }
        }
    }
}
