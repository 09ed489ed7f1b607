//! Shared by the tests: reproducible noise and the norm-wise relative error.

/// `count` values in -1..1 that depend on `seed` only.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        z ^= z << 13;
        z ^= z >> 7;
        z ^= z << 17;
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// `|got - want| / |want|` in the Euclidean norm; the plain norm of `got` where `want` is zero.
pub(crate) fn relative_error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len(), "lengths differ");
    let (mut difference, mut norm) = (0.0, 0.0);
    for (&g, &w) in got.iter().zip(want) {
        difference += (f64::from(g) - w).powi(2);
        norm += w * w;
    }
    if norm == 0.0 { difference.sqrt() } else { (difference / norm).sqrt() }
}

/// As [`relative_error`], relative to at least `floor`: for sums of values that cancel, whose error is
/// that of the values.
pub(crate) fn error_relative_to(floor: f64, got: &[f32], want: &[f64]) -> f64 {
    let norm = want.iter().map(|w| w * w).sum::<f64>().sqrt();
    let error = relative_error(got, want) * if norm == 0.0 { 1.0 } else { norm };
    error / norm.max(floor).max(f64::MIN_POSITIVE)
}
