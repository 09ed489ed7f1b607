//! A chain of 3x3 convolutions, each with batch norm and an activation, as one operator.
//!
//! Done apart, every convolution of a U-Net writes its output, the norm reads it twice and writes
//! it, the activation reads and writes it, and all of it again backward. Here the convolution adds
//! up the statistics while it writes, the next one normalises while it reads, and so do the
//! gradients. Between two convolutions only the values before the norm are kept.

use crate::bf16::Precision;
use crate::norm::{self, Affine, Gradient, Planes, Statistics};
use crate::winograd::{self, Pixels, Sizes};

/// One convolution with its norm.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    /// `[outputs, inputs, 3, 3]`
    pub weight: &'a [f32],
    /// `[outputs]`
    pub bias: Option<&'a [f32]>,
    /// γ, `[outputs]`
    pub gamma: &'a [f32],
    /// β, `[outputs]`
    pub beta: &'a [f32],
}

/// What all stages share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// ε of the norm.
    pub epsilon: f32,
    /// Slope of the activation below zero.
    pub slope: f32,
    /// How the points of the convolutions are rounded.
    pub precision: Precision,
}

/// What a stage leaves for the backward pass.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Output of the convolution, before the norm: `[batch, outputs, rows, columns]`.
    pub z: Vec<f32>,
    /// Its statistics.
    pub statistics: Statistics,
}

/// Gradients of a stage's parameters. That of the bias is zero: a norm takes away what it adds.
#[derive(Debug, Clone)]
pub struct StageGradient {
    /// `[outputs, inputs, 3, 3]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub gamma: Vec<f32>,
    /// `[outputs]`
    pub beta: Vec<f32>,
}

/// What the first convolution reads.
#[derive(Debug, Clone, Copy)]
pub enum Image<'a> {
    /// `[batch, inputs, rows, columns]`
    Plain(&'a [f32]),
    /// `[batch, inputs, rows / 2, columns / 2]`, up-sampled by two (nearest neighbour).
    Doubled(&'a [f32]),
    /// The channels of the first array, as many as stated, then those of the second.
    Joined(&'a [f32], usize, &'a [f32]),
}

impl<'a> Image<'a> {
    fn pixels(self) -> Pixels<'a> {
        match self {
            Self::Plain(x) => Pixels::Plain(x),
            Self::Doubled(x) => Pixels::Doubled(x),
            Self::Joined(first, channels, second) => Pixels::Joined(first, channels, second),
        }
    }
}

fn sizes(s: Sizes, inputs: usize, stage: &Stage<'_>) -> Sizes {
    Sizes { inputs, outputs: stage.gamma.len(), ..s }
}

fn planes(s: Sizes, channels: usize) -> Planes {
    Planes { batch: s.batch, channels, area: s.rows * s.columns }
}

