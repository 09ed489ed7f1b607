//! Back through `w · ReLU(N(z_g) + N(z_x))`.

use rayon::prelude::*;

use super::{Sizes, map_planes};
use crate::norm::{Affine, Gradient, Statistics};
use crate::simd;

/// Values whose single-precision sums are added up in double precision.
const BLOCK: usize = 1024;

/// What lies between the convolutions of a gate.
pub(super) struct Inside<'a> {
    pub(super) s: Sizes,
    pub(super) z: [&'a [f32]; 2],
    pub(super) affine: [&'a Affine; 2],
    /// `[hidden]`
    pub(super) weight: &'a [f32],
}

/// `scale_g z_g + scale_x z_x + shift` of a channel, before the ReLU.
#[derive(Clone, Copy)]
struct Sum {
    scale: [f32; 2],
    shift: f32,
}

impl Sum {
    #[inline(always)]
    fn of(self, g: f32, x: f32) -> f32 {
        self.scale[0] * g + (self.scale[1] * x + self.shift)
    }
}

impl Inside<'_> {
    fn sum(&self, c: usize) -> Sum {
        let [g, x] = self.affine;
        Sum { scale: [g.scale[c], x.scale[c]], shift: g.shift[c] + x.shift[c] }
    }

    /// Planes of `z_g` and `z_x`, and that of `dp` of the same image.
    fn planes<'a>(&'a self, plane: usize, dp: &'a [f32]) -> [&'a [f32]; 3] {
        let area = self.s.area();
        let part = |from: &'a [f32], plane: usize| &from[plane * area..][..area];
        [part(self.z[0], plane), part(self.z[1], plane), part(dp, plane / self.s.hidden)]
    }

    /// Gradients of both norms and of the weight `[hidden]`, from that of `p`.
    pub(super) fn gradients(
        &self,
        dp: &[f32],
        statistics: [&Statistics; 2],
        epsilon: f32,
    ) -> ([Gradient; 2], Vec<f32>) {
        let hidden = self.s.hidden;
        // Σ dp over what is above zero, its products with z_g - μ and z_x - μ, and Σ dp ReLU(..).
        let of_planes: Vec<[f64; 4]> = (0..self.s.batch * hidden)
            .into_par_iter()
            .map(|plane| {
                let (c, planes) = (plane % hidden, self.planes(plane, dp));
                let sum = self.sum(c);
                let means = statistics.map(|s| s.mean[c]);
                simd::vectorise(
                    #[inline(always)]
                    || plane_sums(planes, sum, means),
                )
            })
            .collect();
        let mut totals = vec![[0.0; 4]; hidden];
        for image in of_planes.chunks_exact(hidden) {
            for (total, sums) in totals.iter_mut().zip(image) {
                total.iter_mut().zip(sums).for_each(|(t, s)| *t += s);
            }
        }
        let weight = totals.iter().map(|t| t[3] as f32).collect();
        let count = self.s.batch * self.s.area();
        let norms = [0, 1].map(|i| {
            let sums = totals.iter().zip(self.weight).map(|(t, &w)| {
                let w = f64::from(w);
                (w * t[0], w * t[1 + i])
            });
            Gradient::from_sums(sums, count, statistics[i], self.affine[i], epsilon)
        });
        (norms, weight)
    }

    /// The gradient of one of the two `z` from that of `p`.
    pub(super) fn input_gradient(&self, dp: &[f32], which: usize, norm: &Gradient) -> Vec<f32> {
        map_planes(self.s, self.s.hidden, |plane| {
            let c = plane % self.s.hidden;
            let (sum, by_gradient) = (self.sum(c), norm.by_gradient[c] * self.weight[c]);
            let (by_value, constant) = (norm.by_value[c], norm.constant[c]);
            let gradient = move |[g, x, dp]: [f32; 3]| {
                let z = if which == 0 { g } else { x };
                let d = if sum.of(g, x) > 0.0 { dp } else { 0.0 };
                by_gradient * d + (by_value * z + constant)
            };
            (self.planes(plane, dp), gradient)
        })
    }
}

#[inline(always)]
fn plane_sums([g, x, dp]: [&[f32]; 3], sum: Sum, means: [f32; 2]) -> [f64; 4] {
    let mut totals = [0.0_f64; 4];
    let terms = |g: f32, x: f32, dp: f32| {
        let s = sum.of(g, x);
        let d = if s > 0.0 { dp } else { 0.0 };
        [d, d * (g - means[0]), d * (x - means[1]), d * s]
    };
    for ((g, x), dp) in g.chunks(BLOCK).zip(x.chunks(BLOCK)).zip(dp.chunks(BLOCK)) {
        let mut lanes = [[0.0_f32; 16]; 4];
        let ((g, g_rest), (x, x_rest)) = (g.as_chunks::<16>(), x.as_chunks::<16>());
        let (dp, dp_rest) = dp.as_chunks::<16>();
        for ((g, x), dp) in g.iter().zip(x).zip(dp) {
            for i in 0..16 {
                let terms = terms(g[i], x[i], dp[i]);
                for k in 0..4 {
                    lanes[k][i] += terms[k];
                }
            }
        }
        for (i, ((&g, &x), &dp)) in g_rest.iter().zip(x_rest).zip(dp_rest).enumerate() {
            for (lanes, term) in lanes.iter_mut().zip(terms(g, x, dp)) {
                lanes[i] += term;
            }
        }
        for (total, lanes) in totals.iter_mut().zip(lanes) {
            *total += lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
        }
    }
    totals
}
