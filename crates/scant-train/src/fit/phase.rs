//! What happens between phases.

use std::collections::BTreeMap;

use scant_nn::heads::{HeadConfig, Heads};
use scant_nn::loss::alpha::{AlphaProgress, AlphaSeen};
use scant_nn::loss::group_dro::Groups;
use scant_nn::source_norm::SourceNorms;
use scant_nn::weights::{self, Weights};

use super::supply::by_source;
use super::{Run, network_size};
use crate::TrainError;
use crate::average::Ema;
use crate::objective::phase_heads;
use crate::optimizer::Optimizer;
use crate::recipe::{From, Phase};
use crate::schedule::Schedule;
use crate::step::first_alphas;

/// A term below this share of the loss at the end of its phase is called inert.
pub(super) const INERT_SHARE: f64 = 1e-3;

impl Run<'_> {
    /// Resets what starts anew in each phase.
    pub(super) fn begin_phase(&mut self, index: usize) -> Result<(), TrainError> {
        self.draw_for(index)?;
        let phase = &self.recipe.phase[index];
        let optim = &self.recipe.optim;
        let steps = self.steps_of(phase);
        let schedule = phase.schedule.unwrap_or(optim.schedule);
        let lr = phase.lr.unwrap_or(optim.lr);
        let state = &mut self.state;
        state.phase = index;
        state.epoch = 0;
        state.batch = 0;
        state.phase_step = 0;
        state.waited = 0;
        state.alpha_active = false;
        state.schedule = Schedule::new(schedule, lr, steps, optim);
        state.alpha = first_alphas(&phase.loss, &self.config.tap_names());
        state.alpha_active = state.alpha.values().any(|a| a.alpha > 0.0);
        state.groups = match phase.loss.group_dro {
            None => Groups::default(),
            Some(_) => Groups::equal(by_source(self.stream.cases())),
        };
        let device = self.device.clone().autodiff();
        self.learners.heads = Heads::init(&self.heads_of(index), &device, self.recipe.seed);
        self.optimizer = Optimizer::new(self.recipe.optim);
        self.count_images();
        self.warn_before_phase();
        Ok(())
    }

    /// Optimiser steps of a phase that nothing cuts short.
    pub(super) fn steps_of(&self, phase: &Phase) -> u64 {
        let per_epoch = self.stream.batches_per_epoch().div_ceil(self.recipe.optim.accumulate);
        (per_epoch * phase.epochs) as u64
    }

    /// The heads beside the network in a phase.
    pub(super) fn heads_of(&self, index: usize) -> Vec<HeadConfig> {
        let loss = &self.recipe.phase[index].loss;
        phase_heads(loss, &self.config, network_size(self.recipe))
            .expect("heads are checked at the start")
    }

    /// Epochs of all earlier phases, as planned: the stream of an epoch is its number in the recipe,
    /// whether or not an earlier phase stopped early.
    pub(super) fn epochs_before(&self) -> u64 {
        self.recipe.phase[..self.state.phase].iter().map(|p| p.epochs as u64).sum()
    }

    fn warn_before_phase(&mut self) {
        let phase = &self.recipe.phase[self.state.phase];
        let reason = phase.loss.feature_discrepancy.as_ref().and_then(|fd| fd.inert_because());
        if let Some(reason) = reason {
            let message = format!(
                "phase \"{}\": the feature discrepancy is expected to stay inert: {reason}",
                phase.name
            );
            self.warn(message);
        }
        let alone = self.recipe.model.source_norm() && self.away.is_empty();
        if alone && self.state.phase == 0 {
            self.warn(
                "model.source_norm was asked for, but there is one source to train on".into(),
            );
        }
    }

    pub(super) fn warn(&mut self, message: String) {
        self.observer.warning(&message);
        self.state.warnings.push(message);
    }

    /// Updates every alpha after a batch.
    pub(super) fn move_alphas(&mut self, phase: &Phase, seen: &BTreeMap<String, AlphaSeen>) {
        let Some(fd) = &phase.loss.feature_discrepancy else { return };
        let rule = fd.alpha_rule();
        let progress = AlphaProgress {
            step: self.state.phase_step,
            epoch: self.state.epoch,
            epochs: phase.epochs,
        };
        for (tap, state) in &mut self.state.alpha {
            *state = rule.next(*state, seen.get(tap).copied().unwrap_or_default(), progress);
            self.state.alpha_active |= state.alpha > 0.0;
        }
    }

    /// Why the feature discrepancy of the current phase did nothing, if it did nothing.
    fn inertia(&self, phase: &str) -> Option<String> {
        let advice = "choose another alpha rule or form";
        if !self.state.alpha_active {
            return Some(format!(
                "phase \"{phase}\": the feature discrepancy was asked for but every alpha stayed 0, \
                 so it contributed nothing; {advice}"
            ));
        }
        let loss = &self.state.phases[self.state.phase].epochs.last()?.loss;
        let share = loss.get("feature_discrepancy")?.abs() / loss.get("total")?.abs();
        (share < INERT_SHARE).then(|| {
            format!(
                "phase \"{phase}\": the feature discrepancy ended as {:.4} % of the loss, which is as \
                 good as nothing; {advice}",
                share * 100.0
            )
        })
    }

    /// Closes the current phase and prepares the next, or the end.
    pub(super) fn end_phase(&mut self, why: &str) -> Result<(), TrainError> {
        let index = self.state.phase;
        let phase = self.recipe.phase[index].clone();
        self.state.phases[index].ended = Some(why.to_owned());
        if phase.loss.feature_discrepancy.is_some()
            && let Some(message) = self.inertia(&phase.name)
        {
            self.warn(message);
        }
        for message in self.silent_terms(&phase) {
            self.warn(message);
        }
        if self.state.phases[index].best_epoch.is_none() {
            // A limit cut the first epoch short of its validation, or every validation mask is empty.
            let weights = self.evaluated_weights();
            self.write_weights(&self.folder.best(index), &weights)?;
        }
        let last = index + 1 == self.recipe.phase.len() || why.ends_with("limit");
        if last {
            self.state.finished = true;
            return self.checkpoint();
        }
        self.enter_phase(index + 1)
    }

    /// Starts a phase from what the one before it left.
    pub(super) fn enter_phase(&mut self, index: usize) -> Result<(), TrainError> {
        let device = self.device.clone().autodiff();
        match self.recipe.phase[index].from {
            // A new network even for `last`: running statistics are buffered inside a used one.
            From::Last => {
                self.learners.model = self.rebuild(&weights::export(&self.learners.model))?;
            }
            From::Best => {
                let path = self.folder.best(index - 1);
                let (tensors, norms) =
                    scant_infer::split_sources(scant_infer::load_tensors(&path)?.0);
                let model = self.rebuild(&tensors)?;
                self.learners.norms = SourceNorms::copies(&model, &self.away)
                    .import(&model, &norms)
                    .map_err(|source| TrainError::Weights { path, source })?;
                self.learners.model = model;
            }
            From::Scratch => {
                let model = self.config.init(&device, self.recipe.seed)?;
                self.learners.norms = SourceNorms::copies(&model, &self.away);
                self.learners.model = model;
            }
        }
        self.ema = self.recipe.ema.map(|e| Ema::new(e.decay));
        self.begin_phase(index)?;
        self.checkpoint()
    }

    pub(super) fn rebuild(&self, tensors: &Weights) -> Result<scant_nn::Model, TrainError> {
        let device = self.device.clone().autodiff();
        weights::import(self.config.zeros(&device)?, tensors)
            .map_err(|source| TrainError::Weights { path: self.folder.last(), source })
    }

    /// Writes `model.safetensors`: the best weights of the last phase that was trained.
    pub(super) fn write_model(&self) -> Result<(), TrainError> {
        let (tensors, _) = scant_infer::load_tensors(&self.folder.best(self.state.phase))?;
        Ok(scant_infer::save(&self.folder.model(), &self.card(self.state.phase), &tensors)?)
    }
}
