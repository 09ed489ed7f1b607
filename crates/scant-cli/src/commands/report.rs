//! `scant report`

use crate::args::ReportArgs;
use crate::exit::Result;

pub(crate) fn run(args: &ReportArgs) -> Result {
    let out = args.out.clone().unwrap_or_else(|| args.runs[0].join("report.html"));
    scant_report::write_report(&args.runs, &out)?;
    println!("{}", out.display());
    Ok(())
}
