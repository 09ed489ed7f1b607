//! The `scant` program: arguments in, files and exit codes out. The only room that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

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

/// A training step allocates and frees the same large buffers again and again; the system's allocator
/// gives each back to the kernel, and clearing the pages anew costs more than a tenth of the step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
