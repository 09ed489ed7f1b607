//! The test of Roy et al. (supplement F): several runs of a method against one number.

use serde::{Deserialize, Serialize};

use crate::stats::{self, TTest};

/// Runs of a method against a single run of the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SingleValueTest {
    /// Mean over the runs of the method.
    pub mean: f64,
    /// Runs of the method.
    pub runs: usize,
    /// The single number they are tested against.
    pub against: f64,
    /// `t = (mean - against) / (s / sqrt(runs))`, two-sided, `runs - 1` degrees of freedom.
    pub test: TTest,
}

impl SingleValueTest {
    /// Why its p is smaller than it should be: to be printed with it.
    pub const TOO_GENEROUS: &str = "This is the published test, for comparison with published tables \
        only. It is too generous: it takes one run of the reference for the truth, though another \
        seed would have given another number; it does not pair runs by seed; and it is not \
        corrected for the number of comparisons.";
}

/// One-sample t-test of the run scores of a method against one run score of the reference.
///
/// `None` as in [`stats::one_sample_t`].
#[must_use]
pub fn single_value_test(runs: &[f64], against: f64) -> Option<SingleValueTest> {
    let test = stats::one_sample_t(runs, against)?;
    Some(SingleValueTest { mean: stats::mean(runs)?, runs: runs.len(), against, test })
}
