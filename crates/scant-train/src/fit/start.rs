//! Beginning a run, or picking one up where its checkpoint left it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use scant_core::{PhaseRecord, RunRecord};
use scant_nn::heads::Heads;
use scant_nn::loss::group_dro::Groups;
use scant_nn::source_norm::SourceNorms;
use scant_nn::{Model, weights};

use super::sources::away_from_home;
use super::supply::{preprocess, stream, validated};
use super::{Data, FitOptions, Run, check};
use crate::TrainError;
use crate::average::Ema;
use crate::checkpoint::{Checkpoint, State};
use crate::events::Observer;
use crate::means::Means;
use crate::objective::Learners;
use crate::optimizer::Optimizer;
use crate::recipe::{LimitSection, Recipe};
use crate::run_folder::RunFolder;
use crate::schedule::Schedule;

impl<'a> Run<'a> {
    pub(super) fn start(
        data: &'a Data,
        options: &FitOptions<'a>,
        folder: &'a RunFolder,
        record: RunRecord,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let recipe = options.recipe;
        check(recipe, data, &options.device)?;
        let config = recipe.model_config(data.classes.logit_channels())?;
        let validation = validated(recipe, data)?
            .into_iter()
            .map(|i| data.validation.load(i))
            .collect::<Result<Vec<_>, _>>()?;
        let device = options.device.clone();
        let mut model = config.init(&device.clone().autodiff(), recipe.seed)?;
        let continues = options.resume && folder.last().is_file();
        if let Some(path) = recipe.model.weights().filter(|_| !continues) {
            model = take_over(model, path, observer)?;
        }
        let (preprocess, fitted) = preprocess(recipe, data)?;
        let stream = stream(recipe, data, 0, &preprocess)?;
        let own = recipe.model.source_norm();
        let away = if own { away_from_home(data)? } else { Vec::new() };
        let norms = SourceNorms::copies(&model, &away);
        let state = State {
            fingerprint: fingerprint(recipe),
            phase: 0,
            epoch: 0,
            batch: 0,
            step: 0,
            phase_step: 0,
            alpha: BTreeMap::new(),
            groups: Groups::default(),
            schedule: Schedule::new(recipe.optim.schedule, recipe.optim.lr, 1, &recipe.optim),
            means: Means::default(),
            waited: 0,
            alpha_active: false,
            optimizer_updates: 0,
            ema_updates: 0,
            phases: recipe.phase.iter().map(|p| empty_phase(&p.name)).collect(),
            warnings: record.warnings.clone(),
            train_secs: 0.0,
            data_wait_secs: 0.0,
            epoch_secs: 0.0,
            images: 0,
            finished: false,
        };
        let mut run = Self {
            recipe,
            data,
            folder,
            observer,
            stop: options.stop,
            provenance: options.provenance.clone(),
            device,
            config,
            preprocess,
            stream,
            supply: recipe.supply(0),
            validation,
            learners: Learners { model, heads: Heads::none(), norms },
            away,
            optimizer: Optimizer::new(recipe.optim),
            ema: recipe.ema.map(|e| Ema::new(e.decay)),
            state,
            record,
            clock: Instant::now(),
        };
        if continues {
            run.restore()?;
        } else if let Some(source) = options.phases_from {
            run.take_phases(source)?;
        } else {
            if let Some(fitted) = &fitted {
                run.tell_fitted(fitted);
            }
            run.begin_phase(0)?;
        }
        Ok(run)
    }

    fn restore(&mut self) -> Result<(), TrainError> {
        let path = self.folder.last();
        let checkpoint = Checkpoint::load(&path)?;
        if checkpoint.state.fingerprint != self.state.fingerprint {
            return Err(TrainError::Checkpoint {
                path,
                reason: "the recipe has changed since; resume with the recipe of the run".into(),
            });
        }
        let device = self.device.clone().autodiff();
        let wrong = |source| TrainError::Weights { path: path.clone(), source };
        let model =
            weights::import(self.config.zeros(&device)?, &checkpoint.model).map_err(wrong)?;
        let norms = SourceNorms::copies(&model, &self.away);
        let norms = norms.import(&model, &checkpoint.norms).map_err(wrong)?;
        self.state = checkpoint.state;
        self.draw_for(self.state.phase)?;
        let heads = Heads::zeros(&self.heads_of(self.state.phase), &device)
            .import(&checkpoint.heads)
            .map_err(wrong)?;
        self.learners = Learners { model, heads, norms };
        self.optimizer = Optimizer::restore(
            self.recipe.optim,
            self.state.optimizer_updates,
            &checkpoint.optimizer,
            &self.device,
        );
        self.ema = self
            .recipe
            .ema
            .map(|e| Ema::restore(e.decay, self.state.ema_updates, &checkpoint.ema, &self.device));
        let where_to = if self.state.finished {
            let why = self.state.phases[self.state.phase].ended.as_deref().unwrap_or("finished");
            format!(
                "training is over already ({why}, step {}); nothing to continue",
                self.state.step
            )
        } else {
            format!(
                "continuing at step {} (phase {}, epoch {}, batch {})",
                self.state.step,
                self.state.phase + 1,
                self.state.epoch + 1,
                self.state.batch + 1
            )
        };
        self.observer.note(&where_to);
        Ok(())
    }
}

/// The network with what fits of the weights in a file.
fn take_over(model: Model, path: &Path, observer: &mut dyn Observer) -> Result<Model, TrainError> {
    let (tensors, _) = scant_infer::load_tensors(path)?;
    let (model, report) = weights::transfer(model, &tensors);
    if report.taken.is_empty() {
        return Err(TrainError::NothingTaken { path: path.into() });
    }
    let all = report.taken.len() + report.missing.len() + report.other_shape.len();
    observer.note(&format!(
        "{} of {all} tensors start from {}",
        report.taken.len(),
        path.display()
    ));
    let list = |what: &str, names: Vec<&str>| match names[..] {
        [] => String::new(),
        [first] => format!("{what} {first}. "),
        [first, .., last] => format!("{what} {first} .. {last} ({}). ", names.len()),
    };
    let missing = list("Not in the file:", report.missing.iter().map(String::as_str).collect());
    let shapes = report.other_shape.iter().map(|s| s.0.as_str()).collect();
    let shapes = list("Of another shape:", shapes);
    if !missing.is_empty() || !shapes.is_empty() {
        observer.note(&format!("these start from the seed. {missing}{shapes}"));
    }
    Ok(model)
}

pub(super) fn empty_phase(name: &str) -> PhaseRecord {
    PhaseRecord {
        name: name.to_owned(),
        images: BTreeMap::new(),
        epochs: Vec::new(),
        best_epoch: None,
        best_val_dice: None,
        ended: None,
    }
}

/// The recipe without what may change between start and resume.
fn fingerprint(recipe: &Recipe) -> String {
    Recipe { limit: LimitSection::default(), ..recipe.clone() }.to_toml()
}
