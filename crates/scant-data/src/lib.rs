//! scant-data
