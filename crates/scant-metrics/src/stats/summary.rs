//! Location and spread.

/// Arithmetic mean; `None` without values.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation with `n - 1` in the denominator (`numpy.std(ddof=1)`).
///
/// `None` for fewer than two values or when one is not finite.
#[must_use]
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Median, the mean of the middle two for an even count; `None` without values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(percentile(&sorted, 50.0))
}

/// Percentile of ascending values by linear interpolation between order statistics
/// (`numpy.percentile` with its default method; Hyndman and Fan 1996, type 7).
///
/// `percent` is clamped to `[0, 100]`; without values the result is NaN, as in NumPy.
#[must_use]
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = last as f64 * (percent.clamp(0.0, 100.0) / 100.0);
    // Within [0, last], so the cast keeps its value.
    let below = at.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    let between = at - at.floor();
    // The first test also keeps a neighbouring infinity, the second two of them, from making NaN.
    if between == 0.0 || low == high { low } else { low + (high - low) * between }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 5] = [0.8123, 0.8034, 0.8201, 0.8177, 0.8090];

    #[test]
    fn pinned_to_numpy() {
        let mut sorted = X.to_vec();
        sorted.sort_by(f64::total_cmp);
        // numpy.percentile(x, 95), numpy.percentile(x, 37), numpy.std(x, ddof=1)
        assert!((percentile(&sorted, 95.0) - 0.81962).abs() < 1e-14);
        assert!((percentile(&sorted, 37.0) - 0.810_584_000_000_000_1).abs() < 1e-14);
        assert!((standard_deviation(&X).unwrap() - 0.006_706_340_283_642_043).abs() < 1e-15);
        assert_eq!(median(&[3.0, 10.0, 1.0, 2.0]), Some(2.5));
        assert_eq!(median(&X), Some(0.8123));
    }

    #[test]
    fn few_values() {
        assert_eq!(mean(&[]), None);
        assert_eq!(median(&[]), None);
        assert_eq!(standard_deviation(&[1.0]), None);
        assert_eq!(percentile(&[7.0], 95.0), 7.0);
        assert!(percentile(&[], 50.0).is_nan());
    }

    #[test]
    fn infinities_stay_infinite() {
        assert_eq!(mean(&[1.0, f64::INFINITY]), Some(f64::INFINITY));
        assert_eq!(standard_deviation(&[1.0, f64::INFINITY]), None);
        assert_eq!(percentile(&[f64::INFINITY, f64::INFINITY], 50.0), f64::INFINITY);
        assert_eq!(median(&[1.0, 2.0, f64::INFINITY]), Some(2.0));
    }
}
