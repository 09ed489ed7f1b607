//! scant-nn
