//! The area under a curve of scores over positions, e.g. Dice over the fraction of added images.

use serde::{Deserialize, Serialize};

use super::difference::{Tests, paired};
use super::resample::{Design, Estimate, SeedValues, linear};
use super::{Runs, StudyOptions};
use crate::{Metric, MetricError};

/// How much larger the area of a method is than that of the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AreaDifference {
    /// The metric.
    pub metric: Metric,
    /// Method minus reference, seed by seed and case by case.
    pub difference: Estimate,
    /// What tests say about it.
    pub tests: Option<Tests>,
}

/// What each position counts in the area under a curve by the trapezoidal rule, divided by the range of
/// positions: the factors add up to 1, so that the area of a constant curve is that constant.
///
/// # Errors
/// When there are fewer than two positions, or they do not ascend.
pub fn trapezoid_weights(positions: &[f64]) -> Result<Vec<f64>, MetricError> {
    let ascend = positions.windows(2).all(|w| w[1] > w[0]);
    let (Some(first), Some(last)) = (positions.first(), positions.last()) else {
        return Err(MetricError::Curve(Vec::new()));
    };
    let range = last - first;
    if positions.len() < 2 || !ascend || !range.is_finite() {
        return Err(MetricError::Curve(positions.to_vec()));
    }
    let end = positions.len() - 1;
    let weight = |i: usize| positions[(i + 1).min(end)] - positions[i.saturating_sub(1)];
    Ok((0..positions.len()).map(|i| weight(i) / (2.0 * range)).collect())
}

/// The area under the curve of a method, averaged over the seeds that have every position.
///
/// `curve` holds a position and the runs there, by ascending position. `Ok(None)` when no seed has
/// every position.
///
/// # Errors
/// As in [`trapezoid_weights`].
pub fn area(
    curve: &[(f64, Runs<'_>)],
    metric: Metric,
    options: &StudyOptions,
) -> Result<Option<Estimate>, MetricError> {
    let weights = trapezoid_weights(&curve.iter().map(|c| c.0).collect::<Vec<f64>>())?;
    let arms: Vec<SeedValues> = curve.iter().map(|(_, runs)| super::values(runs, metric)).collect();
    let design = Design::new(&arms.iter().collect::<Vec<_>>());
    Ok(design.and_then(|d| d.estimate(&options.summary, &linear(&weights))))
}

/// The paired difference of two such areas over the seeds for which both have every position.
///
/// Each entry of `curve` is a position with the runs of the reference and of the method there.
///
/// # Errors
/// As in [`trapezoid_weights`] and [`super::difference()`].
pub fn area_difference(
    curve: &[(f64, Runs<'_>, Runs<'_>)],
    metric: Metric,
    options: &StudyOptions,
) -> Result<Option<AreaDifference>, MetricError> {
    let weights = trapezoid_weights(&curve.iter().map(|c| c.0).collect::<Vec<f64>>())?;
    let arms = curve
        .iter()
        .map(|(_, reference, method)| Ok(paired(reference, method, metric)?.difference))
        .collect::<Result<Vec<SeedValues>, MetricError>>()?;
    let Some(design) = Design::new(&arms.iter().collect::<Vec<_>>()) else { return Ok(None) };
    let Some(difference) = design.estimate(&options.summary, &linear(&weights)) else {
        return Ok(None);
    };
    let tests = Tests::of(&design, &weights, &difference, options);
    Ok(Some(AreaDifference { metric, difference, tests }))
}
