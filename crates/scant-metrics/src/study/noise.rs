//! What a method loses to noise, beside what the reference loses.

use serde::{Deserialize, Serialize};

use super::difference::{Tests, paired};
use super::resample::{Design, Estimate, linear};
use super::{MIN_SEEDS, Runs, StudyOptions};
use crate::stats::{self, Interval};
use crate::{Metric, MetricError};

/// The runs of one method without and with noise.
#[derive(Debug, Clone, Default)]
pub struct Drop<'a> {
    /// Without.
    pub clean: Runs<'a>,
    /// With.
    pub noisy: Runs<'a>,
}

/// How much a method drops, in units of what the reference drops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DropRatio {
    /// Score without noise minus score with it, of the reference.
    pub reference: Estimate,
    /// The same of the method.
    pub method: Estimate,
    /// Drop of the method minus drop of the reference: below 0 the method loses less.
    pub difference: Estimate,
    /// What tests say about that difference.
    pub tests: Option<Tests>,
    /// Drop of the method over drop of the reference; absent where the reference does not drop.
    pub ratio: Option<f64>,
    /// Percentile interval of the ratio; absent below [`MIN_SEEDS`] seeds, and where the drop of the
    /// reference is not clearly above 0 (a ratio to nothing says nothing).
    pub interval: Option<Interval>,
    /// One-sided bound: the ratio is below it with the confidence asked for. Absent as `interval`.
    pub at_most: Option<f64>,
}

/// The drop of `method` against that of `reference`, over the seeds that have all four runs, case by
/// case. Drops are of scores for which more is better; for distances they are rises.
///
/// `Ok(None)` when no seed has all four runs.
///
/// # Errors
/// As in [`super::difference()`].
pub fn drop_ratio(
    reference: &Drop<'_>,
    method: &Drop<'_>,
    metric: Metric,
    options: &StudyOptions,
) -> Result<Option<DropRatio>, MetricError> {
    // Noisy is the second of a pair, so the difference is a rise; a drop has the other sign.
    let sign = if metric.higher_is_better() { -1.0 } else { 1.0 };
    let of = |drop: &Drop<'_>| paired(&drop.clean, &drop.noisy, metric);
    let (rise_reference, rise_method) = (of(reference)?.difference, of(method)?.difference);
    let Some(design) = Design::new(&[&rise_reference, &rise_method]) else { return Ok(None) };
    let summary = &options.summary;
    let estimate = |factors: [f64; 2]| design.estimate(summary, &linear(&factors));
    let (Some(fallen), Some(falls), Some(difference)) =
        (estimate([sign, 0.0]), estimate([0.0, sign]), estimate([-sign, sign]))
    else {
        return Ok(None);
    };
    let ratio = |means: &[Vec<f64>]| {
        let of = |arm: usize| stats::mean(&means.iter().map(|m| sign * m[arm]).collect::<Vec<_>>());
        let (below, above) = (of(0)?, of(1)?);
        (below > 0.0).then(|| above / below)
    };
    let tail = 1.0 - summary.confidence;
    let drops = fallen.at_least.is_some_and(|low| low > 0.0)
        && fallen.interval.is_some_and(|i| i.low > 0.0);
    let drawn = if drops && fallen.seeds() >= MIN_SEEDS {
        design.resampled(summary, &ratio)
    } else {
        Vec::new()
    };
    let at = |share: f64| stats::percentile(&drawn, 100.0 * share);
    Ok(Some(DropRatio {
        tests: Tests::of(&design, &[-sign, sign], &difference, options),
        ratio: (fallen.value > 0.0).then(|| falls.value / fallen.value),
        interval: (!drawn.is_empty())
            .then(|| Interval { low: at(tail / 2.0), high: at(1.0 - tail / 2.0) }),
        at_most: (!drawn.is_empty()).then(|| at(1.0 - tail)),
        reference: fallen,
        method: falls,
        difference,
    }))
}
