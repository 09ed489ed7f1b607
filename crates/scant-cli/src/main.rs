//! The `scant` program.
fn main() {}
