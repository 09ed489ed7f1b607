//! The training loop.

mod phase;
mod silent;
mod sources;
mod start;
mod supply;
mod taken;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use scant_core::{EpochRecord, LabelSpace, RunRecord, Sample};
use scant_data::preprocess::PreprocessConfig;
use scant_data::stream::{BatchStream, CaseSource};
use scant_infer::{ModelCard, PredictOptions, Predictor, Provenance, SOURCE_NORMS, TileOptions};
use scant_nn::weights::{self, Weights};
use scant_nn::{Device, Model, ModelConfig, source_norm};

use crate::TrainError;
use crate::average::Ema;
use crate::checkpoint::{Checkpoint, State};
use crate::evaluate::validation_dice;
use crate::events::{Observer, Progress};
use crate::objective::{DeviceBatch, Learners, Lent, phase_heads};
use crate::optimizer::{self, FlatGradients, Optimizer};
use crate::recipe::{Recipe, Supply};
use crate::run_folder::RunFolder;
use crate::step::{apply, differentiate};

pub use taken::{Surroundings, check_phases};

/// What is trained on and validated on.
#[derive(Clone)]
pub struct Data {
    /// Training cases.
    pub train: Arc<dyn CaseSource>,
    /// Cases that choose the best epoch; may be empty.
    pub validation: Arc<dyn CaseSource>,
    /// Classes.
    pub classes: LabelSpace,
    /// Value of each class in predicted masks.
    pub mask_values: Vec<u8>,
}

/// Everything around a fit that is not data.
pub struct FitOptions<'a> {
    /// What to do.
    pub recipe: &'a Recipe,
    /// Device without autodiff.
    pub device: Device,
    /// Continue from the last checkpoint.
    pub resume: bool,
    /// Take the phases of this finished run over instead of training them; see [`check_phases`].
    pub phases_from: Option<&'a RunFolder>,
    /// Set from outside to stop after the current batch.
    pub stop: &'a AtomicBool,
    /// Goes into the model file; phase, epoch and Dice are filled in.
    pub provenance: Provenance,
}

/// How a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The recipe is done, or a limit of it was reached.
    Finished,
    /// Asked to stop; a checkpoint is there.
    Interrupted,
}

/// What a fit leaves in memory.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// The record with phases, warnings and timing filled in.
    pub record: RunRecord,
}

/// Trains by the recipe, keeping checkpoints, logs and the best model in `folder`.
///
/// # Errors
/// When a case cannot be loaded, the loss stops being a number, a file cannot be written, or the
/// checkpoint to continue from belongs to another recipe. Earlier checkpoints stay as they are.
pub fn fit(
    data: &Data,
    options: &FitOptions<'_>,
    folder: &RunFolder,
    record: RunRecord,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let mut run = Run::start(data, options, folder, record, observer)?;
    let ended = run.train()?;
    Ok(Outcome { ended, record: run.record })
}

/// Whether a fit by this recipe on this data and device can start, found out without writing anything.
///
/// # Errors
/// When there is nothing to train on, or the recipe asks for a network, taps, batches or a precision
/// that are not possible.
pub fn check(recipe: &Recipe, data: &Data, device: &Device) -> Result<(), TrainError> {
    recipe.check_device(device)?;
    if data.train.is_empty() {
        return Err(TrainError::NoTrainingData);
    }
    let config = recipe.model_config(data.classes.logit_channels())?;
    if config.dimensions() != 2 {
        let name = format!("\"{}\"", config.name());
        let allowed = "training reads images, this network takes volumes";
        return Err(crate::RecipeError::value("model.name", name, allowed).into());
    }
    crate::recipe::check_source_norm(recipe, &config)?;
    for phase in &recipe.phase {
        if let Some(fd) = &phase.loss.feature_discrepancy {
            fd.layers.select(&config.tap_names()).map_err(|e| crate::RecipeError::Value {
                key: "loss.feature_discrepancy.layers".into(),
                value: "[ .. ]".into(),
                allowed: e.to_string(),
            })?;
        }
        phase_heads(&phase.loss, &config, network_size(recipe))?;
    }
    supply::check_harmonise(recipe, data)?;
    supply::validated(recipe, data)?;
    let preprocess = recipe.data.preprocess();
    (0..recipe.phase.len())
        .try_for_each(|phase| supply::stream(recipe, data, phase, &preprocess).map(drop))
}

/// Rows and columns of what the network sees; `None` where images keep their size.
fn network_size(recipe: &Recipe) -> Option<[usize; 2]> {
    recipe.data.patches.as_ref().map(|patches| patches.size).or(recipe.data.size)
}

