//! Sums of a feature map inside and outside of regions, in one read of the features.
//!
//! With features `x` and a mask `m` the sums are `Σ x m` and `Σ x (1 - m)` over the pixels, for each
//! image, channel and region. Both are linear in the features, so the gradient of a feature is
//! `m g_inside + (1 - m) g_outside`, needs the mask only, and costs one write of a map (or one
//! read and write where it is added to what is there).

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::simd::{Kernel, Simd, dispatch, vectorise};

/// Pixels that are summed in single precision before they enter the sum in `f64`.
const BLOCK: usize = 2048;
/// Values a task should have at least.
const TASK: usize = 1 << 16;
/// Channels that share one reading of the mask; more would be more streams than the processor
/// fetches ahead.
const PAIR: usize = 2;

/// Sizes of features `[batch, channels, pixels]` and mask `[batch, regions, pixels]`.
///
/// Planes and volumes alike: the pixels are all positions of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskedMoments {
    /// Images.
    pub batch: usize,
    /// Feature channels.
    pub channels: usize,
    /// Regions; each has a mask of its own.
    pub regions: usize,
    /// Positions of the map.
    pub pixels: usize,
}

impl MaskedMoments {
    /// `[batch, channels, 2 regions]`: the sums inside of every region, then those outside.
    ///
    /// # Panics
    /// When a slice does not have the size said above.
    #[must_use]
    pub fn sums(&self, features: &[f32], mask: &[f32]) -> Vec<f32> {
        self.check(features.len(), mask.len());
        let (columns, group) = (2 * self.regions, self.group());
        let mut sums = vec![0.0; self.batch * self.channels * columns];
        if self.is_empty() {
            return sums;
        }
        sums.par_chunks_mut(self.channels * columns)
            .zip(features.par_chunks(self.channels * self.pixels))
            .zip(mask.par_chunks(self.regions * self.pixels))
            .for_each(|((sums, features), mask)| {
                sums.par_chunks_mut(group * columns)
                    .zip(features.par_chunks(group * self.pixels))
                    .for_each(|(sums, features)| self.group_sums(features, mask, sums));
            });
        sums
    }

    /// Gradient of the features, `[batch, channels, pixels]`, from that of the
    /// [sums](Self::sums).
    ///
    /// # Panics
    /// When a slice does not have the size said above.
    #[must_use]
    pub fn gradient(&self, mask: &[f32], sums_gradient: &[f32]) -> Vec<f32> {
        let len = self.batch * self.channels * self.pixels;
        let mut gradient = Vec::with_capacity(len);
        let mut written = 0;
        if len > 0 {
            let room = &mut gradient.spare_capacity_mut()[..len];
            written = self.each_plane(mask, sums_gradient, room, |room, mask, coefficients| {
                plane_gradient(room, mask, coefficients).len()
            });
        }
        assert_eq!(written, len, "every value of the gradient is written");
        // SAFETY: the planes are `len` values in all, and each was handed back as initialised.
        #[allow(unsafe_code)]
        unsafe {
            gradient.set_len(len);
        }
        gradient
    }

    /// Adds the [gradient](Self::gradient) of the features to `to`, in place.
    ///
    /// # Panics
    /// When a slice does not have the size said above.
    pub fn add_gradient(&self, mask: &[f32], sums_gradient: &[f32], to: &mut [f32]) {
        assert_eq!(to.len(), self.batch * self.channels * self.pixels, "values of the gradient");
        if self.is_empty() {
            return;
        }
        self.each_plane(mask, sums_gradient, to, |to, mask, coefficients| {
            add_plane_gradient(to, mask, coefficients);
            to.len()
        });
    }

    /// Squared Euclidean norm of the [gradient](Self::gradient), without making it.
    ///
    /// It is a quadratic form in the gradients of the sums, whose matrix are the products of the masks
    /// with each other.
    ///
    /// # Panics
    /// When a slice does not have the size said above.
    #[must_use]
    pub fn gradient_energy(&self, mask: &[f32], sums_gradient: &[f32]) -> f64 {
        let columns = 2 * self.regions;
        assert_eq!(mask.len(), self.batch * self.regions * self.pixels, "values of the mask");
        let gradients = self.batch * self.channels * columns;
        assert_eq!(sums_gradient.len(), gradients, "values of [batch, channels, 2 regions]");
        if self.is_empty() {
            return 0.0;
        }
        mask.chunks(self.regions * self.pixels)
            .zip(sums_gradient.chunks(self.channels * columns))
            .map(|(mask, gradients)| {
                let products = self.mask_products(mask);
                gradients.chunks(columns).map(|g| quadratic_form(&products, g)).sum::<f64>()
            })
            .sum()
    }

