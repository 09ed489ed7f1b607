//! An additive attention gate in training, as one operator.
//!
//! Source: Oktay et al. 2018 (arXiv:1804.03999), eq. 1-2, with norms as in the usual PyTorch layout:
//! with 1x1 convolutions `z_g = W_g g + b_g`, `z_x = W_x x + b_x` and batch norms N,
//! `p = w · ReLU(N(z_g) + N(z_x)) + b`, `ψ = sigmoid(N(p))`, output `x ψ`. Done apart, a dozen maps of
//! the size of `z_g` and `x` are written and read again; here only `z_g`, `z_x` and the one channel of
//! `p` are kept, and everything between them is computed where it is needed.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::conv::{self, Geometry};
use crate::conv_norm::Trace;
use crate::elementary::exp;
use crate::norm::{self, Affine, Gradient, Planes, Statistics};
use crate::simd;

mod sums;

/// Pixels of a task that goes through all channels: its results stay in the cache meanwhile.
const BLOCK: usize = 2048;

/// Sizes of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Images.
    pub batch: usize,
    /// Channels of the gating signal, of the skip connection and of the output.
    pub channels: usize,
    /// Channels inside.
    pub hidden: usize,
    /// Depth, rows and columns.
    pub image: [usize; 3],
}

/// A 1x1 convolution and the norm behind it.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// `[outputs, inputs]`
    pub weight: &'a [f32],
    /// `[outputs]`
    pub bias: &'a [f32],
    /// γ, `[outputs]`
    pub gamma: &'a [f32],
    /// β, `[outputs]`
    pub beta: &'a [f32],
}

/// Gradients of the parameters of a layer. That of the bias is zero: a norm takes away what it adds.
#[derive(Debug, Clone, Default)]
pub struct LayerGradient {
    /// `[outputs, inputs]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub gamma: Vec<f32>,
    /// `[outputs]`
    pub beta: Vec<f32>,
}

/// Gradients of everything that enters a gate.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// Of the gating signal, if wanted.
    pub gating: Option<Vec<f32>>,
    /// Of the skip connection, if wanted.
    pub skip: Option<Vec<f32>>,
    /// Of the layers, in their order.
    pub layers: [LayerGradient; 3],
}

impl Sizes {
    fn area(&self) -> usize {
        self.image.iter().product()
    }

    fn geometry(&self) -> Geometry {
        Geometry::plain(self.batch, self.channels, self.hidden, self.image, [1; 3])
    }

    fn planes(&self, channels: usize) -> Planes {
        Planes { batch: self.batch, channels, area: self.area() }
    }

