//! `scant pool-advice`
//!
//! Should this source be added to the base, and how? A cheap answer first: how well a small classifier
//! tells it from the base. Then the trained one: networks with and without it, paired over seeds and
//! groups, judged on base test cases.

mod cheap;
mod text;
mod trained;
mod verdict;

use std::path::{Path, PathBuf};

use scant_core::Role;
use scant_data::Pool;
use serde::Serialize;

use crate::args::{AdviceArgs, Common};
use crate::exit::{Failure, Result, unwritable};
use crate::session::{OpenPool, Session, open_pool};
use cheap::Apart;
use trained::Trained;

/// What is said about one source, or about all of them together.
#[derive(Debug, Serialize)]
pub(crate) struct SourceAdvice {
    /// The novel sources that would be added.
    pub(crate) sources: Vec<String>,
    /// Images and groups of them.
    pub(crate) images: usize,
    pub(crate) groups: usize,
    /// How well they can be told from the base.
    pub(crate) cheap: Apart,
    /// What training with and without them came to; absent with `--quick`.
    pub(crate) trained: Option<Trained>,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Advice {
    pub(crate) pool: String,
    pub(crate) base: Vec<String>,
    /// Differences in Dice that do not matter.
    pub(crate) margin: f64,
    pub(crate) seeds: u64,
    pub(crate) advice: Vec<SourceAdvice>,
}

pub(crate) fn run(session: &Session, common: &Common, args: &AdviceArgs) -> Result {
    check(args)?;
    let open = open_pool(session, &args.pool, args.skip_bad)?;
    let (base, novel) = (names(&open.pool, Role::Base), names(&open.pool, Role::Novel));
    for (role, found) in [("base", &base), ("novel", &novel)] {
        if found.is_empty() {
            return Err(Failure::usage(format!(
                "the pool {} has no {role} source, so there is nothing to advise on: write role = \
                 \"{role}\" in the [[source]] that is {}",
                open.pool.name,
                if role == "base" {
                    "what you want to be good at"
                } else {
                    "a candidate to be added"
                }
            )));
        }
    }
    let default = || PathBuf::from("runs").join(format!("{}-advice", open.pool.name));
    let out = args.out.clone().unwrap_or_else(default);
    std::fs::create_dir_all(&out).map_err(|e| unwritable(&out, &e))?;
    let mut candidates: Vec<Vec<String>> = novel.iter().map(|n| vec![n.clone()]).collect();
    if novel.len() > 1 {
        candidates.push(novel);
    }
    let looked = cheap::look(session, common, args, &open, &out)?;
    let mut advice = Vec::new();
    for sources in candidates {
        let of = |source: usize| sources.contains(&open.pool.sources[source].name);
        let mine: Vec<_> = open.catalog.entries.iter().filter(|e| of(e.source)).collect();
        let mut groups: Vec<_> = mine.iter().map(|e| (e.source, &e.id.group)).collect();
        groups.sort_unstable();
        groups.dedup();
        let trained = if args.quick {
            None
        } else {
            Some(trained::train(session, common, args, &open, &sources, &out)?)
        };
        advice.push(SourceAdvice {
            images: mine.len(),
            groups: groups.len(),
            cheap: looked.apart(&base, &sources),
            trained,
            sources,
        });
    }
    let pool = open.pool.name.clone();
    let advice = Advice { pool, base, margin: args.margin, seeds: args.seeds, advice };
    let json = serde_json::to_string_pretty(&advice).map_err(Failure::failed)?;
    scant_io::write_atomic(&out.join("advice.json"), json.as_bytes())?;
    if args.json {
        println!("{json}");
    } else {
        print!("{}", text::text(&advice));
        println!("{}", out.display());
    }
    Ok(())
}

fn check(args: &AdviceArgs) -> Result {
    if let Some(f) = args.fractions.iter().find(|f| !(**f > 0.0 && **f <= 1.0)) {
        return Err(Failure::usage(format!(
            "--fractions {f} is not possible: above 0 and at most 1; nothing added is always compared"
        )));
    }
    if !(args.margin > 0.0 && args.margin < 1.0) {
        let margin = args.margin;
        return Err(Failure::usage(format!("--margin {margin} is not possible: above 0, below 1")));
    }
    if args.methods.is_empty() || args.fractions.is_empty() {
        return Err(Failure::usage("give at least one of --methods and of --fractions"));
    }
    Ok(())
}

fn names(pool: &Pool, role: Role) -> Vec<String> {
    pool.sources.iter().filter(|s| s.role == role).map(|s| s.name.clone()).collect()
}

/// Base and some novel sources as a pool of their own, written to a file.
fn pool_with(open: &OpenPool, novel: &[String], path: &Path) -> Result {
    let mut pool = Pool::clone(&open.pool);
    pool.sources.retain(|s| s.role == Role::Base || novel.contains(&s.name));
    Ok(scant_io::write_atomic(path, pool.to_toml_absolute().as_bytes())?)
}
