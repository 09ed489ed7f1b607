//! Augmentation: draw, then apply.
//!
//! [`AugmentConfig::draw`] turns randomness into [`Params`], a small value that can be stored,
//! printed and replayed; [`Params::apply`] is a pure function of it. Labels follow every spatial
//! change by nearest neighbour and never see an intensity change.
//!
//! The order of application is fixed: flips, quarter turns, affine and elastic in one
//! interpolation, blur, intensity, strong intensity, noise (a sensor's noise comes last). What is moved in from
//! outside the image is 0, like the padding of [`crate::preprocess`], and background in the label.

mod config;
mod intensity;
mod orient;
mod params;
pub(crate) mod smooth;
mod strong;
mod warp;

pub use config::{
    Affine, AugmentConfig, AugmentError, Blur, Elastic, Flips, Intensity, Noise, Rot90,
};
pub use params::{AffineParams, ElasticParams, IntensityParams, NoiseParams, Params};
pub use strong::{StrongIntensity, StrongParams};

#[cfg(test)]
mod tests;
