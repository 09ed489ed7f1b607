//! What can be typed.

mod advice;
mod models;
mod study;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use advice::AdviceArgs;
pub(crate) use models::{ExportModelArgs, ImportWeightsArgs, ModelsArgs, ModelsCommand};
pub(crate) use study::StudyArgs;

/// Train, judge and run medical image segmentation when labelled data is scant.
#[derive(Debug, Parser)]
#[command(name = "scant", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Say more (twice: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Where to compute: cpu (auto), cuda:N, rocm:N, vulkan:N, metal or webgpu, if this build has it
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: String,
    /// Worker threads; 0 takes every core
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub(crate) threads: usize,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Generate two ultrasound-like sites, then train, evaluate and report: the first thing to run
    Demo(DemoArgs),
    /// What is in a pool, what is wrong with it, and how far apart its sources are
    Inspect(InspectArgs),
    /// Train by a recipe, evaluate on the held-out part and write the report
    Train(TrainArgs),
    /// Run a grid of methods, points and seeds into one table and report; again to go on
    Study(StudyArgs),
    /// Whether to add each novel source of a pool to its base, and how
    PoolAdvice(AdviceArgs),
    /// Judge a run, a model file or a folder of predicted masks
    Evaluate(EvaluateArgs),
    /// Predict masks for images
    Predict(PredictArgs),
    /// Paired statistics between runs; the first is the baseline
    Compare(CompareArgs),
    /// Write the HTML report of one or more runs, or of a study
    Report(ReportArgs),
    /// Seconds, arithmetic and memory of a network on this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// The architectures of this build; weights of other programs in, ONNX out
    Models(ModelsArgs),
    /// The loss terms of this build
    Losses(ListArgs),
    /// The recipes of this build, or the text of one
    Recipes(RecipesArgs),
    /// The image formats of this build
    Formats(ListArgs),
    /// Shell completions on standard output
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Manual pages into a folder
    Man {
        /// Folder to write to
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where to write [default: scant-demo, or the folder of --data-only]
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Only generate the pool, here
    #[arg(long, value_name = "FOLDER", conflicts_with = "out")]
    pub(crate) data_only: Option<PathBuf>,
    /// Sites to generate
    #[arg(long, default_value_t = 2)]
    pub(crate) sites: usize,
    /// Images per site
    #[arg(long, default_value_t = 48)]
    pub(crate) images: usize,
    /// Rows and columns of the images, about
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    /// Structures to draw: 1 or 2
    #[arg(long, default_value_t = 1)]
    pub(crate) classes: usize,
    /// How far the other sites are from the first: 0 all alike, 1 as real ones are, at most 1.5
    #[arg(long, default_value_t = 1.0)]
    pub(crate) shift: f64,
    /// Seed of everything
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A pool.toml, or a folder with images/ and masks/
    pub(crate) pool: PathBuf,
    /// Check this split for leaks as well
    #[arg(long, value_name = "FILE")]
    pub(crate) split: Option<PathBuf>,
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// A pool.toml, or a folder with images/ and masks/; not needed with --resume
    #[arg(required_unless_present = "resume")]
    pub(crate) pool: Option<PathBuf>,
    /// Name of a built-in recipe (see `scant recipes`) or a file
    #[arg(short, long, default_value = "attention-unet", value_name = "NAME|FILE")]
    pub(crate) recipe: String,
    /// Change a recipe value, e.g. --set optim.lr=1e-4 --set phase.0.epochs=20
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Run folder [default: runs/POOL-RECIPE-sSEED]
    #[arg(short, long, value_name = "RUN")]
    pub(crate) out: Option<PathBuf>,
    /// Continue this run where it stopped
    #[arg(long, value_name = "RUN", conflicts_with_all = ["pool", "out", "set", "seed", "split"])]
    pub(crate) resume: Option<PathBuf>,
    /// Take the phases of this finished run over: the new recipe must begin with all of them
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub(crate) phases_from: Option<PathBuf>,
    /// Use this split instead of drawing one
    #[arg(long, value_name = "FILE")]
    pub(crate) split: Option<PathBuf>,
    /// Seed of weights, order, augmentation and (unless split.seed is set) the split
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Epochs of every phase
    #[arg(long, conflicts_with = "resume")]
    pub(crate) epochs: Option<usize>,
    /// Stop after this many optimiser steps
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Stop after this many minutes
    #[arg(long)]
    pub(crate) minutes: Option<f64>,
    /// Leave out cases that cannot be read, with a warning, instead of refusing the pool
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Train only: no evaluation and no report
    #[arg(long)]
    pub(crate) no_evaluate: bool,
    /// Evaluate, but draw no pictures and write neither masks nor report
    #[arg(long)]
    pub(crate) no_report: bool,
    /// Print the filled-in recipe and the split, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stop with a checkpoint once standard input ends, as it does when the parent process is gone
    #[arg(long, hide = true)]
    pub(crate) stop_with_stdin: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PartArg {
    Train,
    Validation,
    Test,
    All,
}

impl PartArg {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::All => "all",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TtaArg {
    None,
    Flips,
    FlipsRot90,
}

#[derive(Debug, Args)]
pub(crate) struct PredictorArgs {
    /// Average over symmetric copies
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) tta: TtaArg,
    /// Side of prediction tiles, pixels of the network grid
    #[arg(long, value_name = "PIXELS")]
    pub(crate) tile: Option<usize>,
    /// Share of a tile that overlaps its neighbour
    #[arg(long, default_value_t = 0.5)]
    pub(crate) overlap: f64,
    /// Probability from which a pixel is foreground [default: the model's own]
    #[arg(long)]
    pub(crate) threshold: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// A run folder, a model.safetensors, or a folder of predicted masks
    pub(crate) target: PathBuf,
    /// The pool to judge on; a run knows its own
    pub(crate) pool: Option<PathBuf>,
    /// Part of the split
    #[arg(long = "split", value_enum, default_value = "test", value_name = "PART")]
    pub(crate) part: PartArg,
    /// Split file, for models and predictions [default: all cases]
    #[arg(long, value_name = "FILE")]
    pub(crate) split_file: Option<PathBuf>,
    /// What metrics are when a mask is empty
    #[arg(long, default_value = "scant", value_name = "POLICY")]
    pub(crate) empty: String,
    /// Tolerance of NSD, in mm where spacing is known, else pixels
    #[arg(long, default_value_t = 2.0)]
    pub(crate) nsd_tolerance: f64,
    #[command(flatten)]
    pub(crate) predictor: PredictorArgs,
    /// Per-case table
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// A model.safetensors or a run folder
    pub(crate) model: PathBuf,
    /// Images, or folders of images
    #[arg(required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// Folder for the masks
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Write probabilities (16-bit PNG per class) beside the masks
    #[arg(long)]
    pub(crate) probabilities: bool,
    #[command(flatten)]
    pub(crate) predictor: PredictorArgs,
    /// Replace masks that are there already
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Run folders, the baseline first
    #[arg(required = true, num_args = 2..)]
    pub(crate) runs: Vec<PathBuf>,
    /// Part of the split
    #[arg(long = "split", value_enum, default_value = "test", value_name = "PART")]
    pub(crate) part: PartArg,
    /// Metrics to test
    #[arg(long, value_delimiter = ',', default_value = "dice,iou,hd95,assd,nsd")]
    pub(crate) metrics: Vec<String>,
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Run folders, or one study folder
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// The file to write [default: report.html in the first run]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// A training step: forward, loss, backward and optimiser, on one generated batch
    Step(BenchStepArgs),
    /// A forward pass as in prediction, without gradients
    Infer(BenchInferArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BenchStepArgs {
    #[command(flatten)]
    pub(crate) net: BenchNetArgs,
    /// Images per step
    #[arg(long, default_value_t = 2, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Loss terms with weight 1, joined by "-": dice, bce, ce, iou; or the table of a recipe's phase, e.g.
    /// "{ dice = 1.0, local_contrast = {} }" [default: that of the recipes]
    #[arg(long, value_name = "TERM-TERM|TABLE")]
    pub(crate) loss: Option<String>,
    /// Add the feature discrepancy on every tap
    #[arg(long)]
    pub(crate) fd: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchInferArgs {
    #[command(flatten)]
    pub(crate) net: BenchNetArgs,
    /// Images per pass
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
}

/// Which network, and how often.
#[derive(Debug, Args)]
pub(crate) struct BenchNetArgs {
    /// Architecture, see `scant models`
    #[arg(long, default_value = "unet", value_name = "NAME")]
    pub(crate) model: String,
    /// Channels of the first stage [default: as published]
    #[arg(long, value_name = "N")]
    pub(crate) width: Option<u32>,
    /// How often the image is halved [default: as published]
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<u32>,
    /// Change another size of the network, e.g. --set window=8; see `scant models`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Side of the images, or rows and columns; volumes have their depth before
    #[arg(long, default_value = "256", value_name = "N|HxW|DxHxW")]
    pub(crate) size: InputSize,
    /// Channels of the images: 1 or 3
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) channels: u32,
    /// Classes with the background; two of them are one logit
    #[arg(long, default_value_t = 2, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=255))]
    pub(crate) classes: u32,
    /// How convolutions multiply: in single precision, or rounded to bfloat16
    #[arg(long, value_enum, default_value = "fp32")]
    pub(crate) precision: PrecisionArg,
    /// How often to measure
    #[arg(long, default_value_t = 10, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeats: u32,
    /// How often to run before that, unmeasured
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) warmup: u32,
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionArg {
    Fp32,
    Bf16,
}

impl PrecisionArg {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }
}

/// `256`, `192x256` or `32x64x64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputSize(Vec<usize>);

impl InputSize {
    /// The sizes along the axes of what a network takes; one number stands for all of them.
    pub(crate) fn of(&self, dimensions: usize) -> Result<Vec<usize>, String> {
        match self.0[..] {
            [side] => Ok(vec![side; dimensions]),
            _ if self.0.len() == dimensions => Ok(self.0.clone()),
            _ if dimensions == 2 => Err("this network takes images: give rows x columns".into()),
            _ => Err("this network takes volumes: give depth x rows x columns".into()),
        }
    }
}

impl FromStr for InputSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |part: &str| match part.parse() {
            Ok(n @ 1..=16_384) => Ok(n),
            _ => Err(format!(
                "\"{part}\" is no side from 1 to 16384; write 256, 192x256 or 32x64x64"
            )),
        };
        let sides = text.split('x').map(side).collect::<Result<Vec<usize>, String>>()?;
        if sides.len() > 3 {
            return Err(format!("\"{text}\" has more than three axes"));
        }
        Ok(Self(sides))
    }
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RecipesArgs {
    /// Print this recipe
    pub(crate) name: Option<String>,
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}
