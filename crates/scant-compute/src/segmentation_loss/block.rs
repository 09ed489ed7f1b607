//! The arithmetic on a block of pixels that stays in the first cache.

use super::{BCE, BOTH, CE, PREDICTED, SUMS, TRUTH, Terms};
use crate::elementary::{exp, ln, ln_1p};

/// Running sums of a vector loop.
const LANES: usize = 16;
/// Pixels of a block.
pub(super) const BLOCK: usize = 256;

/// One number per pixel. Loops run over all of them: a loop over one vector only is unrolled before
/// the compiler sees that it could be one instruction.
type Pixels = [f32; BLOCK];
const ZERO: Pixels = [0.0; BLOCK];

/// A block of pixels, all channels of them.
#[derive(Debug)]
pub(super) struct Block {
    /// Logits by channel.
    x: Vec<Pixels>,
    /// `exp(x - max)` by channel.
    e: Vec<Pixels>,
    /// Class of each pixel.
    ids: [i32; BLOCK],
    /// `1` for pixels of the image, `0` behind its end.
    live: Pixels,
    max: Pixels,
    /// `1 / Σ e`
    inverse: Pixels,
    /// `ln Σ exp(x)`
    log_sum: Pixels,
    /// `Σ p g`, and what the softmax of a pixel is multiplied by.
    shared: Pixels,
    terms: Terms,
}

/// Probability of a yes and of a no.
#[inline(always)]
fn sigmoid(x: f32) -> (f32, f32) {
    let t = exp(-x.abs());
    let large = 1.0 / (1.0 + t);
    let small = t * large;
    if x >= 0.0 { (large, small) } else { (small, large) }
}

impl Block {
    pub(super) fn new(channels: usize, terms: Terms) -> Self {
        let rows = || vec![ZERO; channels];
        Self {
            x: rows(),
            e: rows(),
            ids: [-1; BLOCK],
            live: ZERO,
            max: ZERO,
            inverse: ZERO,
            log_sum: ZERO,
            shared: ZERO,
            terms,
        }
    }

    /// Takes the logits of one channel; pixels behind the end are 0.
    #[inline(always)]
    pub(super) fn load(&mut self, channel: usize, logits: &[f32]) {
        let x = &mut self.x[channel];
        x[..logits.len()].copy_from_slice(logits);
        x[logits.len()..].fill(0.0);
    }

    /// Takes the classes; pixels behind the end are of no class.
    #[inline(always)]
    pub(super) fn load_ids(&mut self, ids: impl ExactSizeIterator<Item = i32>) {
        let count = ids.len();
        let (own, live) = (&mut self.ids, &mut self.live);
        own.iter_mut().zip(ids).for_each(|(own, id)| *own = id);
        own[count..].fill(-1);
        live[..count].fill(1.0);
        live[count..].fill(0.0);
    }

    /// Whether the softmax over channels is needed.
    #[inline(always)]
    fn softmax_needed(&self) -> bool {
        self.x.len() > 1 && (self.terms.overlap || self.terms.ce)
    }

    /// Adds the sums of this block to `sums`, `[channels, SUMS]`.
    #[inline(always)]
    pub(super) fn add_sums(&mut self, sums: &mut [f64]) {
        if self.softmax_needed() {
            self.softmax();
        }
        let (mut y, mut values) = (ZERO, ZERO);
        for channel in 0..self.x.len() {
            let sums = &mut sums[channel * SUMS..][..SUMS];
            self.truth(channel, &mut y);
            sums[TRUTH] += sum(&y);
            if self.terms.overlap {
                self.probability(channel, &mut values);
                sums[BOTH] += product(&values, &y);
                sums[PREDICTED] += product(&values, &self.live);
            }
            if self.terms.bce {
                self.yes_no(channel, &y, &mut values);
                sums[BCE] += product(&values, &self.live);
            }
            if self.terms.ce {
                for ((value, x), log_sum) in
                    values.iter_mut().zip(&self.x[channel]).zip(&self.log_sum)
                {
                    *value = log_sum - x;
                }
                sums[CE] += product(&values, &y);
            }
        }
    }

    /// `1` where a pixel is of the channel's class, else `0`.
    #[inline(always)]
    fn truth(&self, channel: usize, y: &mut Pixels) {
        let class = if self.x.len() == 1 { 1 } else { channel as i32 };
        for (y, &id) in y.iter_mut().zip(&self.ids) {
            *y = if id == class { 1.0 } else { 0.0 };
        }
    }

