//! The folder of a study.
//!
//! ```text
//! OUT/study.toml      the study, every axis in full
//!     pool.toml       the pool, with absolute paths
//!     splits/         one file per split
//!     study.json      which runs there are and how far they are
//!     results.csv     a row per finished run
//!     cases.csv       a row per case of a finished run
//!     runs/METHOD/POINT/sSEED/      a run folder; while it runs, its recipe and log beside it
//!     shared/sSEED-CHECKSUM/        phases that several runs begin with, as long as one needs them
//!     report.html
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use scant_core::{RunRecord, StudyRecord};
use scant_train::study::{Keep, StudyError, StudyFile};
use scant_train::{Recipe, RunFolder};

use super::plan::StudyPlan;
use crate::exit::{Failure, Result, unwritable};

/// A folder that no other study works in.
pub(crate) struct StudyFolder {
    root: PathBuf,
    /// Locked as long as it is open; the system lets go of it however this process ends.
    _lock: File,
}

impl StudyFolder {
    /// Makes the folder, or goes on in one that was begun with the same study.
    pub(crate) fn open(root: &Path, file: &StudyFile, pool: &str) -> Result<Self> {
        let known = root.join("study.toml");
        if !known.is_file() && std::fs::read_dir(root).is_ok_and(|mut d| d.next().is_some()) {
            return Err(Failure::usage(format!(
                "{} is not empty and holds no study; choose another folder with -o",
                root.display()
            )));
        }
        std::fs::create_dir_all(root).map_err(|e| unwritable(root, &e))?;
        let lock = root.join(".lock");
        let lock_file = File::create(&lock).map_err(|e| unwritable(&lock, &e))?;
        if lock_file.try_lock().is_err() {
            return Err(Failure::usage(format!(
                "another scant works on the study in {}; wait for it or choose another folder with -o",
                root.display()
            )));
        }
        let folder = Self { root: root.into(), _lock: lock_file };
        folder.clear_remains()?;
        if known.is_file() {
            let before = StudyFile::parse(&folder.read("study.toml")?)?;
            file.continues(&before)?;
            if folder.read("pool.toml")? != pool {
                return Err(StudyError::Changed("the pool is another one now".into()).into());
            }
        }
        folder.write("pool.toml", pool)?;
        // Last, because it is what makes the folder a study.
        folder.write("study.toml", &file.to_toml())?;
        Ok(folder)
    }

    /// Removes the temporary files of a killed process.
    fn clear_remains(&self) -> Result {
        let fail = |e| unwritable(&self.root, &e);
        for entry in std::fs::read_dir(&self.root).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') && name.ends_with(".tmp") {
                remove(&path)?;
            }
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn pool(&self) -> PathBuf {
        self.path("pool.toml")
    }

    pub(crate) fn split(&self, name: &str) -> PathBuf {
        self.path("splits").join(name)
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        std::fs::read_to_string(&path)
            .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result {
        Ok(scant_io::write_atomic(&self.path(name), text.as_bytes())?)
    }

    /// Writes every split that a run needs; one that is there already stays as it is.
    pub(crate) fn write_splits(&self, plan: &StudyPlan) -> Result {
        let folder = self.path("splits");
        std::fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, &e))?;
        for (name, split) in &plan.splits {
            if !self.split(name).is_file() {
                split.write(&self.split(name))?;
            }
        }
        Ok(())
    }

    /// The record of a study that was begun here.
    pub(crate) fn record(&self) -> Result<Option<StudyRecord>> {
        if !self.path("study.json").is_file() {
            return Ok(None);
        }
        serde_json::from_str(&self.read("study.json")?).map(Some).map_err(|e| {
            let path = self.path("study.json");
            Failure::failed(format!(
                "{} is damaged ({e}); remove it: finished runs are found again, failed ones are run again",
                path.display()
            ))
        })
    }

    pub(crate) fn write_record(&self, record: &StudyRecord) -> Result {
        let json = serde_json::to_string_pretty(record).map_err(Failure::failed)?;
        self.write("study.json", &json)
    }

    /// How far a run is, by what its folder holds.
    pub(crate) fn progress(&self, name: &str, recipe: &Recipe) -> Result<Progress> {
        let root = self.path(name);
        let Ok(run) = RunFolder::open(&root) else { return Ok(Progress::Nothing) };
        let text = std::fs::read_to_string(run.recipe()).map_err(Failure::failed)?;
        if Recipe::parse(&text, &[])? != *recipe {
            return Err(StudyError::Changed(format!("{name} was trained by another recipe")).into());
        }
        if let Ok(record) = run.read_record()
            && record.evaluations.iter().any(|e| e.part == "test")
        {
            return Ok(Progress::Judged(Box::new(record)));
        }
        if !run.last().is_file() {
            return Ok(Progress::Nothing);
        }
        Ok(if run.model().is_file() { Progress::Trained } else { Progress::Begun })
    }

    /// Removes what is not kept of a finished run.
    pub(crate) fn tidy(&self, name: &str, keep: Keep) -> Result {
        let root = self.path(name);
        let mut gone: Vec<PathBuf> = Vec::new();
        if keep != Keep::All {
            gone.push(root.join("checkpoints"));
        }
        if keep == Keep::Records {
            gone.extend([root.join("model.safetensors"), root.join("predictions")]);
        }
        let beside = |what: &str| PathBuf::from(format!("{}.{what}", root.display()));
        gone.extend([beside("recipe.toml"), beside("log")]);
        gone.iter().try_for_each(|path| remove(path))
    }

    /// Removes a folder of the study with everything in it.
    pub(crate) fn remove(&self, name: &str) -> Result {
        remove(&self.path(name))
    }
}

/// How far a run is.
pub(crate) enum Progress {
    /// There is nothing to go on from.
    Nothing,
    /// There is a checkpoint.
    Begun,
    /// It is trained and not judged.
    Trained,
    /// There is a test evaluation.
    Judged(Box<RunRecord>),
}

fn remove(path: &Path) -> Result {
    let gone = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else if path.exists() {
        std::fs::remove_file(path)
    } else {
        Ok(())
    };
    gone.map_err(|e| Failure::failed(format!("{} cannot be removed: {e}", path.display())))
}