    /// `[2 regions, 2 regions]`: over the pixels of one image, the sums of the products of all masks
    /// and of what they leave out.
    fn mask_products(&self, mask: &[f32]) -> Vec<f64> {
        let (r, columns) = (self.regions, 2 * self.regions);
        let plane = |i: usize| &mask[i * self.pixels..(i + 1) * self.pixels];
        let total = |m: &[f32]| m.iter().map(|&v| f64::from(v)).sum::<f64>();
        let sums: Vec<f64> = (0..r).map(|i| total(plane(i))).collect();
        let mut products = vec![0.0; columns * columns];
        for i in 0..r {
            for j in 0..r {
                let both = plane(i).iter().zip(plane(j)).map(|(&a, &b)| f64::from(a * b));
                let both: f64 = both.sum();
                products[i * columns + j] = both;
                products[i * columns + r + j] = sums[i] - both;
                products[(r + i) * columns + j] = sums[j] - both;
                products[(r + i) * columns + r + j] = self.pixels as f64 - sums[i] - sums[j] + both;
            }
        }
        products
    }

    fn is_empty(&self) -> bool {
        self.batch * self.channels * self.regions * self.pixels == 0
    }

    fn check(&self, features: usize, mask: usize) {
        let Self { batch, channels, regions, pixels } = *self;
        assert_eq!(features, batch * channels * pixels, "values of [batch, channels, pixels]");
        assert_eq!(mask, batch * regions * pixels, "values of [batch, regions, pixels]");
    }

    /// Channels per task: depends on the sizes only, so that the partition is fixed.
    fn group(&self) -> usize {
        TASK.div_ceil(self.pixels.max(1)).next_multiple_of(PAIR)
    }

    fn group_sums(&self, features: &[f32], mask: &[f32], sums: &mut [f32]) {
        let (pixels, columns) = (self.pixels, 2 * self.regions);
        for (x, sums) in features.chunks(PAIR * pixels).zip(sums.chunks_mut(PAIR * columns)) {
            let (first, second) = x.split_at(pixels);
            for (r, m) in mask.chunks(pixels).enumerate() {
                let totals = match second {
                    [] => dispatch(PlaneSums { planes: [first], mask: m }).to_vec(),
                    _ => dispatch(PlaneSums { planes: [first, second], mask: m }).to_vec(),
                };
                for ([inside, outside], sums) in totals.into_iter().zip(sums.chunks_mut(columns)) {
                    sums[r] = inside as f32;
                    sums[self.regions + r] = outside as f32;
                }
            }
        }
    }

    /// Hands every plane, with the masks of its image and its gradients of sums, to `each`; the sum of
    /// what it gives back.
    fn each_plane<T: Send>(
        &self,
        mask: &[f32],
        sums_gradient: &[f32],
        planes: &mut [T],
        each: impl Fn(&mut [T], &[&[f32]], &[f32]) -> usize + Sync,
    ) -> usize {
        self.check(planes.len(), mask.len());
        let (columns, group) = (2 * self.regions, self.group());
        let gradients = self.batch * self.channels * columns;
        assert_eq!(sums_gradient.len(), gradients, "values of [batch, channels, 2 regions]");
        if self.regions == 0 {
            // Without a region there is nothing that a feature could have entered.
            return self.each_without_regions(planes, &each);
        }
        planes
            .par_chunks_mut(self.channels * self.pixels)
            .zip(sums_gradient.par_chunks(self.channels * columns))
            .zip(mask.par_chunks(self.regions * self.pixels))
            .map(|((planes, gradients), mask)| {
                planes
                    .par_chunks_mut(group * self.pixels)
                    .zip(gradients.par_chunks(group * columns))
                    .map(|(planes, gradients)| self.group_planes(planes, mask, gradients, &each))
                    .sum::<usize>()
            })
            .sum()
    }

    fn group_planes<T>(
        &self,
        planes: &mut [T],
        mask: &[f32],
        gradients: &[f32],
        each: &(impl Fn(&mut [T], &[&[f32]], &[f32]) -> usize + Sync),
    ) -> usize {
        let masks: Vec<&[f32]> = mask.chunks(self.pixels).collect();
        planes
            .chunks_mut(self.pixels)
            .zip(gradients.chunks(2 * self.regions))
            .map(|(plane, coefficients)| each(plane, &masks, coefficients))
            .sum()
    }

    fn each_without_regions<T: Send>(
        &self,
        planes: &mut [T],
        each: &(impl Fn(&mut [T], &[&[f32]], &[f32]) -> usize + Sync),
    ) -> usize {
        planes.par_chunks_mut(TASK).map(|planes| each(planes, &[], &[])).sum()
    }
}

/// `g' A g`.
fn quadratic_form(a: &[f64], g: &[f32]) -> f64 {
    let row =
        |i: usize| -> f64 { g.iter().zip(&a[i * g.len()..]).map(|(&g, a)| f64::from(g) * a).sum() };
    (0..g.len()).map(|i| f64::from(g[i]) * row(i)).sum()
}

/// Sum of the squares of all values; the same whatever the number of threads.
#[must_use]
pub fn energy(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(TASK)
        .map(|part| part.chunks(BLOCK).map(block_energy).sum::<f64>())
        .collect();
    parts.iter().sum()
}

