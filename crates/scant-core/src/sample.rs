//! One case: an image, perhaps its labels, and where it came from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Annotated, Image, LabelMap};

/// The name of a case within a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleId {
    /// Source (site) name.
    pub source: String,
    /// What must never straddle a split: patient, slide, video.
    pub group: String,
    /// File stem of the image.
    pub stem: String,
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.stem)
    }
}

/// What a source is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The data the question is about.
    #[default]
    Base,
    /// Data added from elsewhere.
    Novel,
    /// Images nobody has drawn.
    Unlabelled,
}

/// An image in memory with everything a training step needs to know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name within the pool.
    pub id: SampleId,
    /// Position of the source in the pool.
    pub source: usize,
    /// What the source is for.
    pub role: Role,
    /// Intensities.
    pub image: Image,
    /// Class ids, absent for unlabelled images.
    pub label: Option<LabelMap>,
    /// Which classes were drawn.
    pub annotated: Annotated,
}
