//! `scant train`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use scant_core::{ModelSummary, PoolSummary, RunRecord, SampleId, SourceSummary, Timing};
use scant_data::{
    Folds, MaskValue, Pool, PoolCases, Split, SplitSpec, ValueMap, find_duplicates_in, make_split,
};
use scant_infer::Provenance;
use scant_metrics::MetricOptions;
use scant_nn::Device;
use scant_train::{Data, Ended, FitOptions, Recipe, RunFolder, Surroundings, check_phases, fit};

use crate::args::{PredictorArgs, TrainArgs, TtaArg};
use crate::exit::{Failure, INTERRUPTED, Result};
use crate::interrupt;
use crate::judge;
use crate::progress::Bars;
use crate::recipes;
use crate::session::{OpenPool, Session, load_predictor, open_pool};

/// A run that is about to start or go on.
pub(crate) struct Plan {
    pub(crate) recipe: Recipe,
    pub(crate) open: OpenPool,
    pub(crate) split: Split,
    pub(crate) data: Data,
    pub(crate) folder: RunFolder,
    pub(crate) resume: bool,
    /// A finished run whose phases are taken over.
    pub(crate) phases_from: Option<RunFolder>,
    pub(crate) after: After,
}

/// What happens once a run is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// The test part is judged.
    Evaluate,
    /// That, and masks, pictures and the report are written.
    Report,
}

impl After {
    fn of(args: &TrainArgs) -> Self {
        match (args.no_evaluate, args.no_report) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Evaluate,
            (false, false) => Self::Report,
        }
    }
}

pub(crate) fn run(session: &Session, args: &TrainArgs) -> Result {
    if args.stop_with_stdin {
        interrupt::when_stdin_ends();
    }
    let plan = match &args.resume {
        Some(folder) => resumed(session, args, folder)?,
        None => match planned(session, args)? {
            Some(plan) => plan,
            None => return Ok(()),
        },
    };
    execute(session, &plan)
}

/// A new run, written down; nothing for a dry run.
fn planned(session: &Session, args: &TrainArgs) -> Result<Option<Plan>> {
    let Some(pool_path) = args.pool.as_deref() else {
        return Err(Failure::usage("give a pool to train on, or --resume RUN"));
    };
    let (text, recipe_name) = recipes::find(&args.recipe)?;
    let mut set = args.set.clone();
    set.extend(args.seed.map(|s| format!("seed={s}")));
    set.extend(args.steps.map(|s| format!("limit.steps={s}")));
    set.extend(args.minutes.map(|m| format!("limit.minutes={m:?}")));
    let mut recipe = Recipe::parse(&text, &set)?;
    if let Some(epochs) = args.epochs {
        let each = (0..recipe.phase.len()).map(|i| format!("phase.{i}.epochs={epochs}"));
        set.extend(each);
        recipe = Recipe::parse(&text, &set)?;
    }
    let open = open_pool(session, pool_path, args.skip_bad)?;
    let (split, messages) = match &args.split {
        Some(file) => {
            let split = Split::read(file)?;
            split.check(&open.catalog)?;
            (split, Vec::new())
        }
        None => draw_split(&open, &recipe)?,
    };
    for message in &messages {
        session.say(format!("note: {message}"));
    }
    if args.dry_run {
        print!("{}\n{}", recipe.to_toml(), split.to_toml());
        return Ok(None);
    }
    let out = args.out.clone().unwrap_or_else(|| {
        PathBuf::from("runs").join(format!("{}-{recipe_name}-s{}", open.pool.name, recipe.seed))
    });
    let phases_from = args.phases_from.as_deref().map(RunFolder::open).transpose()?;
    if let Some(source) = &phases_from {
        let surroundings = Surroundings {
            pool: &open.pool.to_toml_absolute(),
            split: &split.to_toml(),
            scant_version: env!("CARGO_PKG_VERSION"),
            device: &session.device_name,
            threads: session.threads,
        };
        check_phases(&recipe, source, surroundings)?;
    }
    let mut plan = Plan::create(session, &out, recipe, open, split)?;
    plan.phases_from = phases_from;
    plan.after = After::of(args);
    Ok(Some(plan))
}

