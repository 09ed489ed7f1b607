//! What a run tells whoever is watching; the loop itself never prints.

use scant_core::EpochRecord;

/// Where a run is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress<'a> {
    /// Phase name.
    pub phase: &'a str,
    /// Position of the phase, from 0, and number of phases.
    pub phase_index: (usize, usize),
    /// Epoch, 1-based, and epochs of the phase.
    pub epoch: (usize, usize),
    /// Batch within the epoch, 1-based, and batches per epoch.
    pub batch: (usize, usize),
    /// Optimiser steps of the whole run.
    pub step: u64,
    /// Total loss of the batch.
    pub loss: f64,
}

/// A listener.
pub trait Observer {
    /// After every batch.
    fn batch(&mut self, progress: &Progress<'_>) {
        let _ = progress;
    }

    /// After every epoch with its validation; `best` is whether it is the best of its phase so far.
    fn epoch(&mut self, phase: &str, epoch: &EpochRecord, best: bool) {
        let _ = (phase, epoch, best);
    }

    /// Something the user should know.
    fn warning(&mut self, message: &str) {
        let _ = message;
    }

    /// Something worth saying that is not a problem.
    fn note(&mut self, message: &str) {
        let _ = message;
    }
}

/// Hears nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
