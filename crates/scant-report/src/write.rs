//! From run folders to a file on disk.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::{ReportError, load_run, render};

/// Reads `record.json` of each run folder and writes one report to `out`.
///
/// The page is written to a temporary file beside `out` and renamed, so `out` is either the old
/// page or the whole new one. Missing parent folders are created.
///
/// # Errors
/// When no folder is given, a record cannot be read or understood, or `out` cannot be written.
pub fn write_report(run_folders: &[PathBuf], out: &Path) -> Result<(), ReportError> {
    let runs = run_folders.iter().map(|f| load_run(f)).collect::<Result<Vec<_>, _>>()?;
    write_file(out, &render(&runs)?)
}

/// Writes `text` to a temporary file beside `out` and renames it.
pub(crate) fn write_file(out: &Path, text: &str) -> Result<(), ReportError> {
    let failed = |source| ReportError::Write { path: out.to_path_buf(), source };
    let folder = match out.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".report-").suffix(".html.tmp");
    // Temporary files are private by default; a report is as readable as any other file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(out).map_err(|e| failed(e.error))?;
    Ok(())
}
