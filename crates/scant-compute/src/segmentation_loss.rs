//! The sums over pixels that segmentation losses are made of, and the gradient of the logits.
//!
//! Everything the size of the image is read once and nothing of that size is kept: the forward
//! pass turns logits and classes into a few sums per image and channel, the backward pass computes
//! the probabilities again and turns one coefficient per sum into the gradient of the logits.
//!
//! The sums per image and channel, for logit `x`, probability `p` (sigmoid for one channel, softmax
//! for several) and truth `y`:
//! - [`BOTH`] `Σ y p`, [`TRUTH`] `Σ y`, [`PREDICTED`] `Σ p`: Dice and IoU are ratios of these;
//! - [`BCE`] `Σ max(x, 0) - x y + ln(1 + exp(-|x|))`: every channel a yes/no question, PyTorch's
//!   `binary_cross_entropy_with_logits`;
//! - [`CE`] `Σ y (ln Σ exp(x) - x)`: PyTorch's `cross_entropy`, by class of the pixel.

mod block;

use rayon::prelude::*;

use crate::simd::vectorise;
use block::{BLOCK, Block};

/// Sums per image and channel.
pub const SUMS: usize = 5;
/// Position of `Σ y p`.
pub const BOTH: usize = 0;
/// Position of `Σ y`.
pub const TRUTH: usize = 1;
/// Position of `Σ p`.
pub const PREDICTED: usize = 2;
/// Position of the binary cross-entropy.
pub const BCE: usize = 3;
/// Position of the cross-entropy over channels.
pub const CE: usize = 4;

/// Pixels of a task: fixed, so that the order of the sums is.
const TASK: usize = 16 * BLOCK;

/// Which sums are wanted; the others are 0, and so is their gradient. [`TRUTH`] is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// [`BOTH`] and [`PREDICTED`].
    pub overlap: bool,
    /// [`BCE`].
    pub bce: bool,
    /// [`CE`]; means nothing with one channel.
    pub ce: bool,
}

/// A class id as it lies in memory.
pub trait ClassId: Copy + Send + Sync {
    /// The id; -1 for what is no class.
    fn class(self) -> i32;
}

impl ClassId for i32 {
    #[inline(always)]
    fn class(self) -> i32 {
        self
    }
}

impl ClassId for i64 {
    #[inline(always)]
    fn class(self) -> i32 {
        i32::try_from(self).unwrap_or(-1)
    }
}

/// Sizes of logits `[batch, channels, pixels]` and class ids `[batch, pixels]`.
///
/// With one channel its class is 1, the foreground; with several, channel `k` is class `k`. A pixel
/// of any other id belongs to no channel. The pixels may be those of a plane or a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentationSums {
    /// Images.
    pub batch: usize,
    /// Logit channels.
    pub channels: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// What is summed.
    pub terms: Terms,
}

impl SegmentationSums {
    /// `[batch, channels, SUMS]`.
    ///
    /// # Panics
    /// When a slice does not have the size said above, or a single channel is to have [`Terms::ce`].
    #[must_use]
    pub fn sums<I: ClassId>(&self, logits: &[f32], ids: &[I]) -> Vec<f32> {
        self.check(logits.len(), ids.len());
        let row = self.channels * SUMS;
        let tasks = self.pixels.div_ceil(TASK);
        let parts: Vec<Vec<f64>> = (0..self.batch * tasks)
            .into_par_iter()
            .map(|task| {
                let (image, start) = (task / tasks, task % tasks * TASK);
                let mut sums = vec![0.0; row];
                let mut block = Block::new(self.channels, self.terms);
                for at in (start..self.pixels.min(start + TASK)).step_by(BLOCK) {
                    vectorise(|| {
                        self.load(&mut block, logits, ids, image, at);
                        block.add_sums(&mut sums);
                    });
                }
                sums
            })
            .collect();
        let mut sums = Vec::with_capacity(self.batch * row);
        for image in 0..self.batch {
            let parts = &parts[image * tasks..(image + 1) * tasks];
            // Task by task, so that the sum does not depend on which thread was first.
            sums.extend((0..row).map(|i| parts.iter().map(|part| part[i]).sum::<f64>() as f32));
        }
        sums
    }

