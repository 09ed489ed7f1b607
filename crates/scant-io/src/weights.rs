//! Weight files of other programs: PyTorch checkpoints, Keras files, NumPy archives, safetensors.
//!
//! ```no_run
//! use std::path::Path;
//! use scant_io::weights::{self, ReadOptions};
//!
//! let file = weights::read(Path::new("checkpoint_final.pth"), &ReadOptions::default())?;
//! println!("{} tensors, {}", file.tensors.len(), file.format);
//! if let Some(key) = &file.state_dict {
//!     println!("the state dict was found under {key:?}");
//! }
//! for name in &file.skipped {
//!     println!("left out: {name}");
//! }
//! let weights: scant_core::Weights = file.into_weights();
//! # Ok::<(), scant_io::weights::WeightFileError>(())
//! ```
//!
//! # What is read
//!
//! | format | files | what is returned |
//! |---|---|---|
//! | `pytorch` | `.pt`, `.pth`, `.pkl`, `.ckpt`, `.bin`: `torch.save` with or without zip, since 0.4 | the tensors of one state dict, in its order |
//! | `keras` | `.h5` of `save` and `save_weights`, `.keras`, `.weights.h5` | the weights of the network, without the optimiser, and the layers they belong to |
//! | `npz` | `.npz` stored or deflated, `.npy` | every array, in the order of the archive |
//! | `safetensors` | `.safetensors` | every tensor, in the order of the data |
//!
//! Whatever numbers a file holds (16, 32, 64 bit floats, integers, booleans), they come back as
//! `f32`, rounded to nearest: `num_batches_tracked` counters beyond 2^24 lose their last digits,
//! doubles beyond the range of `f32` become infinite. Names and shapes are those of the file;
//! nothing is renamed, transposed or matched to a network here.
//!
//! # Files from strangers
//!
//! A PyTorch file is a pickle, and a pickle is a program. It is not run here: its instructions are
//! read by an interpreter that knows how to build dictionaries, lists, numbers, strings and
//! tensors, and turns every other class or function into an inert mark, however the file wants it
//! called. So the arguments, optimisers and configuration objects that training scripts leave in
//! their checkpoints do no harm and do not stop the tensors from being read.
//!
//! Sizes are checked against [`WeightLimits`] before memory is taken, and only the tensors that are
//! returned are read: optimiser states cost nothing.

mod archive;
mod element;
mod error;
mod keras;
mod npz;
mod pytorch;
mod safetensors;
mod source;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::str::FromStr;

use scant_core::{HostTensor, Weights};
use thiserror::Error;

pub use error::{WeightFileError, WeightProblem};
pub use keras::{KerasLayer, KerasMismatch};

use error::Fault;
use source::Source;

/// Reads the tensors of a weight file of another program.
///
/// # Shapes
/// Each tensor as the file has it: PyTorch convolution kernels are `[out, in, rows, columns]`, those
/// of Keras and of Google's `.npz` files `[rows, columns, in, out]`. Always row-major, whatever the
/// order or the strides in the file. A scalar has the empty shape.
///
/// # Errors
/// [`WeightFileError`], which names the file, what is wrong and what can be done: a file that is
/// missing, of no known or of another format than asked, damaged, beyond the limits, without
/// tensors, or with several state dicts of which none has a known name.
pub fn read(path: &Path, options: &ReadOptions) -> Result<WeightFile, WeightFileError> {
    // The readers of archives and HDF5 are other people's code and meet files that no test has
    // seen; a panic in one of them must cost one file, not the run.
    catch_unwind(AssertUnwindSafe(|| read_path(path, options)))
        .unwrap_or_else(|_| Err(Fault::damaged("its decoder gave up on it")))
        .map_err(|problem| WeightFileError { path: path.into(), problem })
}

