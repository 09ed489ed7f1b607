//! Which run starts when, in how many processes at once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use scant_core::{RunRecord, StudyStatus};
use scant_train::Recipe;
use scant_train::study::Keep;

use super::Order;
use super::child::{Fate, Process, lock};
use super::folder::{Progress, StudyFolder};
use super::memory::{Budget, Kind};
use super::plan::StudyPlan;
use super::results::Results;
use crate::args::Common;
use crate::exit::Result;
use crate::interrupt;
use crate::session::Session;

/// How often processes are looked after.
const TICK: Duration = Duration::from_millis(50);

/// How a schedule came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing is left to run.
    Done,
    /// It was asked to stop.
    Interrupted,
}

/// Something to be trained: shared phases come before the runs.
struct Task<'a> {
    folder: &'a str,
    recipe: &'a Recipe,
    takes: Option<usize>,
    kind: Kind,
    /// Epochs that are trained here and not taken over.
    epochs: usize,
    state: State,
}

enum State {
    Waiting,
    Running(Process),
    Done,
    /// Not to be started again this time.
    Over,
}

/// A study being run.
pub(crate) struct Schedule<'a> {
    session: &'a Session,
    folder: &'a StudyFolder,
    plan: &'a StudyPlan,
    common: Vec<String>,
    options: scant_train::study::RunOptions,
    parallel: usize,
    tasks: Vec<Task<'a>>,
    results: Results<'a>,
    budget: Budget,
    clock: Instant,
    /// Epochs trained since then.
    trained: usize,
    /// Runs that some other process is still at, and that has been said.
    held: BTreeSet<usize>,
}

impl<'a> Schedule<'a> {
    /// Finds out how far everything is.
    pub(crate) fn new(
        session: &'a Session,
        common: &Common,
        folder: &'a StudyFolder,
        plan: &'a StudyPlan,
        order: &'a Order<'_>,
    ) -> Result<Self> {
        let options = order.file.run;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parallel = options.parallel.unwrap_or((cores / options.threads).max(1));
        let shared = plan.shared.iter().map(|s| (s.folder.as_str(), &s.recipe, s.takes));
        let runs = plan.runs.iter().zip(&plan.takes);
        let runs = runs.map(|(r, takes)| (r.folder.as_str(), &r.recipe, *takes));
        let tasks = shared.chain(runs).map(|(folder, recipe, takes)| {
            let taken = takes.map_or(0, |i| plan.shared[i].recipe.phase.len());
            let epochs = recipe.phase[taken..].iter().map(|p| p.epochs).sum();
            let kind = Kind::of(recipe);
            Task { folder, recipe, takes, kind, epochs, state: State::Waiting }
        });
        let mut common = vec![
            "--quiet".into(),
            format!("--threads={}", options.threads),
            format!("--device={}", common.device),
        ];
        if order.skip_bad {
            common.push("--skip-bad".into());
        }
        let mut schedule = Self {
            session,
            folder,
            plan,
            common,
            options,
            parallel,
            tasks: tasks.collect(),
            results: Results::new(&order.file, plan),
            budget: Budget::new(options.memory_mib),
            clock: Instant::now(),
            trained: 0,
            held: BTreeSet::new(),
        };
        schedule.look_around(order.retry)?;
        schedule.results.write(folder)?;
        Ok(schedule)
    }