    /// Gradient of the logits, `[batch, channels, pixels]`, from that of the [sums](Self::sums).
    ///
    /// # Panics
    /// When a slice does not have the size said above, or a single channel is to have [`Terms::ce`].
    #[must_use]
    pub fn gradient<I: ClassId>(
        &self,
        logits: &[f32],
        ids: &[I],
        sums_gradient: &[f32],
    ) -> Vec<f32> {
        self.check(logits.len(), ids.len());
        let row = self.channels * SUMS;
        assert_eq!(sums_gradient.len(), self.batch * row, "values of [batch, channels, sums]");
        let sums_gradient = self.asked(sums_gradient);
        let mut gradient = vec![0.0; logits.len()];
        self.tasks(&mut gradient).into_par_iter().for_each(|(image, start, mut channels)| {
            let coefficients = &sums_gradient[image * row..(image + 1) * row];
            let mut block = Block::new(self.channels, self.terms);
            let end = self.pixels.min(start + TASK);
            for at in (start..end).step_by(BLOCK) {
                let to = at - start..end.min(at + BLOCK) - start;
                vectorise(|| {
                    self.load(&mut block, logits, ids, image, at);
                    block.prepare_gradient(coefficients);
                    for (channel, plane) in channels.iter_mut().enumerate() {
                        block.gradient(channel, coefficients, &mut plane[to.clone()]);
                    }
                });
            }
        });
        gradient
    }

    fn check(&self, logits: usize, ids: usize) {
        assert_eq!(
            logits,
            self.batch * self.channels * self.pixels,
            "values of [batch, channels, pixels]"
        );
        assert_eq!(ids, self.batch * self.pixels, "values of [batch, pixels]");
        assert!(
            !(self.terms.ce && self.channels == 1),
            "a single channel has no softmax; use the binary cross-entropy"
        );
    }

    /// The coefficients with 0 for the sums that are not wanted.
    fn asked(&self, sums_gradient: &[f32]) -> Vec<f32> {
        let Terms { overlap, bce, ce } = self.terms;
        let mut asked = [false; SUMS];
        (asked[BOTH], asked[PREDICTED], asked[BCE], asked[CE]) = (overlap, overlap, bce, ce);
        let kept = |(i, &g): (usize, &f32)| if asked[i % SUMS] { g } else { 0.0 };
        sums_gradient.iter().enumerate().map(kept).collect()
    }

    #[inline(always)]
    fn load<I: ClassId>(
        &self,
        block: &mut Block,
        logits: &[f32],
        ids: &[I],
        image: usize,
        at: usize,
    ) {
        let pixels = at..self.pixels.min(at + BLOCK);
        for channel in 0..self.channels {
            let plane = &logits[(image * self.channels + channel) * self.pixels..][..self.pixels];
            block.load(channel, &plane[pixels.clone()]);
        }
        let ids = &ids[image * self.pixels..][..self.pixels][pixels];
        block.load_ids(ids.iter().map(|id| id.class()));
    }

    /// Image, first pixel and the channels' parts of every task.
    fn tasks<'a>(&self, gradient: &'a mut [f32]) -> Vec<(usize, usize, Vec<&'a mut [f32]>)> {
        let mut tasks = Vec::new();
        if gradient.is_empty() {
            return tasks;
        }
        for (image, planes) in gradient.chunks_mut(self.channels * self.pixels).enumerate() {
            let first = tasks.len();
            for start in (0..self.pixels).step_by(TASK) {
                tasks.push((image, start, Vec::with_capacity(self.channels)));
            }
            for plane in planes.chunks_mut(self.pixels) {
                for (task, part) in tasks[first..].iter_mut().zip(plane.chunks_mut(TASK)) {
                    task.2.push(part);
                }
            }
        }
        tasks
    }
}

#[cfg(test)]
mod tests;
