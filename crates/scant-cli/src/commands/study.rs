//! `scant study`
//!
//! Every run is a process of its own (`scant train`), so that one that fails takes no other with it and
//! memory is measured per run. What has been done stands in the folder of the study; the same
//! command again goes on from there.

pub(crate) mod child;
mod folder;
mod memory;
mod plan;
mod presets;
mod results;
mod schedule;

use std::path::{Path, PathBuf};

use scant_train::study::StudyFile;

use crate::args::{Common, StudyArgs};
use crate::exit::{FAILED, Failure, INTERRUPTED, Result};
use crate::session::{Session, open_pool};
use folder::StudyFolder;
use plan::StudyPlan;
use schedule::{Ended, Schedule};

/// How a study is to be run, whatever it is about.
pub(crate) struct Order<'a> {
    pub(crate) file: StudyFile,
    /// Folder that recipes are relative to.
    pub(crate) beside: &'a Path,
    pub(crate) pool: &'a Path,
    pub(crate) out: Option<&'a Path>,
    pub(crate) retry: bool,
    pub(crate) skip_bad: bool,
    pub(crate) dry_run: bool,
}

pub(crate) fn run(session: &Session, common: &Common, args: &StudyArgs) -> Result {
    if args.list {
        for preset in presets::ALL {
            println!("{:<20} {}", preset.name, StudyFile::parse(preset.text)?.purpose);
        }
        return Ok(());
    }
    let wanted = args.study.as_deref().unwrap_or_default();
    let (text, beside) = presets::find(wanted)?;
    let mut file = StudyFile::parse(&text)?;
    file.set.extend(args.set.iter().cloned());
    if let Some(count) = args.seeds {
        file = file.with_seeds(count)?;
    }
    if let Some(parallel) = args.parallel {
        file.run.parallel = Some(parallel as usize);
    }
    file.run.memory_mib = args.memory.or(file.run.memory_mib);
    let pool = match (&args.pool, &file.pool) {
        (Some(pool), _) => pool.clone(),
        (None, Some(pool)) => beside.join(pool),
        (None, None) => {
            return Err(Failure::usage(format!(
                "the study {wanted} names no pool: give --pool POOL"
            )));
        }
    };
    let order = Order {
        file,
        beside: &beside,
        pool: &pool,
        out: args.out.as_deref(),
        retry: args.retry,
        skip_bad: args.skip_bad,
        dry_run: args.dry_run,
    };
    let Some(carried) = carry_out(session, common, &order)? else { return Ok(()) };
    println!("{}", carried.text);
    let failed = &carried.failed;
    if failed.is_empty() {
        println!("{}", carried.out.display());
        return Ok(());
    }
    let shown = failed.iter().take(5).map(|(run, why)| format!("\n  {run}: {why}"));
    let shown: String = shown.collect();
    let more = if failed.len() > 5 { "\n  ..." } else { "" };
    Err(Failure::new(
        FAILED,
        anyhow::anyhow!(
            "{} of {} runs failed:{shown}{more}\nthe others are done; run these again with --retry",
            failed.len(),
            carried.runs
        ),
    ))
}

/// A study that has been run to its end.
pub(crate) struct Carried {
    pub(crate) out: PathBuf,
    /// What came out of it.
    pub(crate) text: String,
    pub(crate) runs: usize,
    /// Failed runs and why.
    pub(crate) failed: Vec<(String, String)>,
}

/// Plans a study and runs what is missing of it; nothing for a dry run.
pub(crate) fn carry_out(
    session: &Session,
    common: &Common,
    order: &Order<'_>,
) -> Result<Option<Carried>> {
    let open = open_pool(session, order.pool, order.skip_bad)?;
    let plan = StudyPlan::make(session, &order.file, order.beside, &open)?;
    if order.dry_run {
        print!("{}", plan.text());
        return Ok(None);
    }
    let default = || PathBuf::from("runs").join(format!("{}-{}", open.pool.name, order.file.name));
    let out = order.out.map_or_else(default, Path::to_path_buf);
    let folder = StudyFolder::open(&out, &order.file, &open.pool.to_toml_absolute())?;
    folder.write_splits(&plan)?;
    let mut schedule = Schedule::new(session, common, &folder, &plan, order)?;
    if schedule.run()? == Ended::Interrupted {
        return Err(Failure::new(
            INTERRUPTED,
            anyhow::anyhow!("interrupted; the same command again goes on: {}", out.display()),
        ));
    }
    let study = scant_report::load_study(folder.root())?;
    let report = folder.path("report.html");
    scant_report::write_study(folder.root(), &report)?;
    session.say(format!("report: {}", report.display()));
    let owned = |(run, why): (&str, &str)| (run.to_owned(), why.to_owned());
    Ok(Some(Carried {
        text: scant_report::study_text(&study),
        runs: plan.runs.len(),
        failed: schedule.results().failed().into_iter().map(owned).collect(),
        out,
    }))
}
