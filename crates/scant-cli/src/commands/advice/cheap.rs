//! The cheap answer: how well a small classifier tells a source from the base.

use std::path::Path;
use std::time::Duration;

use rayon::prelude::*;
use scant_core::{Role, Sample};
use scant_data::IntensityProfile;
use scant_infer::Predictor;
use scant_metrics::stats::{Labelled, Separability, separability};
use scant_nn::weights;
use scant_train::Recipe;
use serde::Serialize;

use super::super::study::child::{Fate, Process, lock};
use super::super::train::draw_split;
use crate::args::{AdviceArgs, Common, PredictorArgs, TtaArg};
use crate::exit::{Failure, INTERRUPTED, Result};
use crate::recipes;
use crate::session::{OpenPool, Session, load_predictor};

/// Folds of groups.
const FOLDS: usize = 5;
/// Penalty of the classifier, for features of unit variance.
const L2: f64 = 0.1;
/// Below this the sources hardly differ, as `scant inspect` has it.
const ALIKE: f64 = 0.75;
/// From this on they are different worlds.
const APART: f64 = 0.95;

/// How well a source can be told from the base.
#[derive(Debug, Serialize)]
pub(crate) struct Apart {
    /// By mean, spread, percentiles and roughness of the grey values; absent with too few groups.
    pub(crate) pixels: Option<Separability>,
    /// By the mean of every channel at the bottleneck.
    pub(crate) features: Option<Separability>,
    /// Epochs on base images behind the features; 0: an untrained network.
    pub(crate) feature_epochs: usize,
    /// The same in plain words.
    pub(crate) meaning: String,
}

/// What was seen in every image of the base and of the novel sources.
pub(crate) struct Looked {
    seen: Vec<Seen>,
    epochs: usize,
}

struct Seen {
    source: String,
    group: String,
    pixels: Vec<f64>,
    features: Vec<f64>,
}

/// Looks at every image once, through a network trained on the base for a few epochs.
pub(crate) fn look(
    session: &Session,
    common: &Common,
    args: &AdviceArgs,
    open: &OpenPool,
    out: &Path,
) -> Result<Looked> {
    let predictor = network(session, common, args, open, out)?;
    let mut seen = Vec::new();
    let labelled = open.catalog.entries.iter().filter(|e| e.role != Role::Unlabelled);
    let entries: Vec<_> = labelled.collect();
    // In pieces, so that not all images are in memory at once.
    for piece in entries.chunks(64) {
        let loaded: Vec<_> = piece
            .par_iter()
            .map(|entry| {
                let sample = entry.load(&open.pool, &open.limits)?;
                let profile = IntensityProfile::of(&sample.image);
                Ok((sample, profile))
            })
            .collect::<std::result::Result<_, scant_data::DataError>>()?;
        for (sample, profile) in loaded {
            seen.push(see(&predictor, &sample, profile)?);
        }
    }
    Ok(Looked { seen, epochs: args.feature_epochs })
}

fn see(predictor: &Predictor, sample: &Sample, profile: Option<IntensityProfile>) -> Result<Seen> {
    let failed = |what: &dyn std::fmt::Display| Failure::data(format!("{}: {what}", sample.id));
    let profile = profile.ok_or_else(|| failed(&"the image is a volume"))?;
    let output = predictor.inspect(&sample.image).map_err(|e| failed(&e))?;
    let tap = output.taps.iter().find(|t| t.name == "bottleneck");
    let tap = tap.or(output.taps.get(output.taps.len() / 2));
    let features = tap.map_or_else(Vec::new, |tap| {
        let means = tap.features.clone().mean_dim(3).mean_dim(2);
        means.into_data().iter::<f32>().map(f64::from).collect()
    });
    Ok(Seen {
        source: sample.id.source.clone(),
        group: sample.id.group.clone(),
        pixels: profile.features().to_vec(),
        features,
    })
}

impl Looked {
    /// How well the novel sources can be told from the base ones.
    pub(crate) fn apart(&self, base: &[String], novel: &[String]) -> Apart {
        let mut groups: Vec<(&str, &str)> = Vec::new();
        let mut of = |values: fn(&Seen) -> &Vec<f64>| {
            let chosen =
                self.seen.iter().filter(|s| base.contains(&s.source) || novel.contains(&s.source));
            let cases: Vec<Labelled> = chosen
                .map(|s| {
                    let key = (s.source.as_str(), s.group.as_str());
                    let known = groups.iter().position(|g| *g == key);
                    let group = known.unwrap_or_else(|| {
                        groups.push(key);
                        groups.len() - 1
                    });
                    let second = novel.contains(&s.source);
                    Labelled { features: values(s).clone(), second, group }
                })
                .collect();
            separability(&cases, FOLDS, L2, 0)
        };
        let (pixels, features) = (of(|s| &s.pixels), of(|s| &s.features));
        let meaning = words(pixels.map(|s| s.auc), features.map(|s| s.auc));
        Apart { pixels, features, feature_epochs: self.epochs, meaning }
    }
}

