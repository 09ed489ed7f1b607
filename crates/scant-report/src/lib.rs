//! scant-report
