//! Pools on disk: generated ones for every rule and error, published ones where they are at hand.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod builder;
mod cases;
mod inspection;
mod pool_file;
mod real_sets;
mod splits;