impl Plan {
    /// Makes the run folder and writes down what the run will be.
    pub(crate) fn create(
        session: &Session,
        out: &Path,
        recipe: Recipe,
        open: OpenPool,
        split: Split,
    ) -> Result<Self> {
        let data = data(&open, &split)?;
        // Before anything is written: a run that cannot start leaves no folder behind.
        scant_train::check(&recipe, &data, &session.device)?;
        scant_train::check_weights(&recipe, &data)?;
        let folder = RunFolder::create(out)?;
        folder.write(&folder.pool(), &open.pool.to_toml_absolute())?;
        split.write(&folder.split())?;
        // Last, because it is what makes the folder a run that can be resumed.
        folder.write(&folder.recipe(), &recipe.to_toml())?;
        let (resume, phases_from, after) = (false, None, After::Report);
        Ok(Self { recipe, open, split, data, folder, resume, phases_from, after })
    }
}

pub(crate) fn data(open: &OpenPool, split: &Split) -> Result<Data> {
    Ok(Data {
        train: Arc::new(cases(open, &split.train)?),
        validation: Arc::new(cases(open, &split.validation)?),
        classes: open.pool.classes.clone(),
        mask_values: mask_values(&open.pool),
    })
}

fn cases(open: &OpenPool, ids: &[SampleId]) -> Result<PoolCases> {
    Ok(PoolCases::new(&open.pool, &open.catalog, ids, open.limits)?)
}

fn resumed(session: &Session, args: &TrainArgs, path: &Path) -> Result<Plan> {
    let folder = RunFolder::open(path)?;
    let read = |file: &Path| {
        std::fs::read_to_string(file)
            .map_err(|e| Failure::usage(format!("cannot resume, {}: {e}", file.display())))
    };
    let mut set = Vec::new();
    set.extend(args.steps.map(|s| format!("limit.steps={s}")));
    set.extend(args.minutes.map(|m| format!("limit.minutes={m:?}")));
    let recipe = Recipe::parse(&read(&folder.recipe())?, &set)?;
    let open = open_pool(session, &folder.pool(), args.skip_bad)?;
    let split = Split::read(&folder.split())?;
    split.check(&open.catalog)?;
    let data = data(&open, &split)?;
    folder.clear_remains()?;
    let (resume, phases_from, after) = (true, None, After::of(args));
    Ok(Plan { recipe, open, split, data, folder, resume, phases_from, after })
}

pub(crate) fn draw_split(open: &OpenPool, recipe: &Recipe) -> Result<(Split, Vec<String>)> {
    let keep_together = if recipe.split.keep_duplicates_together {
        find_duplicates_in(&open.catalog, &open.limits).keep_together()
    } else {
        Vec::new()
    };
    draw_split_with(open, recipe, keep_together)
}

/// As [`draw_split`] where the duplicates are known.
pub(crate) fn draw_split_with(
    open: &OpenPool,
    recipe: &Recipe,
    keep_together: Vec<(SampleId, SampleId)>,
) -> Result<(Split, Vec<String>)> {
    let s = &recipe.split;
    let spec = SplitSpec {
        test: s.test,
        validation: s.validation,
        seed: s.seed.unwrap_or(recipe.seed),
        folds: (s.folds > 0).then_some(Folds { k: s.folds, index: s.fold }),
        keep_together,
        ..SplitSpec::default()
    };
    Ok(make_split(&open.catalog, &open.pool, &spec)?)
}

/// Trains, evaluates on the test part and writes the report.
pub(crate) fn execute(session: &Session, plan: &Plan) -> Result {
    let root = plan.folder.root();
    let mut record = new_record(session, plan)?;
    if plan.resume
        && let Ok(before) = plan.folder.read_record()
    {
        // Only a finished run has been evaluated, and resuming it changes nothing of that.
        record.evaluations = before.evaluations;
        record.gallery = before.gallery;
    }
    session.say(format!(
        "{}: {} with {} parameters; {} training, {} validation, {} test images",
        root.display(),
        record.model.name,
        record.model.parameters,
        plan.split.train.len(),
        plan.split.validation.len(),
        plan.split.test.len()
    ));
    let options = FitOptions {
        recipe: &plan.recipe,
        device: session.device.clone(),
        resume: plan.resume,
        phases_from: plan.phases_from.as_ref(),
        stop: interrupt::flag(),
        provenance: Provenance {
            scant_version: record.scant_version.clone(),
            run: record.name.clone(),
            pool: record.pool.name.clone(),
            split_hash: record.split.hash.clone(),
            ..Provenance::default()
        },
    };
    let mut bars = Bars::new(session.quiet);
    let outcome = fit(&plan.data, &options, &plan.folder, record, &mut bars)?;
    drop(bars);
    if outcome.ended == Ended::Interrupted {
        return Err(Failure::new(
            INTERRUPTED,
            anyhow::anyhow!("interrupted; continue with: scant train --resume {}", root.display()),
        ));
    }
    let mut record = outcome.record;
    if plan.after != After::Nothing {
        finish(session, plan, &mut record, &cases(&plan.open, &plan.split.test)?)?;
    } else {
        record.timing.peak_memory_mib = crate::memory::peak_mib();
        plan.folder.write_record(&record)?;
    }
    println!("{}", root.display());
    Ok(())
}

