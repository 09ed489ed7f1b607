//! One image in, one mask out: the model file, tiling, test-time augmentation and the way back to the
//! original grid.
//!
//! Training validates with the same [`Predictor`] that `predict` and `evaluate` use, so a prediction
//! equals its evaluation bit for bit.

mod model_file;
mod predictor;
mod repeated;
mod tile;
mod tta;

pub use model_file::{
    ModelCard, ModelFileError, Provenance, SOURCE_NORMS, load, load_sources, load_tensors, save,
    split_sources, to_bytes,
};
pub use predictor::{PredictError, PredictOptions, Prediction, Predictor};
pub use repeated::RepeatedForward;
pub use tile::TileOptions;
pub use tta::Tta;
