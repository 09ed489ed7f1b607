//! Arithmetic on slices: the loops behind scant's CPU operators.
//!
//! No tensors and no autodiff here: every function takes `&[f32]` in row-major order with explicit
//! sizes, so that the loops compile in seconds, run under an address sanitizer, and can be held
//! against literal sums in `f64`. `scant-kernels` registers them as tensor operators.
//!
//! Results depend on the number of threads only through the order of sums, which is fixed for a
//! fixed number of threads.

mod aligned;
mod elementary;

pub mod bf16;
pub mod conv;
pub mod conv_norm;
pub mod gate;
pub mod masked_moments;
pub mod norm;
pub mod peak;
pub mod pool;
pub mod resample;
pub mod residual;
pub mod segmentation_loss;

pub mod simd;
pub mod winograd;

#[cfg(test)]
mod testing;
