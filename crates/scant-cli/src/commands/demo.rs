//! `scant demo`

use std::path::{Path, PathBuf};
use std::time::Instant;

use scant_data::phantom::{PhantomConfig, generate_pool};
use scant_train::Recipe;

use super::train::{Plan, draw_split, execute};
use crate::args::DemoArgs;
use crate::exit::Result;
use crate::recipes;
use crate::session::{Session, open_pool};

pub(crate) fn run(session: &Session, args: &DemoArgs) -> Result {
    let config = PhantomConfig {
        sites: args.sites,
        images_per_site: args.images,
        size: [args.size, args.size],
        seed: args.seed,
        classes: args.classes,
        shift: args.shift,
    };
    if let Some(folder) = &args.data_only {
        let pool = generate_pool(folder, &config)?;
        println!("{}", pool.display());
        return Ok(());
    }
    let started = Instant::now();
    let root = args.out.clone().unwrap_or_else(|| free_name(Path::new("scant-demo")));
    let pool = generate_pool(&root.join("pool"), &config)?;
    session.say(format!(
        "generated {} phantom images of {} sites in {}",
        args.sites * args.images,
        args.sites,
        root.join("pool").display()
    ));
    let (text, _) = recipes::find("demo")?;
    let recipe = Recipe::parse(&text, &[format!("seed={}", args.seed)])?;
    let open = open_pool(session, &pool, false)?;
    let (split, _) = draw_split(&open, &recipe)?;
    let run = root.join("run");
    let plan = Plan::create(session, &run, recipe, open, split)?;
    execute(session, &plan)?;
    let secs = started.elapsed().as_secs_f64();
    session.say(format!("done in {secs:.0} s; open {}", run.join("report.html").display()));
    session.say(format!("predict with: scant predict {} IMAGES -o OUT", run.display()));
    Ok(())
}

/// `name`, or `name-2`, `name-3`, ...: the demonstration may be run again and again.
fn free_name(name: &Path) -> PathBuf {
    let taken = |p: &Path| p.exists();
    let numbered = (2..).map(|i| PathBuf::from(format!("{}-{i}", name.display())));
    std::iter::once(name.to_path_buf())
        .chain(numbered)
        .find(|p| !taken(p))
        .unwrap_or_else(|| name.to_path_buf())
}
