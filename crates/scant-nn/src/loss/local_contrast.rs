//! Local contrast without labels: regions of two copies of an image, told from their neighbours.
//!
//! Formula, for a region `r` of copy `u` and the same region of the other copy `v` of an image:
//! `-log(e^{s(u_r, v_r)} / (e^{s(u_r, v_r)} + Σ_{n ∈ N(r)} (e^{s(u_r, u_n)} + e^{s(u_r, v_n)})))` with
//! `s(a, b) = cos(a, b) / temperature`.
//! Reduction: the sum over images, regions and both directions, divided by the number of regions alone.
//! Input: projected features of the copies. No labels, classes or masks take part. Range `(0, ∞)`, twice
//! the number of images times log 11 where nothing is told apart; lower is better.
//!
//! Regions are 3x3 or single pixels at fixed places of the map: the corners, the middles of the edges and
//! the centre, and with 13 of them the four centres of the quarters. Each has five hand-picked negatives
//! near it, some at places that are no region themselves.
//!
//! Source: Chaitanya et al. 2020, arXiv:2006.10511, section 3.2 (`L_l`, strategy random). Reference:
//! krishnabits001/domain_specific_cl, `models.py`, `decoder_pretrain_net`, whose places, negatives and
//! reduction these are (`local_loss_exp_no = 0`).
//!
//! # Deviations
//! - Vectors are divided by their length plus nothing; the reference bounds the square by 1e-12, as here.
//! - The reference leaves out the last row and column that a 3x3 region could reach; so does this.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::mask_pyramid::index;

/// What can be wrong with a [`LocalContrastConfig`].
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LocalContrastError {
    /// A number out of range.
    #[error("local_contrast.{key} = {value} is not possible: {allowed}")]
    Value {
        /// Key in the file.
        key: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
}

/// Local contrast, as a recipe states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalContrastConfig {
    /// Weight in the loss.
    pub weight: f64,
    /// Temperature of the similarities.
    pub temperature: f64,
    /// The tap that is looked at; the deepest of the decoder when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tap: Option<String>,
    /// 13 or 9.
    pub regions: usize,
    /// 3 or 1.
    pub region_size: usize,
    /// Channels of the head; those of the tap when left out, as published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Length of a shared linear projection of each flattened region (`wgt_en` of the reference: 128);
    /// 0 compares regions as they are.
    pub project: usize,
    /// Largest shift of brightness between the copies, as a share of the range of the image.
    pub brightness: f64,
    /// Largest change of contrast: factors from 1 less this to 1 plus this.
    pub contrast: f64,
}

impl Default for LocalContrastConfig {
    fn default() -> Self {
        Self {
            weight: 0.1,
            temperature: 0.1,
            tap: None,
            regions: 13,
            region_size: 3,
            width: None,
            project: 0,
            brightness: 0.3,
            contrast: 0.3,
        }
    }
}

impl LocalContrastConfig {
    /// Checks what a user may have written.
    ///
    /// # Errors
    /// Names the first number that is out of its range.
    pub fn validate(&self) -> Result<(), LocalContrastError> {
        let check = |key, value: f64, ok: bool, allowed| {
            if value.is_finite() && ok {
                Ok(())
            } else {
                Err(LocalContrastError::Value { key, value, allowed })
            }
        };
        check("weight", self.weight, self.weight > 0.0, "above 0")?;
        check("temperature", self.temperature, self.temperature > 0.0, "above 0")?;
        check("regions", self.regions as f64, [9, 13].contains(&self.regions), "9 or 13")?;
        let sizes = [1, 3].contains(&self.region_size);
        check("region_size", self.region_size as f64, sizes, "1 or 3")?;
        let width = self.width.unwrap_or(1);
        check("width", width as f64, (1..=1024).contains(&width), "1 to 1024")?;
        check("project", self.project as f64, self.project <= 1024, "0 (off) to 1024")?;
        check("brightness", self.brightness, (0.0..=1.0).contains(&self.brightness), "0 to 1")?;
        let contrast = (0.0..1.0).contains(&self.contrast);
        check("contrast", self.contrast, contrast, "from 0 to below 1")
    }

    /// Fewest rows and columns of a map on which all places differ.
    #[must_use]
    pub fn smallest_map(&self) -> usize {
        margin(self.region_size) + 4
    }
}

/// What a place may not reach at the end of the map, as in the reference.
fn margin(region_size: usize) -> usize {
    if region_size == 3 { 4 } else { 1 }
}

/// A place in quarters of the usable rows and columns.
type Place = [usize; 2];

/// Nine on a lattice, then the centres of the quarters.
const REGIONS: [Place; 13] = [
    [0, 0],
    [0, 2],
    [0, 4],
    [2, 0],
    [2, 2],
    [2, 4],
    [4, 0],
    [4, 2],
    [4, 4],
    [1, 1],
    [1, 3],
    [3, 1],
    [3, 3],
];

/// Places, regions first. The last four are negatives only.
const PLACES: [Place; 17] = {
    let mut all = [[0, 0]; 17];
    let mut i = 0;
    while i < 13 {
        all[i] = REGIONS[i];
        i += 1;
    }
    all[13] = [1, 2];
    all[14] = [2, 1];
    all[15] = [2, 3];
    all[16] = [3, 2];
    all
};

