//! The vocabulary of scant: images with geometry, label spaces, samples and run records.
//!
//! This room knows no tensors, no files, no clock and no randomness. Everything that crosses a wall
//! between two other rooms is spelled in these types.

mod geometry;
mod host_tensor;
mod image;
mod labels;
mod run;
mod sample;
mod study;

pub use geometry::Geometry;
pub use host_tensor::{HostTensor, Weights};
pub use image::{Image, PixelType};
pub use labels::{Annotated, LabelError, LabelMap, LabelSpace};
pub use run::{
    CaseClassResult, CaseRecord, EmptySituation, EpochRecord, Evaluation, EvaluationProtocol,
    GalleryItem, GalleryKind, ModelSummary, PhaseRecord, PoolSummary, RunRecord, SourceSummary,
    SplitSummary, Timing,
};
pub use sample::{Role, Sample, SampleId};
pub use study::{FRACTION_AXIS, NOISE_AXIS, StudyAxis, StudyRecord, StudyRun, StudyStatus};