/// Evaluation on the test part, pictures and report.
fn finish(session: &Session, plan: &Plan, record: &mut RunRecord, test: &PoolCases) -> Result {
    let started = Instant::now();
    let root = plan.folder.root();
    if test.entries().is_empty() {
        record.warnings.push("the split has no test part: nothing was evaluated".into());
    } else {
        let plain = PredictorArgs { tta: TtaArg::None, tile: None, overlap: 0.5, threshold: None };
        let (_, predictor) = load_predictor(session, &plan.folder.model(), &plain)?;
        let masks = root.join("predictions/test");
        let masks = (plan.after == After::Report).then_some(masks.as_path());
        let metrics = MetricOptions::default();
        let evaluation = judge::evaluate(&predictor, test, "test", metrics, masks)?;
        if plan.after == After::Report {
            record.gallery = judge::gallery(&predictor, test, &evaluation, root)?;
        }
        let summary = scant_metrics::summarise(&evaluation, &Default::default())?;
        println!("{}", scant_report::tables::summary_text(&summary));
        record.evaluations.retain(|e| e.part != evaluation.part);
        record.evaluations.push(evaluation);
    }
    record.timing.evaluate_secs = started.elapsed().as_secs_f64();
    record.timing.peak_memory_mib = crate::memory::peak_mib();
    plan.folder.write_record(record)?;
    if plan.after != After::Report {
        return Ok(());
    }
    scant_report::write_report(&[root.to_path_buf()], &plan.folder.report())?;
    session.say(format!("report: {}", plan.folder.report().display()));
    Ok(())
}

/// The value each class has in the masks of the first source that lists them all, so that predictions
/// look like the masks the user drew; class ids where no such source has values that fit a byte.
fn mask_values(pool: &Pool) -> Vec<u8> {
    let of = |values: &ValueMap| -> Option<Vec<u8>> {
        let value = |id: usize| {
            let listed = values.iter().filter(|(_, class)| usize::from(*class) == id);
            listed
                .filter_map(|(value, _)| match value {
                    MaskValue::Level(n) => u8::try_from(n).ok(),
                    MaskValue::Colour(_) => None,
                })
                .min()
        };
        (0..pool.classes.len()).map(value).collect()
    };
    let ids = || (0..pool.classes.len()).map(|id| u8::try_from(id).unwrap_or(u8::MAX)).collect();
    pool.sources.iter().find_map(|s| of(&s.values)).unwrap_or_else(ids)
}

fn new_record(session: &Session, plan: &Plan) -> Result<RunRecord> {
    let pool = &plan.open.pool;
    let config = plan.recipe.model_config(pool.classes.logit_channels())?;
    let model = config
        .init(&Device::flex(), plan.recipe.seed)
        .map_err(|e| Failure::usage(format!("recipe: {e}")))?;
    let sources = pool.sources.iter().enumerate().map(|(i, s)| {
        let mine = || plan.open.catalog.entries.iter().filter(move |e| e.source == i);
        let mut groups: Vec<&str> = mine().map(|e| e.id.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        SourceSummary {
            name: s.name.clone(),
            role: s.role,
            images: mine().count(),
            groups: groups.len(),
            annotated: pool.annotated_names(i),
        }
    });
    let root = plan.folder.root();
    let name = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
    Ok(RunRecord {
        schema: RunRecord::SCHEMA,
        scant_version: env!("CARGO_PKG_VERSION").into(),
        name,
        recipe: plan.recipe.to_toml(),
        seed: plan.recipe.seed,
        device: session.device_name.clone(),
        threads: session.threads,
        model: ModelSummary {
            name: config.name().into(),
            parameters: model.parameters(),
            config: serde_json::to_value(&config).map_err(Failure::failed)?,
            taps: config.tap_names(),
        },
        pool: PoolSummary {
            name: pool.name.clone(),
            classes: pool.classes.clone(),
            sources: sources.collect(),
        },
        split: plan.split.summary(&plan.open.catalog),
        phases: Vec::new(),
        evaluations: Vec::new(),
        gallery: Vec::new(),
        warnings: plan.open.warnings.clone(),
        timing: Timing::default(),
    })
}
