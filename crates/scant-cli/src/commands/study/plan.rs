//! From a study file to runs with their splits, checked as far as that goes without training.

use std::collections::BTreeMap;
use std::path::Path;

use scant_core::SampleId;
use scant_data::{Split, find_duplicates_in};
use scant_train::Recipe;
use scant_train::study::{PlannedRun, SharedPhases, StudyFile, plan_runs, share_phases};

use super::super::train::{data, draw_split_with};
use crate::exit::{Failure, Result};
use crate::recipes;
use crate::session::{OpenPool, Session};

/// Everything that is to be run.
pub(crate) struct StudyPlan {
    pub(crate) runs: Vec<PlannedRun>,
    pub(crate) shared: Vec<SharedPhases>,
    /// Per run, the shared phases it begins with.
    pub(crate) takes: Vec<Option<usize>>,
    /// Splits by name; several runs use each.
    pub(crate) splits: BTreeMap<String, Split>,
    /// Name of the split of each seed and way of splitting.
    names: BTreeMap<String, String>,
    /// Who is judged.
    pub(crate) judged: Judged,
}

/// The sources whose test cases the headline is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    sources: Vec<String>,
}

impl Judged {
    pub(crate) fn of(file: &StudyFile, open: &OpenPool) -> Result<Self> {
        let sources = &open.pool.sources;
        let chosen = sources.iter().filter(|s| match file.judge.as_str() {
            "all" => s.is_labelled(),
            "base" => s.role == scant_core::Role::Base,
            "novel" => s.role == scant_core::Role::Novel,
            name => s.name == name,
        });
        let chosen: Vec<String> = chosen.map(|s| s.name.clone()).collect();
        if chosen.is_empty() {
            let names: Vec<&str> = sources.iter().map(|s| s.name.as_str()).collect();
            return Err(Failure::usage(format!(
                "study: judge = \"{}\" finds no source in the pool {}: write \"base\", \"novel\", \
                 \"all\" or one of {}",
                file.judge,
                open.pool.name,
                names.join(", ")
            )));
        }
        Ok(Self { sources: chosen })
    }

    pub(crate) fn has(&self, id: &SampleId) -> bool {
        self.sources.contains(&id.source)
    }
}

impl StudyPlan {
    pub(crate) fn make(
        session: &Session,
        file: &StudyFile,
        beside: &Path,
        open: &OpenPool,
    ) -> Result<Self> {
        let mut texts = BTreeMap::new();
        for method in &file.methods {
            let path = beside.join(&method.recipe);
            let name =
                if path.is_file() { path.to_string_lossy() } else { (&*method.recipe).into() };
            texts.insert(method.recipe.clone(), recipes::find(&name)?.0);
        }
        let runs = plan_runs(file, &texts)?;
        let sharing = share_phases(&runs);
        let judged = Judged::of(file, open)?;
        let mut plan = Self {
            runs,
            shared: sharing.shared,
            takes: sharing.takes,
            splits: BTreeMap::new(),
            names: BTreeMap::new(),
            judged,
        };
        plan.draw_splits(session, open)?;
        plan.check(session, open)?;
        Ok(plan)
    }

    /// Name of the split that a recipe draws.
    pub(crate) fn split_of(&self, recipe: &Recipe) -> &str {
        &self.names[&split_key(recipe)]
    }

    fn draw_splits(&mut self, session: &Session, open: &OpenPool) -> Result {
        let together = |r: &PlannedRun| r.recipe.split.keep_duplicates_together;
        let duplicates = if self.runs.iter().any(together) {
            find_duplicates_in(&open.catalog, &open.limits).keep_together()
        } else {
            Vec::new()
        };
        let mut said: Vec<String> = Vec::new();
        for run in &self.runs {
            let key = split_key(&run.recipe);
            if self.names.contains_key(&key) {
                continue;
            }
            let keep = if together(run) { duplicates.clone() } else { Vec::new() };
            let (split, messages) = draw_split_with(open, &run.recipe, keep)?;
            for message in messages {
                if !said.contains(&message) {
                    session.say(format!("note: {message}"));
                    said.push(message);
                }
            }
            if !split.test.iter().any(|id| self.judged.has(id)) {
                return Err(Failure::usage(format!(
                    "study: the test part of seed {} holds no case of {}; raise split.test, or judge others",
                    run.seed,
                    self.judged.sources.join(", ")
                )));
            }
            let hash = split.summary(&open.catalog).hash;
            let name = format!("{}.toml", hash.get(..12).unwrap_or(&hash));
            self.splits.insert(name.clone(), split);
            self.names.insert(key, name);
        }
        Ok(())
    }

    /// Finds out now what would end every run of a method later.
    fn check(&self, session: &Session, open: &OpenPool) -> Result {
        let mut loaded = BTreeMap::new();
        for (name, split) in &self.splits {
            loaded.insert(name.clone(), data(open, split)?);
        }
        for run in &self.runs {
            let data = &loaded[self.split_of(&run.recipe)];
            let checked = scant_train::check(&run.recipe, data, &session.device)
                .and_then(|()| scant_train::check_weights(&run.recipe, data));
            if let Err(e) = checked {
                let failure = Failure::from(e);
                let error = anyhow::anyhow!("study: {}: {}", run.folder, failure.error);
                return Err(Failure::new(failure.code, error));
            }
        }
        Ok(())
    }

    /// What would be run.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let epochs = |recipe: &Recipe, takes: Option<usize>| -> usize {
            let taken = takes.map_or(0, |i| self.shared[i].recipe.phase.len());
            recipe.phase[taken..].iter().map(|p| p.epochs).sum()
        };
        let mut all = 0;
        let mut line = |folder: &str, recipe: &Recipe, takes: Option<usize>| {
            let n = epochs(recipe, takes);
            all += n;
            let from = takes.map_or(String::new(), |i| format!(" after {}", self.shared[i].folder));
            out += &format!("{folder}: {n} epochs{from}\n");
        };
        for shared in &self.shared {
            line(&shared.folder, &shared.recipe, shared.takes);
        }
        for (run, takes) in self.runs.iter().zip(&self.takes) {
            line(&run.folder, &run.recipe, *takes);
        }
        let (runs, shared) = (self.runs.len(), self.shared.len());
        out += &format!("{runs} runs, {shared} shared beginnings, {all} epochs in all\n");
        out
    }
}

/// What decides a split of a pool.
fn split_key(recipe: &Recipe) -> String {
    format!("{:?} {}", recipe.split, recipe.split.seed.unwrap_or(recipe.seed))
}
