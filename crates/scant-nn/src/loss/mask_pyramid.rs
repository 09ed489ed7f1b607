//! A mask at the resolution of every tap, by adaptive max-pooling.
//!
//! Output pixel `i` of `h` covers input rows `floor(i H / h) .. ceil((i + 1) H / h)`, and columns
//! likewise: the windows of PyTorch's `adaptive_max_pool2d`. Where `h` divides `H` this is plain
//! max-pooling, identical to repeated 2x2 pooling for powers of two as in the released reference
//! code; odd sizes work too. Max keeps small objects alive where averaging or nearest sampling
//! would lose them, so the share of foreground grows with depth.

use burn::tensor::{Device, Int, Tensor};
use scant_kernels::max_pool2d;

use super::ForegroundMask;

/// The mask at each of `sizes` (`[rows, columns]`), in that order; equal sizes are pooled once.
///
/// # Shapes
/// - `mask.mask`: `[B, R, H, W]`
/// - result `i`: `[B, R, sizes[i][0], sizes[i][1]]`; `drawn` is passed on
///
/// # Panics
/// When a size is 0.
#[must_use]
pub fn mask_pyramid(mask: &ForegroundMask, sizes: &[[usize; 2]]) -> Vec<ForegroundMask> {
    let mut levels: Vec<ForegroundMask> = Vec::with_capacity(sizes.len());
    for (i, &size) in sizes.iter().enumerate() {
        let level = match sizes[..i].iter().position(|&earlier| earlier == size) {
            Some(earlier) => levels[earlier].clone(),
            None => ForegroundMask {
                mask: adaptive_max_pool(mask.mask.clone(), size),
                drawn: mask.drawn.clone(),
            },
        };
        levels.push(level);
    }
    levels
}

/// `[B, R, H, W]` to `[B, R, h, w]`.
fn adaptive_max_pool(x: Tensor<4>, [h, w]: [usize; 2]) -> Tensor<4> {
    let [_, _, rows, columns] = x.dims();
    assert!(h > 0 && w > 0, "a mask cannot be pooled to {h} x {w} pixels");
    if [h, w] == [rows, columns] {
        return x;
    }
    if rows.is_multiple_of(h) && columns.is_multiple_of(w) {
        let window = [rows / h, columns / w];
        return max_pool2d(x, window, window, [0, 0]);
    }
    let x = max_over_windows(x, 2, rows, h); // [B, R, h, W]
    max_over_windows(x, 3, columns, w) // [B, R, h, w]
}

/// Maximum over the adaptive windows along one axis. Windows differ in length by one or two pixels:
/// each is read as often as the longest is long, its last pixel standing in for what it lacks.
fn max_over_windows(x: Tensor<4>, axis: usize, from: usize, to: usize) -> Tensor<4> {
    let windows: Vec<_> = (0..to).map(|i| (i * from / to, ((i + 1) * from).div_ceil(to))).collect();
    let longest = windows.iter().map(|(start, end)| end - start).max().unwrap_or(0);
    let device = x.device();
    (0..longest)
        .map(|step| {
            let rows = windows.iter().map(|&(start, end)| (start + step).min(end - 1));
            x.clone().select(axis, index(rows, &device))
        })
        .reduce(Tensor::max_pair)
        .unwrap_or(x)
}

/// Positions as an index tensor.
pub(super) fn index(positions: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let positions: Vec<i64> =
        positions.map(|p| i64::try_from(p).expect("positions fit in 63 bits")).collect();
    Tensor::from_ints(positions.as_slice(), device)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pooled(values: &[f32], [rows, columns]: [usize; 2], size: [usize; 2]) -> Vec<f32> {
        let device = Device::flex().autodiff();
        let mask = Tensor::<1>::from_floats(values, &device).reshape([1, 1, rows, columns]);
        let level = &mask_pyramid(&ForegroundMask::all_drawn(mask), &[size])[0];
        assert_eq!(level.mask.dims(), [1, 1, size[0], size[1]]);
        level.mask.to_data().try_to_vec().unwrap()
    }

    /// Straight from the definition, one window at a time.
    fn slow(values: &[f32], [rows, columns]: [usize; 2], [h, w]: [usize; 2]) -> Vec<f32> {
        let bounds = |i: usize, from: usize, to: usize| {
            let start = (i as f64 * from as f64 / to as f64).floor() as usize;
            start..(((i + 1) as f64 * from as f64 / to as f64).ceil() as usize).min(from)
        };
        let mut out = Vec::new();
        for i in 0..h {
            for j in 0..w {
                let mut best = 0.0_f32;
                for r in bounds(i, rows, h) {
                    for c in bounds(j, columns, w) {
                        best = best.max(values[r * columns + c]);
                    }
                }
                out.push(best);
            }
        }
        out
    }

    #[test]
    fn dividing_sizes_equal_repeated_two_by_two_pooling() {
        let values: Vec<f32> =
            (0..16 * 24).map(|i| f32::from(u8::from([5, 170, 300].contains(&i)))).collect();
        let (mut expected, mut size) = (values.clone(), [16, 24]);
        for _ in 0..3 {
            let half = [size[0] / 2, size[1] / 2];
            expected = slow(&expected, size, half);
            size = half;
            assert_eq!(pooled(&values, [16, 24], size), expected);
        }
        assert!(expected.contains(&1.0) && expected.contains(&0.0));
    }

    #[test]
    fn five_rows_to_two_share_the_middle_row() {
        let column = |at: usize| (0..5).map(|i| f32::from(u8::from(i == at))).collect::<Vec<_>>();
        assert_eq!(pooled(&column(2), [5, 1], [2, 1]), [1.0, 1.0]);
        assert_eq!(pooled(&column(1), [5, 1], [2, 1]), [1.0, 0.0]);
        assert_eq!(pooled(&column(3), [5, 1], [2, 1]), [0.0, 1.0]);
    }

    #[test]
    fn levels_come_in_the_order_asked_and_carry_what_was_drawn() {
        let device = Device::flex().autodiff();
        let mask = ForegroundMask {
            mask: Tensor::ones([2, 3, 8, 6], &device),
            drawn: Tensor::from_floats([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]], &device),
        };
        let sizes = [[8, 6], [4, 3], [1, 1], [4, 3], [8, 6], [16, 12]];
        let levels = mask_pyramid(&mask, &sizes);
        for (level, [h, w]) in levels.iter().zip(sizes) {
            assert_eq!(level.mask.dims(), [2, 3, h, w]);
            assert_eq!(level.drawn.to_data(), mask.drawn.to_data());
        }
    }

    #[test]
    #[should_panic(expected = "pooled to 0 x 3")]
    fn nothing_can_be_pooled_to_nothing() {
        let _ = pooled(&[0.0; 6], [2, 3], [0, 3]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_size_equals_the_definition(
            rows in 1_usize..20, columns in 1_usize..20, h in 1_usize..20, w in 1_usize..20,
            seed in any::<u64>(),
        ) {
            let mut state = seed | 1;
            let values: Vec<f32> = (0..rows * columns).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                f32::from(u8::from((state >> 33) % 6 == 0))
            }).collect();
            let fast = pooled(&values, [rows, columns], [h, w]);
            prop_assert_eq!(fast, slow(&values, [rows, columns], [h, w]));
        }
    }
}
