//! The one-dimensional transforms of F(4, 3): four outputs of a three-tap filter from six inputs.
//!
//! Winograd 1980; Lavin and Gray 2016 (arXiv:1509.09308), section 4.3. With the points
//! 0, ±a, ±b, ∞, and m(x) = x (x² - a²)(x² - b²), row p of `Bᵀ` holds the coefficients of m(x) / (x - p),
//! row p of `G` is [1, p, p²] / m'(p), and `A` holds the powers of the points; the row of ∞ is m itself,
//! [0, 0, 1] and the unit vector. Two-dimensional transforms apply these to columns, then to rows.
//!
//! Lavin and Gray take a = 1, b = 2. Here a = 1/√2, b = √2 (Alam et al. 2022, arXiv:2201.10369): the
//! same number of operations and about half of the rounding error, because no power is large.

#![allow(unsafe_code)]

use crate::simd::Simd;

const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;
const A2: f32 = 0.5;
const B2: f32 = 2.0;
const A3: f32 = A2 * A;
const B3: f32 = B2 * B;
/// m'(±a) = 2 a² (a² - b²)
const SLOPE_A: f32 = 2.0 * A2 * (A2 - B2);
/// m'(±b) = 2 b² (b² - a²)
const SLOPE_B: f32 = 2.0 * B2 * (B2 - A2);

/// `Bᵀ d`: six inputs to six points.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(super) unsafe fn input<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    unsafe {
        let c = |x| S::splat(x);
        let even_a = S::fma(c(-B2), d[2], d[4]);
        let odd_a = S::fma(c(-A * B2), d[1], S::mul(c(A), d[3]));
        let even_b = S::fma(c(-A2), d[2], d[4]);
        let odd_b = S::fma(c(-B * A2), d[1], S::mul(c(B), d[3]));
        [
            S::fma(c(-(A2 + B2)), d[2], S::fma(c(A2 * B2), d[0], d[4])),
            S::add(even_a, odd_a),
            S::sub(even_a, odd_a),
            S::add(even_b, odd_b),
            S::sub(even_b, odd_b),
            S::fma(c(-(A2 + B2)), d[3], S::fma(c(A2 * B2), d[1], d[5])),
        ]
    }
}

/// `A y`: four gradients of outputs to six points (the transpose of [`output`]).
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(super) unsafe fn output_gradient<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
    unsafe {
        let c = |x| S::splat(x);
        let even_a = S::fma(c(A2), y[2], y[0]);
        let odd_a = S::fma(c(A3), y[3], S::mul(c(A), y[1]));
        let even_b = S::fma(c(B2), y[2], y[0]);
        let odd_b = S::fma(c(B3), y[3], S::mul(c(B), y[1]));
        [
            y[0],
            S::add(even_a, odd_a),
            S::sub(even_a, odd_a),
            S::add(even_b, odd_b),
            S::sub(even_b, odd_b),
            y[3],
        ]
    }
}

/// `Aᵀ m`: six points to four outputs.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(super) unsafe fn output<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    unsafe {
        let c = |x| S::splat(x);
        let (even_a, odd_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (even_b, odd_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(even_a, even_b)),
            S::fma(c(B), odd_b, S::mul(c(A), odd_a)),
            S::fma(c(B2), even_b, S::mul(c(A2), even_a)),
            S::fma(c(B3), odd_b, S::fma(c(A3), odd_a, m[5])),
        ]
    }
}

/// `G g`: three taps to six points.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(super) unsafe fn filter<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
    unsafe {
        let c = |x| S::splat(x);
        let even_a = S::fma(c(A2 / SLOPE_A), g[2], S::mul(c(1.0 / SLOPE_A), g[0]));
        let odd_a = S::mul(c(A / SLOPE_A), g[1]);
        let even_b = S::fma(c(B2 / SLOPE_B), g[2], S::mul(c(1.0 / SLOPE_B), g[0]));
        let odd_b = S::mul(c(B / SLOPE_B), g[1]);
        [
            S::mul(c(1.0 / (A2 * B2)), g[0]),
            S::add(even_a, odd_a),
            S::sub(even_a, odd_a),
            S::add(even_b, odd_b),
            S::sub(even_b, odd_b),
            g[2],
        ]
    }
}

/// `Gᵀ u`: the gradient of three taps from that of six points.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(super) unsafe fn filter_gradient<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
    unsafe {
        let c = |x| S::splat(x);
        let (even_a, odd_a) = (S::add(u[1], u[2]), S::sub(u[1], u[2]));
        let (even_b, odd_b) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
        [
            S::fma(
                c(1.0 / (A2 * B2)),
                u[0],
                S::fma(c(1.0 / SLOPE_A), even_a, S::mul(c(1.0 / SLOPE_B), even_b)),
            ),
            S::fma(c(A / SLOPE_A), odd_a, S::mul(c(B / SLOPE_B), odd_b)),
            S::fma(c(A2 / SLOPE_A), even_a, S::fma(c(B2 / SLOPE_B), even_b, u[5])),
        ]
    }
}

/// `N` vectors, `stride` values apart.
///
/// Loops rather than closures here and around: a closure does not inherit the instruction set, and
/// what is not inlined calls every single instruction.
///
/// # Safety
/// The instruction set of `S` must be there and the vectors readable.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, const N: usize>(p: *const f32, stride: usize) -> [S::V; N] {
    unsafe {
        let mut v = [S::splat(0.0); N];
        for (i, v) in v.iter_mut().enumerate() {
            *v = S::load(p.add(i * stride));
        }
        v
    }
}

/// Stores `N` vectors, `stride` values apart.
///
/// # Safety
/// The instruction set of `S` must be there and the places writable.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, const N: usize>(p: *mut f32, stride: usize, v: [S::V; N]) {
    unsafe {
        for (i, &v) in v.iter().enumerate() {
            S::store(p.add(i * stride), v);
        }
    }
}

/// Element `i` of each row.
#[inline(always)]
pub(super) fn column<V: Copy, const M: usize, const N: usize>(
    rows: &[[V; M]; N],
    i: usize,
) -> [V; N] {
    let mut column = [rows[0][i]; N];
    for (to, from) in column.iter_mut().zip(rows) {
        *to = from[i];
    }
    column
}
