//! scant-io
