//! Progress and logs, on standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use scant_core::EpochRecord;
use scant_train::{Observer, Progress};
use tracing_subscriber::EnvFilter;

/// Sends logs to standard error.
pub(crate) fn start_logging(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .without_time()
        .with_target(false)
        .init();
}

/// A bar over the epochs of a phase where there is a terminal, one line per epoch everywhere.
pub(crate) struct Bars {
    bar: Option<ProgressBar>,
    phase: String,
    quiet: bool,
}

impl Bars {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { bar: None, phase: String::new(), quiet }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

impl Observer for Bars {
    fn batch(&mut self, p: &Progress<'_>) {
        if self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let batches = (p.epoch.1 * p.batch.1) as u64;
        if self.phase != p.phase {
            if let Some(old) = self.bar.take() {
                old.finish_and_clear();
            }
            self.phase = p.phase.to_owned();
            let style = ProgressStyle::with_template(
                "{prefix} [{wide_bar}] {percent}% eta {eta} loss {msg}",
            );
            let bar = ProgressBar::new(batches)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_prefix(format!("{} ({}/{})", p.phase, p.phase_index.0 + 1, p.phase_index.1));
            bar.enable_steady_tick(Duration::from_millis(500));
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(((p.epoch.0 - 1) * p.batch.1 + p.batch.0) as u64);
            bar.set_message(format!("{:.4}", p.loss));
        }
    }

    fn epoch(&mut self, phase: &str, e: &EpochRecord, best: bool) {
        if self.quiet {
            return;
        }
        let number = |name: &str| e.loss.get(name).copied();
        let mut text =
            format!("{phase} {:>3}  loss {:.4}", e.epoch, number("total").unwrap_or(f64::NAN));
        for (name, value) in e.loss.iter().filter(|(name, _)| *name != "total") {
            text += &format!("  {name} {value:.4}");
        }
        if let Some(dice) = e.val_dice {
            text += &format!("  validation Dice {dice:.4}{}", if best { " *" } else { "" });
        }
        if let Some((tap, alpha)) = e.alpha.iter().max_by(|a, b| a.1.total_cmp(b.1)) {
            text += &format!("  largest alpha {alpha:.4} ({tap})");
        }
        text += &format!("  {:.1} s", e.seconds);
        self.line(&text);
    }

    fn warning(&mut self, message: &str) {
        self.line(&format!("warning: {message}"));
    }

    fn note(&mut self, message: &str) {
        if !self.quiet {
            self.line(message);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
