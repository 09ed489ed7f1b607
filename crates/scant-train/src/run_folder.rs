//! The folder a run leaves behind. Every file is written under a temporary name and renamed, so a
//! kill at any moment leaves whole files only.

use std::path::{Path, PathBuf};

use scant_core::{EpochRecord, RunRecord};

use crate::TrainError;
use crate::tensorboard::EventFile;

/// Paths and writers of a run folder (layout: `docs/run-folder.md`).
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// Makes a new run folder.
    ///
    /// # Errors
    /// When the folder exists with anything in it, or cannot be made.
    pub fn create(root: &Path) -> Result<Self, TrainError> {
        let fail = |reason: String| TrainError::RunFolder { path: root.into(), reason };
        if root.exists() {
            let mut entries = std::fs::read_dir(root).map_err(|e| {
                fail(format!("exists and is not a readable folder ({e}); choose another with -o"))
            })?;
            if entries.next().is_some() {
                return Err(fail(
                    "exists already; continue it with --resume, or choose another folder with -o"
                        .into(),
                ));
            }
        }
        let folder = Self { root: root.into() };
        std::fs::create_dir_all(folder.checkpoints())
            .map_err(|e| fail(format!("cannot be made: {e}; choose a writable place with -o")))?;
        Ok(folder)
    }

    /// Opens the folder of a run that was started before.
    ///
    /// # Errors
    /// When there is no run there.
    pub fn open(root: &Path) -> Result<Self, TrainError> {
        let folder = Self { root: root.into() };
        if folder.recipe().is_file() {
            return Ok(folder);
        }
        let reason = "is not a run folder (no recipe.toml); check the path".into();
        Err(TrainError::RunFolder { path: root.into(), reason })
    }

    /// Removes the temporary files that a killed process left in the middle of writing. Not to be
    /// called while another process writes to the run.
    ///
    /// # Errors
    /// When the folder cannot be listed or such a file cannot be removed.
    pub fn clear_remains(&self) -> Result<(), TrainError> {
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let fail = |e: std::io::Error| TrainError::RunFolder {
                path: folder.clone(),
                reason: format!("cannot be cleared of temporary files: {e}; check its permissions"),
            };
            for entry in std::fs::read_dir(&folder).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if entry.file_type().map_err(fail)?.is_dir() {
                    folders.push(entry.path());
                } else if name.starts_with('.') && name.ends_with(".tmp") {
                    std::fs::remove_file(entry.path()).map_err(fail)?;
                }
            }
        }
        Ok(())
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `recipe.toml`, filled in.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        self.root.join("recipe.toml")
    }

    /// `pool.toml`, as used, with absolute paths.
    #[must_use]
    pub fn pool(&self) -> PathBuf {
        self.root.join("pool.toml")
    }

    /// `split.toml`
    #[must_use]
    pub fn split(&self) -> PathBuf {
        self.root.join("split.toml")
    }

    /// `record.json`
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.root.join("record.json")
    }

    /// `model.safetensors`, the best weights.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.root.join("model.safetensors")
    }

    /// `report.html`
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// `checkpoints/`
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `checkpoints/last.safetensors`, where `--resume` continues.
    #[must_use]
    pub fn last(&self) -> PathBuf {
        self.checkpoints().join("last.safetensors")
    }

    /// Best weights of a phase, by position.
    #[must_use]
    pub fn best(&self, phase: usize) -> PathBuf {
        self.checkpoints().join(format!("best-{phase}.safetensors"))
    }

    /// Writes a text file of the run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, text: &str) -> Result<(), TrainError> {
        Ok(scant_io::write_atomic(path, text.as_bytes())?)
    }

    /// Writes `record.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Panics
    /// Never: a record is plain data.
    pub fn write_record(&self, record: &RunRecord) -> Result<(), TrainError> {
        let json = serde_json::to_string_pretty(record).expect("a record is plain data");
        self.write(&self.record(), &json)
    }

    /// Reads `record.json`.
    ///
    /// # Errors
    /// When it is missing or not a record.
    pub fn read_record(&self) -> Result<RunRecord, TrainError> {
        let path = self.record();
        let fail = |reason: String| TrainError::RunFolder { path: path.clone(), reason };
        let bytes = std::fs::read(&path).map_err(|e| fail(format!("cannot be read: {e}")))?;
        serde_json::from_slice(&bytes)
            .map_err(|e| fail(format!("is damaged ({e}); train again, or evaluate the model anew")))
    }

    /// Writes `metrics.jsonl` and the TensorBoard event file from everything logged so far. Both are
    /// small and written whole, so that a resumed run has no epoch twice.
    pub(crate) fn write_logs(&self, record: &RunRecord, wall_secs: f64) -> Result<(), TrainError> {
        let mut lines = String::new();
        let mut events = EventFile::new(wall_secs);
        for phase in &record.phases {
            for epoch in &phase.epochs {
                let mut line = serde_json::to_value(epoch).expect("an epoch is plain data");
                line["phase"] = phase.name.clone().into();
                lines.push_str(&line.to_string());
                lines.push('\n');
                events.scalars(wall_secs, epoch.step, &scalars(epoch));
            }
        }
        self.write(&self.root.join("metrics.jsonl"), &lines)?;
        let path = self.root.join("events.out.tfevents.0.scant");
        Ok(scant_io::write_atomic(&path, events.as_bytes())?)
    }
}

fn scalars(epoch: &EpochRecord) -> Vec<(String, f64)> {
    let mut out = vec![("lr".to_owned(), epoch.lr), ("grad_norm".to_owned(), epoch.grad_norm)];
    for (group, values) in
        [("loss", &epoch.loss), ("alpha", &epoch.alpha), ("discrepancy", &epoch.discrepancy)]
    {
        out.extend(values.iter().map(|(k, v)| (format!("{group}/{k}"), *v)));
    }
    out.extend(epoch.val_dice.map(|d| ("validation/dice".to_owned(), d)));
    out.extend(epoch.val_dice_by_source.iter().map(|(k, v)| (format!("validation/dice/{k}"), *v)));
    out
}
