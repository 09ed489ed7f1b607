//! scant-infer
