//! Average pooling.

use super::{Row, Rows, Windows, fill_rows, pairs};

/// Mean of each window: `avg_pool2d` and `avg_pool3d` of PyTorch.
///
/// With `count_padding` padded cells count as zeros (`count_include_pad=True`, the default there),
/// else the mean is over the cells inside the plane.
///
/// # Shapes
/// - x: `[planes, D, H, W]`
/// - y: `[planes, d, h, w]` of [`Windows::output`]
///
/// # Panics
/// When the lengths do not fit.
pub fn average(windows: &Windows, count_padding: bool, x: &[f32], y: &mut [f32]) {
    let width = windows.output()[2];
    check(windows, x.len(), y.len());
    let shares = shares(windows, count_padding);
    fill_rows(y, width, &Mean { windows, shares, x });
}

/// Rows of [`average`].
struct Mean<'a> {
    windows: &'a Windows,
    shares: [Vec<f32>; 3],
    x: &'a [f32],
}

impl Rows for Mean<'_> {
    #[inline(always)]
    fn fill(&self, first: usize, y: &mut [f32]) {
        let Self { windows, shares, x } = self;
        let (input, output) = (windows.input(), windows.output());
        let mut line = vec![0.0; output[2]];
        for (i, y) in y.chunks_exact_mut(output[2]).enumerate() {
            let to = Row::at(first + i, output);
            let (depths, heights) = (windows.taps(0, to.depth), windows.taps(1, to.height));
            y.fill(0.0);
            for down in depths {
                for below in heights.clone() {
                    let depth = to.depth * windows.stride[0] + down - windows.padding[0];
                    let height = to.height * windows.stride[1] + below - windows.padding[1];
                    let row = Row { plane: to.plane, depth, height }.of(x, input);
                    if windows.in_pairs() {
                        pairs::add_pairs(row, y);
                    } else {
                        // Rows are summed apart, so that large windows lose no precision.
                        add_row(windows, row, &mut line);
                        y.iter_mut().zip(&line).for_each(|(y, sum)| *y += sum);
                    }
                }
            }
            let share = shares[0][to.depth] * shares[1][to.height];
            y.iter_mut().zip(&shares[2]).for_each(|(y, s)| *y *= s * share);
        }
    }
}

fn check(windows: &Windows, x: usize, y: usize) {
    let outputs: usize = windows.output().iter().product();
    assert_eq!(windows.planes(x) * outputs, y, "the output has another size");
}

/// One over the cells counted along each axis, per output; their product is one over the divisor.
fn shares(windows: &Windows, count_padding: bool) -> [Vec<f32>; 3] {
    [0, 1, 2].map(|axis| {
        let counted = |o| match count_padding {
            true => windows.kernel[axis],
            false => windows.taps(axis, o).len(),
        };
        (0..windows.output()[axis]).map(|o| 1.0 / counted(o) as f32).collect()
    })
}

/// Sums of the part of each window that lies in one row.
#[inline(always)]
fn add_row(windows: &Windows, row: &[f32], sums: &mut [f32]) {
    /// From here on a window is summed as a slice, below tap by tap along the row.
    const LONG: usize = 8;
    let (stride, padding) = (windows.stride[2], windows.padding[2]);
    if windows.kernel[2] >= LONG {
        for (o, sum) in sums.iter_mut().enumerate() {
            let taps = windows.taps(2, o);
            let start = o * stride + taps.start - padding;
            *sum = slice_sum(&row[start..start + taps.len()]);
        }
        return;
    }
    sums.fill(0.0);
    for right in 0..windows.kernel[2] {
        let reached = windows.windows_of_tap(2, right);
        if reached.is_empty() {
            continue;
        }
        let cells = &row[reached.start * stride + right - padding..];
        let sums = &mut sums[reached];
        if stride == 1 {
            sums.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell);
        } else {
            sums.iter_mut().zip(cells.iter().step_by(stride)).for_each(|(sum, cell)| *sum += cell);
        }
    }
}

/// Sum in sixteen lanes.
#[inline(always)]
fn slice_sum(values: &[f32]) -> f32 {
    let (steps, rest) = values.as_chunks::<16>();
    let mut lanes = [0.0_f32; 16];
    for step in steps {
        lanes.iter_mut().zip(step).for_each(|(lane, v)| *lane += v);
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// Gradient of the input of [`average`]: each output's is shared equally among the cells counted.
///
/// # Shapes
/// - dy: `[planes, d, h, w]`
/// - dx: `[planes, D, H, W]`, overwritten
///
/// # Panics
/// When the lengths do not fit.
pub fn average_gradient(windows: &Windows, count_padding: bool, dy: &[f32], dx: &mut [f32]) {
    let width = windows.input()[2];
    check(windows, dx.len(), dy.len());
    let shares = shares(windows, count_padding);
    fill_rows(dx, width, &Gradient { windows, shares, dy });
}

/// Rows of [`average_gradient`].
struct Gradient<'a> {
    windows: &'a Windows,
    shares: [Vec<f32>; 3],
    dy: &'a [f32],
}

impl Rows for Gradient<'_> {
    #[inline(always)]
    fn fill(&self, first: usize, dx: &mut [f32]) {
        let Self { windows, shares, dy } = self;
        let (input, output) = (windows.input(), windows.output());
        let even = windows.in_pairs() && shares[2].iter().all(|&s| s == 0.5);
        let mut line = vec![0.0; output[2]];
        for (i, dx) in dx.chunks_exact_mut(input[2]).enumerate() {
            let to = Row::at(first + i, input);
            line.fill(0.0);
            for depth in windows.windows_over(0, to.depth) {
                for height in windows.windows_over(1, to.height) {
                    let share = shares[0][depth] * shares[1][height];
                    let dy = Row { plane: to.plane, depth, height }.of(dy, output);
                    line.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += share * dy);
                }
            }
            if even {
                let (pairs, end) = dx.split_at_mut(2 * output[2]);
                pairs::double(&line, 0.5, pairs);
                end.fill(0.0);
            } else {
                line.iter_mut().zip(&shares[2]).for_each(|(sum, share)| *sum *= share);
                spread(windows, &line, dx);
            }
        }
    }
}

/// Gives every cell of a row the sum over the windows that hold it.
#[inline(always)]
fn spread(windows: &Windows, line: &[f32], dx: &mut [f32]) {
    let (stride, padding) = (windows.stride[2], windows.padding[2]);
    dx.fill(0.0);
    for right in 0..windows.kernel[2] {
        let reached = windows.windows_of_tap(2, right);
        if reached.is_empty() {
            continue;
        }
        let cells = &mut dx[reached.start * stride + right - padding..];
        let line = &line[reached];
        if stride == 1 {
            cells.iter_mut().zip(line).for_each(|(cell, v)| *cell += v);
        } else {
            cells.iter_mut().step_by(stride).zip(line).for_each(|(cell, v)| *cell += v);
        }
    }
}
