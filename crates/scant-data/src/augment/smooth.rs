//! Gaussian smoothing of planar arrays.
//!
//! Kernels are cut at four standard deviations and borders mirror about their edge, as in
//! `scipy.ndimage.gaussian_filter` with its defaults.

use ndarray::{Array3, Axis};

/// Half of a symmetric kernel: `weights[0]` is the centre.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    weights: Vec<f32>,
}

impl Kernel {
    /// A normalised Gaussian; `sigma` in pixels, 0 gives the identity.
    pub(crate) fn gaussian(sigma: f64) -> Self {
        if sigma <= 0.0 {
            return Self { weights: vec![1.0] };
        }
        let radius = (4.0 * sigma + 0.5) as usize;
        let raw: Vec<f64> =
            (0..=radius).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
        let sum = 2.0 * raw.iter().sum::<f64>() - raw[0];
        Self { weights: raw.into_iter().map(|w| (w / sum) as f32).collect() }
    }

    /// Pixels on either side of the centre that take part.
    pub(crate) fn radius(&self) -> usize {
        self.weights.len() - 1
    }

    /// Sum of squared weights of the two-sided kernel: how much it lowers the variance of white
    /// noise.
    pub(crate) fn energy(&self) -> f32 {
        let all: f32 = self.weights.iter().map(|w| w * w).sum();
        2.0 * all - self.weights[0] * self.weights[0]
    }

    /// Smooths one line; `padded` is working space.
    pub(crate) fn along(&self, line: &mut [f32], padded: &mut Vec<f32>) {
        let (n, radius) = (line.len(), self.radius());
        if radius == 0 || n == 0 {
            return;
        }
        padded.clear();
        padded.extend((0..radius).rev().map(|i| line[mirrored(-1 - i as isize, n)]));
        padded.extend_from_slice(line);
        padded.extend((0..radius).map(|i| line[mirrored((n + i) as isize, n)]));
        let centre = self.weights[0];
        for (value, from) in line.iter_mut().zip(&padded[radius..]) {
            *value = centre * from;
        }
        // One pass per distance over whole slices: the compiler vectorises these.
        for (i, &weight) in self.weights.iter().enumerate().skip(1) {
            let (left, right) = (&padded[radius - i..], &padded[radius + i..]);
            for ((value, l), r) in line.iter_mut().zip(left).zip(right) {
                *value += weight * (l + r);
            }
        }
    }

    /// Smooths a row-major plane over its rows (vertically).
    pub(crate) fn down(&self, plane: &mut [f32], columns: usize) {
        if self.radius() == 0 || plane.is_empty() {
            return;
        }
        let rows = plane.len() / columns;
        let source = plane.to_vec();
        let row = |r: isize| {
            let at = mirrored(r, rows) * columns;
            &source[at..at + columns]
        };
        for (r, to) in plane.chunks_exact_mut(columns).enumerate() {
            let r = r as isize;
            for (value, from) in to.iter_mut().zip(row(r)) {
                *value = self.weights[0] * from;
            }
            for (i, &weight) in self.weights.iter().enumerate().skip(1) {
                let i = i as isize;
                for ((value, above), below) in to.iter_mut().zip(row(r - i)).zip(row(r + i)) {
                    *value += weight * (above + below);
                }
            }
        }
    }

    /// Smooths a row-major plane both ways.
    pub(crate) fn plane(&self, plane: &mut [f32], columns: usize) {
        let mut padded = Vec::new();
        for line in plane.chunks_exact_mut(columns) {
            self.along(line, &mut padded);
        }
        self.down(plane, columns);
    }
}

/// Index of a pixel outside, mirrored about the edge: `c b a | a b c | c b a`.
fn mirrored(i: isize, n: usize) -> usize {
    let n = n as isize;
    let i = i.rem_euclid(2 * n);
    (if i < n { i } else { 2 * n - 1 - i }) as usize
}

/// Blurs every channel; `sigma` in pixels.
///
/// # Shapes
/// `[C, H, W]`
pub(super) fn blur(image: &mut Array3<f32>, sigma: f64) {
    let kernel = Kernel::gaussian(sigma);
    let columns = image.dim().2;
    if !image.is_standard_layout() {
        *image = image.as_standard_layout().into_owned();
    }
    for mut channel in image.axis_iter_mut(Axis(0)) {
        if let Some(plane) = channel.as_slice_mut() {
            kernel.plane(plane, columns);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy.ndimage.gaussian_filter([[0, 1, 4], [9, 16, 25]], 0.8)
        let mut plane = [0.0, 1.0, 4.0, 9.0, 16.0, 25.0];
        Kernel::gaussian(0.8).plane(&mut plane, 3);
        let expected = [3.27831, 5.58902, 8.39842, 8.1793, 12.4119, 17.1431];
        for (got, want) in plane.iter().zip(expected) {
            assert!((got - want).abs() < 1e-4, "{plane:?}");
        }
    }

    proptest! {
        #[test]
        fn keeps_the_mean(
            plane in prop::collection::vec(-1.0_f32..1.0, 12..13), sigma in 0.0_f64..9.0,
        ) {
            // Mirrored borders return what leaves the plane.
            let mean = |p: &[f32]| p.iter().sum::<f32>() / p.len() as f32;
            let mut smooth = plane.clone();
            Kernel::gaussian(sigma).plane(&mut smooth, 4);
            prop_assert!((mean(&plane) - mean(&smooth)).abs() < 1e-5);
        }
    }
}
