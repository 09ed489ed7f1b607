//! `scant inspect`

use scant_data::{InspectOptions, Pool, Split, inspect, render_text};
use scant_io::Limits;

use crate::args::InspectArgs;
use crate::exit::{Failure, Result};
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &InspectArgs) -> Result {
    let pool = Pool::open(&args.pool)?;
    for note in &pool.notes {
        session.say(format!("note: {note}"));
    }
    let limits = Limits::default();
    let catalog = pool.scan(&limits)?;
    let split = args.split.as_deref().map(Split::read).transpose()?;
    if let Some(split) = &split {
        split.check(&catalog)?;
    }
    let found = inspect(&pool, &catalog, &InspectOptions { limits, split: split.as_ref() });
    if args.json {
        let json = serde_json::to_string_pretty(&found).map_err(Failure::failed)?;
        println!("{json}");
    } else {
        print!("{}", render_text(&found));
    }
    Ok(())
}
