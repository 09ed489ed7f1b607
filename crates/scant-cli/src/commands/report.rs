//! `scant report`

use crate::args::ReportArgs;
use crate::exit::{Failure, Result};

pub(crate) fn run(args: &ReportArgs) -> Result {
    let out = args.out.clone().unwrap_or_else(|| {
        // A record may be named instead of its folder.
        let first = &args.runs[0];
        let folder = if first.is_file() { first.parent().unwrap_or(first) } else { first };
        folder.join("report.html")
    });
    let studies = args.runs.iter().filter(|r| scant_report::is_study(r)).count();
    match (studies, args.runs.as_slice()) {
        (0, runs) => scant_report::write_report(runs, &out)?,
        (_, [study]) => scant_report::write_study(study, &out)?,
        _ => {
            return Err(Failure::usage(
                "a study has a page of its own; report it alone: scant report STUDY",
            ));
        }
    }
    println!("{}", out.display());
    Ok(())
}
