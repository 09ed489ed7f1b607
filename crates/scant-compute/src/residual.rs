//! The end of a residual block: the sum of two branches and the activation after it, in one pass.
//!
//! `act(v)` is v above zero and slope · v elsewhere, as in [`norm`](crate::norm).

use rayon::prelude::*;

use crate::simd;

/// Values that one task works on.
const PART: usize = 1 << 14;

/// `act(a + b)`.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn sum(a: &[f32], b: &[f32], slope: f32) -> Vec<f32> {
    each(a, b, |a, b| {
        let v = a + b;
        if v > 0.0 { v } else { slope * v }
    })
}

/// The gradient of either branch, from that of `y` = [`sum`] and `y` itself: with a slope that is not
/// negative, `y` is above zero where the sum was.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn gradient(dy: &[f32], y: &[f32], slope: f32) -> Vec<f32> {
    each(dy, y, |dy, y| if y > 0.0 { dy } else { slope * dy })
}

fn each(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Copy + Sync) -> Vec<f32> {
    assert_eq!(a.len(), b.len(), "the branches are not of one size");
    let mut out = vec![0.0; a.len()];
    let parts = out.par_chunks_mut(PART).zip(a.par_chunks(PART).zip(b.par_chunks(PART)));
    parts.for_each(|(out, (a, b))| {
        simd::vectorise(
            #[inline(always)]
            || {
                for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
                    *out = f(a, b);
                }
            },
        );
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn sums_and_gradients_bend_at_zero() {
        let (a, b) = ([1.0, -3.0, 0.5, -2.0], [2.0, 1.0, -0.5, -2.0]);
        let y = sum(&a, &b, 0.25);
        assert_eq!(y, [3.0, -0.5, 0.0, -1.0]);
        assert_eq!(gradient(&[8.0; 4], &y, 0.25), [8.0, 2.0, 2.0, 2.0]);
        let y = sum(&a, &b, 0.0);
        assert_eq!(y, [3.0, 0.0, 0.0, 0.0]);
        assert_eq!(gradient(&[8.0; 4], &y, 0.0), [8.0, 0.0, 0.0, 0.0]);
        assert!(sum(&[], &[], 0.5).is_empty());
    }

    #[test]
    fn every_value_of_many_parts_is_reached() {
        let count = 2 * PART + 77;
        let (a, b) = (noise(1, count), noise(2, count));
        let want = a.iter().zip(&b).map(|(a, b)| if a + b > 0.0 { a + b } else { 0.01 * (a + b) });
        assert_eq!(sum(&a, &b, 0.01), want.collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "not of one size")]
    fn other_lengths_are_refused() {
        let _ = sum(&[1.0], &[1.0, 2.0], 0.0);
    }
}
