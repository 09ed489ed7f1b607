//! `model.safetensors`: weights by official name, and everything `predict` needs in the metadata.
//!
//! The format is safetensors with one metadata entry, `scant`, holding a [`ModelCard`] as JSON.
//! Opening a model cannot run code.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use scant_core::LabelSpace;
use scant_data::preprocess::PreprocessConfig;
use scant_nn::weights::{self, HostTensor, WeightError, Weights};
use scant_nn::{Device, Model, ModelConfig, ModelError, source_norm};
use serde::{Deserialize, Serialize};
use thiserror::Error;

const KEY: &str = "scant";

/// What the names of norms of other sources than the home one start with; the source and the official
/// name of the tensor follow.
pub const SOURCE_NORMS: &str = "source_norm/";

/// What a model file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Version of this layout.
    pub schema: u32,
    /// The architecture with its sizes.
    pub model: ModelConfig,
    /// Classes by position.
    pub classes: LabelSpace,
    /// Value that stands for each class in predicted masks, by position: the values of the masks it
    /// was trained on.
    pub mask_values: Vec<u8>,
    /// How an image becomes network input.
    pub preprocess: PreprocessConfig,
    /// Rows and columns of the patches it was trained on, where it was: the size of prediction tiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<[usize; 2]>,
    /// Probability from which a pixel belongs to a single foreground class.
    pub threshold: f64,
    /// Where the weights come from.
    pub provenance: Provenance,
    /// Licence of the weights, as an SPDX expression or free text; empty when not stated.
    pub license: String,
}

impl ModelCard {
    /// Current value of [`ModelCard::schema`].
    pub const SCHEMA: u32 = 1;
}

/// Where weights come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of scant that trained them.
    pub scant_version: String,
    /// Name of the run.
    pub run: String,
    /// Name of the pool.
    pub pool: String,
    /// SHA-256 of the split.
    pub split_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// Phase and epoch (1-based) the weights were taken from.
    pub phase: String,
    /// See `phase`.
    pub epoch: usize,
    /// Mean validation Dice there, if there was a validation part.
    pub validation_dice: Option<f64>,
}

/// Why a model file cannot be used.
#[derive(Debug, Error)]
pub enum ModelFileError {
    /// The file cannot be read.
    #[error("cannot read model {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not a complete safetensors file.
    #[error(
        "{path} is not a complete model file ({reason}); it may be truncated: copy or train it again"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A safetensors file of somebody else.
    #[error(
        "{path} holds tensors but no scant model card; give a model.safetensors written by `scant train`"
    )]
    NoCard {
        /// The file.
        path: PathBuf,
    },
    /// The card does not fit this version.
    #[error("{path}: the model card cannot be understood by this version of scant: {reason}")]
    Card {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The weights do not fit the architecture on the card.
    #[error("{path}: {source}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: WeightError,
    },
    /// The architecture on the card cannot be built.
    #[error("{path}: {source}")]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ModelError,
    },
    /// The weights cannot be written.
    #[error(transparent)]
    Write(#[from] scant_io::IoError),
}