    #[inline(always)]
    fn softmax(&mut self) {
        self.max = self.x[0];
        for x in &self.x[1..] {
            for (max, &x) in self.max.iter_mut().zip(x) {
                *max = if x > *max { x } else { *max };
            }
        }
        let mut sum = ZERO;
        for (x, e) in self.x.iter().zip(&mut self.e) {
            for ((e, x), max) in e.iter_mut().zip(x).zip(&self.max) {
                *e = exp(x - max);
            }
            sum.iter_mut().zip(e).for_each(|(sum, e)| *sum += *e);
        }
        for (inverse, sum) in self.inverse.iter_mut().zip(&sum) {
            *inverse = 1.0 / sum;
        }
        if self.terms.ce {
            for ((log_sum, &sum), max) in self.log_sum.iter_mut().zip(&sum).zip(&self.max) {
                *log_sum = ln(sum) + max;
            }
        }
    }

    /// Sigmoid of a single channel, softmax of several.
    #[inline(always)]
    fn probability(&self, channel: usize, p: &mut Pixels) {
        if self.x.len() == 1 {
            for (p, &x) in p.iter_mut().zip(&self.x[0]) {
                *p = sigmoid(x).0;
            }
        } else {
            for ((p, e), inverse) in p.iter_mut().zip(&self.e[channel]).zip(&self.inverse) {
                *p = e * inverse;
            }
        }
    }

    /// Binary cross-entropy of each pixel.
    #[inline(always)]
    fn yes_no(&self, channel: usize, y: &Pixels, values: &mut Pixels) {
        for ((value, &x), y) in values.iter_mut().zip(&self.x[channel]).zip(y) {
            let positive = if x > 0.0 { x } else { 0.0 };
            *value = positive - x * y + ln_1p(exp(-x.abs()));
        }
    }

    /// What all channels of a pixel share: `coefficient of its cross-entropy - Σ p g`.
    #[inline(always)]
    pub(super) fn prepare_gradient(&mut self, coefficients: &[f32]) {
        if !self.softmax_needed() {
            return;
        }
        self.softmax();
        self.shared = ZERO;
        let mut y = ZERO;
        for (channel, c) in coefficients.chunks_exact(SUMS).enumerate() {
            self.truth(channel, &mut y);
            let e = &self.e[channel];
            for i in 0..BLOCK {
                let p = e[i] * self.inverse[i];
                self.shared[i] += c[CE] * y[i] - p * (c[BOTH] * y[i] + c[PREDICTED]);
            }
        }
    }

    /// Writes the gradient of one channel from the coefficients `[channels, SUMS]` of the sums; after
    /// [`prepare_gradient`](Self::prepare_gradient).
    #[inline(always)]
    pub(super) fn gradient(&self, channel: usize, coefficients: &[f32], to: &mut [f32]) {
        let (mut block, mut y) = (ZERO, ZERO);
        self.truth(channel, &mut y);
        let c = &coefficients[channel * SUMS..][..SUMS];
        let x = &self.x[channel];
        if self.softmax_needed() {
            let e = &self.e[channel];
            for i in 0..BLOCK {
                let p = e[i] * self.inverse[i];
                let own = c[BOTH] * y[i] + c[PREDICTED] + self.shared[i];
                block[i] = p * own - c[CE] * y[i];
            }
        }
        let one = self.x.len() == 1;
        if self.terms.bce || one {
            let overlap = if one { [c[BOTH], c[PREDICTED]] } else { [0.0; 2] };
            for i in 0..BLOCK {
                let (p, q) = sigmoid(x[i]);
                // p - y, without the rounding of a difference of neighbours.
                let apart = (1.0 - y[i]) * p - y[i] * q;
                block[i] += c[BCE] * apart + (overlap[0] * y[i] + overlap[1]) * (p * q);
            }
        }
        to.copy_from_slice(&block[..to.len()]);
    }
}

/// Sum of a block.
#[inline(always)]
fn sum(values: &Pixels) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    for part in values.as_chunks::<LANES>().0 {
        lanes.iter_mut().zip(part).for_each(|(lane, v)| *lane += v);
    }
    lanes.iter().map(|&v| f64::from(v)).sum()
}

/// Sum of the products of two blocks.
#[inline(always)]
fn product(a: &Pixels, b: &Pixels) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for l in 0..LANES {
            lanes[l] += a[l] * b[l];
        }
    }
    lanes.iter().map(|&v| f64::from(v)).sum()
}