/// Whether a new run finds the weights that its recipe says it starts from; a resumed one does not need
/// them.
///
/// # Errors
/// When the file is missing, damaged, or of another network.
pub fn check_weights(recipe: &Recipe, data: &Data) -> Result<(), TrainError> {
    let Some(path) = recipe.model.weights() else { return Ok(()) };
    let (given, _) = scant_infer::load_tensors(path)?;
    let config = recipe.model_config(data.classes.logit_channels())?;
    let shapes = weights::shapes(&config.zeros(&Device::flex())?);
    let fits = |(name, shape): (&String, &Vec<usize>)| {
        given.get(name).is_some_and(|tensor| tensor.shape == *shape)
    };
    if shapes.iter().any(fits) {
        return Ok(());
    }
    Err(TrainError::NothingTaken { path: path.into() })
}

/// A run in progress.
struct Run<'a> {
    recipe: &'a Recipe,
    data: &'a Data,
    folder: &'a RunFolder,
    observer: &'a mut dyn Observer,
    stop: &'a AtomicBool,
    provenance: Provenance,
    device: Device,
    config: ModelConfig,
    /// That of the recipe with what was fitted on the base images.
    preprocess: PreprocessConfig,
    /// Of the current phase, with what it draws from.
    stream: BatchStream,
    supply: Supply,
    /// Held in memory: they are read every epoch.
    validation: Vec<Sample>,
    learners: Learners,
    /// Sources with norms of their own.
    away: Vec<String>,
    optimizer: Optimizer,
    ema: Option<Ema>,
    state: State,
    record: RunRecord,
    clock: Instant,
}

