//! Depthwise convolutions of images: one channel in, one out, stride one, the image size kept.
//!
//! Four output rows by two vectors stay in registers while the input rows go by, each loaded once per
//! column of the kernel. Planes are copied band by band with zeros around, so that no tap is special.
//! Other depthwise convolutions go the way of all others.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Geometry;
use crate::simd::{self, MAX_LANES};

mod tile;

use tile::{Convolve, Correlate};

/// Output rows of a tile.
const ROWS: usize = 4;
/// Values of the copy of a band: about a first-level cache.
const BAND: usize = 7 << 10;

/// Whether the loops here take this convolution.
pub(super) fn applies(g: &Geometry) -> bool {
    let [depth, rows, columns] = g.kernel;
    g.groups == g.inputs
        && g.inputs == g.outputs
        && g.image[0] == 1
        && depth == 1
        && rows == columns
        && [3, 5, 7].contains(&rows)
        && g.stride == [1; 3]
        && g.dilation == [1; 3]
        && g.padding == [0, rows / 2, rows / 2]
}

/// One plane and its kernel.
#[derive(Clone, Copy)]
struct Plane {
    height: usize,
    width: usize,
    kernel: usize,
}

impl Plane {
    fn new(g: &Geometry) -> Self {
        Self { height: g.image[1], width: g.image[2], kernel: g.kernel[1] }
    }

    /// Length of a padded row, with what tiles read past its end.
    fn pitch(&self) -> usize {
        (self.width + self.kernel - 1).next_multiple_of(MAX_LANES) + 2 * MAX_LANES
    }

    /// Rows of a band, a multiple of the tile.
    fn band_rows(&self) -> usize {
        let fit = (BAND / self.pitch()).saturating_sub(self.kernel - 1).max(ROWS);
        (fit / ROWS * ROWS).min(self.height.next_multiple_of(ROWS))
    }

    /// Copies `count` rows from row `first` of the plane on, zeros where there are none, `left` zeros in
    /// front of each.
    fn pad(&self, values: &[f32], first: isize, count: usize, left: usize, out: &mut Vec<f32>) {
        let (pitch, width) = (self.pitch(), self.width);
        out.resize(count * pitch, 0.0);
        for (i, row) in out.chunks_exact_mut(pitch).enumerate() {
            let at = first + i.cast_signed();
            let inside = usize::try_from(at).ok().filter(|&r| r < self.height);
            let Some(r) = inside else {
                row.fill(0.0);
                continue;
            };
            row[..left].fill(0.0);
            row[left..left + width].copy_from_slice(&values[r * width..(r + 1) * width]);
            row[left + width..].fill(0.0);
        }
    }
}

/// The convolution; `reversed` kernels give the input gradient.
pub(super) fn convolve(
    g: &Geometry,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    reversed: bool,
) -> Vec<f32> {
    let plane = Plane::new(g);
    let (pixels, taps) = (plane.height * plane.width, plane.kernel * plane.kernel);
    let one = |room: &mut Vec<f32>, index: usize, x: &[f32], y: &mut [MaybeUninit<f32>]| {
        let channel = index % g.inputs;
        let mut kernel = [0.0; 49];
        let kernel = &mut kernel[..taps];
        kernel.copy_from_slice(&weight[channel * taps..(channel + 1) * taps]);
        if reversed {
            kernel.reverse();
        }
        let bias = bias.map_or(0.0, |b| b[channel]);
        let step = plane.band_rows();
        for first in (0..plane.height).step_by(step) {
            let rows = step.min(plane.height - first);
            let above = first.cast_signed() - (plane.kernel / 2).cast_signed();
            let count = rows.next_multiple_of(ROWS) + plane.kernel - 1;
            plane.pad(x, above, count, plane.kernel / 2, room);
            let y = &mut y[first * plane.width..(first + rows) * plane.width];
            let source = room.as_slice();
            let (pitch, width) = (plane.pitch(), plane.width);
            simd::dispatch(Convolve { size: plane.kernel, kernel, bias, source, pitch, width, y });
        }
    };
    let mut y = Vec::with_capacity(x.len());
    let spare = &mut y.spare_capacity_mut()[..x.len()];
    let planes = spare.par_chunks_exact_mut(pixels).zip(x.par_chunks_exact(pixels)).enumerate();
    planes.for_each_init(Vec::new, |room, (index, (y, x))| one(room, index, x, y));
    // SAFETY: the planes make up the whole image, and every row of each was written.
    #[allow(unsafe_code)]
    unsafe {
        y.set_len(x.len());
    }
    y
}

/// Sets the gradient of the weight, `[channels, k, k]`.
pub(super) fn weight_gradient(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let plane = Plane::new(g);
    let (pixels, taps) = (plane.height * plane.width, plane.kernel * plane.kernel);
    let rows = dw.par_chunks_exact_mut(taps).enumerate();
    rows.for_each_init(Default::default, |room: &mut [Vec<f32>; 2], (channel, dw)| {
        let [source, gradient] = room;
        let mut total = [0.0_f64; 49];
        for image in 0..g.batch {
            let at = (image * g.inputs + channel) * pixels;
            let (x, dy) = (&x[at..at + pixels], &dy[at..at + pixels]);
            for first in (0..plane.height).step_by(plane.band_rows()) {
                let rows = plane.band_rows().min(plane.height - first);
                let half = plane.kernel / 2;
                plane.pad(x, first.cast_signed(), rows, half, source);
                // Tap ky pairs row i of the input with row i + half - ky of the output.
                let above =
                    first.cast_signed() + half.cast_signed() - plane.kernel.cast_signed() + 1;
                plane.pad(dy, above, rows + plane.kernel - 1, 0, gradient);
                let part = simd::dispatch(Correlate {
                    size: plane.kernel,
                    source,
                    gradient,
                    pitch: plane.pitch(),
                    width: plane.width,
                    rows,
                });
                total.iter_mut().zip(part).for_each(|(t, p)| *t += f64::from(p));
            }
        }
        dw.iter_mut().zip(total).for_each(|(d, t)| *d = t as f32);
    });
}

#[cfg(test)]
mod tests;
