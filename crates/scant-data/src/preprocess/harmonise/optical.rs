//! Optical densities, and images put together again from stains.
//!
//! Lambert and Beer: a stain of concentration `c` and absorption `s` per channel lets through the share
//! `exp(-c s)` of the light, so densities (negative logarithms) of stains add up.

use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

use crate::preprocess::normalise::percentile;

/// Density that a pixel has at least in every channel to count as tissue: beta of Macenko et al.
const TISSUE: f64 = 0.15;
/// An image with fewer tissue pixels than this share, or this number, has too little to go by.
const LEAST_SHARE: f64 = 0.01;
const LEAST_PIXELS: usize = 32;
/// Two stains whose directions differ by less than this (sine of the angle) are one.
const LEAST_ANGLE: f64 = 0.02;

/// Two stains: how they absorb, and how much of them there is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stains {
    /// Density per channel (red, green, blue) of haematoxylin and of eosin, each of length 1. `f32`, so
    /// that writing them as decimals and reading them again changes nothing.
    pub directions: [[f32; 3]; 2],
    /// 99th percentile of the concentration of each.
    pub most: [f32; 2],
}

impl Stains {
    /// The median of every number over images, directions again of length 1: an odd image does not
    /// move it.
    pub(super) fn median(of: &[Self]) -> Option<Self> {
        let middle = |pick: &dyn Fn(&Self) -> f32| -> Option<f32> {
            let mut values: Vec<f32> = of.iter().map(pick).collect();
            (!values.is_empty()).then(|| percentile(&mut values, 0.5))
        };
        let mut directions = [[0.0; 3]; 2];
        let mut most = [0.0; 2];
        for stain in 0..2 {
            let mut direction = [0.0; 3];
            for (channel, value) in direction.iter_mut().enumerate() {
                *value = f64::from(middle(&|s| s.directions[stain][channel])?);
            }
            directions[stain] = unit(direction)?.map(|v| v as f32);
            most[stain] = middle(&|s| s.most[stain])?;
        }
        Some(Self { directions, most })
    }
}

/// An image as amounts of two stains.
pub(super) struct Unmixed {
    pub(super) stains: Stains,
    /// Per pixel, rows first.
    pub(super) amounts: Vec<[f64; 2]>,
}

impl Unmixed {
    /// Directions with the amounts found by `solve`; none where the amounts are nothing.
    pub(super) fn new(
        directions: [[f64; 3]; 2],
        densities: &[[f64; 3]],
        solve: impl Fn(&[f64; 3]) -> [f64; 2],
    ) -> Option<Self> {
        let amounts: Vec<[f64; 2]> = densities.iter().map(solve).collect();
        let most = [0, 1].map(|stain| {
            let mut line: Vec<f32> = amounts.iter().map(|a| a[stain] as f32).collect();
            percentile(&mut line, 0.99)
        });
        let directions = directions.map(|d| d.map(|v| v as f32));
        let usable = most.iter().all(|v| v.is_finite() && *v > 1e-3);
        usable.then_some(Self { stains: Stains { directions, most }, amounts })
    }

    /// The image with the stains of another: `light` is the intensity of no stain.
    pub(super) fn restain(&self, like: &Stains, light: f64, pixels: &mut Array3<f32>) {
        let scale = [0, 1].map(|s| f64::from(like.most[s]) / f64::from(self.stains.most[s]));
        for (channel, mut plane) in pixels.axis_iter_mut(Axis(0)).enumerate() {
            let absorbs = [0, 1].map(|s| f64::from(like.directions[s][channel]) * scale[s]);
            for (pixel, amounts) in plane.iter_mut().zip(&self.amounts) {
                let density = absorbs[0] * amounts[0] + absorbs[1] * amounts[1];
                *pixel = (light * (-density).exp()).clamp(0.0, 1.0) as f32;
            }
        }
    }
}

/// Density of every pixel, rows first.
///
/// # Shapes
/// `[3, H, W] -> n`
pub(super) fn densities(pixels: &Array3<f32>, of: impl Fn(f64) -> f64) -> Vec<[f64; 3]> {
    let line = |channel| pixels.index_axis(Axis(0), channel).into_iter().map(|v| f64::from(*v));
    line(0).zip(line(1)).zip(line(2)).map(|((r, g), b)| [of(r), of(g), of(b)]).collect()
}

/// Densities of tissue; none where there is too little.
pub(super) fn tissue(densities: &[[f64; 3]]) -> Option<Vec<[f64; 3]>> {
    let is_tissue = |d: &&[f64; 3]| d.iter().all(|v| *v >= TISSUE);
    let found: Vec<[f64; 3]> = densities.iter().filter(is_tissue).copied().collect();
    let least = (LEAST_SHARE * densities.len() as f64).max(LEAST_PIXELS as f64);
    (found.len() as f64 >= least).then_some(found)
}

/// Two different directions of length 1, the one that absorbs more red (haematoxylin) first.
pub(super) fn ordered(one: [f64; 3], two: [f64; 3]) -> Option<[[f64; 3]; 2]> {
    let (one, two) = (unit(one)?, unit(two)?);
    let cosine = dot(&one, &two);
    if 1.0 - cosine * cosine < LEAST_ANGLE * LEAST_ANGLE {
        return None;
    }
    Some(if one[0] > two[0] { [one, two] } else { [two, one] })
}

pub(super) fn unit(v: [f64; 3]) -> Option<[f64; 3]> {
    let length = dot(&v, &v).sqrt();
    (length.is_finite() && length > 1e-9).then(|| v.map(|x| x / length))
}

pub(super) fn dot(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}
