//! The statistics behind the tables, each usable on its own.
//!
//! Everything follows the conventions of SciPy 1.17 and is pinned to its values in tests.

mod bootstrap;
mod correction;
mod paired;
mod separability;
mod sign_flip;
mod summary;
mod wilcoxon;

pub use bootstrap::{Cluster, Interval, IntervalMethod, cluster_mean_interval};
pub use correction::holm;
pub(crate) use paired::t_of;
pub use paired::{TTest, cohens_dz, one_sample_t, paired_t};
pub use separability::{Labelled, Separability, auc, separability};
pub use sign_flip::{SignFlip, sign_flip};
pub use summary::{mean, median, percentile, standard_deviation};
pub use wilcoxon::{Wilcoxon, WilcoxonMethod, wilcoxon};
