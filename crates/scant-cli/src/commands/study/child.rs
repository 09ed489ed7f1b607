//! A run of a study in a process of its own.
//!
//! Its standard error goes to a file that is locked as long as the process lives, so that nobody else
//! starts the same run, even after the study was killed and the run not yet. Its standard input is a
//! pipe from the study: when that ends, however it ends, the run stops with a checkpoint.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::exit::{Failure, INTERRUPTED, Result, unwritable};

/// A process at work.
pub(crate) struct Process {
    child: Child,
    /// Held open; the run stops when it is dropped.
    stdin: Option<ChildStdin>,
    started: Instant,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// It was asked to stop, and left a checkpoint where it could.
    Interrupted,
    Failed(String),
}

/// The lock on a run, or nothing while another process is at it.
pub(crate) fn lock(log: &Path) -> Result<Option<File>> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(log);
    let file = file.map_err(|e| unwritable(log, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => {
            Err(Failure::failed(format!("{} cannot be locked: {e}", log.display())))
        }
    }
}

impl Process {
    /// Starts this program with other arguments; its messages go to `log`, which is empty before.
    pub(crate) fn start(arguments: &[String], log: File) -> Result<Self> {
        log.set_len(0).map_err(|e| Failure::failed(format!("a log cannot be emptied: {e}")))?;
        let program = std::env::current_exe()
            .map_err(|e| Failure::failed(format!("this program cannot be found: {e}")))?;
        let mut child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| {
                Failure::failed(format!("{} cannot be started: {e}", program.display()))
            })?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, started: Instant::now() })
    }

    /// Asks the run to stop after its batch.
    pub(crate) fn stop(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How it ended, if it has.
    pub(crate) fn fate(&mut self, log: &Path) -> Result<Option<Fate>> {
        let status = self.child.try_wait();
        let status = status.map_err(|e| Failure::failed(format!("a run is lost: {e}")))?;
        Ok(status.map(|status| {
            if status.success() {
                Fate::Done
            } else if interrupted(status) {
                Fate::Interrupted
            } else {
                Fate::Failed(reason(log, status))
            }
        }))
    }
}

fn interrupted(status: ExitStatus) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        // Ctrl-C, a closed terminal or a request to end, before the run listens to them.
        if matches!(status.signal(), Some(1 | 2 | 15)) {
            return true;
        }
    }
    status.code() == Some(i32::from(INTERRUPTED))
}

/// The last thing that was said, from where the error begins.
fn reason(log: &Path, status: ExitStatus) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let error = lines
        .iter()
        .rev()
        .find_map(|l| l.strip_prefix("scant: ").or_else(|| l.strip_prefix("error: ")));
    match (error, status.code()) {
        (Some(error), _) => error.to_owned(),
        (None, Some(code)) => {
            let last = lines.last().copied().unwrap_or("it said nothing");
            format!("exit code {code}: {last}")
        }
        (None, None) => {
            format!("ended by a signal ({status}); perhaps there was too little memory")
        }
    }
}
