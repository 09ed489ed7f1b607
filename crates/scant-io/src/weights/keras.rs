//! Keras files: `.h5` of `save` and `save_weights`, `.keras`, `.weights.h5`.
//!
//! Sources: `keras/src/legacy/saving/legacy_h5_format.py` and `keras/src/saving/saving_lib.py` of
//! <https://github.com/keras-team/keras>; the first layout is the same since Keras 2.0.
//!
//! - **`.h5`**: a group for each layer, whose attribute `weight_names` lists its variables, and an
//!   attribute `layer_names` that lists the layers in the order of the model. [`legacy`] reads it.
//! - **`.weights.h5`**: a group `vars` for each layer, with the variables numbered. The groups are
//!   named after the class, counted in the order of the model, so that `layers/conv2d_1` may well
//!   be the layer named `conv2d`; newer versions note the name beside. [`numbered`] reads it.
//! - **`.keras`**: a ZIP archive of the latter and of `config.json`, which lists the layers.

mod hdf5;
mod legacy;
mod matching;
mod names;
mod numbered;

use std::collections::BTreeMap;

use hdf5_reader::group::Group;
use scant_core::HostTensor;
use serde_json::Value as Json;

pub use matching::KerasMismatch;

use super::archive::Archive;
use super::element::Budget;
use super::error::Fault;
use super::source::Source;
use super::{TensorOrder, WeightFile, WeightFormat, WeightLimits};

/// A Keras layer that owns variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KerasLayer {
    /// Where the layer is in the file: `conv2d_1`, `robust_residual_block/conv2d` in `.h5`,
    /// `layers/conv2d_1` in the other files, where the number counts the layers of a class in the
    /// order of the model and is **not** that of the name.
    pub path: String,
    /// The layer's own name, which Keras makes of class and number unless the author chose one:
    /// `conv2d_17`. `None` where the file does not tell (`.weights.h5` of older versions).
    pub name: Option<String>,
    /// Its class in the spelling of the names: `conv2d`, `batch_normalization`. Of a layer whose
    /// name the author chose it is that name where the file tells no class (`.h5` of
    /// `save_weights`).
    pub class: String,
    /// The number in its name, which counts the layers of a class in the order of their creation:
    /// 17 for `conv2d_17`, 0 for `conv2d`. `None` where the name is unknown or the author chose it.
    pub number: Option<u32>,
    /// What each variable is to the layer (`kernel`, `gamma`, `moving_mean`; its position, `"0"`,
    /// where the file does not tell), and its position in
    /// [`WeightFile::tensors`](super::WeightFile::tensors).
    pub variables: Vec<(String, usize)>,
}

impl KerasLayer {
    /// The position of this variable in [`WeightFile::tensors`](super::WeightFile::tensors).
    #[must_use]
    pub fn variable(&self, role: &str) -> Option<usize> {
        self.variables.iter().find(|(name, _)| name == role).map(|(_, position)| *position)
    }
}

/// What both layouts give.
struct Found {
    tensors: Vec<(String, HostTensor)>,
    layers: Vec<KerasLayer>,
    order: TensorOrder,
    skipped: Vec<String>,
}

pub(super) fn read(mut source: Source, limits: &WeightLimits) -> Result<WeightFile, Fault> {
    let mut metadata = BTreeMap::new();
    let mut budget = Budget::new(limits);
    let found = if source.is_archive()? {
        let mut archive = Archive::open(source, limits.max_tensors)?;
        for (entry, name) in [("config.json", "model_config"), ("metadata.json", "metadata")] {
            let bytes = archive.read(entry, limits.max_header_bytes)?;
            let json = serde_json::from_slice(&bytes)
                .map_err(|e| Fault::damaged(format!("entry \"{entry}\" of the archive: {e}")))?;
            metadata.insert(name.to_owned(), json);
        }
        if archive.names()?.iter().any(|name| name == "model.weights.npz") {
            return Err(Fault::unsupported(
                "a .keras file whose weights are in NumPy's format",
                "install h5py and save it again",
            ));
        }
        let longest = limits.max_values.saturating_mul(16);
        let bytes = archive.read("model.weights.h5", longest)?;
        let root = hdf5::root(hdf5::in_memory(bytes, limits)?)?;
        numbered::read(&root, metadata.get("model_config"), &mut budget, limits)?
    } else {
        let root = hdf5::root(hdf5::on_disk(source, limits)?)?;
        metadata = attributes(&root)?;
        match weights_group(&root)? {
            Some(group) => {
                if group.name() != root.name() {
                    metadata.extend(attributes(&group)?);
                }
                legacy::read(&group, metadata.get("model_config"), &mut budget)?
            }
            None => numbered::read(&root, None, &mut budget, limits)?,
        }
    };
    metadata.retain(|name, _| name != "layer_names" && !name.starts_with("layer_names"));
    Ok(WeightFile {
        format: WeightFormat::Keras,
        tensors: found.tensors,
        order: found.order,
        state_dict: None,
        metadata,
        skipped: found.skipped,
        layers: found.layers,
    })
}

/// The group with the attribute `layer_names`: the file itself, or `model_weights` beside the state
/// of the optimiser.
fn weights_group(root: &Group) -> Result<Option<Group>, Fault> {
    if hdf5::strings(root, "layer_names")?.is_some() {
        return Ok(Some(root.clone()));
    }
    let (groups, _) = root.member_names().map_err(hdf5::fault)?;
    if !groups.iter().any(|name| name == "model_weights") {
        return Ok(None);
    }
    let group = root.group("model_weights").map_err(hdf5::fault)?;
    Ok(hdf5::strings(&group, "layer_names")?.is_some().then_some(group))
}

/// Text among the attributes; what is JSON is taken apart.
fn attributes(group: &Group) -> Result<BTreeMap<String, Json>, Fault> {
    let attributes = group.attributes().map_err(hdf5::fault)?;
    let text = attributes.into_iter().filter_map(|attribute| {
        let text = attribute.read_string().ok()?;
        let json = serde_json::from_str(&text).ok().filter(Json::is_object);
        Some((attribute.name, json.unwrap_or(Json::String(text))))
    });
    Ok(text.collect())
}