impl Run<'_> {
    fn train(&mut self) -> Result<Ended, TrainError> {
        while !self.state.finished {
            let ended = self.phase()?;
            if ended == Ended::Interrupted {
                return Ok(ended);
            }
        }
        self.write_model()?;
        self.sync_record();
        self.folder.write_record(&self.record)?;
        Ok(Ended::Finished)
    }

    /// Trains the rest of the current phase and moves on to the next.
    fn phase(&mut self) -> Result<Ended, TrainError> {
        let phase = self.recipe.phase[self.state.phase].clone();
        let mut why = "finished";
        while self.state.epoch < phase.epochs {
            match self.epoch(&phase)? {
                Some(Stop::Interrupted) => return Ok(Ended::Interrupted),
                Some(Stop::Limit(reason)) => {
                    why = reason;
                    break;
                }
                None => {}
            }
            if phase.early_stop.is_some_and(|patience| self.state.waited >= patience) {
                why = "early stop";
                break;
            }
        }
        self.end_phase(why)?;
        Ok(Ended::Finished)
    }

    /// One epoch with its validation; a reason when training must not go on.
    fn epoch(&mut self, phase: &crate::recipe::Phase) -> Result<Option<Stop>, TrainError> {
        let whole_epoch = self.epochs_before() + self.state.epoch as u64;
        let batches = self.stream.batches_per_epoch();
        let accumulate = self.recipe.optim.accumulate;
        let mut gradients = FlatGradients::new();
        let mut gathered = 0;
        let mut stop = None;
        let stream = self.stream.epoch_from(whole_epoch, self.state.batch);
        let mut waiting = Instant::now();
        for batch in stream {
            let batch = batch?;
            self.state.data_wait_secs += waiting.elapsed().as_secs_f64();
            let device_batch = DeviceBatch::new(&batch, &self.device.clone().autodiff());
            let alpha: BTreeMap<String, f64> =
                self.state.alpha.iter().map(|(k, v)| (k.clone(), v.alpha)).collect();
            let place = self.state.step.wrapping_add((self.state.batch as u64) << 32);
            let draw = self.recipe.seed ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let precision = self.recipe.precision.into();
            let progress = self.state.phase_step as f64 / self.steps_of(phase) as f64;
            let lent = Lent { alpha, groups: self.state.groups.clone(), progress, draw };
            let (loss, found) =
                differentiate(precision, &self.learners, &device_batch, &phase.loss, &lent);
            let total = loss.terms["total"];
            let Some(found) = found else {
                return Err(self.not_finite(total, &phase.name, &batch.ids));
            };
            optimizer::accumulate(&mut gradients, found);
            gathered += 1;
            self.state.batch += 1;
            self.state.images += batch.ids.len() as u64;
            for (name, value) in &loss.terms {
                self.state.means.add(&format!("loss/{name}"), *value);
            }
            for (tap, value) in &loss.discrepancy {
                if let Some(v) = value {
                    self.state.means.add(&format!("discrepancy/{tap}"), *v);
                }
            }
            if gathered == accumulate || self.state.batch == batches {
                let norm = self.update(std::mem::take(&mut gradients), gathered);
                if !norm.is_finite() {
                    return Err(self.not_finite(norm, &phase.name, &batch.ids));
                }
                gathered = 0;
            }
            self.move_alphas(phase, &loss.seen());
            self.state.groups = loss.groups;
            self.observer.batch(&Progress {
                phase: &phase.name,
                phase_index: (self.state.phase, self.recipe.phase.len()),
                epoch: (self.state.epoch + 1, phase.epochs),
                batch: (self.state.batch, batches),
                step: self.state.step,
                loss: total,
            });
            // Only between optimiser steps: gathered gradients are not part of a checkpoint.
            if gathered == 0 && self.state.batch < batches {
                stop = self.asked_to_stop();
                if stop.is_some() {
                    break;
                }
            }
            waiting = Instant::now();
        }
        self.tick();
        if let Some(Stop::Interrupted) = stop {
            self.checkpoint()?;
            return Ok(stop);
        }
        self.end_epoch(phase)?;
        Ok(stop.or_else(|| self.asked_to_stop()))
    }

    /// Averages, clips and applies gathered gradients; the norm before clipping.
    fn update(&mut self, gradients: FlatGradients, gathered: usize) -> f64 {
        let clip = self.recipe.optim.clip_norm;
        let lr = self.state.schedule.lr(self.state.phase_step);
        let optimizer = &mut self.optimizer;
        let norm = apply(&mut self.learners, optimizer, gradients, gathered, clip, lr);
        if norm.is_finite() {
            if let Some(ema) = &mut self.ema {
                ema.update(&self.learners.model);
            }
            self.state.step += 1;
            self.state.phase_step += 1;
        }
        self.state.means.add("grad_norm", norm);
        norm
    }

    /// Validation, log, best weights and checkpoint at the end of an epoch.
    fn end_epoch(&mut self, phase: &crate::recipe::Phase) -> Result<(), TrainError> {
        let weights = self.evaluated_weights();
        let (val_dice, val_dice_by_source) = self.validate(&weights)?;
        let position = self.state.phase;
        let values = self.state.means.values();
        let group = |prefix: &str| -> BTreeMap<String, f64> {
            let strip = |k: &String| k.strip_prefix(prefix).map(str::to_owned);
            values.iter().filter_map(|(k, v)| Some((strip(k)?, *v))).collect()
        };
        self.tick();
        let epoch = EpochRecord {
            epoch: self.state.epoch + 1,
            step: self.state.step,
            lr: self.state.schedule.lr(self.state.phase_step.saturating_sub(1)),
            loss: group("loss/"),
            alpha: self.state.alpha.iter().map(|(k, v)| (k.clone(), v.alpha)).collect(),
            discrepancy: group("discrepancy/"),
            grad_norm: self.state.means.get("grad_norm").unwrap_or(0.0),
            val_dice,
            val_dice_by_source,
            seconds: self.state.epoch_secs,
        };
        let record = &mut self.state.phases[position];
        let best = match (val_dice, record.best_val_dice) {
            (Some(now), Some(before)) => now > before,
            (Some(_), None) => true,
            // Without validation the last epoch is as good as any.
            (None, None) => self.validation.is_empty() || self.state.epoch + 1 == phase.epochs,
            (None, Some(_)) => false,
        };
        if best {
            record.best_epoch = Some(epoch.epoch);
            record.best_val_dice = val_dice;
            self.state.waited = 0;
            self.write_weights(&self.folder.best(position), &weights)?;
        } else {
            self.state.waited += 1;
        }
        self.state.schedule.after_epoch(val_dice);
        self.observer.epoch(&phase.name, &epoch, best);
        self.state.phases[position].epochs.push(epoch);
        self.state.means.clear();
        self.state.epoch += 1;
        self.state.batch = 0;
        self.state.epoch_secs = 0.0;
        self.checkpoint()
    }

    /// Weights that validation and the model file see: the moving average where there is one.
    fn evaluated_weights(&self) -> Weights {
        let weights = weights::export(&self.learners.model);
        match &self.ema {
            Some(ema) if ema.updates() > 0 => ema.applied(&self.learners.model, weights),
            _ => weights,
        }
    }

    fn validate(
        &self,
        weights: &Weights,
    ) -> Result<(Option<f64>, BTreeMap<String, f64>), TrainError> {
        if self.validation.is_empty() {
            return Ok((None, BTreeMap::new()));
        }
        validation_dice(&self.predictor(weights)?, &self.validation)
    }

    fn predictor(&self, weights: &Weights) -> Result<Predictor, TrainError> {
        let model = self.fresh(weights)?;
        let mut options = PredictOptions::default();
        if let (None, Some(patches)) = (self.recipe.data.size, &self.recipe.data.patches) {
            options.tile = TileOptions { size: patches.size, overlap: 0.5 };
        }
        let mut predictor = Predictor::new(
            weights::set_training(model, false),
            self.preprocess.clone(),
            self.data.classes.clone(),
            options,
            self.device.clone(),
        );
        for (source, weights) in source_norm::by_source(weights, &self.norms()) {
            let model = weights::set_training(self.fresh(&weights)?, false);
            predictor = predictor.with_source(source, model);
        }
        Ok(predictor)
    }

    /// A new network on the plain device with the given weights.
    fn fresh(&self, weights: &Weights) -> Result<Model, TrainError> {
        weights::import(self.config.zeros(&self.device)?, weights)
            .map_err(|source| TrainError::Weights { path: self.folder.last(), source })
    }

    fn card(&self, phase: usize) -> ModelCard {
        let record = &self.state.phases[phase];
        ModelCard {
            schema: ModelCard::SCHEMA,
            model: self.config.clone(),
            classes: self.data.classes.clone(),
            mask_values: self.data.mask_values.clone(),
            preprocess: self.preprocess.clone(),
            tile: self.recipe.data.patches.as_ref().map(|p| p.size),
            threshold: 0.5,
            provenance: Provenance {
                seed: self.recipe.seed,
                phase: record.name.clone(),
                epoch: record.best_epoch.unwrap_or(record.epochs.len()),
                validation_dice: record.best_val_dice,
                ..self.provenance.clone()
            },
            license: String::new(),
        }
    }

    fn write_weights(&self, path: &std::path::Path, weights: &Weights) -> Result<(), TrainError> {
        let mut all = weights.clone();
        let named = |(name, tensor)| (format!("{SOURCE_NORMS}{name}"), tensor);
        all.extend(self.norms().into_iter().map(named));
        Ok(scant_infer::save(path, &self.card(self.state.phase), &all)?)
    }

    /// Norms of other sources than the home one, by `SOURCE/NAME`.
    fn norms(&self) -> Weights {
        self.learners.norms.export(&self.learners.model)
    }

    fn asked_to_stop(&mut self) -> Option<Stop> {
        if self.stop.load(Ordering::Relaxed) {
            return Some(Stop::Interrupted);
        }
        self.tick();
        let limit = self.recipe.limit;
        if limit.steps.is_some_and(|s| self.state.step >= s) {
            return Some(Stop::Limit("step limit"));
        }
        if limit.minutes.is_some_and(|m| self.state.train_secs >= m * 60.0) {
            return Some(Stop::Limit("time limit"));
        }
        None
    }

    /// Moves the time since the last call into the totals.
    fn tick(&mut self) {
        let secs = self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        self.state.train_secs += secs;
        self.state.epoch_secs += secs;
    }

    fn checkpoint(&mut self) -> Result<(), TrainError> {
        self.state.optimizer_updates = self.optimizer.updates();
        self.state.ema_updates = self.ema.as_ref().map_or(0, Ema::updates);
        Checkpoint {
            state: self.state.clone(),
            model: weights::export(&self.learners.model),
            heads: self.learners.heads.export(),
            norms: self.norms(),
            optimizer: self.optimizer.export(),
            ema: self.ema.as_ref().map(Ema::export).unwrap_or_default(),
        }
        .save(&self.folder.last())?;
        self.sync_record();
        self.folder.write_logs(&self.record, wall_secs())?;
        self.folder.write_record(&self.record)
    }

    fn sync_record(&mut self) {
        self.record.phases.clone_from(&self.state.phases);
        self.record.warnings.clone_from(&self.state.warnings);
        self.record.timing.train_secs = self.state.train_secs;
        self.record.timing.data_wait_secs = self.state.data_wait_secs;
        self.record.timing.images = self.state.images;
    }

    fn not_finite(&self, value: f64, phase: &str, ids: &[scant_core::SampleId]) -> TrainError {
        TrainError::NotFinite {
            value,
            phase: phase.to_owned(),
            epoch: self.state.epoch + 1,
            step: self.state.step,
            batch: ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }
    }
}

/// Why an epoch is not followed by another.
enum Stop {
    Interrupted,
    Limit(&'static str),
}

/// Seconds since 1970, for event files only.
fn wall_secs() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}
