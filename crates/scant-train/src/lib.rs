//! scant-train