    fn check(&self, maps: [&[f32]; 2], layers: &[Layer<'_>; 3]) {
        assert!(
            self.batch * self.channels * self.hidden * self.area() > 0,
            "a gate without values: {self:?}"
        );
        let len = self.batch * self.channels * self.area();
        assert!(maps.iter().all(|m| m.len() == len), "the maps do not fit {self:?}");
        let channels = [self.channels, self.hidden];
        for (layer, [inputs, outputs]) in layers.iter().zip([channels, channels, [self.hidden, 1]])
        {
            let numbers = [layer.bias, layer.gamma, layer.beta];
            assert!(
                layer.weight.len() == inputs * outputs
                    && numbers.iter().all(|n| n.len() == outputs),
                "a layer of the gate does not fit {self:?}",
            );
        }
    }
}

/// The gate in training.
///
/// # Shapes
/// - gating, skip: `[batch, channels, image]`
/// - layers: of the gating signal and of the skip connection, channels to hidden; hidden to one
/// - output: `[batch, channels, image]`, and a trace per layer
///
/// # Panics
/// When there is nothing to gate or a length does not fit.
#[must_use]
pub fn forward(
    s: Sizes,
    gating: &[f32],
    skip: &[f32],
    layers: &[Layer<'_>; 3],
    epsilon: f32,
) -> (Vec<f32>, [Trace; 3]) {
    s.check([gating, skip], layers);
    let trace =
        |z: Vec<f32>, channels| Trace { statistics: norm::statistics(s.planes(channels), &z), z };
    let [g, x] = convolved(s, [gating, skip], layers).map(|z| trace(z, s.hidden));
    let inner =
        [(&g, &layers[0]), (&x, &layers[1])].map(|(t, l)| affine(&t.statistics, l, epsilon));
    let p = trace(scores(s, [&g.z, &x.z], &inner, &layers[2]), 1);
    let y = gated(s, skip, &attention(&p.z, &affine(&p.statistics, &layers[2], epsilon)));
    (y, [g, x, p])
}

/// All gradients, from that of the output; `want` those of the gating signal and of the skip.
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn backward(
    s: Sizes,
    [gating, skip]: [&[f32]; 2],
    layers: &[Layer<'_>; 3],
    traces: &[Trace; 3],
    dy: &[f32],
    epsilon: f32,
    want: [bool; 2],
) -> Gradients {
    s.check([gating, skip], layers);
    assert_eq!(dy.len(), skip.len(), "the gradient does not fit");
    let [a_g, a_x, a_p]: [Affine; 3] =
        std::array::from_fn(|i| affine(&traces[i].statistics, &layers[i], epsilon));
    let [z_g, z_x, p] = traces.each_ref().map(|t| t.z.as_slice());

    // Back through the product and the sigmoid, to the norm of the one channel.
    let psi = attention(p, &a_p);
    let dq = score_gradient(s, skip, dy, &psi);
    let one = s.planes(1);
    let norm_p = norm::gradient(one, &dq, p, &traces[2].statistics, &a_p, epsilon);
    let dp = norm::input_gradient(one, &dq, p, &a_p, &norm_p);

    // Both norms get the same gradient.
    let inside = sums::Inside { s, z: [z_g, z_x], affine: [&a_g, &a_x], weight: layers[2].weight };
    let means = [&traces[0].statistics, &traces[1].statistics];
    let (norms, weight_p) = inside.gradients(&dp, means, epsilon);
    let [norm_g, norm_x] = norms;
    let dz_g = inside.input_gradient(&dp, 0, &norm_g);
    let dz_x = inside.input_gradient(&dp, 1, &norm_x);

    let geometry = s.geometry();
    let back = |dz: &[f32], layer: &Layer<'_>| conv::input_gradient(&geometry, dz, layer.weight);
    let weight = |from: &[f32], dz: &[f32]| conv::weight_gradient(&geometry, from, dz);
    let layer = |weight: Vec<f32>, norm: Gradient| LayerGradient {
        weight,
        gamma: norm.gamma,
        beta: norm.beta,
    };
    let (weight_g, weight_x) = (weight(gating, &dz_g), weight(skip, &dz_x));
    let d_gating = want[0].then(|| back(&dz_g, &layers[0]));
    drop(dz_g);
    let d_skip = want[1].then(|| {
        let mut d = back(&dz_x, &layers[1]);
        add_gated(s, dy, &psi, &mut d);
        d
    });
    Gradients {
        gating: d_gating,
        skip: d_skip,
        layers: [layer(weight_g, norm_g), layer(weight_x, norm_x), layer(weight_p, norm_p)],
    }
}

fn affine(statistics: &Statistics, layer: &Layer<'_>, epsilon: f32) -> Affine {
    Affine::new(statistics, layer.gamma, layer.beta, epsilon, 1.0)
}

/// `z_g` and `z_x`
fn convolved(s: Sizes, maps: [&[f32]; 2], layers: &[Layer<'_>; 3]) -> [Vec<f32>; 2] {
    std::array::from_fn(|i| {
        conv::forward(&s.geometry(), maps[i], layers[i].weight, Some(layers[i].bias))
    })
}

/// `p`, `[batch, image]`
fn scores(s: Sizes, z: [&[f32]; 2], affine: &[Affine; 2], layer: &Layer<'_>) -> Vec<f32> {
    let mut p = vec![layer.bias[0]; s.batch * s.area()];
    each_block(s, &mut p, |image, start, p| {
        simd::vectorise(
            #[inline(always)]
            || {
                for c in 0..s.hidden {
                    let at = (image * s.hidden + c) * s.area() + start;
                    let (g, x) = (&z[0][at..][..p.len()], &z[1][at..][..p.len()]);
                    let (by_g, by_x) = (affine[0].scale[c], affine[1].scale[c]);
                    let shift = affine[0].shift[c] + affine[1].shift[c];
                    let weight = layer.weight[c];
                    for ((p, &g), &x) in p.iter_mut().zip(g).zip(x) {
                        let sum = by_g * g + (by_x * x + shift);
                        // Written so that what is not a number stays that.
                        *p += weight * if sum <= 0.0 { 0.0 } else { sum };
                    }
                }
            },
        );
    });
    p
}

/// ψ from `p`, `[batch, image]`
fn attention(p: &[f32], affine: &Affine) -> Vec<f32> {
    let (scale, shift) = (affine.scale[0], affine.shift[0]);
    let mut psi = p.to_vec();
    psi.par_chunks_mut(BLOCK).for_each(|psi| {
        simd::vectorise(
            #[inline(always)]
            || {
                for v in psi {
                    let q = scale * *v + shift;
                    let e = exp(-q.abs());
                    *v = (if q < 0.0 { e } else { 1.0 }) / (1.0 + e);
                }
            },
        );
    });
    psi
}

/// `x ψ`
fn gated(s: Sizes, x: &[f32], psi: &[f32]) -> Vec<f32> {
    map_planes(s, s.channels, |plane| {
        let area = s.area();
        let psi = &psi[plane / s.channels * area..][..area];
        ([&x[plane * area..][..area], psi, psi], |[x, psi, _]: [f32; 3]| x * psi)
    })
}

/// `d += dy ψ`
fn add_gated(s: Sizes, dy: &[f32], psi: &[f32], d: &mut [f32]) {
    let area = s.area();
    d.par_chunks_mut(area).enumerate().for_each(|(plane, d)| {
        let psi = &psi[plane / s.channels * area..][..area];
        let dy = &dy[plane * area..][..area];
        simd::vectorise(
            #[inline(always)]
            || {
                for ((d, &dy), &psi) in d.iter_mut().zip(dy).zip(psi) {
                    *d += dy * psi;
                }
            },
        );
    });
}

/// The gradient of `N(p)`: that of ψ, summed over channels, through the sigmoid.
fn score_gradient(s: Sizes, x: &[f32], dy: &[f32], psi: &[f32]) -> Vec<f32> {
    let mut dq = vec![0.0; s.batch * s.area()];
    each_block(s, &mut dq, |image, start, dq| {
        simd::vectorise(
            #[inline(always)]
            || {
                for c in 0..s.channels {
                    let at = (image * s.channels + c) * s.area() + start;
                    let (x, dy) = (&x[at..][..dq.len()], &dy[at..][..dq.len()]);
                    for ((dq, &x), &dy) in dq.iter_mut().zip(x).zip(dy) {
                        *dq += x * dy;
                    }
                }
                let psi = &psi[image * s.area() + start..][..dq.len()];
                for (dq, &psi) in dq.iter_mut().zip(psi) {
                    *dq *= psi * (1.0 - psi);
                }
            },
        );
    });
    dq
}

/// Hands blocks of the images of one channel to `each`: image, first pixel, block.
fn each_block(s: Sizes, to: &mut [f32], each: impl Fn(usize, usize, &mut [f32]) + Sync) {
    to.par_chunks_mut(s.area()).enumerate().for_each(|(image, to)| {
        to.par_chunks_mut(BLOCK).enumerate().for_each(|(i, to)| each(image, i * BLOCK, to));
    });
}

/// A map made pixel by pixel of three others; `plane` gives those of a plane, and what is done with them.
fn map_planes<'a, F: Fn([f32; 3]) -> f32>(
    s: Sizes,
    channels: usize,
    plane: impl Fn(usize) -> ([&'a [f32]; 3], F) + Sync,
) -> Vec<f32> {
    let len = s.batch * channels * s.area();
    let mut out = Vec::with_capacity(len);
    let room: &mut [MaybeUninit<f32>] = &mut out.spare_capacity_mut()[..len];
    room.par_chunks_mut(s.area()).enumerate().for_each(|(i, out)| {
        let ([a, b, c], f) = plane(i);
        assert!([a, b, c].iter().all(|p| p.len() == out.len()), "a plane is incomplete");
        simd::vectorise(
            #[inline(always)]
            || {
                for (((out, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
                    out.write(f([a, b, c]));
                }
            },
        );
    });
    // SAFETY: every plane was written, all of it.
    #[allow(unsafe_code)]
    unsafe {
        out.set_len(len);
    }
    out
}

#[cfg(test)]
mod tests;
