//! Overlap of two masks, as functions of [`Counts`].
//!
//! Each returns a value in `[0, 1]`, or `None` where the policy leaves it undefined.

use crate::{Counts, EmptyPolicy, Fill, Metric};

/// Dice coefficient `2tp / (2tp + fp + fn)` (Dice 1945).
#[must_use]
pub fn dice(counts: &Counts, policy: EmptyPolicy) -> Option<f64> {
    or_fill(counts, policy, Metric::Dice, || {
        ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn_)
    })
}

/// Intersection over union `tp / (tp + fp + fn)` (Jaccard 1912).
#[must_use]
pub fn iou(counts: &Counts, policy: EmptyPolicy) -> Option<f64> {
    or_fill(counts, policy, Metric::Iou, || ratio(counts.tp, counts.tp + counts.fp + counts.fn_))
}

/// Share of the prediction that is right, `tp / (tp + fp)`.
#[must_use]
pub fn precision(counts: &Counts, policy: EmptyPolicy) -> Option<f64> {
    or_fill(counts, policy, Metric::Precision, || ratio(counts.tp, counts.predicted()))
}

/// Share of the truth that was found, `tp / (tp + fn)`.
#[must_use]
pub fn recall(counts: &Counts, policy: EmptyPolicy) -> Option<f64> {
    or_fill(counts, policy, Metric::Recall, || ratio(counts.tp, counts.actual()))
}

fn or_fill(
    counts: &Counts,
    policy: EmptyPolicy,
    metric: Metric,
    measured: impl Fn() -> f64,
) -> Option<f64> {
    match policy.fill(metric, counts.situation()) {
        Fill::Measured => Some(measured()),
        Fill::Value(value) => Some(value),
        // No policy fills an overlap with a length.
        Fill::Undefined | Fill::Diagonal | Fill::Infinite => None,
    }
}

/// Only called where both masks have pixels, so the denominator is positive.
fn ratio(numerator: u64, denominator: u64) -> f64 {
    numerator as f64 / denominator as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        let counts = Counts { tp: 6, fp: 2, fn_: 4, tn: 100 };
        assert_eq!(dice(&counts, EmptyPolicy::Scant), Some(12.0 / 18.0));
        assert_eq!(iou(&counts, EmptyPolicy::Scant), Some(0.5));
        assert_eq!(precision(&counts, EmptyPolicy::Scant), Some(0.75));
        assert_eq!(recall(&counts, EmptyPolicy::Scant), Some(0.6));
    }

    #[test]
    fn disjoint_masks_are_zero_under_every_policy() {
        let counts = Counts { tp: 0, fp: 3, fn_: 1, tn: 0 };
        for policy in EmptyPolicy::ALL {
            for f in [dice, iou, precision, recall] {
                assert_eq!(f(&counts, policy), Some(0.0));
            }
        }
    }

    #[test]
    fn a_miss_never_leaves_the_mean_under_the_default() {
        let missed = Counts { tp: 0, fp: 0, fn_: 9, tn: 1 };
        for f in [dice, iou, precision, recall] {
            assert_eq!(f(&missed, EmptyPolicy::default()), Some(0.0));
        }
    }

    proptest! {
        #[test]
        fn dice_and_iou_tell_the_same_story(tp in 0u64..500, fp in 0u64..500, fn_ in 0u64..500) {
            let counts = Counts { tp, fp, fn_, tn: 7 };
            prop_assume!(counts.situation() == scant_core::EmptySituation::BothPresent);
            let d = dice(&counts, EmptyPolicy::Scant).unwrap();
            let j = iou(&counts, EmptyPolicy::Scant).unwrap();
            prop_assert!((d - 2.0 * j / (1.0 + j)).abs() < 1e-12);
            let p = precision(&counts, EmptyPolicy::Scant).unwrap();
            let r = recall(&counts, EmptyPolicy::Scant).unwrap();
            if p + r > 0.0 {
                prop_assert!((d - 2.0 * p * r / (p + r)).abs() < 1e-12);
            }
            let swapped = Counts { tp, fp: fn_, fn_: fp, tn: 7 };
            prop_assert_eq!(dice(&swapped, EmptyPolicy::Scant), Some(d));
        }
    }
}
