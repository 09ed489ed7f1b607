//! What can be wrong with a request for a metric.

use scant_core::SampleId;
use thiserror::Error;

/// Why a metric, a summary or a comparison could not be made.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MetricError {
    /// Prediction and truth do not lie on the same grid.
    #[error(
        "prediction has shape {prediction:?} but truth has shape {truth:?}; resample the \
         prediction to the grid of the truth first"
    )]
    ShapeMismatch {
        /// Shape of the prediction.
        prediction: Vec<usize>,
        /// Shape of the truth.
        truth: Vec<usize>,
    },
    /// The arrays have a rank this crate does not measure.
    #[error(
        "class ids must have 1, 2 or 3 axes, got shape {shape:?}; split channels or time first"
    )]
    Rank {
        /// Shape of the arrays.
        shape: Vec<usize>,
    },
    /// An axis has length zero.
    #[error("class ids of shape {shape:?} hold no pixels; leave the case out or repair its file")]
    NoPixels {
        /// Shape of the arrays.
        shape: Vec<usize>,
    },
    /// The spacing does not fit the arrays or is not a length.
    #[error(
        "spacing {spacing:?} does not fit {axes} axes; give one finite positive length per axis, \
         in the order the axes are stored, or none for pixels"
    )]
    Spacing {
        /// Spacing as given.
        spacing: Vec<f64>,
        /// Axes of the arrays.
        axes: usize,
    },
    /// The NSD tolerance is not a length.
    #[error("NSD tolerance {0} is not a finite length of 0 or more")]
    Tolerance(f64),
    /// No preset has this name.
    #[error("\"{name}\" is not an empty-mask policy (policies: {known})")]
    UnknownPolicy {
        /// Name asked for.
        name: String,
        /// All names, comma separated.
        known: String,
    },
    /// No metric has this name.
    #[error("\"{name}\" is not a metric (metrics: {known})")]
    UnknownMetric {
        /// Name asked for.
        name: String,
        /// All names, comma separated.
        known: String,
    },
    /// An evaluation without cases.
    #[error("evaluation \"{0}\" holds no cases, so there is nothing to summarise")]
    NoCases(String),
    /// A case stands twice in one evaluation.
    #[error("case {id} stands twice in evaluation \"{part}\"; evaluate every case once")]
    DuplicateCase {
        /// The case.
        id: SampleId,
        /// The evaluation.
        part: String,
    },
    /// A case was asked for that the evaluation does not have.
    #[error("case {id} is not in evaluation \"{part}\"; choose cases of that evaluation")]
    UnknownCase {
        /// The case.
        id: SampleId,
        /// The evaluation.
        part: String,
    },
    /// A class stands twice in one case.
    #[error("class \"{class}\" stands twice in case {id}; evaluate every class once")]
    DuplicateClass {
        /// The case.
        id: SampleId,
        /// The class.
        class: String,
    },
    /// Two evaluations have no case in common.
    #[error(
        "evaluations \"{a}\" and \"{b}\" have no case in common; compare runs that were evaluated \
         on the same part of the same split"
    )]
    NothingPaired {
        /// Part of the first evaluation.
        a: String,
        /// Part of the second evaluation.
        b: String,
    },
    /// Two evaluations define their numbers differently.
    #[error("{what} is {a} in the first evaluation and {b} in the second; evaluate both alike")]
    DifferentProtocol {
        /// What differs.
        what: String,
        /// Its value in the first evaluation.
        a: String,
        /// Its value in the second evaluation.
        b: String,
    },
    /// A confidence level outside (0, 1).
    #[error("confidence {0} is not between 0 and 1; 0.95 is usual")]
    Confidence(f64),
    /// A share of cases that selects nothing.
    #[error("a share of {0} selects no cases; give a fraction in (0, 1] or a count of at least 1")]
    Share(f64),
    /// Whose cases a study is judged by is not known.
    #[error("\"{judge}\" is neither a role nor a source of the pool (known: {known})")]
    UnknownJudge {
        /// What the study asks for.
        judge: String,
        /// Roles and sources, comma separated.
        known: String,
    },
    /// No test case belongs to those a study is judged by.
    #[error("evaluation \"{part}\" holds no case of \"{judge}\", which the study is judged by")]
    NothingJudged {
        /// The evaluation.
        part: String,
        /// What the study asks for.
        judge: String,
    },
    /// A curve that has no area.
    #[error(
        "the area under a curve needs at least two different positions in ascending order, got {0:?}"
    )]
    Curve(Vec<f64>),
}
