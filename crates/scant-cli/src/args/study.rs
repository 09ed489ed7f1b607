//! What `scant study` takes.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct StudyArgs {
    /// A study file, or the name of a built-in study [names: see `scant study --list`]
    #[arg(required_unless_present = "list")]
    pub(crate) study: Option<String>,
    /// The pool, instead of the one that the file names
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: Option<PathBuf>,
    /// Folder of the study [default: runs/POOL-STUDY]
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Change a value in the recipe of every run, e.g. --set model.width=8
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Seeds 1 to N instead of those of the file
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// Runs at once [default: that of the file, or one per core]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallel: Option<u32>,
    /// Memory for all runs together, MiB [default: that of the file, or most of what is free]
    #[arg(long, value_name = "MIB")]
    pub(crate) memory: Option<u64>,
    /// Run failed runs again
    #[arg(long)]
    pub(crate) retry: bool,
    /// Leave out cases that cannot be read, with a warning, instead of refusing the pool
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Print what would be run, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the built-in studies, and stop
    #[arg(long)]
    pub(crate) list: bool,
}
