//! Every metric of one class on one case.

use std::collections::BTreeMap;

use ndarray::ArrayViewD;
use scant_core::CaseClassResult;

use crate::{
    Counts, EmptyPolicy, Fill, Hd95Mode, Metric, MetricError, SurfaceDistances, image_diagonal,
    overlap,
};

/// The choices behind the numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricOptions {
    /// What a metric is when a mask is empty.
    pub policy: EmptyPolicy,
    /// Tolerance of NSD, in mm where a spacing is given, else in pixels; finite, 0 or more.
    pub nsd_tolerance: f64,
}

impl Default for MetricOptions {
    /// The default policy and a tolerance of 2, the customary 2 mm or 2 pixels.
    fn default() -> Self {
        Self { policy: EmptyPolicy::default(), nsd_tolerance: 2.0 }
    }
}

/// Computes every [`Metric`] of the class `class_id` on one case.
///
/// # Shapes and units
/// `prediction` and `truth` hold class ids on the same grid of 1, 2 or 3 axes. `spacing_mm` is the
/// distance of pixel centres along each axis in the order the axes are stored; distances (and the
/// NSD tolerance) are then in mm, without it in pixels.
///
/// A metric the policy leaves undefined is present with the value `None`. Under the MONAI policies
/// a distance can be infinite, which JSON cannot hold: it is written as null and
/// [`crate::summarise`] and [`crate::compare`] restore it from the name of the policy.
///
/// # Errors
/// When the shapes differ, have another rank or no pixels, when the spacing does not fit the axes
/// or holds a value that is not a length, or when the tolerance is not a length.
pub fn evaluate_case(
    prediction: ArrayViewD<'_, u8>,
    truth: ArrayViewD<'_, u8>,
    spacing_mm: Option<&[f64]>,
    class_id: u8,
    class_name: &str,
    options: &MetricOptions,
) -> Result<CaseClassResult, MetricError> {
    if !options.nsd_tolerance.is_finite() || options.nsd_tolerance < 0.0 {
        return Err(MetricError::Tolerance(options.nsd_tolerance));
    }
    // Checks every argument, also when a mask turns out to be empty.
    let surface = SurfaceDistances::of_class(&prediction, &truth, spacing_mm, class_id)?;
    let counts = Counts::of_class(&prediction, &truth, class_id)?;
    let situation = counts.situation();
    let policy = options.policy;

    let from_surface =
        |metric, measure: fn(&SurfaceDistances, f64) -> f64| match policy.fill(metric, situation) {
            Fill::Measured => surface.as_ref().map(|s| measure(s, options.nsd_tolerance)),
            Fill::Undefined => None,
            Fill::Value(value) => Some(value),
            Fill::Diagonal => Some(image_diagonal(truth.shape(), spacing_mm)),
            Fill::Infinite => Some(f64::INFINITY),
        };
    let value = |metric: Metric| match metric {
        Metric::Dice => overlap::dice(&counts, policy),
        Metric::Iou => overlap::iou(&counts, policy),
        Metric::Precision => overlap::precision(&counts, policy),
        Metric::Recall => overlap::recall(&counts, policy),
        Metric::Hd => from_surface(metric, |s, _| s.hd()),
        Metric::Hd95 => from_surface(metric, |s, _| s.hd95(Hd95Mode::MaxOfDirected)),
        Metric::Hd95Pooled => from_surface(metric, |s, _| s.hd95(Hd95Mode::Pooled)),
        Metric::Assd => from_surface(metric, |s, _| s.assd()),
        Metric::Nsd => from_surface(metric, SurfaceDistances::nsd),
    };
    let metrics: BTreeMap<String, Option<f64>> =
        Metric::ALL.into_iter().map(|metric| (metric.name().to_string(), value(metric))).collect();
    let Counts { tp, fp, fn_, tn } = counts;
    Ok(CaseClassResult { class: class_name.to_string(), tp, fp, fn_, tn, situation, metrics })
}

#[cfg(test)]
mod tests;
