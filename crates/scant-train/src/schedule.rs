//! Learning rate over time.

use serde::{Deserialize, Serialize};

use crate::recipe::{OptimSection, ScheduleName};

/// State of a schedule within one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    name: ScheduleName,
    base: f64,
    total_steps: u64,
    patience: usize,
    factor: f64,
    best: Option<f64>,
    waited: usize,
}

impl Schedule {
    /// A schedule for a phase of `total_steps` steps.
    #[must_use]
    pub fn new(name: ScheduleName, base: f64, total_steps: u64, optim: &OptimSection) -> Self {
        Self {
            name,
            base,
            total_steps: total_steps.max(1),
            patience: optim.plateau_patience,
            factor: 1.0,
            best: None,
            waited: 0,
        }
    }

    /// Learning rate of the step after `done` steps of the phase.
    #[must_use]
    pub fn lr(&self, done: u64) -> f64 {
        let t = (done as f64 / self.total_steps as f64).min(1.0);
        match self.name {
            ScheduleName::Constant => self.base,
            ScheduleName::Poly => self.base * (1.0 - t).powf(0.9),
            ScheduleName::Cosine => self.base * 0.5 * (1.0 + (std::f64::consts::PI * t).cos()),
            ScheduleName::Plateau => self.base * self.factor,
        }
    }

    /// Tells the schedule how validation went; only `plateau` listens.
    pub fn after_epoch(&mut self, val_dice: Option<f64>) {
        let Some(dice) = val_dice else { return };
        if self.best.is_none_or(|b| dice > b) {
            self.best = Some(dice);
            self.waited = 0;
        } else {
            self.waited += 1;
            if self.waited >= self.patience {
                self.factor *= 0.1;
                self.waited = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(name: ScheduleName) -> Schedule {
        Schedule::new(name, 0.1, 100, &OptimSection { plateau_patience: 2, ..Default::default() })
    }

    #[test]
    fn rates_at_start_middle_and_end() {
        assert_eq!(schedule(ScheduleName::Constant).lr(50), 0.1);
        let poly = schedule(ScheduleName::Poly);
        assert_eq!(poly.lr(0), 0.1);
        assert!((poly.lr(50) - 0.1 * 0.5_f64.powf(0.9)).abs() < 1e-15);
        assert_eq!(poly.lr(100), 0.0);
        let cosine = schedule(ScheduleName::Cosine);
        assert!((cosine.lr(50) - 0.05).abs() < 1e-15);
        assert!(cosine.lr(100).abs() < 1e-15);
    }

    #[test]
    fn plateau_waits_then_divides() {
        let mut s = schedule(ScheduleName::Plateau);
        for dice in [0.5, 0.5, 0.6, 0.6] {
            s.after_epoch(Some(dice));
            assert_eq!(s.lr(0), 0.1);
        }
        s.after_epoch(Some(0.59));
        assert!((s.lr(0) - 0.01).abs() < 1e-15);
    }
}
