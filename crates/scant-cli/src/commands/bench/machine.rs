//! What the figures were measured on.

use std::time::{Duration, Instant};

use scant_compute::peak::multiply_adds;
use scant_compute::simd::Level;

use crate::session::Session;

/// The processor, and how much arithmetic it can do at most.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// As the system names it.
    pub(super) cpu: Option<String>,
    /// Instruction set in use.
    pub(super) simd: &'static str,
    pub(super) threads: usize,
    /// Multiplications and additions between registers, 10^9 per second, on all threads. Not known of
    /// a GPU.
    pub(super) peak_gflop_per_second: Option<f64>,
}

impl Machine {
    /// Takes about a quarter of a second.
    pub(super) fn measure(session: &Session) -> Self {
        Self {
            cpu: cpu_name(),
            simd: Level::current().name(),
            threads: session.threads,
            peak_gflop_per_second: session.on_cpu.then(|| peak() / 1e9),
        }
    }
}

/// Operations per second of the best of several tries: what else runs on the machine can only take
/// away from it.
fn peak() -> f64 {
    let timed = |rounds: u64| {
        let start = Instant::now();
        let operations = multiply_adds(rounds);
        (operations as f64, start.elapsed())
    };
    // Long against the clock and the start of the threads, short against the time slices of others.
    let mut rounds = 1_000;
    while timed(rounds).1 < Duration::from_millis(10) {
        rounds *= 2;
    }
    let tries = (0..12).map(|_| timed(rounds));
    tries.map(|(operations, time)| operations / time.as_secs_f64()).fold(0.0, f64::max)
}

fn cpu_name() -> Option<String> {
    if let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") {
        let line = text.lines().find(|l| l.starts_with("model name"))?;
        return Some(line.split_once(':')?.1.trim().to_owned());
    }
    let mut command = std::process::Command::new("sysctl"); // macOS
    let output = command.args(["-n", "machdep.cpu.brand_string"]).output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!name.is_empty()).then_some(name)
}
