//! How good a segmentation is, and how sure one may be of that.
//!
//! Everything here is `f64` on class ids: no tensors, no files, no printing. Four floors:
//!
//! * one mask against another: [`Counts`], the overlaps of [`overlap`], the distances of
//!   [`SurfaceDistances`], and the [`EmptyPolicy`] that says what they are when a mask is empty;
//! * one case: [`evaluate_case`] fills a [`scant_core::CaseClassResult`];
//! * many cases: [`summarise`], [`worst_off`], [`compare`] and the statistics of [`stats`];
//! * many runs: [`study`].

mod aggregate;
mod case;
mod compare;
mod counts;
mod empty;
mod error;
mod metric;
pub mod overlap;
mod score;
mod select;
pub mod stats;
pub mod study;
mod surface;

pub use aggregate::{MetricSummary, Situations, Summary, SummaryOptions, SummaryRow, summarise};
pub use case::{MetricOptions, evaluate_case};
pub use compare::{
    CompareOptions, Comparison, ComparisonScope, MetricComparison, TestUnit, compare,
};
pub use counts::Counts;
pub use empty::{EmptyPolicy, Fill};
pub use error::MetricError;
pub use metric::Metric;
pub use score::case_score;
pub use select::{Share, best_off, subset, worst_off};
pub use surface::{Hd95Mode, SurfaceDistances, image_diagonal};