fn read_path(path: &Path, options: &ReadOptions) -> Result<WeightFile, Fault> {
    let mut source = Source::open(path, &options.limits)?;
    let found = source.recognise()?;
    if let Some(asked) = options.format.filter(|asked| *asked != found) {
        return Err(WeightProblem::OtherFormat { asked, found });
    }
    if let (Some(key), false) = (&options.key, found == WeightFormat::PyTorch) {
        return Err(WeightProblem::KeyNotUsed { key: key.clone(), format: found });
    }
    let file = match found {
        WeightFormat::PyTorch => pytorch::read(source, options),
        WeightFormat::Keras => keras::read(source, &options.limits),
        WeightFormat::Npz => npz::read(source, &options.limits),
        WeightFormat::Safetensors => safetensors::read(source, &options.limits),
    }?;
    if file.tensors.is_empty() {
        return Err(WeightProblem::NoTensors { seen: "it is empty".into() });
    }
    if let Some(name) = repeated(file.tensors.iter().map(|(name, _)| name.as_str())) {
        return Err(Fault::damaged(format!("it holds two tensors named \"{name}\"")));
    }
    Ok(file)
}

/// A name that comes up more than once.
fn repeated<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}

/// How a file is to be read; the default recognises the format by content and finds the state dict
/// by the usual names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format the file must be in, or `None` for whatever its content says.
    pub format: Option<WeightFormat>,
    /// PyTorch only: where in the checkpoint the state dict is, as keys joined by dots
    /// (`"state_dict"`, `"model.ema"`); the empty string is the checkpoint itself. `None` looks
    /// for it; see [`WeightFile::state_dict`].
    pub key: Option<String>,
    /// How much the file may ask for.
    pub limits: WeightLimits,
}

/// Upper bounds on what a weight file may ask for, checked before memory is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightLimits {
    /// Largest file, in bytes.
    pub max_file_bytes: u64,
    /// Largest number of values in all returned tensors together, each of which takes 4 bytes.
    pub max_values: u64,
    /// Largest number of tensors, and of entries of an archive.
    pub max_tensors: usize,
    /// Largest description of the tensors (header, pickle, attributes), in bytes.
    pub max_header_bytes: u64,
}

impl Default for WeightLimits {
    /// 16 GiB, 2^30 values (4 GiB of memory), 100 000 tensors, 64 MiB of description.
    fn default() -> Self {
        Self {
            max_file_bytes: 16 << 30,
            max_values: 1 << 30,
            max_tensors: 100_000,
            max_header_bytes: 64 << 20,
        }
    }
}

/// What [`read`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightFile {
    /// The format, from the content.
    pub format: WeightFormat,
    /// Name and values of each tensor; names are unique. PyTorch: the keys of the state dict.
    /// Keras: the path of the variable, `conv2d_1/kernel` in `.h5` (without the `:0` of
    /// TensorFlow) and `layers/conv2d_1/vars/0` in Keras 3 files. NumPy: the name of the member
    /// without `.npy`; the array of a lone `.npy` file is called `array`.
    pub tensors: Vec<(String, HostTensor)>,
    /// What the order of [`tensors`](Self::tensors) means.
    pub order: TensorOrder,
    /// PyTorch: under which keys the state dict was found, joined by dots, `None` when the file is
    /// a state dict itself. Looked for are, in this order: `state_dict`, `model_state_dict`,
    /// `model`, `network_weights` (nnU-Net), `net`, `network`, `weights`, `params`, the file
    /// itself, and then whatever single dictionary of tensors there is. A dictionary counts when
    /// it holds at least one tensor. Optimiser states never count.
    pub state_dict: Option<String>,
    /// Everything else in the file that is plain data. PyTorch: the other entries of the checkpoint
    /// (`trainer_name` and `init_args` of nnU-Net, `epoch`), without tensors, opaque objects,
    /// optimiser states and entries of more than 1 MiB of text or 100 000 values. Keras: attributes of the file and
    /// the model's configuration under `model_config`, `training_config`, `metadata`. Safetensors:
    /// its metadata, as strings.
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Entries that are not returned, each with the reason in brackets, `args (argparse.Namespace)`:
    /// opaque objects, values of the state dict that are no tensors, tensors of a type without
    /// an `f32` meaning.
    pub skipped: Vec<String>,
    /// Keras only: the layers that own the tensors, in the order of the tensors.
    pub layers: Vec<KerasLayer>,
}

