//! Where the positions of an output axis come from.

use std::ops::Range;

/// Source position of each of `to` outputs in an axis of `from` values: `floor(o · from / to)` in
/// single precision, as PyTorch's mode `nearest` has it (double precision picks another neighbour
/// for about one pair of sizes in thirty).
#[must_use]
pub fn nearest_sources(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f32 / to as f32;
    (0..to).map(|o| ((o as f32 * scale) as usize).min(from - 1)).collect()
}

/// For each of `from` positions the outputs that `sources` takes from it.
pub(super) fn takers(sources: &[usize], from: usize) -> Vec<Range<usize>> {
    let mut start = 0;
    let range = |i: usize| {
        let end = start + sources[start..].iter().take_while(|&&source| source == i).count();
        let range = start..end;
        start = end;
        range
    };
    (0..from).map(range).collect()
}

/// Each output is `(1 - weight) · x[lower] + weight · x[upper]`.
///
/// Positions are those of PyTorch's linear modes: `o (from - 1) / (to - 1)` where corners are
/// aligned, else `(o + 1/2) from / to - 1/2`, not below zero. They are computed in double precision
/// here, in single precision there.
#[derive(Debug, Clone, PartialEq)]
pub struct Blend {
    /// Neighbour at or below the position.
    pub lower: Vec<usize>,
    /// Neighbour above, the same as the lower one where that has all the weight.
    pub upper: Vec<usize>,
    /// Share of the upper neighbour, in `0..=1`.
    pub weight: Vec<f32>,
}

impl Blend {
    /// From an axis of `from` values to one of `to`.
    #[must_use]
    pub fn new(from: usize, to: usize, align_corners: bool) -> Self {
        let position = |o: usize| match align_corners {
            _ if from == to => o as f64,
            true if to == 1 => 0.0,
            true => (o * (from - 1)) as f64 / (to - 1) as f64,
            false => ((2 * o + 1) as f64 * from as f64 / (2 * to) as f64 - 0.5).max(0.0),
        };
        let lower: Vec<usize> = (0..to).map(|o| (position(o) as usize).min(from - 1)).collect();
        let share = |o: usize| (position(o) - lower[o] as f64).clamp(0.0, 1.0) as f32;
        let weight: Vec<f32> = (0..to).map(share).collect();
        let above = |o: usize| if weight[o] == 0.0 { lower[o] } else { lower[o] + 1 };
        let upper = (0..to).map(|o| above(o).min(from - 1)).collect();
        Self { lower, upper, weight }
    }

    /// The transposed operation, for gradients.
    pub(super) fn adjoint(&self, from: usize) -> Adjoint {
        let mut adjoint = Adjoint { first: Vec::new(), weights: Vec::new(), ends: vec![0] };
        // Outputs come in the order of their sources: those of `i` follow those of `i - 1`.
        let (mut start, mut end) = (0, 0);
        for i in 0..from {
            while start < self.lower.len() && self.upper[start] < i {
                start += 1;
            }
            while end < self.lower.len() && self.lower[end] <= i {
                end += 1;
            }
            adjoint.first.push(start);
            adjoint.weights.extend((start..end.max(start)).map(|o| {
                let lower = if self.lower[o] == i { 1.0 - self.weight[o] } else { 0.0 };
                lower + if self.upper[o] == i { self.weight[o] } else { 0.0 }
            }));
            adjoint.ends.push(adjoint.weights.len());
        }
        adjoint
    }
}

/// Which outputs an input reached, consecutive ones, and with which weights.
pub(super) struct Adjoint {
    first: Vec<usize>,
    weights: Vec<f32>,
    ends: Vec<usize>,
}

impl Adjoint {
    /// First output and the weights of it and those after it.
    #[inline(always)]
    pub(super) fn of(&self, i: usize) -> (usize, &[f32]) {
        (self.first[i], &self.weights[self.ends[i]..self.ends[i + 1]])
    }
}
