//! Supervised contrast of pixels: those of one class are drawn together, those of others apart.
//!
//! Formula, for sampled pixels with unit vectors `z` and classes `c`: the mean over `i` of
//! `-1 / |P(i)| Σ_{p ∈ P(i)} log(e^{z_i · z_p / temperature} / Σ_{a ≠ i} e^{z_i · z_a / temperature})`, `P(i)`
//! being the other pixels of the class of `i`.
//! Reduction: mean over pixels that have a positive. Input: projected features at the sampled pixels.
//! Background: a class like any other, where it was drawn. Undrawn classes: their pixels are not sampled.
//! Fewer than two classes in the sample (an empty target): exactly 0, no gradient, for there is nothing
//! to tell apart. Range `(0, ∞)`; lower is better.
//!
//! Pixels lie on a grid over the images of the batch and are drawn in equal shares from the classes seen
//! there, at most `max_pixels`: never are all pixels of an image compared with each other.
//!
//! Source: Khosla et al. 2020, arXiv:2004.11362, eq. 2, on pixels, as `LocalConLoss(temperature = 0.7,
//! stride = 4)` of Hu et al. 2021, arXiv:2109.07407 (xhu248/semi_cotrast_seg).
//!
//! # Deviations
//! - The reference takes every pixel of the grid, so that the background outnumbers everything, and
//!   counts anchors in the foreground only; here classes are drawn in equal shares and all count.
//! - The reference does not normalise its features; here they are, as in Khosla et al.

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What can be wrong with a [`PixelContrastConfig`].
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PixelContrastError {
    /// A number out of range.
    #[error("pixel_contrast.{key} = {value} is not possible: {allowed}")]
    Value {
        /// Key in the file.
        key: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
}

/// Contrast of pixels, as a recipe states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PixelContrastConfig {
    /// Weight in the loss.
    pub weight: f64,
    /// Temperature of the similarities.
    pub temperature: f64,
    /// Every so many rows and columns of the image one pixel may be sampled.
    pub stride: usize,
    /// Most pixels of a batch.
    pub max_pixels: usize,
    /// The tap that is looked at; the one nearest the output when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tap: Option<String>,
    /// Length of the vectors compared.
    pub width: usize,
}

impl Default for PixelContrastConfig {
    fn default() -> Self {
        Self { weight: 0.1, temperature: 0.7, stride: 4, max_pixels: 512, tap: None, width: 64 }
    }
}

impl PixelContrastConfig {
    /// Checks what a user may have written.
    ///
    /// # Errors
    /// Names the first number that is out of its range.
    pub fn validate(&self) -> Result<(), PixelContrastError> {
        let check = |key, value: f64, ok: bool, allowed| {
            if value.is_finite() && ok {
                Ok(())
            } else {
                Err(PixelContrastError::Value { key, value, allowed })
            }
        };
        check("weight", self.weight, self.weight > 0.0, "above 0")?;
        check("temperature", self.temperature, self.temperature > 0.0, "above 0")?;
        check("stride", self.stride as f64, (1..=64).contains(&self.stride), "1 to 64")?;
        let pixels = (4..=8192).contains(&self.max_pixels);
        check("max_pixels", self.max_pixels as f64, pixels, "4 to 8192")?;
        check("width", self.width as f64, (1..=1024).contains(&self.width), "1 to 1024")
    }
}

/// Sampled pixels before they are compared.
///
/// # Shapes
/// - vectors: `[N, D]`
/// - classes: `[N]`
#[derive(Debug, Clone)]
pub struct SampledPixels {
    /// Projected features.
    pub vectors: Tensor<2>,
    /// Class of each.
    pub classes: Tensor<1, Int>,
}

/// The loss of sampled pixels.
///
/// # Shapes
/// - result: `[1]`
///
/// # Panics
/// When there is another number of classes than of vectors.
#[must_use]
pub fn pixel_contrast(pixels: &SampledPixels, temperature: f64) -> Tensor<1> {
    let [count, _] = pixels.vectors.dims();
    assert_eq!(pixels.classes.dims(), [count], "one class per sampled pixel");
    let device = pixels.vectors.device();
    let square = pixels.vectors.clone() * pixels.vectors.clone();
    let unit = pixels.vectors.clone() / square.sum_dim(1).clamp_min(1e-12).sqrt();
    let similar = unit.clone().matmul(unit.swap_dims(0, 1)) / temperature; // [N, N]
    let other = -Tensor::<2>::eye(count, &device) + 1.0;
    let classes = pixels.classes.clone();
    let rows = classes.clone().reshape([count, 1]).expand([count, count]);
    let columns = classes.reshape([1, count]).expand([count, count]);
    let positive = rows.equal(columns).float() * other.clone();

    let shown = similar.clone() + (other - 1.0) * 1e9;
    let largest = shown.clone().detach().max_dim(1);
    let log_sum = (shown - largest.clone()).exp().sum_dim(1).log() + largest; // [N, 1]
    let positives = positive.clone().sum_dim(1); // [N, 1]
    let own = (similar * positive).sum_dim(1) / positives.clone().clamp_min(1.0);
    let counts = positives.greater_elem(0.0).float();
    ((log_sum - own) * counts.clone()).sum() / counts.sum().clamp_min(1.0)
}

#[cfg(test)]
mod tests;
