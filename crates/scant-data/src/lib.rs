//! Which samples there are, in what order they come, and how they look.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use scant_data::{InspectOptions, Pool, SplitSpec, inspect, make_split, render_text};
//! use scant_io::Limits;
//!
//! # fn main() -> Result<(), scant_data::DataError> {
//! let pool = Pool::open(Path::new("nuclei/pool.toml"))?;
//! let catalog = pool.scan(&Limits::default())?;
//! let (split, messages) = make_split(&catalog, &pool, &SplitSpec::default())?;
//! split.write(Path::new("split.toml"))?;
//! let options = InspectOptions { split: Some(&split), ..InspectOptions::default() };
//! let report = render_text(&inspect(&pool, &catalog, &options));
//! # let _ = (messages, report);
//! # Ok(())
//! # }
//! ```

pub mod augment;
mod cases;
mod catalog;
mod distance;
mod error;
mod fingerprint;
mod inspect;
pub mod phantom;
mod pool;
pub mod preprocess;
mod split;
pub mod stream;

pub use cases::PoolCases;
pub use catalog::{Catalog, Entry, Problem, ProblemKind, Severity};
pub use distance::{IntensityProfile, Profiles, SourceDistance, source_distances};
pub use error::DataError;
pub use fingerprint::{
    DuplicatePair, Duplicates, Fingerprint, Likeness, NEAR_DUPLICATE, WithinGroups, find_duplicates,
};
pub use inspect::{
    ClassShare, InspectOptions, Inspection, Leak, SourceReport, find_duplicates_in, inspect,
    render_text,
};
pub use pool::{DEFAULT_MASK_SUFFIX, MaskValue, Pool, Source, ValueMap};
pub use split::{Folds, Part, Split, SplitSpec, make_split};
