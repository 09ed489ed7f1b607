//! Batch norm and the activation after it, over `[batch, channels, space]`.
//!
//! Source: Ioffe and Szegedy 2015 (arXiv:1502.03167); PyTorch's `batch_norm` in training. With the
//! mean μ and the variance v of a channel over batch and space, `y = act(γ (z - μ) / √(v + ε) + β)`,
//! which is `act(scale · z + shift)` with two numbers per channel. `act(v)` is v above zero and
//! slope · v elsewhere: slope 0 is ReLU, 0.01 LeakyReLU, 1 nothing.

use rayon::prelude::*;

use crate::simd;

/// Sizes of what is normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels or voxels of a channel of an image.
    pub area: usize,
}

impl Planes {
    /// Values of one channel.
    #[must_use]
    pub fn count(&self) -> usize {
        self.batch * self.area
    }

    fn len(&self) -> usize {
        self.batch * self.channels * self.area
    }

    /// One result per plane, in parallel, folded over the images in order: `[channels]`.
    fn per_channel<T: Copy + Send>(
        &self,
        plane: impl Fn(usize, usize) -> T + Sync,
        fold: impl Fn(T, T) -> T,
    ) -> Vec<T> {
        let all: Vec<T> = (0..self.batch * self.channels)
            .into_par_iter()
            .map(|i| plane(i, i % self.channels))
            .collect();
        let (first, rest) = all.split_at(self.channels);
        let mut total = first.to_vec();
        for image in rest.chunks_exact(self.channels) {
            total.iter_mut().zip(image).for_each(|(t, &v)| *t = fold(*t, v));
        }
        total
    }
}

/// Mean and (biased) variance of each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// μ, `[channels]`
    pub mean: Vec<f32>,
    /// v, `[channels]`
    pub variance: Vec<f32>,
}

/// What a norm does to each channel: `act(scale · z + shift)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// `[channels]`
    pub scale: Vec<f32>,
    /// `[channels]`
    pub shift: Vec<f32>,
    /// Slope of the activation below zero.
    pub slope: f32,
}

impl Affine {
    /// From the statistics and the parameters of the norm, each `[channels]`.
    #[must_use]
    pub fn new(s: &Statistics, gamma: &[f32], beta: &[f32], epsilon: f32, slope: f32) -> Self {
        let scale: Vec<f32> = gamma
            .iter()
            .zip(&s.variance)
            .map(|(&g, &v)| (f64::from(g) / (f64::from(v) + f64::from(epsilon)).sqrt()) as f32)
            .collect();
        let mut shift = Vec::with_capacity(beta.len());
        for (c, &b) in beta.iter().enumerate() {
            shift.push((f64::from(b) - f64::from(s.mean[c]) * f64::from(scale[c])) as f32);
        }
        Self { scale, shift, slope }
    }
}

/// Number, mean and sum of squared differences from the mean of a part of a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) count: f64,
    pub(crate) mean: f64,
    pub(crate) squares: f64,
}

impl Part {
    pub(crate) const EMPTY: Self = Self { count: 0.0, mean: 0.0, squares: 0.0 };

    /// From `Σ (v - shift)` and `Σ (v - shift)²`.
    pub(crate) fn new(count: usize, shift: f32, sum: f64, squares: f64) -> Self {
        if count == 0 {
            return Self::EMPTY;
        }
        let count = count as f64;
        let mean = f64::from(shift) + sum / count;
        Self { count, mean, squares: (squares - sum * sum / count).max(0.0) }
    }

    /// The two parts as one (Chan et al. 1983).
    pub(crate) fn join(self, other: Self) -> Self {
        if other.count == 0.0 {
            return self;
        }
        let count = self.count + other.count;
        let step = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + step * other.count / count,
            squares: self.squares + other.squares + step * step * self.count * other.count / count,
        }
    }
}

impl Statistics {
    pub(crate) fn new(parts: &[Part]) -> Self {
        Self {
            mean: parts.iter().map(|p| p.mean as f32).collect(),
            variance: parts.iter().map(|p| (p.squares / p.count.max(1.0)) as f32).collect(),
        }
    }
}

/// Values whose single-precision sums are added up in double precision.
const BLOCK: usize = 1024;

/// Mean and variance of each channel of `z`.
///
/// # Panics
/// When `z` does not fit.
#[must_use]
pub fn statistics(p: Planes, z: &[f32]) -> Statistics {
    assert_eq!(z.len(), p.len(), "the values do not fit");
    let plane = |i: usize, _: usize| {
        let z = &z[i * p.area..][..p.area];
        let shift = z.first().copied().unwrap_or(0.0);
        let (sum, squares) = simd::vectorise(
            #[inline(always)]
            || {
                sums(z, z, |_, v| {
                    let v = v - shift;
                    (v, v * v)
                })
            },
        );
        Part::new(p.area, shift, sum, squares)
    };
    Statistics::new(&p.per_channel(plane, Part::join))
}

/// `act(scale · z + shift)`.
///
/// # Panics
/// When `z` does not fit.
#[must_use]
pub fn apply(p: Planes, z: &[f32], affine: &Affine) -> Vec<f32> {
    assert_eq!(z.len(), p.len(), "the values do not fit");
    let mut y = Vec::with_capacity(z.len());
    let spare = &mut y.spare_capacity_mut()[..z.len()];
    let planes = spare.par_chunks_mut(p.area.max(1)).zip(z.par_chunks(p.area.max(1)));
    planes.enumerate().for_each(|(i, (y, z))| {
        let c = i % p.channels;
        let (scale, shift, slope) = (affine.scale[c], affine.shift[c], affine.slope);
        simd::vectorise(
            #[inline(always)]
            || {
                for (y, &z) in y.iter_mut().zip(z) {
                    let v = scale * z + shift;
                    y.write(if v > 0.0 { v } else { slope * v });
                }
            },
        );
    });
    // SAFETY: every plane was written.
    #[allow(unsafe_code)]
    unsafe {
        y.set_len(z.len());
    }
    y
}