fn words(pixels: Option<f64>, features: Option<f64>) -> String {
    let Some(highest) = pixels.into_iter().chain(features).reduce(f64::max) else {
        return "too few groups to say how far it is from the base".into();
    };
    let text = match highest {
        a if a >= APART => {
            "told from the base nearly always: another world, which a network can learn instead of the \
             structures; added plainly it may help little or do harm"
        }
        a if a >= ALIKE => {
            "often told from the base: a moderate shift; whether it helps has to be tried"
        }
        _ => "hardly told from the base: adding it plainly is a small risk",
    };
    text.into()
}

/// A network of the recipe `pooling/plain` that has seen base training images for a few epochs, or none.
fn network(
    session: &Session,
    common: &Common,
    args: &AdviceArgs,
    open: &OpenPool,
    out: &Path,
) -> Result<Predictor> {
    let (text, _) = recipes::find("pooling/plain")?;
    let mut set = args.set.clone();
    set.push("seed=1".into());
    if args.feature_epochs > 0 {
        set.push(format!("phase.0.epochs={}", args.feature_epochs));
    }
    let recipe = Recipe::parse(&text, &set)?.first_phases(1);
    if args.feature_epochs == 0 {
        return untrained(session, open, &recipe);
    }
    let (mut split, _) = draw_split(open, &recipe)?;
    let is_base =
        |source: &str| open.pool.sources.iter().any(|s| s.name == source && s.role == Role::Base);
    for part in [&mut split.train, &mut split.validation, &mut split.test] {
        let (keep, gone) = part.drain(..).partition(|id| is_base(&id.source));
        *part = keep;
        split.excluded.extend::<Vec<_>>(gone);
    }
    split.excluded.sort();
    let root = out.join("features");
    let path = |name: &str| out.join(format!("features.{name}"));
    let (pool, recipe_file, split_file) =
        (path("pool.toml"), path("recipe.toml"), path("split.toml"));
    let same = std::fs::read_to_string(&recipe_file).is_ok_and(|t| t == recipe.to_toml())
        && std::fs::read_to_string(&split_file).is_ok_and(|t| t == split.to_toml())
        && std::fs::read_to_string(&pool).is_ok_and(|t| t == open.pool.to_toml_absolute());
    let done = root.join("model.safetensors").is_file();
    if !(same && done) {
        if root.exists() {
            std::fs::remove_dir_all(&root)
                .map_err(|e| Failure::failed(format!("cannot clear {}: {e}", root.display())))?;
        }
        scant_io::write_atomic(&pool, open.pool.to_toml_absolute().as_bytes())?;
        scant_io::write_atomic(&recipe_file, recipe.to_toml().as_bytes())?;
        split.write(&split_file)?;
        session.say(format!(
            "a network sees the base for {} epochs, to compare features",
            args.feature_epochs
        ));
        let mut arguments = vec!["train".to_owned(), pool.display().to_string()];
        for (flag, value) in
            [("--recipe", &recipe_file), ("--split", &split_file), ("--out", &root)]
        {
            arguments.extend([flag.to_owned(), value.display().to_string()]);
        }
        arguments.extend(["--no-evaluate", "--quiet", "--stop-with-stdin"].map(str::to_owned));
        if args.skip_bad {
            arguments.push("--skip-bad".into());
        }
        arguments.push(format!("--device={}", common.device));
        arguments.push(format!("--threads={}", common.threads));
        wait(&arguments, &path("log"))?;
    }
    let plain = PredictorArgs { tta: TtaArg::None, tile: None, overlap: 0.5, threshold: None };
    Ok(load_predictor(session, &root, &plain)?.1)
}

fn untrained(session: &Session, open: &OpenPool, recipe: &Recipe) -> Result<Predictor> {
    let config = recipe.model_config(open.pool.classes.logit_channels())?;
    let model = config
        .init(&session.device, recipe.seed)
        .map_err(|e| Failure::usage(format!("recipe: {e}")))?;
    Ok(Predictor::new(
        weights::set_training(model, false),
        recipe.data.preprocess(),
        open.pool.classes.clone(),
        scant_infer::PredictOptions::default(),
        session.device.clone(),
    ))
}

/// Runs this program to its end.
fn wait(arguments: &[String], log: &Path) -> Result {
    let stop = crate::interrupt::flag();
    let Some(file) = lock(log)? else {
        return Err(Failure::usage(format!(
            "another process still works on {}; wait for it",
            log.display()
        )));
    };
    let mut process = Process::start(arguments, file)?;
    loop {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            process.stop();
        }
        match process.fate(log)? {
            None => std::thread::sleep(Duration::from_millis(50)),
            Some(Fate::Done) => return Ok(()),
            Some(Fate::Interrupted) => {
                return Err(Failure::new(INTERRUPTED, anyhow::anyhow!("interrupted")));
            }
            Some(Fate::Failed(why)) => return Err(Failure::failed(why)),
        }
    }
}
