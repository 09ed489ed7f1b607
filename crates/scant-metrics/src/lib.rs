//! scant-metrics