/// Negatives of 9 regions.
const NINE: [[usize; 5]; 9] = [
    [1, 3, 4, 2, 6],
    [0, 2, 3, 4, 5],
    [0, 1, 4, 5, 8],
    [0, 1, 4, 6, 7],
    [0, 1, 3, 5, 7],
    [1, 2, 4, 7, 8],
    [0, 3, 4, 7, 8],
    [3, 4, 5, 6, 8],
    [2, 4, 5, 6, 7],
];

/// Negatives of 13 regions of 3x3.
const THIRTEEN: [[usize; 5]; 13] = [
    [1, 9, 13, 3, 14],
    [0, 2, 9, 10, 4],
    [1, 13, 10, 15, 5],
    [0, 9, 4, 6, 11],
    [9, 10, 11, 12, 3],
    [2, 4, 8, 10, 12],
    [3, 14, 7, 11, 16],
    [4, 6, 8, 11, 12],
    [15, 5, 7, 12, 16],
    [0, 1, 3, 4, 10],
    [1, 2, 9, 4, 5],
    [3, 4, 6, 7, 12],
    [4, 5, 7, 8, 11],
];

/// Negatives of 13 single pixels.
const THIRTEEN_PIXELS: [[usize; 5]; 13] = [
    [1, 3, 4, 9, 10],
    [0, 2, 4, 9, 10],
    [1, 4, 5, 11, 10],
    [0, 4, 6, 9, 11],
    [9, 10, 11, 12, 3],
    [2, 4, 8, 10, 12],
    [3, 4, 7, 11, 9],
    [4, 6, 8, 11, 12],
    [4, 5, 7, 12, 11],
    [0, 1, 3, 4, 10],
    [1, 2, 4, 5, 12],
    [3, 4, 6, 1, 9],
    [4, 5, 7, 8, 10],
];

/// Negatives of every region.
fn negatives(regions: usize, region_size: usize) -> &'static [[usize; 5]] {
    match (regions, region_size) {
        (9, _) => &NINE,
        (_, 3) => &THIRTEEN,
        _ => &THIRTEEN_PIXELS,
    }
}

/// The flattened regions of both copies, places in a fixed order.
///
/// # Shapes
/// - features: `[2 B, C, H, W]`, the first copy of every image, then the second of every image
/// - result: `[2 B, places, C · region_size²]`
///
/// # Panics
/// When the map is smaller than [`LocalContrastConfig::smallest_map`].
#[must_use]
pub fn region_vectors(features: Tensor<4>, config: &LocalContrastConfig) -> Tensor<3> {
    let [copies, c, h, w] = features.dims();
    let size = config.region_size;
    let smallest = config.smallest_map();
    assert!(h.min(w) >= smallest, "regions need {smallest} rows and columns, the map is {h} x {w}");
    let places = if config.regions == 9 { &PLACES[..9] } else { &PLACES[..] };
    let extent = [h - margin(size), w - margin(size)];
    let cut = |&[row, column]: &Place| {
        let (r, q) = (row * extent[0] / 4, column * extent[1] / 4);
        let region = features.clone().slice([0..copies, 0..c, r..r + size, q..q + size]);
        region.reshape([copies, 1, c * size * size])
    };
    Tensor::cat(places.iter().map(cut).collect(), 1)
}

/// The loss of region vectors.
///
/// # Shapes
/// - vectors: `[2 B, places, D]` of [`region_vectors`], possibly projected
/// - result: `[1]`
#[must_use]
pub fn local_contrast(vectors: Tensor<3>, config: &LocalContrastConfig) -> Tensor<1> {
    let [copies, places, length] = vectors.dims();
    let (images, device) = (copies / 2, vectors.device());
    let norm = (vectors.clone() * vectors.clone()).sum_dim(2).clamp_min(1e-12).sqrt();
    let unit = vectors / norm;
    // All places of both copies of an image: those of the first copy, then those of the second.
    let both = unit.reshape([2, images, places, length]).swap_dims(0, 1);
    let all = both.reshape([images, 2 * places, length]);
    let near = negatives(config.regions, config.region_size);
    let anchors = (0..2).flat_map(|copy| (0..near.len()).map(move |r| copy * places + r));
    let chosen = all.clone().select(1, index(anchors, &device));
    let similar = chosen.matmul(all.swap_dims(1, 2)) / config.temperature; // [B, 2 regions, 2 places]

    let columns = 2 * places;
    let mut positive = vec![0.0_f32; 2 * near.len() * columns];
    let mut counted = positive.clone();
    for copy in 0..2 {
        for (region, negatives) in near.iter().enumerate() {
            let row = (copy * near.len() + region) * columns;
            let same = row + (1 - copy) * places + region;
            positive[same] = 1.0;
            counted[same] = 1.0;
            for &n in negatives {
                counted[row + n] = 1.0;
                counted[row + places + n] = 1.0;
            }
        }
    }
    let mask = |values: &[f32]| {
        Tensor::<1>::from_floats(values, &device).reshape([1, 2 * near.len(), columns])
    };
    let (positive, counted) = (mask(&positive), mask(&counted));
    // What is not counted is pushed so far down that its exponential is exactly 0.
    let shown = similar.clone() + (counted - 1.0) * 1e9;
    let largest = shown.clone().detach().max_dim(2);
    let log_sum = (shown - largest.clone()).exp().sum_dim(2).log() + largest;
    let own = (similar * positive).sum_dim(2);
    (log_sum - own).sum() / near.len() as f64
}

#[cfg(test)]
mod tests;
