//! `scant evaluate`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scant_core::{CaseRecord, Evaluation, LabelMap, SampleId};
use scant_data::stream::CaseSource;
use scant_data::{Part, PoolCases, Split};
use scant_metrics::{MetricOptions, SummaryOptions, evaluate_case, summarise};
use scant_report::tables::{per_case_csv, summary_text};
use scant_train::RunFolder;

use crate::args::{EvaluateArgs, PartArg};
use crate::exit::{Failure, Result};
use crate::judge;
use crate::session::{OpenPool, Session, load_predictor, open_pool};

pub(crate) fn run(session: &Session, args: &EvaluateArgs) -> Result {
    let metrics = MetricOptions {
        policy: judge::empty_policy(&args.empty)?,
        nsd_tolerance: args.nsd_tolerance,
    };
    if !args.target.exists() {
        return Err(Failure::usage(format!(
            "{}: there is no such run, model or folder",
            args.target.display()
        )));
    }
    let run = RunFolder::open(&args.target).ok();
    let pool = match (&args.pool, &run) {
        (Some(pool), _) => pool.clone(),
        (None, Some(run)) => run.pool(),
        (None, None) => {
            return Err(Failure::usage("give the pool to judge on: scant evaluate TARGET POOL"));
        }
    };
    let open = open_pool(session, &pool, false)?;
    let split = match (&args.split_file, &run, &args.pool) {
        (Some(file), _, _) => Some(Split::read(file)?),
        // A run's own split only means something on its own pool.
        (None, Some(run), None) => Some(Split::read(&run.split())?),
        _ => None,
    };
    let ids = chosen(&open, split.as_ref(), args.part)?;
    let cases = PoolCases::new(&open.pool, &open.catalog, &ids, open.limits)?;
    let is_model = run.is_some() || args.target.is_file();
    let evaluation = if is_model {
        let (card, predictor) = load_predictor(session, &args.target, &args.predictor)?;
        if card.classes != open.pool.classes {
            return Err(Failure::usage(format!(
                "the model knows the classes [{}] but the pool has [{}]; rename the pool's classes or \
                 train on this pool",
                card.classes.names().join(", "),
                open.pool.classes.names().join(", ")
            )));
        }
        judge::evaluate(&predictor, &cases, args.part.name(), metrics, None)?
    } else {
        predictions(&open, &cases, &args.target, args.part.name(), metrics)?
    };
    if let (Some(run), None) = (&run, &args.pool) {
        let mut record = run.read_record()?;
        record.evaluations.retain(|e| e.part != evaluation.part);
        record.evaluations.push(evaluation.clone());
        run.write_record(&record)?;
    }
    if let Some(csv) = &args.csv {
        scant_io::write_atomic(csv, per_case_csv(&evaluation).as_bytes())?;
    }
    let summary = summarise(&evaluation, &SummaryOptions::default())?;
    if args.json {
        let value = serde_json::json!({ "evaluation": evaluation, "summary": summary });
        println!("{}", serde_json::to_string_pretty(&value).map_err(Failure::failed)?);
    } else {
        println!("{}", summary_text(&summary));
    }
    let failed = evaluation.cases.iter().filter(|c| c.failure.is_some()).count();
    if failed > 0 {
        for case in evaluation.cases.iter().filter(|c| c.failure.is_some()) {
            eprintln!("scant: {}: {}", case.id, case.failure.as_deref().unwrap_or_default());
        }
        return Err(Failure::failed(format!("{failed} case(s) failed and count as Dice 0")));
    }
    Ok(())
}

/// The labelled cases of a part; every labelled case without a split.
fn chosen(open: &OpenPool, split: Option<&Split>, part: PartArg) -> Result<Vec<SampleId>> {
    let labelled: Vec<SampleId> =
        open.catalog.entries.iter().filter(|e| !e.masks.is_empty()).map(|e| e.id.clone()).collect();
    let Some(split) = split else { return Ok(labelled) };
    split.check(&open.catalog)?;
    let ids = match part {
        PartArg::All => labelled,
        PartArg::Train => split.part(Part::Train).to_vec(),
        PartArg::Validation => split.part(Part::Validation).to_vec(),
        PartArg::Test => split.part(Part::Test).to_vec(),
    };
    if ids.is_empty() {
        return Err(Failure::data(format!("the {} part of the split is empty", part.name())));
    }
    Ok(ids)
}

/// Judges masks in a folder, found as `SOURCE/STEM.*` or `STEM.*`, with the mask values of the pool. A
/// missing prediction is a failed case, never an absent one.
fn predictions(
    open: &OpenPool,
    cases: &PoolCases,
    folder: &Path,
    part: &str,
    metrics: MetricOptions,
) -> Result<Evaluation> {
    let mut records = Vec::with_capacity(cases.len());
    for case in 0..cases.len() {
        let record =
            judged(open, cases, case, folder, &metrics).unwrap_or_else(|reason| CaseRecord {
                id: cases.id(case).clone(),
                distance_unit: "px".into(),
                classes: Vec::new(),
                discrepancy: BTreeMap::new(),
                failure: Some(reason),
            });
        records.push(record);
    }
    let protocol = judge::protocol(&metrics, 0.5, "none");
    Ok(Evaluation { part: part.into(), protocol, cases: records })
}

fn judged(
    open: &OpenPool,
    cases: &PoolCases,
    case: usize,
    folder: &Path,
    metrics: &MetricOptions,
) -> std::result::Result<CaseRecord, String> {
    let sample = cases.load(case).map_err(|e| e.to_string())?;
    let truth = sample.label.as_ref().ok_or("the case has no mask")?;
    let file = find(folder, &sample.id)
        .ok_or_else(|| format!("no prediction for it in {}", folder.display()))?;
    let values = &open.pool.sources[sample.source].values;
    let raw = scant_io::read_mask(&file, &open.limits).map_err(|e| e.to_string())?;
    let mut unlisted = None;
    let ids = raw.values.mapv(|v| {
        values.class_of(v, raw.encoding).unwrap_or_else(|| {
            unlisted = Some(v);
            0
        })
    });
    if let Some(value) = unlisted {
        return Err(format!(
            "{}: value {value} is not among the pool's mask values ({})",
            file.display(),
            values.listed()
        ));
    }
    let prediction = LabelMap::planar(ids);
    let spacing = sample.image.geometry.spacing_mm.as_deref();
    let classes = &open.pool.classes;
    let results = classes.foreground().filter(|&id| sample.annotated.has(id)).map(|id| {
        let (p, t) = (prediction.ids.view(), truth.ids.view());
        evaluate_case(p, t, spacing, id, classes.name(id), metrics)
            .map_err(|e| format!("{}: {e}", file.display()))
    });
    Ok(CaseRecord {
        id: sample.id.clone(),
        distance_unit: sample.image.geometry.distance_unit().into(),
        classes: results.collect::<std::result::Result<Vec<_>, _>>()?,
        discrepancy: BTreeMap::new(),
        failure: None,
    })
}

fn find(folder: &Path, id: &SampleId) -> Option<PathBuf> {
    let below = [folder.join(&id.source), folder.to_path_buf()];
    let names = ["png", "tif", "tiff", "bmp"].map(|e| format!("{}.{e}", id.stem));
    below.iter().flat_map(|b| names.iter().map(move |n| b.join(n))).find(|p| p.is_file())
}
