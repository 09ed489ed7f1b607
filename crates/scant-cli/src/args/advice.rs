//! What `scant pool-advice` takes.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct AdviceArgs {
    /// A pool.toml with sources of role base and novel
    pub(crate) pool: PathBuf,
    /// Folder of the runs behind the advice [default: runs/POOL-advice]
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Only the cheap answer: how well each source can be told apart from the base
    #[arg(long)]
    pub(crate) quick: bool,
    /// Seeds 1 to N; each has its own split
    #[arg(long, default_value_t = 5, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// Shares of the novel training images to add
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "F,F")]
    pub(crate) fractions: Vec<f64>,
    /// Ways to add them: recipes of the family pooling
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    #[arg(default_value = "plain,balanced,strong-intensity,fd-exch")]
    pub(crate) methods: Vec<String>,
    /// Dice below which a difference does not matter
    #[arg(long, default_value_t = 0.01, value_name = "DICE")]
    pub(crate) margin: f64,
    /// Change a value in the recipe of every run, e.g. --set model.width=8
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Epochs on base images of the network whose features are compared; 0 leaves it untrained
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) feature_epochs: usize,
    /// Runs at once [default: one per core]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallel: Option<u32>,
    /// Memory for all runs together, MiB [default: most of what is free]
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: Option<u64>,
    /// Run failed runs again
    #[arg(long)]
    pub(crate) retry: bool,
    /// Leave out cases that cannot be read, with a warning, instead of refusing the pool
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Machine-readable output
    #[arg(long)]
    pub(crate) json: bool,
}