fn block_energy(values: &[f32]) -> f64 {
    // Enough running sums for the widest registers.
    let mut sums = [0.0_f32; 64];
    let (whole, rest) = values.as_chunks::<64>();
    vectorise(|| {
        for values in whole {
            for (sum, v) in sums.iter_mut().zip(values) {
                *sum += v * v;
            }
        }
    });
    let rest: f64 = rest.iter().map(|&v| f64::from(v * v)).sum();
    sums.iter().map(|&s| f64::from(s)).sum::<f64>() + rest
}

/// `Σ x m` and `Σ x (1 - m)` of each of `N` planes; nothing is left of a value that is left out.
struct PlaneSums<'a, const N: usize> {
    planes: [&'a [f32]; N],
    mask: &'a [f32],
}

impl<const N: usize> Kernel for PlaneSums<'_, N> {
    type Output = [[f64; 2]; N];

    #[inline(always)]
    fn run<S: Simd>(self) -> Self::Output {
        let mut totals = [[0.0; 2]; N];
        for start in (0..self.mask.len()).step_by(BLOCK) {
            let block = start..self.mask.len().min(start + BLOCK);
            let m = &self.mask[block.clone()];
            let x = self.planes.map(|x| &x[block.clone()]);
            // SAFETY: `dispatch` has seen to the instructions of S, and the slices are equally long.
            #[allow(unsafe_code)]
            let (sums, done) = unsafe { block_sums::<S, N>(x, m) };
            for ((x, totals), sums) in x.iter().zip(&mut totals).zip(sums) {
                totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(sum));
                for (&x, &m) in x[done..].iter().zip(&m[done..]) {
                    totals[0] += f64::from(x * m);
                    totals[1] += f64::from(x - x * m);
                }
            }
        }
        totals
    }
}

/// The sums of whole vectors of a block, and how many values those are.
///
/// # Safety
/// The instructions of `S` must be there, and every `x` be as long as `m`.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn block_sums<S: Simd, const N: usize>(x: [&[f32]; N], m: &[f32]) -> ([[f32; 2]; N], usize) {
    /// Vectors per turn, so that one addition need not wait for the last.
    const UNROLL: usize = 2;
    let step = UNROLL * S::LANES;
    let done = m.len() - m.len() % step;
    // SAFETY: positions stay below `done`, which is at most the length of every slice.
    unsafe {
        let mut inside = [[S::splat(0.0); UNROLL]; N];
        let mut outside = inside;
        for at in (0..done).step_by(step) {
            for u in 0..UNROLL {
                let at = at + u * S::LANES;
                let m = S::load(m.as_ptr().add(at));
                for n in 0..N {
                    let x = S::load(x[n].as_ptr().add(at));
                    let part = S::mul(x, m);
                    inside[n][u] = S::add(inside[n][u], part);
                    outside[n][u] = S::add(outside[n][u], S::sub(x, part));
                }
            }
        }
        let sum = |v: [S::V; UNROLL]| S::sum(S::add(v[0], v[1]));
        (std::array::from_fn(|n| [sum(inside[n]), sum(outside[n])]), done)
    }
}

/// Writes the gradient of a plane; `coefficients` are those inside of every region, then outside.
fn plane_gradient<'a>(
    room: &'a mut [MaybeUninit<f32>],
    masks: &[&[f32]],
    coefficients: &[f32],
) -> &'a mut [f32] {
    let Some((first, others)) = masks.split_first() else {
        room.fill(MaybeUninit::new(0.0));
        // SAFETY: filled on the line above.
        #[allow(unsafe_code)]
        return unsafe { room.assume_init_mut() };
    };
    let regions = masks.len();
    let (inside, outside) = (coefficients[0], coefficients[regions]);
    vectorise(|| {
        assert_eq!(room.len(), first.len(), "pixels of a plane and its mask");
        for (slot, &m) in room.iter_mut().zip(*first) {
            slot.write(m * inside + (1.0 - m) * outside);
        }
    });
    // SAFETY: the loop above has written one value per mask pixel, and there are as many.
    #[allow(unsafe_code)]
    let plane = unsafe { room.assume_init_mut() };
    for (r, mask) in others.iter().enumerate() {
        add_region(plane, mask, coefficients[1 + r], coefficients[regions + 1 + r]);
    }
    plane
}

fn add_plane_gradient(to: &mut [f32], masks: &[&[f32]], coefficients: &[f32]) {
    for (r, mask) in masks.iter().enumerate() {
        add_region(to, mask, coefficients[r], coefficients[masks.len() + r]);
    }
}

fn add_region(to: &mut [f32], mask: &[f32], inside: f32, outside: f32) {
    vectorise(|| {
        for (to, &m) in to.iter_mut().zip(mask) {
            *to += m * inside + (1.0 - m) * outside;
        }
    });
}

#[cfg(test)]
mod tests;