/// The bytes of a safetensors file with string metadata.
///
/// # Panics
/// Never for tensors whose data fits their shape, as [`HostTensor`]s of a network do.
#[must_use]
pub fn to_bytes(tensors: &Weights, metadata: BTreeMap<String, String>) -> Vec<u8> {
    let raw: Vec<(&String, &HostTensor, Vec<u8>)> = tensors
        .iter()
        .map(|(name, t)| (name, t, t.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = raw.iter().map(|(name, t, bytes)| {
        let view = TensorView::new(Dtype::F32, t.shape.clone(), bytes);
        ((*name).clone(), view.expect("the data of a host tensor fits its shape"))
    });
    // One key at most keeps the header, and so the file, the same bytes every time.
    let metadata: HashMap<String, String> = metadata.into_iter().collect();
    safetensors::serialize(views, Some(metadata)).expect("names and shapes are valid")
}

/// Writes a model file, atomically.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, card: &ModelCard, weights: &Weights) -> Result<(), ModelFileError> {
    let json = serde_json::to_string(card).expect("a model card is plain data");
    let bytes = to_bytes(weights, BTreeMap::from([(KEY.to_owned(), json)]));
    Ok(scant_io::write_atomic(path, &bytes)?)
}

/// Reads a model file and builds its network in evaluation mode on `device`.
///
/// # Errors
/// When the file is missing, truncated, foreign, or does not fit its own card.
pub fn load(path: &Path, device: &Device) -> Result<(ModelCard, Model), ModelFileError> {
    let (weights, metadata) = load_tensors(path)?;
    let json = metadata.get(KEY).ok_or_else(|| ModelFileError::NoCard { path: path.into() })?;
    let bad_card = |reason: String| ModelFileError::Card { path: path.into(), reason };
    let card: ModelCard = serde_json::from_str(json).map_err(|e| bad_card(e.to_string()))?;
    if card.schema != ModelCard::SCHEMA {
        return Err(bad_card(format!("schema {} is not {}", card.schema, ModelCard::SCHEMA)));
    }
    if card.model.output_channels() != card.classes.logit_channels()
        || card.model.input_channels() != card.preprocess.channels
        || card.mask_values.len() != card.classes.len()
    {
        return Err(bad_card(
            "its network, classes and preprocessing contradict each other".into(),
        ));
    }
    let model = card
        .model
        .zeros(device)
        .map_err(|source| ModelFileError::Model { path: path.into(), source })?;
    let (weights, _) = split_sources(weights);
    let model = weights::import(model, &weights)
        .map_err(|source| ModelFileError::Weights { path: path.into(), source })?;
    Ok((card, weights::set_training(model, false)))
}

/// The networks of a model file for sources that have norms of their own in it, by the name of the source,
/// in evaluation mode; most files hold none.
///
/// # Errors
/// As [`load`].
pub fn load_sources(
    path: &Path,
    card: &ModelCard,
    device: &Device,
) -> Result<BTreeMap<String, Model>, ModelFileError> {
    let (weights, norms) = split_sources(load_tensors(path)?.0);
    let wrong = |source| ModelFileError::Weights { path: path.into(), source };
    let mut found = BTreeMap::new();
    for (source, weights) in source_norm::by_source(&weights, &norms) {
        let model = card
            .model
            .zeros(device)
            .map_err(|source| ModelFileError::Model { path: path.into(), source })?;
        let model = weights::import(model, &weights).map_err(wrong)?;
        found.insert(source, weights::set_training(model, false));
    }
    Ok(found)
}

/// The tensors of the network, and the norms of other sources by `SOURCE/NAME`.
#[must_use]
pub fn split_sources(tensors: Weights) -> (Weights, Weights) {
    let (mut network, mut norms) = (Weights::new(), Weights::new());
    for (name, tensor) in tensors {
        match name.strip_prefix(SOURCE_NORMS) {
            Some(rest) => norms.insert(rest.to_owned(), tensor),
            None => network.insert(name, tensor),
        };
    }
    (network, norms)
}

/// All tensors of a file as `f32`.
fn host_tensors(tensors: &SafeTensors<'_>) -> Result<Weights, String> {
    let mut out = Weights::new();
    for (name, view) in tensors.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("tensor {name} is {:?}, expected F32", view.dtype()));
        }
        let data = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        out.insert(name, HostTensor { shape: view.shape().to_vec(), data });
    }
    Ok(out)
}

/// Reads any safetensors file of `f32` tensors with its metadata: checkpoints use this.
///
/// # Errors
/// When the file is missing or not a complete safetensors file.
pub fn load_tensors(path: &Path) -> Result<(Weights, BTreeMap<String, String>), ModelFileError> {
    let bytes =
        std::fs::read(path).map_err(|source| ModelFileError::Read { path: path.into(), source })?;
    let corrupt = |reason: String| ModelFileError::Corrupt { path: path.into(), reason };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| corrupt(e.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| corrupt(e.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok((host_tensors(&tensors).map_err(corrupt)?, metadata))
}

#[cfg(test)]
mod tests {
    use scant_nn::model::UNetConfig;

    use super::*;

    fn card() -> ModelCard {
        ModelCard {
            schema: ModelCard::SCHEMA,
            model: ModelConfig::UNet(UNetConfig {
                width: 4,
                depth: 2,
                input_channels: 1,
                output_channels: 1,
            }),
            classes: LabelSpace::new(vec!["background".into(), "lesion".into()]).unwrap(),
            mask_values: vec![0, 255],
            preprocess: PreprocessConfig { channels: 1, ..PreprocessConfig::default() },
            tile: None,
            threshold: 0.5,
            provenance: Provenance::default(),
            license: String::new(),
        }
    }

    #[test]
    fn a_model_comes_back_as_it_was_and_a_truncated_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let device = Device::flex();
        let model = card().model.init(&device, 7).unwrap();
        let weights = weights::export(&model);
        save(&path, &card(), &weights).unwrap();
        let (read, again) = load(&path, &device).unwrap();
        assert_eq!(read, card());
        assert_eq!(weights::export(&again), weights);

        let bytes = std::fs::read(&path).unwrap();
        for keep in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..keep]).unwrap();
            let error = load(&path, &device).unwrap_err().to_string();
            assert!(error.contains("model.safetensors") && error.contains("truncated"), "{error}");
        }
    }

    #[test]
    fn foreign_files_and_foreign_weights_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.safetensors");
        let device = Device::flex();
        let mut weights = weights::export(&card().model.init(&device, 1).unwrap());
        std::fs::write(&path, to_bytes(&weights, BTreeMap::new())).unwrap();
        assert!(load(&path, &device).unwrap_err().to_string().contains("no scant model card"));

        weights.remove("Conv_1x1.bias");
        save(&path, &card(), &weights).unwrap();
        let error = load(&path, &device).unwrap_err().to_string();
        assert!(error.contains("Conv_1x1.bias"), "{error}");
    }
}
