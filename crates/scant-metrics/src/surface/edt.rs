//! Exact Euclidean distance transform.
//!
//! Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions" (Theory of Computing
//! 8, 2012): one pass per axis, each the lower envelope of parabolas, linear in the number of
//! pixels. Spacing enters as the physical position of each pixel, so anisotropy costs nothing.

use ndarray::{Array3, ArrayViewMut1, Axis};
use rayon::prelude::*;

/// Squared distance from every pixel to the nearest `true` pixel; infinite when there is none.
pub(super) fn squared_distance_to(targets: &Array3<bool>, spacing: [f64; 3]) -> Array3<f64> {
    let mut squared = targets.mapv(|on| if on { 0.0 } else { f64::INFINITY });
    for (axis, step) in spacing.into_iter().enumerate() {
        if squared.len_of(Axis(axis)) > 1 {
            sweep(&mut squared, axis, step);
        }
    }
    squared
}

fn sweep(squared: &mut Array3<f64>, axis: usize, step: f64) {
    // Slabs across another axis are independent; within a slab the working memory is reused.
    let across = usize::from(axis == 0);
    let within = if axis > across { axis - 1 } else { axis };
    squared.axis_iter_mut(Axis(across)).into_par_iter().for_each(|mut slab| {
        let mut envelope = Envelope::default();
        for lane in slab.lanes_mut(Axis(within)) {
            envelope.lower(lane, step);
        }
    });
}

/// Working memory of one lane.
#[derive(Debug, Default)]
struct Envelope {
    /// The lane before the pass.
    heights: Vec<f64>,
    /// Apex index of each parabola on the envelope, and where (in length) it takes over.
    parabolas: Vec<(usize, f64)>,
}

impl Envelope {
    /// Replaces `lane[i]` by `min_j lane[j] + (step * (i - j))^2`.
    fn lower(&mut self, mut lane: ArrayViewMut1<'_, f64>, step: f64) {
        self.heights.clear();
        self.heights.extend(lane.iter());
        self.parabolas.clear();
        for (apex, &height) in self.heights.iter().enumerate() {
            if height.is_infinite() {
                continue;
            }
            let mut from = f64::NEG_INFINITY;
            while let Some(&(before, start)) = self.parabolas.last() {
                let gap = step * (apex - before) as f64;
                let middle = step * (apex + before) as f64 / 2.0;
                from = middle + (height - self.heights[before]) / (2.0 * gap);
                if from > start {
                    break;
                }
                self.parabolas.pop();
                from = f64::NEG_INFINITY;
            }
            self.parabolas.push((apex, from));
        }
        let mut current = 0;
        for (i, out) in lane.iter_mut().enumerate() {
            let at = step * i as f64;
            while self.parabolas.get(current + 1).is_some_and(|&(_, start)| start <= at) {
                current += 1;
            }
            if let Some(&(apex, _)) = self.parabolas.get(current) {
                *out = self.heights[apex] + (step * i.abs_diff(apex) as f64).powi(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn brute_force(targets: &Array3<bool>, spacing: [f64; 3]) -> Array3<f64> {
        Array3::from_shape_fn(targets.dim(), |(z, y, x)| {
            targets
                .indexed_iter()
                .filter(|(_, on)| **on)
                .map(|((a, b, c), _)| {
                    (spacing[0] * z.abs_diff(a) as f64).powi(2)
                        + (spacing[1] * y.abs_diff(b) as f64).powi(2)
                        + (spacing[2] * x.abs_diff(c) as f64).powi(2)
                })
                .fold(f64::INFINITY, f64::min)
        })
    }

    fn agree(targets: &Array3<bool>, spacing: [f64; 3]) -> bool {
        squared_distance_to(targets, spacing)
            .iter()
            .zip(&brute_force(targets, spacing))
            .all(|(a, b)| a == b || (a - b).abs() <= 1e-12 * b.max(1.0))
    }

    #[test]
    fn nothing_to_go_to_is_infinitely_far() {
        let far = squared_distance_to(&Array3::from_elem((2, 3, 4), false), [1.0; 3]);
        assert!(far.iter().all(|d| d.is_infinite()));
    }

    #[test]
    fn one_pixel_by_hand() {
        let mut targets = Array3::from_elem((1, 3, 4), false);
        targets[[0, 0, 1]] = true;
        let d = squared_distance_to(&targets, [9.0, 2.0, 0.5]);
        assert_eq!(d[[0, 0, 1]], 0.0);
        assert_eq!(d[[0, 2, 3]], 16.0 + 1.0);
        assert_eq!(d[[0, 1, 0]], 4.0 + 0.25);
    }

    fn masks() -> impl Strategy<Value = (Array3<bool>, [f64; 3])> {
        let size = prop_oneof![Just(1usize), 2usize..8];
        let step = 0.05f64..5.0;
        ((size.clone(), size, 1usize..12), [step.clone(), step.clone(), step]).prop_flat_map(
            |(dim, spacing)| {
                // Sparse targets make long parabolas, dense ones short.
                (0.0f64..1.0, vec(0.0f64..1.0, dim.0 * dim.1 * dim.2)).prop_map(
                    move |(density, noise)| {
                        let on = noise.into_iter().map(|v| v < density * density).collect();
                        (Array3::from_shape_vec(dim, on).unwrap(), spacing)
                    },
                )
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn equals_brute_force((targets, spacing) in masks()) {
            prop_assert!(agree(&targets, spacing));
            // Equal spacings make ties, where either parabola must give the same height.
            prop_assert!(agree(&targets, [1.0; 3]));
        }
    }
}