/// The chain in training.
///
/// # Shapes
/// - x: `[batch, inputs, rows, columns]`
/// - output: `[batch, outputs of the last stage, rows, columns]`, and a trace per stage
///
/// # Panics
/// When there is no stage or a length does not fit.
#[must_use]
pub fn forward(
    s: Sizes,
    x: Image<'_>,
    stages: &[Stage<'_>],
    set: Settings,
) -> (Vec<f32>, Vec<Trace>) {
    let mut traces: Vec<(Trace, Affine)> = Vec::with_capacity(stages.len());
    let mut inputs = s.inputs;
    for stage in stages {
        let size = sizes(s, inputs, stage);
        let from = match traces.last() {
            None => x.pixels(),
            Some((trace, affine)) => Pixels::Normalised(&trace.z, affine),
        };
        let (z, statistics) =
            winograd::forward_with_statistics(size, from, stage.weight, stage.bias, set.precision);
        let affine = Affine::new(&statistics, stage.gamma, stage.beta, set.epsilon, set.slope);
        traces.push((Trace { z, statistics }, affine));
        inputs = size.outputs;
    }
    let (last, affine) = traces.last().expect("a chain has at least one stage");
    let y = norm::apply(planes(s, inputs), &last.z, affine);
    (y, traces.into_iter().map(|(trace, _)| trace).collect())
}

/// Gradients of `x` (one per array, none unless wanted) and of the parameters of every stage, from
/// that of the output.
///
/// # Panics
/// When a length does not fit.
#[must_use]
pub fn backward(
    s: Sizes,
    x: Image<'_>,
    stages: &[Stage<'_>],
    traces: &[Trace],
    dy: &[f32],
    set: Settings,
    want_input: bool,
) -> (Vec<Vec<f32>>, Vec<StageGradient>) {
    assert_eq!(stages.len(), traces.len(), "one trace per stage is needed");
    let affines: Vec<Affine> = stages
        .iter()
        .zip(traces)
        .map(|(s, t)| Affine::new(&t.statistics, s.gamma, s.beta, set.epsilon, set.slope))
        .collect();
    let mut gradients = Vec::with_capacity(stages.len());
    let mut inputs: Vec<Vec<f32>> = Vec::new();
    for i in (0..stages.len()).rev() {
        let (stage, trace, affine) = (&stages[i], &traces[i], &affines[i]);
        let channels = if i == 0 { s.inputs } else { stages[i - 1].gamma.len() };
        let size = sizes(s, channels, stage);
        let behind = inputs.pop();
        let dy = behind.as_deref().unwrap_or(dy);
        let p = planes(s, size.outputs);
        let norm = norm::gradient(p, dy, &trace.z, &trace.statistics, affine, set.epsilon);
        let from = match i {
            0 => x.pixels(),
            _ => Pixels::Normalised(&traces[i - 1].z, &affines[i - 1]),
        };
        let dz = Pixels::Gradient { dy, z: &trace.z, affine, gradient: &norm };
        let weight = winograd::weight_gradient_of(size, from, dz, set.precision);
        if i > 0 || want_input {
            let (first, second) =
                winograd::input_gradient_of(size, dz, stage.weight, from, set.precision);
            inputs = std::iter::once(first).chain(second).collect();
        }
        let Gradient { gamma, beta, .. } = norm;
        gradients.push(StageGradient { weight, gamma, beta });
    }
    gradients.reverse();
    (inputs, gradients)
}

/// The chain with fixed statistics, which become part of the filters: one pass per stage.
///
/// # Shapes
/// As for [`forward`]; one `Statistics` per stage.
///
/// # Panics
/// When there is no stage or a length does not fit.
#[must_use]
pub fn infer(
    s: Sizes,
    x: Image<'_>,
    stages: &[Stage<'_>],
    statistics: &[Statistics],
    set: Settings,
) -> Vec<f32> {
    assert_eq!(stages.len(), statistics.len(), "statistics of every stage are needed");
    let mut y: Option<Vec<f32>> = None;
    let mut inputs = s.inputs;
    for (stage, statistics) in stages.iter().zip(statistics) {
        let size = sizes(s, inputs, stage);
        let affine = Affine::new(statistics, stage.gamma, stage.beta, set.epsilon, set.slope);
        let mut weight = stage.weight.to_vec();
        for (filters, &scale) in weight.chunks_exact_mut(inputs * 9).zip(&affine.scale) {
            filters.iter_mut().for_each(|w| *w *= scale);
        }
        let mut bias = affine.shift;
        for (i, b) in stage.bias.unwrap_or_default().iter().enumerate() {
            bias[i] += b * affine.scale[i];
        }
        let from = y.as_deref().map_or(x.pixels(), Pixels::Plain);
        y = Some(winograd::forward_activated(size, from, &weight, &bias, set.slope, set.precision));
        inputs = size.outputs;
    }
    y.expect("a chain has at least one stage")
}

#[cfg(test)]
mod tests;
