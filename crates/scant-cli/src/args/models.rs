//! What `scant models` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{InputSize, ListArgs};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ModelsArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    #[command(subcommand)]
    pub(crate) command: Option<ModelsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Bring weights of PyTorch, Keras or NumPy to the names of a network here
    Import(ImportWeightsArgs),
    /// Write a trained model as ONNX
    Export(ExportModelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ImportWeightsArgs {
    /// A state_dict (.pt, .pth), a Keras model (.h5, .keras), ImageNet weights (.npz) or .safetensors
    pub(crate) file: PathBuf,
    /// Architecture, see `scant models`
    #[arg(long, value_name = "NAME")]
    pub(crate) model: String,
    /// What the file is: auto, pytorch, keras, npz or safetensors
    #[arg(long, default_value = "auto", value_name = "KIND")]
    pub(crate) from: String,
    /// Where in a checkpoint the tensors are, if not where they usually are, e.g. ema.state_dict
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Sizes that differ from the published ones and do not follow from the file, e.g. width=32
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Write the weights here, for model.weights of a recipe; without it only the report is printed
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Names of the classes, background first: makes the file one that `scant predict` takes
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    #[arg(requires = "out", requires = "recipe")]
    pub(crate) classes: Vec<String>,
    /// How images become input of the network: a recipe whose data section it was trained with
    #[arg(long, value_name = "NAME|FILE", requires = "classes")]
    pub(crate) recipe: Option<String>,
    /// Licence of the weights, kept with them
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) license: String,
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportModelArgs {
    /// A model.safetensors, or the run folder that holds one
    pub(crate) model: PathBuf,
    /// The ONNX file to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Size of the input: rows and columns, volumes with their depth before [default: that of training]
    #[arg(long, value_name = "HxW|DxHxW")]
    pub(crate) size: Option<InputSize>,
    /// Replace the file where there is one
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Images per call, or any number of them (0) where the network allows it
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) batch: usize,
}
