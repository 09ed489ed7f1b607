//! Learned grids, such as position embeddings, in another size.

/// How many values of a grid one value of the resized one is made of, along an axis.
const TAPS: usize = 4;

/// Cubic convolution (Keys 1981) with `a = -0.75`, without antialiasing, values beyond the edge being
/// those of the edge: PyTorch's `interpolate(mode="bicubic")`.
///
/// # Shapes
/// - grid: `[from[0], from[1], channels]`
/// - output: `[to[0], to[1], channels]`
pub(crate) fn resize_bicubic(
    grid: &[f32],
    from: [usize; 2],
    to: [usize; 2],
    channels: usize,
) -> Vec<f32> {
    assert_eq!(grid.len(), from[0] * from[1] * channels, "{from:?} times {channels} channels");
    let rows = weights(from[0], to[0]);
    let columns = weights(from[1], to[1]);
    let mut resized = Vec::with_capacity(to[0] * to[1] * channels);
    for row in &rows {
        for column in &columns {
            for channel in 0..channels {
                let mut sum = 0.0;
                for (y, wy) in row {
                    for (x, wx) in column {
                        sum += wy * wx * f64::from(grid[(y * from[1] + x) * channels + channel]);
                    }
                }
                resized.push(sum as f32);
            }
        }
    }
    resized
}

/// For every position of an axis of length `to`, which of `from` it is made of and how much of each.
fn weights(from: usize, to: usize) -> Vec<[(usize, f64); TAPS]> {
    let at = |i: usize| {
        // Centres of pixels, not corners, lie on each other.
        let source = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let (whole, part) = (source.floor(), source - source.floor());
        std::array::from_fn(|tap| {
            let offset = tap as f64 - 1.0;
            let index = (whole + offset).clamp(0.0, (from - 1) as f64) as usize;
            (index, cubic((part - offset).abs()))
        })
    };
    (0..to).map(at).collect()
}

fn cubic(distance: f64) -> f64 {
    const A: f64 = -0.75;
    let d = distance;
    if d <= 1.0 {
        ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f32], wanted: &[f32]) -> bool {
        got.len() == wanted.len() && got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 2e-5)
    }

    /// Tenths of the squares of 0 to 8, by PyTorch 2.
    #[test]
    fn values_are_those_of_pytorch() {
        let grid: Vec<f32> = (0..9).map(|i| (i * i) as f32 / 10.0).collect();
        #[rustfmt::skip]
        let larger = [
            -0.09047, -0.087401, -0.044, 0.107402, 0.221671,
            0.126999, 0.231915, 0.444401, 0.764888, 0.981003,
            0.8328, 1.1068, 1.6, 2.2012, 2.586401,
            2.510602, 2.953687, 3.7276, 4.609514, 5.1638,
            3.728871, 4.273803, 5.216801, 6.267799, 6.923932,
        ];
        assert!(close(&resize_bicubic(&grid, [3, 3], [5, 5], 1), &larger));
        let smaller = [0.143076, 0.652237, 3.239737, 5.318076];
        assert!(close(&resize_bicubic(&grid, [3, 3], [2, 2], 1), &smaller));
    }

    #[test]
    fn channels_do_not_mix_and_the_same_size_changes_nothing() {
        let one: Vec<f32> = (0..12).map(|i| ((i * 7) % 5) as f32).collect();
        let two: Vec<f32> = one.iter().flat_map(|v| [*v, -v]).collect();
        assert!(close(&resize_bicubic(&one, [3, 4], [3, 4], 1), &one));
        let (alone, both) =
            (resize_bicubic(&one, [3, 4], [2, 7], 1), resize_bicubic(&two, [3, 4], [2, 7], 2));
        let twice: Vec<f32> = alone.iter().flat_map(|v| [*v, -v]).collect();
        assert_eq!(both, twice);
        assert_eq!(resize_bicubic(&[0.5], [1, 1], [2, 2], 1), [0.5; 4]);
    }
}
