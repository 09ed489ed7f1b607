//! What several commands need first: threads, device, pool, predictor.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use scant_compute::simd::Level;
use scant_core::SampleId;
use scant_data::{Catalog, Pool, Severity};
use scant_infer::{ModelCard, PredictOptions, Predictor, TileOptions, Tta};
use scant_io::Limits;
use scant_nn::{Device, DeviceError, DeviceName};

use crate::args::{Common, PredictorArgs, TtaArg};
use crate::exit::{Failure, Result};

/// Where to compute, after the worker threads have been started.
pub(crate) struct Session {
    pub(crate) device: Device,
    pub(crate) device_name: String,
    pub(crate) on_cpu: bool,
    pub(crate) threads: usize,
    pub(crate) quiet: bool,
}

impl Session {
    pub(crate) fn start(common: &Common) -> Result<Self> {
        if let Err(name) = Level::wanted() {
            return Err(Failure::usage(format!(
                "SCANT_SIMD=\"{name}\" is no instruction set; unset it, or write avx512, avx2 or portable"
            )));
        }
        let named: DeviceName = common.device.parse().map_err(device_refused)?;
        let device = named.open().map_err(device_refused)?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(common.threads)
            .build_global()
            .map_err(|e| Failure::failed(format!("cannot start worker threads: {e}")))?;
        Ok(Self {
            device,
            device_name: named.to_string(),
            on_cpu: named == DeviceName::Cpu,
            threads: rayon::current_num_threads(),
            quiet: common.quiet,
        })
    }

    pub(crate) fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", text.as_ref());
        }
    }
}

fn device_refused(error: DeviceError) -> Failure {
    Failure::usage(format!("--device: {error}"))
}

/// A pool with its cases.
pub(crate) struct OpenPool {
    pub(crate) pool: Arc<Pool>,
    pub(crate) catalog: Catalog,
    pub(crate) limits: Limits,
    /// What the user should know, for the record.
    pub(crate) warnings: Vec<String>,
}

/// Opens a pool and refuses it when any of its files is bad; with `skip_bad` such cases are left out
/// with a warning each.
pub(crate) fn open_pool(session: &Session, path: &Path, skip_bad: bool) -> Result<OpenPool> {
    let pool = Pool::open(path)?;
    for note in &pool.notes {
        session.say(format!("note: {note}"));
    }
    let limits = Limits::default();
    let catalog = pool.scan(&limits)?;
    let pool = Arc::new(pool);
    let mut open = OpenPool { pool, catalog, limits, warnings: Vec::new() };
    open.refuse_or_skip(skip_bad)?;
    open.catalog.require_usable(&open.pool)?;
    for warning in &open.warnings {
        session.say(format!("warning: {warning}"));
    }
    Ok(open)
}

impl OpenPool {
    /// Reads every case once, so that a bad file is found now and not in the middle of a run.
    fn refuse_or_skip(&mut self, skip_bad: bool) -> Result {
        let mut errors: Vec<String> = Vec::new();
        for problem in &self.catalog.problems {
            match problem.severity {
                Severity::Error => errors.push(problem.message.clone()),
                Severity::Warning => self.warnings.push(problem.message.clone()),
            }
        }
        let bad: Vec<(SampleId, String)> = self
            .catalog
            .entries
            .par_iter()
            .filter_map(|e| {
                Some((e.id.clone(), e.load(&self.pool, &self.limits).err()?.to_string()))
            })
            .collect();
        for (_, message) in &bad {
            if !errors.contains(message) {
                errors.push(message.clone());
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        if !skip_bad {
            let shown = 12;
            let mut list =
                errors.iter().take(shown).map(|e| format!("\n  {e}")).collect::<String>();
            if errors.len() > shown {
                list +=
                    &format!("\n  ... and {} more (scant inspect shows all)", errors.len() - shown);
            }
            return Err(Failure::data(format!(
                "{} problem(s) in the pool:{list}\nmend them, or leave such cases out with --skip-bad",
                errors.len()
            )));
        }
        self.catalog.entries.retain(|e| !bad.iter().any(|(id, _)| *id == e.id));
        self.warnings.extend(errors.into_iter().map(|e| format!("left out: {e}")));
        Ok(())
    }
}

/// Options of a predictor from a model card and the command line.
pub(crate) fn predict_options(card: &ModelCard, args: &PredictorArgs) -> Result<PredictOptions> {
    let mut options = PredictOptions { threshold: card.threshold, ..PredictOptions::default() };
    if let Some(size) = card.tile {
        options.tile.size = size;
    }
    if let Some(side) = args.tile {
        if !(16..=16_384).contains(&side) {
            return Err(Failure::usage(format!(
                "--tile {side} is not possible: 16 to 16384 pixels"
            )));
        }
        options.tile = TileOptions { size: [side, side], overlap: args.overlap };
    }
    if !(0.0..=0.9).contains(&args.overlap) {
        let overlap = args.overlap;
        return Err(Failure::usage(format!("--overlap {overlap} is not possible: 0 to 0.9")));
    }
    options.tile.overlap = args.overlap;
    if let Some(threshold) = args.threshold {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(Failure::usage(format!("--threshold {threshold} is not possible: 0 to 1")));
        }
        if card.classes.logit_channels() > 1 {
            return Err(Failure::usage(
                "--threshold works with one foreground class; this model takes the most likely class",
            ));
        }
        options.threshold = threshold;
    }
    options.tta = match args.tta {
        TtaArg::None => Tta::None,
        TtaArg::Flips => Tta::Flips,
        TtaArg::FlipsRot90 => Tta::FlipsRot90,
    };
    Ok(options)
}

/// A model file, or the model of a run folder, ready to predict.
pub(crate) fn load_predictor(
    session: &Session,
    path: &Path,
    args: &PredictorArgs,
) -> Result<(ModelCard, Predictor)> {
    if !path.exists() {
        return Err(Failure::usage(format!(
            "{}: there is no such model or run; give a model.safetensors or a run folder",
            path.display()
        )));
    }
    let file = if path.is_dir() { path.join("model.safetensors") } else { path.to_path_buf() };
    if path.is_dir() && !file.is_file() {
        return Err(Failure::usage(format!(
            "{} has no model.safetensors; give a finished run or a model file",
            path.display()
        )));
    }
    let (card, model) = scant_infer::load(&file, &session.device)?;
    let options = predict_options(&card, args)?;
    let predictor = Predictor::new(
        model,
        card.preprocess.clone(),
        card.classes.clone(),
        options,
        session.device.clone(),
    );
    let others = scant_infer::load_sources(&file, &card, &session.device)?;
    let predictor = others.into_iter().fold(predictor, |p, (source, m)| p.with_source(source, m));
    Ok((card, predictor))
}
