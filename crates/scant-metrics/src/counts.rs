//! The confusion of one class, in pixels.

use ndarray::{ArrayViewD, Zip};
use scant_core::EmptySituation;
use serde::{Deserialize, Serialize};

use crate::MetricError;

/// Pixels of one class against everything else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counts {
    /// In both masks.
    pub tp: u64,
    /// In the prediction only.
    pub fp: u64,
    /// In the truth only.
    pub fn_: u64,
    /// In neither.
    pub tn: u64,
}

impl Counts {
    /// Counts `class` in two arrays of class ids of equal shape (any rank).
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn of_class(
        prediction: &ArrayViewD<'_, u8>,
        truth: &ArrayViewD<'_, u8>,
        class: u8,
    ) -> Result<Self, MetricError> {
        if prediction.shape() != truth.shape() {
            return Err(MetricError::ShapeMismatch {
                prediction: prediction.shape().to_vec(),
                truth: truth.shape().to_vec(),
            });
        }
        let mut counts = Self::default();
        Zip::from(prediction).and(truth).for_each(|&p, &t| match (p == class, t == class) {
            (true, true) => counts.tp += 1,
            (true, false) => counts.fp += 1,
            (false, true) => counts.fn_ += 1,
            (false, false) => counts.tn += 1,
        });
        Ok(counts)
    }

    /// Pixels of the prediction.
    #[must_use]
    pub fn predicted(&self) -> u64 {
        self.tp + self.fp
    }

    /// Pixels of the truth.
    #[must_use]
    pub fn actual(&self) -> u64 {
        self.tp + self.fn_
    }

    /// Which side, if any, is empty.
    #[must_use]
    pub fn situation(&self) -> EmptySituation {
        match (self.predicted() > 0, self.actual() > 0) {
            (true, true) => EmptySituation::BothPresent,
            (false, false) => EmptySituation::BothEmpty,
            (true, false) => EmptySituation::FalseAlarm,
            (false, true) => EmptySituation::Missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn every_pixel_falls_in_one_cell() {
        let prediction = array![[1u8, 1, 2], [0, 2, 2]].into_dyn();
        let truth = array![[1u8, 0, 1], [1, 2, 0]].into_dyn();
        let of = |class| Counts::of_class(&prediction.view(), &truth.view(), class).unwrap();
        assert_eq!(of(1), Counts { tp: 1, fp: 1, fn_: 2, tn: 2 });
        assert_eq!(of(2), Counts { tp: 1, fp: 2, fn_: 0, tn: 3 });
        assert_eq!(of(9), Counts { tp: 0, fp: 0, fn_: 0, tn: 6 });
    }

    #[test]
    fn situations_follow_the_two_sums() {
        let counts = |tp, fp, fn_| Counts { tp, fp, fn_, tn: 5 }.situation();
        assert_eq!(counts(0, 0, 0), EmptySituation::BothEmpty);
        assert_eq!(counts(0, 1, 0), EmptySituation::FalseAlarm);
        assert_eq!(counts(0, 0, 1), EmptySituation::Missed);
        assert_eq!(counts(0, 1, 1), EmptySituation::BothPresent);
        assert_eq!(counts(1, 0, 0), EmptySituation::BothPresent);
    }

    #[test]
    fn shapes_must_agree() {
        let a = array![[1u8, 0]].into_dyn();
        let b = array![[1u8], [0]].into_dyn();
        let error = Counts::of_class(&a.view(), &b.view(), 1).unwrap_err();
        assert!(error.to_string().contains("[1, 2]") && error.to_string().contains("[2, 1]"));
    }
}
