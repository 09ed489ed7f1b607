//! How two columns of a per-case table go together: correlation, its partial form, a line.

/// A least-squares line `y = intercept + slope x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub slope: f64,
    pub intercept: f64,
}

impl Line {
    /// Least squares over `(x, y)`; `None` below two points or when every x is the same.
    pub(crate) fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let (mx, my) = (mean(points.iter().map(|p| p.0))?, mean(points.iter().map(|p| p.1))?);
        let sxx: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
        let sxy: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
        (points.len() >= 2 && sxx > 0.0).then(|| {
            let slope = sxy / sxx;
            Self { slope, intercept: my - slope * mx }
        })
    }

    /// The line at `x`.
    pub(crate) fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// Pearson's correlation; `None` below three points or when either column is constant.
pub(crate) fn pearson(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 3 {
        return None;
    }
    let (mx, my) = (mean(points.iter().map(|p| p.0))?, mean(points.iter().map(|p| p.1))?);
    let (mut sxx, mut syy, mut sxy) = (0.0, 0.0, 0.0);
    for (x, y) in points {
        let (dx, dy) = (x - mx, y - my);
        sxx += dx * dx;
        syy += dy * dy;
        sxy += dx * dy;
    }
    let r = sxy / (sxx.sqrt() * syy.sqrt());
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// First-order partial correlation of x and y given z,
/// `(r_xy − r_xz r_yz) / sqrt((1 − r_xz²)(1 − r_yz²))`.
///
/// `None` below four points, when a column is constant, or when z alone explains x or y.
pub(crate) fn partial(points: &[(f64, f64, f64)]) -> Option<f64> {
    if points.len() < 4 {
        return None;
    }
    let column = |f: fn(&(f64, f64, f64)) -> (f64, f64)| points.iter().map(f).collect::<Vec<_>>();
    let xy = pearson(&column(|p| (p.0, p.1)))?;
    let xz = pearson(&column(|p| (p.0, p.2)))?;
    let yz = pearson(&column(|p| (p.1, p.2)))?;
    let rest = (1.0 - xz * xz) * (1.0 - yz * yz);
    (rest > 1e-12).then(|| ((xy - xz * yz) / rest.sqrt()).clamp(-1.0, 1.0))
}

/// Linear-interpolation quantile (NumPy's default) of ascending values.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 cases")]
    let position = q.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..=last")]
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * position.fract())
}

/// Arithmetic mean; `None` of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0u32, 0.0), |(n, s), v| (n + 1, s + v));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values by hand for x = 1..5, y = 2 4 5 4 5, z = 1 3 2 5 4.
    #[test]
    fn correlations_match_values_worked_by_hand() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let y = [2.0, 4.0, 5.0, 4.0, 5.0];
        let z = [1.0, 3.0, 2.0, 5.0, 4.0];
        let xy: Vec<_> = x.iter().copied().zip(y).collect();
        // sxy = 6, sxx = 10, syy = 6.
        assert!((pearson(&xy).unwrap() - 6.0 / 60f64.sqrt()).abs() < 1e-12);
        let line = Line::fit(&xy).unwrap();
        assert!((line.slope - 0.6).abs() < 1e-12 && (line.intercept - 2.2).abs() < 1e-12);
        let xyz: Vec<_> = (0..5).map(|i| (x[i], y[i], z[i])).collect();
        // szz = 10, sxz = 8, syz = 4.
        let (rxy, rxz, ryz) = (6.0 / 60f64.sqrt(), 0.8, 4.0 / 60f64.sqrt());
        let want = (rxy - rxz * ryz) / ((1.0 - rxz * rxz) * (1.0 - ryz * ryz)).sqrt();
        assert!((partial(&xyz).unwrap() - want).abs() < 1e-12);
    }

    /// Two columns that only share a third are uncorrelated given it.
    #[test]
    fn a_shared_cause_vanishes_when_it_is_held_fixed() {
        let points: Vec<(f64, f64, f64)> = (0..400)
            .map(|i| {
                let z = f64::from(i % 20);
                let (a, b) = (f64::from(i / 20 % 2) - 0.5, f64::from(i / 40 % 2) - 0.5);
                (z + a, z + b, z)
            })
            .collect();
        let raw: Vec<_> = points.iter().map(|p| (p.0, p.1)).collect();
        assert!(pearson(&raw).unwrap() > 0.98);
        assert!(partial(&points).unwrap().abs() < 1e-9);
    }

    #[test]
    fn too_little_or_constant_data_has_no_correlation() {
        assert_eq!(pearson(&[(1.0, 1.0), (2.0, 2.0)]), None);
        assert_eq!(pearson(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(Line::fit(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
    }
}
