//! The trained answer: networks with and without a source, paired over seeds and groups.

use std::collections::BTreeMap;
use std::path::Path;

use scant_core::{Evaluation, FRACTION_AXIS, StudyRecord, StudyStatus};
use scant_metrics::study::{Runs, StudyOptions, difference, judged};
use scant_metrics::{Metric, SummaryOptions};
use scant_train::RunFolder;
use scant_train::study::StudyFile;
use serde::Serialize;

use super::super::study::{Order, carry_out};
use super::pool_with;
use super::verdict::{Effect, Verdict, judge};
use crate::args::{AdviceArgs, Common};
use crate::exit::{Failure, Result};
use crate::session::{OpenPool, Session};

/// The method that all others are compared with: nothing added.
const REFERENCE: &str = "base-only";
/// How sure the answer is to be, over all methods and fractions together.
const CONFIDENCE: f64 = 0.95;
/// Intervals of many methods reach far into the tails.
const RESAMPLES: usize = 20_000;

/// What training with and without a source came to.
#[derive(Debug, Serialize)]
pub(crate) struct Trained {
    pub(crate) verdict: Verdict,
    /// Every method at every fraction, against the base alone.
    pub(crate) effects: Vec<Effect>,
    /// Confidence of each interval, so that all of them together hold with 95 % (Bonferroni).
    pub(crate) confidence: f64,
    /// Folder of the study behind it.
    pub(crate) study: String,
    /// Runs that failed, and why; they are in no number.
    pub(crate) failed: Vec<String>,
}

/// Runs what is missing, and compares.
pub(crate) fn train(
    session: &Session,
    common: &Common,
    args: &AdviceArgs,
    open: &OpenPool,
    sources: &[String],
    out: &Path,
) -> Result<Trained> {
    let name = if sources.len() == 1 { sources[0].clone() } else { "all-novel".into() };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let pool = out.join(format!("{name}.pool.toml"));
    pool_with(open, sources, &pool)?;
    let folder = out.join(&name);
    let order = Order {
        file: study(args, sources)?,
        beside: Path::new(""),
        pool: &pool,
        out: Some(&folder),
        retry: args.retry,
        skip_bad: args.skip_bad,
        dry_run: false,
    };
    session.say(format!("{}: with and without it", sources.join(", ")));
    let failed = carry_out(session, common, &order)?.map(|c| c.failed).unwrap_or_default();
    let record = std::fs::read_to_string(folder.join("study.json")).map_err(Failure::failed)?;
    let record: StudyRecord = serde_json::from_str(&record).map_err(Failure::failed)?;
    let (effects, confidence) = effects(&folder, &record)?;
    Ok(Trained {
        verdict: judge(&effects, args.margin),
        effects,
        confidence,
        study: folder.display().to_string(),
        failed: failed.into_iter().map(|(run, why)| format!("{run}: {why}")).collect(),
    })
}

/// The study behind one answer. The base alone is the same at every fraction.
fn study(args: &AdviceArgs, sources: &[String]) -> Result<StudyFile> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    let methods: Vec<&String> = args.methods.iter().filter(|m| *m != REFERENCE).collect();
    let set = args.set.iter().map(String::as_str);
    let mut text = format!(
        "name = \"advice\"\npurpose = {}\njudge = \"base\"\nreference = \"{REFERENCE}\"\nseeds = [{}]\n\
         set = [{}]\n[[axis]]\nname = \"{FRACTION_AXIS}\"\nkey = \"data.novel_fraction\"\n\
         methods = [{}]\nvalues = [{}]\n",
        quoted(&format!("Should {} be added to the base?", sources.join(", "))),
        list(&mut (1..=args.seeds).map(|s| s.to_string())),
        // The question is about base cases, so they choose the best epoch.
        list(&mut std::iter::once("data.validate_on=base").chain(set).map(quoted)),
        list(&mut methods.iter().map(|m| quoted(m))),
        list(&mut args.fractions.iter().map(ToString::to_string)),
    );
    for method in std::iter::once(REFERENCE).chain(methods.iter().map(|m| m.as_str())) {
        let recipe = quoted(&format!("pooling/{method}"));
        text += &format!("[[method]]\nname = {}\nrecipe = {recipe}\n", quoted(method));
    }
    let mut file = StudyFile::parse(&text)?;
    file.run.parallel = args.parallel.map(|n| n as usize);
    file.run.memory_mib = args.memory;
    Ok(file)
}

/// Every method at every fraction against the base alone, and the confidence of each interval.
fn effects(folder: &Path, study: &StudyRecord) -> Result<(Vec<Effect>, f64)> {
    // By method, label of the fraction, and seed.
    let mut found: BTreeMap<(String, String), BTreeMap<u64, Evaluation>> = BTreeMap::new();
    for run in study.runs.iter().filter(|r| r.status == StudyStatus::Finished) {
        let record = RunFolder::open(&folder.join(&run.folder))?.read_record()?;
        let Some(test) = record.evaluations.iter().find(|e| e.part == "test") else { continue };
        let place = (run.method.clone(), run.at[FRACTION_AXIS].clone());
        let judged = judged(test, &record.pool, &study.judge)?;
        found.entry(place).or_default().insert(run.seed, judged);
    }
    let labels = study.axes.iter().flat_map(|a| &a.values);
    let methods = study.methods.iter().filter(|m| **m != study.reference);
    let comparisons = labels.clone().count() * methods.clone().count();
    let confidence = 1.0 - (1.0 - CONFIDENCE) / comparisons as f64;
    let options = StudyOptions {
        summary: SummaryOptions { bootstrap: RESAMPLES, confidence, ..SummaryOptions::default() },
        ..StudyOptions::default()
    };
    let by_ref = |method: &str, label: &str| -> Runs<'_> {
        let runs = found.get(&(method.to_owned(), label.to_owned()));
        runs.map(|r| r.iter().map(|(seed, e)| (*seed, e)).collect()).unwrap_or_default()
    };
    let mut effects = Vec::new();
    for method in methods {
        for label in labels.clone() {
            let (reference, mine) = (by_ref(&study.reference, label), by_ref(method, label));
            let paired = difference(&reference, &mine, Metric::Dice, &options)?;
            effects.push(Effect {
                method: method.clone(),
                fraction: label.clone(),
                seeds: paired.as_ref().map_or(0, |p| p.difference.seeds()),
                difference: paired.as_ref().map(|p| p.difference.value),
                interval: paired.and_then(|p| p.difference.interval),
            });
        }
    }
    Ok((effects, confidence))
}