/// The gradients of the parameters of a norm, and how that of `z` is made of those of `y`:
/// `by_gradient · g + by_value · z + constant` with `g = act'(scale · z + shift) dy`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// Of γ, `[channels]`
    pub gamma: Vec<f32>,
    /// Of β, `[channels]`
    pub beta: Vec<f32>,
    /// `[channels]`
    pub by_gradient: Vec<f32>,
    /// `[channels]`
    pub by_value: Vec<f32>,
    /// `[channels]`
    pub constant: Vec<f32>,
}

/// Gradients in training, where the statistics are those of `z` itself.
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn gradient(
    p: Planes,
    dy: &[f32],
    z: &[f32],
    statistics: &Statistics,
    affine: &Affine,
    epsilon: f32,
) -> Gradient {
    assert!(dy.len() == p.len() && z.len() == p.len(), "the gradient does not fit");
    let plane = |i: usize, c: usize| {
        let (dy, z) = (&dy[i * p.area..][..p.area], &z[i * p.area..][..p.area]);
        let (scale, shift, slope) = (affine.scale[c], affine.shift[c], affine.slope);
        let mean = statistics.mean[c];
        simd::vectorise(
            #[inline(always)]
            || {
                sums(dy, z, |dy, z| {
                    let g = if scale * z + shift > 0.0 { dy } else { slope * dy };
                    (g, g * (z - mean))
                })
            },
        )
    };
    let totals = p.per_channel(plane, |a, b| (a.0 + b.0, a.1 + b.1));
    Gradient::from_sums(totals, p.count(), statistics, affine, epsilon)
}

impl Gradient {
    /// From Σ g and Σ g (z - μ) of each channel over its `count` values.
    pub(crate) fn from_sums(
        sums: impl IntoIterator<Item = (f64, f64)>,
        count: usize,
        statistics: &Statistics,
        affine: &Affine,
        epsilon: f32,
    ) -> Self {
        let (count, channels) = (count.max(1) as f64, affine.scale.len());
        let mut out = Self {
            gamma: Vec::with_capacity(channels),
            beta: Vec::with_capacity(channels),
            by_gradient: affine.scale.clone(),
            by_value: Vec::with_capacity(channels),
            constant: Vec::with_capacity(channels),
        };
        for (c, (sum, product)) in sums.into_iter().enumerate() {
            let inverse = 1.0 / (f64::from(statistics.variance[c]) + f64::from(epsilon)).sqrt();
            let (scale, mean) = (f64::from(affine.scale[c]), f64::from(statistics.mean[c]));
            // dz = scale (g - Σg / n - x̂ Σ(g x̂) / n), x̂ = (z - μ) · inverse
            let by_value = -scale * inverse * inverse * product / count;
            out.gamma.push((product * inverse) as f32);
            out.beta.push(sum as f32);
            out.by_value.push(by_value as f32);
            out.constant.push((-scale * sum / count - by_value * mean) as f32);
        }
        out
    }
}

/// The gradient of `z` (see [`Gradient`]).
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn input_gradient(p: Planes, dy: &[f32], z: &[f32], affine: &Affine, g: &Gradient) -> Vec<f32> {
    assert!(dy.len() == p.len() && z.len() == p.len(), "the gradient does not fit");
    let mut dz = Vec::with_capacity(z.len());
    let spare = &mut dz.spare_capacity_mut()[..z.len()];
    spare.par_chunks_mut(p.area.max(1)).enumerate().for_each(|(i, dz)| {
        let c = i % p.channels;
        let (dy, z) = (&dy[i * p.area..][..p.area], &z[i * p.area..][..p.area]);
        let (scale, shift, slope) = (affine.scale[c], affine.shift[c], affine.slope);
        let (by_gradient, by_value, constant) = (g.by_gradient[c], g.by_value[c], g.constant[c]);
        simd::vectorise(
            #[inline(always)]
            || {
                for ((dz, &dy), &z) in dz.iter_mut().zip(dy).zip(z) {
                    let g = if scale * z + shift > 0.0 { dy } else { slope * dy };
                    dz.write(by_gradient * g + (by_value * z + constant));
                }
            },
        );
    });
    // SAFETY: every plane was written.
    #[allow(unsafe_code)]
    unsafe {
        dz.set_len(z.len());
    }
    dz
}

/// Sums of both results of `f` over pairs, in double precision over blocks of single precision.
#[inline(always)]
fn sums(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> (f32, f32)) -> (f64, f64) {
    let mut total = (0.0_f64, 0.0_f64);
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let (mut first, mut second) = ([0.0_f32; 16], [0.0_f32; 16]);
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        for (a, b) in a.iter().zip(b) {
            for i in 0..16 {
                let (u, v) = f(a[i], b[i]);
                first[i] += u;
                second[i] += v;
            }
        }
        for (i, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            let (u, v) = f(a, b);
            first[i] += u;
            second[i] += v;
        }
        for i in 0..16 {
            total.0 += f64::from(first[i]);
            total.1 += f64::from(second[i]);
        }
    }
    total
}

#[cfg(test)]
pub(crate) mod tests;
