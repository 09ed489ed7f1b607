//! Affine and elastic changes, composed into one interpolation.
//!
//! Every output pixel asks where it came from: first the displacement, then the affine map about
//! the image's centre. Images are read bilinearly, labels at the nearest pixel; what lies outside
//! the original pixels is 0 in both.

use ndarray::{Array2, Array3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::smooth::Kernel;
use super::{AffineParams, ElasticParams, Params};

/// Maps an output position to the position it is read from, rows first, in pixels.
struct Inverse {
    matrix: [[f64; 2]; 2],
    centre: [f64; 2],
    shift: [f64; 2],
}

impl Inverse {
    fn new(affine: Option<&AffineParams>, (rows, columns): (usize, usize)) -> Self {
        let centre = [(rows as f64 - 1.0) / 2.0, (columns as f64 - 1.0) / 2.0];
        let Some(affine) = affine else {
            return Self { matrix: [[1.0, 0.0], [0.0, 1.0]], centre, shift: [0.0; 2] };
        };
        let (sin, cos) = affine.rotate_deg.to_radians().sin_cos();
        let shear = affine.shear_deg.to_radians().tan();
        // Forward: out = R * Shear * scale * (in - centre) + centre + shift, with
        // R = [[cos, -sin], [sin, cos]] on (row, column) and Shear = [[1, 0], [shear, 1]].
        let turn = [[cos, sin], [-sin, cos]];
        let matrix = [turn[0], [turn[1][0] - shear * turn[0][0], turn[1][1] - shear * turn[0][1]]];
        Self {
            matrix: matrix.map(|row| row.map(|v| v / affine.scale)),
            centre,
            shift: [affine.shift[0] * rows as f64, affine.shift[1] * columns as f64],
        }
    }

    fn at(&self, row: f64, column: f64) -> (f64, f64) {
        let r = row - self.centre[0] - self.shift[0];
        let c = column - self.centre[1] - self.shift[1];
        let [top, bottom] = self.matrix;
        (top[0] * r + top[1] * c + self.centre[0], bottom[0] * r + bottom[1] * c + self.centre[1])
    }
}

/// A displacement in pixels for every pixel, from white noise smoothed on a coarse grid.
struct Field {
    stride: usize,
    columns: usize,
    /// Row and column displacements, row-major on the coarse grid.
    values: [Vec<f32>; 2],
}

impl Field {
    fn grow(elastic: &ElasticParams, (rows, columns): (usize, usize)) -> Self {
        // At half a standard deviation per cell, linear interpolation is visually smooth and the
        // cost falls with the square of the stride.
        let stride = ((elastic.sigma / 2.0) as usize).max(1);
        let (h, w) = (rows.div_ceil(stride) + 1, columns.div_ceil(stride) + 1);
        let kernel = Kernel::gaussian(elastic.sigma / stride as f64);
        // Mirrored borders would make corners move the most; a margin keeps the field stationary.
        let margin = kernel.radius();
        let wide = w + 2 * margin;
        let mut rng = ChaCha8Rng::seed_from_u64(elastic.seed);
        let mut values = [(); 2].map(|()| {
            let mut plane: Vec<f32> =
                (0..(h + 2 * margin) * wide).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
            kernel.plane(&mut plane, wide);
            let inner = plane.chunks_exact(wide).skip(margin).take(h);
            inner.flat_map(|line| line[margin..margin + w].iter().copied()).collect::<Vec<f32>>()
        });
        let longest =
            values[0].iter().zip(&values[1]).map(|(a, b)| a.hypot(*b)).fold(0.0_f32, f32::max);
        let scale = if longest > 0.0 { elastic.alpha as f32 / longest } else { 0.0 };
        values.iter_mut().flatten().for_each(|v| *v *= scale);
        Self { stride, columns: w, values }
    }

    fn at(&self, row: usize, column: usize) -> (f64, f64) {
        let (r, c) = (row / self.stride, column / self.stride);
        let down = (row % self.stride) as f32 / self.stride as f32;
        let right = (column % self.stride) as f32 / self.stride as f32;
        let corner = r * self.columns + c;
        let [rows, columns] = &self.values;
        let mix = |v: &[f32]| {
            let top = v[corner] + right * (v[corner + 1] - v[corner]);
            let low = corner + self.columns;
            let bottom = v[low] + right * (v[low + 1] - v[low]);
            f64::from(top + down * (bottom - top))
        };
        (mix(rows), mix(columns))
    }
}

/// Moves the pixels.
pub(super) fn warp(params: &Params, image: &mut Array3<f32>, label: Option<&mut Array2<u8>>) {
    let (channels, rows, columns) = image.dim();
    let inverse = Inverse::new(params.affine.as_ref(), (rows, columns));
    let field = params.elastic.as_ref().map(|e| Field::grow(e, (rows, columns)));
    let source = image.as_standard_layout().into_owned();
    let pixels = source.as_slice().unwrap_or_default();
    let before = label.as_deref().cloned();
    let mut moved = vec![0.0_f32; pixels.len()];
    let mut ids = label;
    let plane = rows * columns;
    for r in 0..rows {
        for c in 0..columns {
            let (dr, dc) = field.as_ref().map_or((0.0, 0.0), |f| f.at(r, c));
            let (from_r, from_c) = inverse.at(r as f64 + dr, c as f64 + dc);
            let spot = Spot::new(from_r, from_c, rows, columns);
            if let Some(spot) = &spot {
                for k in 0..channels {
                    moved[k * plane + r * columns + c] = spot.read(&pixels[k * plane..]);
                }
            }
            if let (Some(ids), Some(before)) = (&mut ids, &before) {
                ids[[r, c]] = spot.map_or(0, |s| before[s.nearest]);
            }
        }
    }
    *image = Array3::from_shape_vec((channels, rows, columns), moved)
        .expect("one value per pixel was made");
}

/// Four neighbours of a position inside the image, and the nearest of them.
struct Spot {
    corner: usize,
    right: usize,
    down: usize,
    fraction: [f32; 2],
    nearest: [usize; 2],
}

impl Spot {
    /// `None` outside the area that the pixels cover.
    fn new(row: f64, column: f64, rows: usize, columns: usize) -> Option<Self> {
        let (bottom, side) = (rows as f64 - 1.0, columns as f64 - 1.0);
        let inside = row >= -0.5 && row <= bottom + 0.5 && column >= -0.5 && column <= side + 0.5;
        if !inside {
            return None;
        }
        let (row, column) = (row.clamp(0.0, bottom), column.clamp(0.0, side));
        let (r, c) = (row as usize, column as usize);
        Some(Self {
            corner: r * columns + c,
            right: usize::from(c + 1 < columns),
            down: if r + 1 < rows { columns } else { 0 },
            fraction: [row.fract() as f32, column.fract() as f32],
            nearest: [
                ((row + 0.5) as usize).min(rows - 1),
                ((column + 0.5) as usize).min(columns - 1),
            ],
        })
    }

    fn read(&self, plane: &[f32]) -> f32 {
        let [down, right] = self.fraction;
        let (a, b) = (plane[self.corner], plane[self.corner + self.right]);
        let low = self.corner + self.down;
        let (c, d) = (plane[low], plane[low + self.right]);
        let (top, bottom) = (a + right * (b - a), c + right * (d - c));
        top + down * (bottom - top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(rows: usize, columns: usize) -> Array2<u8> {
        Array2::from_shape_fn((rows, columns), |(r, c)| {
            u8::from((r as f64 - 8.0).hypot(c as f64 - 20.0) < 5.0)
        })
    }

    fn moved(affine: AffineParams, mut label: Array2<u8>) -> Array2<u8> {
        let params = Params { affine: Some(affine), ..Params::identity(label.dim()) };
        let mut image = Array3::zeros((1, label.dim().0, label.dim().1));
        params.apply(&mut image, Some(&mut label));
        label
    }

    fn still() -> AffineParams {
        AffineParams { rotate_deg: 0.0, scale: 1.0, shift: [0.0; 2], shear_deg: 0.0 }
    }

    #[test]
    fn ninety_degrees_is_a_quarter_turn() {
        let params = Params { quarter_turns: 1, ..Params::identity((32, 32)) };
        let mut turned = disc(32, 32);
        params.apply(&mut Array3::zeros((1, 32, 32)), Some(&mut turned));
        assert_eq!(moved(AffineParams { rotate_deg: 90.0, ..still() }, disc(32, 32)), turned);
    }

    #[test]
    fn shifts_go_down_and_right_by_a_share() {
        let shift = AffineParams { shift: [0.25, 0.125], ..still() };
        let out = moved(shift, disc(32, 32));
        let expected = Array2::from_shape_fn((32, 32), |(r, c)| {
            u8::from((r as f64 - 16.0).hypot(c as f64 - 24.0) < 5.0)
        });
        assert_eq!(out, expected);
    }

    #[test]
    fn scale_magnifies_areas() {
        let centred = Array2::from_shape_fn((64, 64), |(r, c)| {
            u8::from((r as f64 - 31.5).hypot(c as f64 - 31.5) < 10.0)
        });
        let count = |a: &Array2<u8>| a.iter().filter(|&&v| v == 1).count() as f64;
        let out = moved(AffineParams { scale: 2.0, ..still() }, centred.clone());
        assert!((count(&out) / count(&centred) - 4.0).abs() < 0.1);
        // Shear keeps areas.
        let out = moved(AffineParams { shear_deg: 30.0, ..still() }, centred.clone());
        assert!((count(&out) / count(&centred) - 1.0).abs() < 0.05);
        assert_ne!(out, centred);
    }

    #[test]
    fn the_longest_displacement_is_alpha() {
        for sigma in [1.0, 4.0, 13.0] {
            let elastic = ElasticParams { alpha: 6.0, sigma, seed: 3 };
            let field = Field::grow(&elastic, (50, 70));
            let lengths = (0..50).flat_map(|r| (0..70).map(move |c| (r, c))).map(|(r, c)| {
                let (dr, dc) = field.at(r, c);
                dr.hypot(dc)
            });
            let longest = lengths.fold(0.0, f64::max);
            assert!(longest <= 6.0 + 1e-5 && longest > 4.0, "{sigma} {longest}");
        }
    }
}
