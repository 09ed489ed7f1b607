//! The `scant` program: arguments in, files and exit codes out. The only room that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod allocator;
mod args;
mod commands;
mod exit;
mod interrupt;
mod judge;
mod memory;
mod progress;
mod recipes;
mod session;

use clap::Parser;

use crate::args::Cli;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    progress::start_logging(cli.common.verbose, cli.common.quiet);
    match commands::run(&cli) {
        Ok(()) => exit::SUCCESS.into(),
        Err(failure) => {
            // Not the chain: every message says its cause itself.
            eprintln!("scant: {}", failure.error);
            failure.code.into()
        }
    }
}