    pub(crate) fn results(&self) -> &Results<'a> {
        &self.results
    }

    /// Runs everything that is left.
    pub(crate) fn run(&mut self) -> Result<Ended> {
        let stop = interrupt::flag();
        let left = self.tasks[self.plan.shared.len()..].iter().filter(|t| waiting(t)).count();
        self.session.say(format!(
            "{}: {} runs, {left} of them to be run, {} at once",
            self.folder.root().display(),
            self.plan.runs.len(),
            self.parallel
        ));
        self.clock = Instant::now();
        let mut stopping = false;
        loop {
            if !stopping && stop.load(Ordering::Relaxed) {
                stopping = true;
                for task in &mut self.tasks {
                    if let State::Running(process) = &mut task.state {
                        process.stop();
                    }
                }
            }
            self.reap()?;
            let mut blocked = false;
            while !stopping && self.running().count() < self.parallel {
                match self.next()? {
                    Next::Start(task) => self.start(task)?,
                    Next::Later => {
                        blocked = true;
                        break;
                    }
                    Next::Nothing => break,
                }
            }
            if self.running().next().is_none() && !blocked {
                break;
            }
            std::thread::sleep(TICK);
        }
        let interrupted = stopping || self.results.any_waiting();
        Ok(if interrupted { Ended::Interrupted } else { Ended::Done })
    }

    /// Reads what earlier calls have left.
    fn look_around(&mut self, retry: bool) -> Result {
        let before = self.folder.record()?;
        for run in 0..self.plan.runs.len() {
            let task = self.plan.shared.len() + run;
            let (name, recipe) = (self.tasks[task].folder, self.tasks[task].recipe);
            if let Progress::Judged(record) = self.folder.progress(name, recipe)? {
                self.finished(task, &record)?;
                continue;
            }
            let failed = before.iter().flat_map(|b| &b.runs).find(|r| r.folder == name);
            if let Some(StudyStatus::Failed { why }) = failed.map(|r| &r.status)
                && !retry
            {
                self.results.fail(run, why);
                self.tasks[task].state = State::Over;
            }
        }
        for shared in 0..self.plan.shared.len() {
            let (name, recipe) = (self.tasks[shared].folder, self.tasks[shared].recipe);
            if matches!(self.folder.progress(name, recipe)?, Progress::Trained) {
                self.tasks[shared].state = State::Done;
            }
        }
        self.drop_shared()
    }

    fn running(&self) -> impl Iterator<Item = &Kind> + Clone {
        let at_work = |t: &&Task<'_>| matches!(t.state, State::Running(_));
        self.tasks.iter().filter(at_work).map(|t| &t.kind)
    }

    /// What to start next: the first run in the order of the plan that can be, or the phases it
    /// waits for.
    fn next(&self) -> Result<Next> {
        let mut found = Next::Nothing;
        for run in self.plan.shared.len()..self.tasks.len() {
            if !waiting(&self.tasks[run]) {
                continue;
            }
            let task = match self.wanted(run)? {
                Next::Start(task) => task,
                Next::Later => {
                    found = Next::Later;
                    continue;
                }
                Next::Nothing => continue,
            };
            if self.held.contains(&task) && lock(&self.log(task))?.is_none() {
                found = Next::Later;
                continue;
            }
            if !self.budget.allows(&self.tasks[task].kind, self.running()) {
                // Nothing smaller is let past, or what needs much memory would never run.
                return Ok(Next::Later);
            }
            return Ok(Next::Start(task));
        }
        Ok(found)
    }

    /// The run itself, or the shared phases that have to come before.
    fn wanted(&self, run: usize) -> Result<Next> {
        let mut task = run;
        loop {
            let t = &self.tasks[task];
            match t.state {
                State::Waiting => {}
                State::Running(_) => return Ok(Next::Later),
                State::Done | State::Over => return Ok(Next::Nothing),
            }
            let Some(shared) = t.takes else { return Ok(Next::Start(task)) };
            let done = matches!(self.tasks[shared].state, State::Done);
            if done || !matches!(self.folder.progress(t.folder, t.recipe)?, Progress::Nothing) {
                return Ok(Next::Start(task));
            }
            task = shared;
        }
    }

    fn log(&self, task: usize) -> PathBuf {
        self.folder.path(&format!("{}.log", self.tasks[task].folder))
    }

    fn start(&mut self, task: usize) -> Result {
        let log = self.log(task);
        let Some(file) = lock(&log)? else {
            if self.held.insert(task) {
                let name = self.tasks[task].folder;
                self.session.say(format!("{name}: waiting for a process that still works on it"));
            }
            return Ok(());
        };
        let (name, recipe) = (self.tasks[task].folder, self.tasks[task].recipe);
        let is_run = task >= self.plan.shared.len();
        let root = self.folder.path(name).display().to_string();
        let mut arguments = vec!["train".to_owned()];
        match self.folder.progress(name, recipe)? {
            // By a process that outlived the study that started it.
            Progress::Judged(record) if is_run => {
                self.finished(task, &record)?;
                return self.results.write(self.folder);
            }
            Progress::Trained if !is_run => {
                self.tasks[task].state = State::Done;
                return Ok(());
            }
            Progress::Nothing => {
                self.folder.remove(name)?;
                let recipe_file = format!("{name}.recipe.toml");
                self.folder.write(&recipe_file, &recipe.to_toml())?;
                let split = self.folder.split(self.plan.split_of(recipe));
                for (flag, path) in [
                    ("", self.folder.pool()),
                    ("--recipe", self.folder.path(&recipe_file)),
                    ("--split", split),
                    ("--out", root.clone().into()),
                ] {
                    if !flag.is_empty() {
                        arguments.push(flag.into());
                    }
                    arguments.push(path.display().to_string());
                }
                if let Some(shared) = self.tasks[task].takes {
                    let path = self.folder.path(self.tasks[shared].folder);
                    arguments.extend(["--phases-from".into(), path.display().to_string()]);
                }
            }
            _ => arguments.extend(["--resume".into(), root]),
        }
        arguments.push("--stop-with-stdin".into());
        if !is_run {
            arguments.push("--no-evaluate".into());
        } else if !self.options.pictures {
            arguments.push("--no-report".into());
        }
        arguments.extend(self.common.iter().cloned());
        self.tasks[task].state = State::Running(Process::start(&arguments, file)?);
        Ok(())
    }

    /// Takes note of every process that has ended.
    fn reap(&mut self) -> Result {
        for task in 0..self.tasks.len() {
            let log = self.log(task);
            let State::Running(process) = &mut self.tasks[task].state else { continue };
            let Some(fate) = process.fate(&log)? else { continue };
            let secs = process.elapsed().as_secs_f64();
            let (name, recipe) = (self.tasks[task].folder, self.tasks[task].recipe);
            let run = task.checked_sub(self.plan.shared.len());
            self.tasks[task].state = State::Over;
            match (fate, run) {
                (Fate::Interrupted, _) => continue,
                (Fate::Failed(why), _) => self.failed(task, &why)?,
                (Fate::Done, Some(_)) => match self.folder.progress(name, recipe)? {
                    Progress::Judged(record) => {
                        self.trained += self.tasks[task].epochs;
                        self.finished(task, &record)?;
                    }
                    _ => self.failed(task, "it ended without a test evaluation")?,
                },
                (Fate::Done, None) => {
                    self.trained += self.tasks[task].epochs;
                    self.tasks[task].state = State::Done;
                    let peak = self.peak(name);
                    self.budget.measured(&self.tasks[task].kind, peak);
                }
            }
            self.results.write(self.folder)?;
            self.say(task, secs);
        }
        Ok(())
    }

    fn peak(&self, name: &str) -> Option<f64> {
        let run = scant_train::RunFolder::open(&self.folder.path(name)).ok()?;
        run.read_record().ok()?.timing.peak_memory_mib
    }

    fn finished(&mut self, task: usize, record: &RunRecord) -> Result {
        self.tasks[task].state = State::Done;
        self.budget.measured(&self.tasks[task].kind, record.timing.peak_memory_mib);
        self.results.finish(task - self.plan.shared.len(), record);
        self.folder.tidy(self.tasks[task].folder, self.options.keep)?;
        self.drop_shared()
    }

    /// A run that failed takes nobody with it; shared phases take all who need them.
    fn failed(&mut self, task: usize, why: &str) -> Result {
        self.tasks[task].state = State::Over;
        if let Some(run) = task.checked_sub(self.plan.shared.len()) {
            self.results.fail(run, why);
            return Ok(());
        }
        let why = format!("{}: {why}", self.tasks[task].folder);
        for other in 0..self.tasks.len() {
            let t = &self.tasks[other];
            let begun = !matches!(self.folder.progress(t.folder, t.recipe)?, Progress::Nothing);
            if t.takes == Some(task) && waiting(t) && !begun {
                match other.checked_sub(self.plan.shared.len()) {
                    Some(run) => {
                        self.tasks[other].state = State::Over;
                        self.results.fail(run, &why);
                    }
                    None => self.failed(other, &why)?,
                }
            }
        }
        Ok(())
    }

    /// Removes shared phases that no run needs any more.
    fn drop_shared(&mut self) -> Result {
        if self.options.keep == Keep::All {
            return Ok(());
        }
        for shared in (0..self.plan.shared.len()).rev() {
            let needed = self.tasks.iter().enumerate().any(|(other, t)| {
                let is_run = other >= self.plan.shared.len();
                // Other shared phases need it as long as they are there to be needed.
                let open = !matches!(t.state, State::Done) && (is_run || self.leads_to_open(other));
                t.takes == Some(shared) && open
            });
            if !needed && matches!(self.tasks[shared].state, State::Done) {
                self.folder.tidy(self.tasks[shared].folder, Keep::Records)?;
                self.folder.remove(self.tasks[shared].folder)?;
            }
        }
        Ok(())
    }

    fn leads_to_open(&self, shared: usize) -> bool {
        self.tasks.iter().enumerate().any(|(other, t)| {
            t.takes == Some(shared)
                && !matches!(t.state, State::Done)
                && (other >= self.plan.shared.len() || self.leads_to_open(other))
        })
    }

    fn say(&self, task: usize, secs: f64) {
        let runs = &self.tasks[self.plan.shared.len()..];
        let over = runs.iter().filter(|t| matches!(t.state, State::Done | State::Over)).count();
        let all = runs.len();
        let what = match task.checked_sub(self.plan.shared.len()) {
            Some(run) => self.results.line(run),
            None => "trained".into(),
        };
        let mut text = format!("[{over}/{all}] {}: {what}, {secs:.0} s", self.tasks[task].folder);
        // Shared phases that nobody waits for are not trained.
        let left: usize = self
            .tasks
            .iter()
            .enumerate()
            .filter(|(i, t)| {
                let open = matches!(t.state, State::Waiting | State::Running(_));
                open && (*i >= self.plan.shared.len() || self.leads_to_open(*i))
            })
            .map(|(_, t)| t.epochs)
            .sum();
        if self.trained > 0 && left > 0 {
            let rate = self.clock.elapsed().as_secs_f64() / self.trained as f64;
            text += &format!("; about {} left", time(rate * left as f64));
        }
        self.session.say(text);
    }
}

/// What there is to start.
enum Next {
    Start(usize),
    /// Something, once something else has ended.
    Later,
    Nothing,
}

fn waiting(task: &Task<'_>) -> bool {
    matches!(task.state, State::Waiting)
}

fn time(secs: f64) -> String {
    match secs {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
