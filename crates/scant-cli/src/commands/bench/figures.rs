//! What was measured, for people and for programs.

use std::fmt::Write;

use scant_nn::ModelConfig;
use serde_json::{Value, json};

use super::machine::Machine;
use super::stopwatch::Seconds;
use crate::exit::{Failure, Result};

/// What was done between start and stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Step,
    Infer,
}

/// One measurement.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) what: Work,
    pub(super) model: ModelConfig,
    pub(super) parameters: u64,
    /// Rows and columns, volumes with their depth before.
    pub(super) size: Vec<usize>,
    pub(super) batch: u32,
    pub(super) classes: u32,
    pub(super) precision: &'static str,
    /// Terms of the loss; none for a forward pass.
    pub(super) loss: Vec<String>,
    pub(super) device: String,
    /// Of one repetition, all images together, counted as direct convolutions.
    pub(super) flops: u64,
    pub(super) warmup: u32,
    pub(super) seconds: Seconds,
    /// Resident before the network was built.
    pub(super) before_mib: Option<f64>,
    pub(super) peak_mib: Option<f64>,
    /// What the memory pools of a GPU hold in the end; they do not shrink while work goes on.
    pub(super) device_mib: Option<f64>,
    pub(super) machine: Machine,
}

impl Figures {
    fn size_text(&self) -> String {
        self.size.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
    }

    fn gflop(&self) -> f64 {
        self.flops as f64 / 1e9
    }

    fn gflop_per_second(&self) -> f64 {
        self.gflop() / self.seconds.median()
    }

    fn images_per_second(&self) -> f64 {
        f64::from(self.batch) / self.seconds.median()
    }

    fn share_of_peak(&self) -> Option<f64> {
        self.machine.peak_gflop_per_second.map(|peak| self.gflop_per_second() / peak)
    }

    pub(super) fn json(&self) -> Result<Value> {
        let s = &self.seconds;
        Ok(json!({
            "scant_version": env!("CARGO_PKG_VERSION"),
            "what": match self.what { Work::Step => "step", Work::Infer => "infer" },
            "model": serde_json::to_value(&self.model).map_err(Failure::failed)?,
            "parameters": self.parameters,
            "size": self.size,
            "batch": self.batch,
            "classes": self.classes,
            "precision": self.precision,
            "loss": self.loss,
            "seconds": {
                "median": s.median(),
                "min": s.quantile(0.0),
                "quartiles": [s.quantile(0.25), s.quantile(0.75)],
                "max": s.quantile(1.0),
                "all": s.all(),
            },
            "warmup": self.warmup,
            "images_per_second": self.images_per_second(),
            "gflop": self.gflop(),
            "gflop_per_second": self.gflop_per_second(),
            "peak_gflop_per_second": self.machine.peak_gflop_per_second,
            "share_of_peak": self.share_of_peak(),
            "memory_before_mib": self.before_mib,
            "memory_peak_mib": self.peak_mib,
            "device_memory_mib": self.device_mib,
            "device": self.device,
            "threads": self.machine.threads,
            "simd": self.machine.simd,
            "cpu": self.machine.cpu,
        }))
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{name:<10} {value}");
        };
        let what = match self.what {
            Work::Step => format!("training step, loss {}", self.loss.join(" + ")),
            Work::Infer => "forward pass".into(),
        };
        line("what", what);
        line(
            "network",
            format!(
                "{}, {:.2} M parameters, {}",
                self.model.name(),
                self.parameters as f64 / 1e6,
                self.precision
            ),
        );
        line(
            "batch",
            format!("{} x {} x {}", self.batch, self.model.input_channels(), self.size_text()),
        );
        let s = &self.seconds;
        line(
            "seconds",
            format!(
                "{:.4} median, {:.4} to {:.4} in {}",
                s.median(),
                s.quantile(0.0),
                s.quantile(1.0),
                s.all().len()
            ),
        );
        line("images/s", format!("{:.2}", self.images_per_second()));
        line("GFLOP", format!("{:.2} counted as direct convolutions", self.gflop()));
        let rate = format!("{:.1}", self.gflop_per_second());
        let share = self.share_of_peak().zip(self.machine.peak_gflop_per_second);
        let share = share.map_or(String::new(), |(share, peak)| {
            format!(
                ", {:.0} % of the {peak:.1} this machine can do between registers",
                100.0 * share
            )
        });
        line("GFLOP/s", rate + &share);
        if let (Some(peak), Some(before)) = (self.peak_mib, self.before_mib) {
            line("memory", format!("{peak:.0} MiB at most, {before:.0} before the network"));
        }
        if let Some(device) = self.device_mib {
            line("on device", format!("{device:.0} MiB held by its memory pools"));
        }
        let cpu = self.machine.cpu.as_deref().unwrap_or("unknown processor");
        line(
            "machine",
            format!(
                "{cpu}, {}, {} {}, {}",
                self.machine.simd,
                self.machine.threads,
                if self.machine.threads == 1 { "thread" } else { "threads" },
                self.device
            ),
        );
        out
    }
}