/// What the order of the tensors in a [`WeightFile`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorOrder {
    /// The network's own: of `state_dict()` in PyTorch, of `model.weights` in Keras.
    Network,
    /// That of the container, which need not mean anything.
    Stored,
}

impl WeightFile {
    /// The tensor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor)
    }

    /// Total number of values.
    #[must_use]
    pub fn value_count(&self) -> u64 {
        self.tensors.iter().map(|(_, tensor)| tensor.data.len() as u64).sum()
    }

    /// The tensors by name, sorted; the rest is dropped.
    #[must_use]
    pub fn into_weights(self) -> Weights {
        self.tensors.into_iter().collect()
    }

    /// Shortens the names by `prefix` where all of them start with it, and tells whether it did:
    /// `module.` is what `DataParallel` puts in front, `_orig_mod.` what `torch.compile` does.
    pub fn strip_prefix(&mut self, prefix: &str) -> bool {
        let shortens = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
        let all = !prefix.is_empty() && self.tensors.iter().all(|(name, _)| shortens(name));
        if all {
            for (name, _) in &mut self.tensors {
                name.drain(..prefix.len());
            }
        }
        all
    }

    /// Keras: the layers of each class in the order of the network, `model.layers`, which every kind
    /// of file tells within a class. Parts of layers of layers, which `.keras` and `.weights.h5` name
    /// after attributes, come in the alphabetical order of those.
    #[must_use]
    pub fn layers_by_class(&self) -> BTreeMap<&str, Vec<&KerasLayer>> {
        let mut classes: BTreeMap<&str, Vec<&KerasLayer>> = BTreeMap::new();
        for layer in &self.layers {
            classes.entry(&layer.class).or_default().push(layer);
        }
        classes
    }

    /// Keras: the layers of each class in the order in which they were created, which is that of the
    /// numbers in their names. It may differ from the order of the network: of two convolutions side
    /// by side the one written second may come first in `model.layers`. Layers whose names the
    /// author chose come last. `None` where the file does not tell the names of all layers.
    ///
    /// Only the order of the numbers means something: in a session where other networks were built
    /// before they do not start at zero.
    #[must_use]
    pub fn layers_by_creation(&self) -> Option<BTreeMap<&str, Vec<&KerasLayer>>> {
        if self.layers.iter().any(|layer| layer.name.is_none()) {
            return None;
        }
        let mut classes = self.layers_by_class();
        for layers in classes.values_mut() {
            layers.sort_by_key(|layer| (layer.number.is_none(), layer.number));
        }
        Some(classes)
    }
}

/// The formats of weight files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WeightFormat {
    /// `torch.save`.
    PyTorch,
    /// Keras, all three layouts.
    Keras,
    /// NumPy, one array or an archive of them.
    Npz,
    /// Safetensors.
    Safetensors,
}

impl WeightFormat {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::PyTorch, Self::Keras, Self::Npz, Self::Safetensors];

    /// The name that [`FromStr`] takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PyTorch => "pytorch",
            Self::Keras => "keras",
            Self::Npz => "npz",
            Self::Safetensors => "safetensors",
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no [`WeightFormat`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is no weight format; use pytorch, keras, npz or safetensors")]
pub struct UnknownWeightFormat(pub String);

impl FromStr for WeightFormat {
    type Err = UnknownWeightFormat;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|format| format.name() == word);
        known.ok_or_else(|| UnknownWeightFormat(word.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_named_as_they_are_read() {
        for format in WeightFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let said = "onnx".parse::<WeightFormat>().unwrap_err().to_string();
        assert_eq!(said, "\"onnx\" is no weight format; use pytorch, keras, npz or safetensors");
    }

    #[test]
    fn repeated_names_are_seen() {
        assert_eq!(repeated(["a", "b", "c"].into_iter()), None);
        assert_eq!(repeated(["a", "b", "a", "b"].into_iter()), Some("a"));
    }
}
