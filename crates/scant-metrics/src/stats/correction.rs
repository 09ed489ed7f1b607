//! Several tests at once.

/// P-values adjusted for their number by Holm's step-down procedure (Holm 1979,
/// Scandinavian Journal of Statistics 6), in the order given.
///
/// Equal to `statsmodels.stats.multitest.multipletests(p, method="holm")[1]`.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut floor = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        floor = floor.max((p_values.len() - rank) as f64 * p_values[i]).min(1.0);
        adjusted[i] = floor;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 1e-15, "{got:?} is not {expected:?}");
        }
    }

    #[test]
    fn pinned_to_statsmodels() {
        // multipletests([.01, .04, .03, .005, .9], method="holm")[1]
        close(&holm(&[0.01, 0.04, 0.03, 0.005, 0.9]), &[0.04, 0.09, 0.09, 0.025, 0.9]);
        // multipletests([.3, .2, .6], method="holm")[1]
        close(&holm(&[0.3, 0.2, 0.6]), &[0.6, 0.6, 0.6]);
    }

    #[test]
    fn never_above_one_and_alone_unchanged() {
        close(&holm(&[0.8, 0.9]), &[1.0, 1.0]);
        close(&holm(&[0.03]), &[0.03]);
        close(&holm(&[]), &[]);
    }
}
