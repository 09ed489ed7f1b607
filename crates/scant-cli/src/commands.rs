//! One file per command.

mod advice;
mod bench;
mod compare;
mod demo;
mod evaluate;
mod inspect;
mod list;
mod models;
mod predict;
mod report;
mod study;
mod train;

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::exit::{Result, unwritable};
use crate::session::Session;

/// Runs what was asked for.
pub(crate) fn run(cli: &Cli) -> Result {
    let session = || Session::start(&cli.common);
    match &cli.command {
        Command::Demo(args) => demo::run(&session()?, args),
        Command::Inspect(args) => inspect::run(&session()?, args),
        Command::Train(args) => train::run(&session()?, args),
        Command::Study(args) => study::run(&session()?, &cli.common, args),
        Command::PoolAdvice(args) => advice::run(&session()?, &cli.common, args),
        Command::Evaluate(args) => evaluate::run(&session()?, args),
        Command::Predict(args) => predict::run(&session()?, args),
        Command::Compare(args) => compare::run(args),
        Command::Report(args) => report::run(args),
        Command::Bench(command) => bench::run(&session()?, command),
        Command::Models(args) => models::run(args),
        Command::Losses(args) => list::losses(args),
        Command::Recipes(args) => list::recipes(args),
        Command::Formats(args) => list::formats(args),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "scant", &mut std::io::stdout());
            Ok(())
        }
        Command::Man { folder } => std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
            .map_err(|e| unwritable(folder, &e)),
    }
}
