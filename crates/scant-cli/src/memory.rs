//! How much memory the process uses.

/// Largest resident size so far, MiB, where the system tells.
pub(crate) fn peak_mib() -> Option<f64> {
    status("VmHWM:")
}

/// Resident size now, MiB, where the system tells.
pub(crate) fn now_mib() -> Option<f64> {
    status("VmRSS:")
}

/// What new programs could take without swapping, MiB, where the system tells.
pub(crate) fn available_mib() -> Option<f64> {
    line_of("/proc/meminfo", "MemAvailable:")
}

fn status(key: &str) -> Option<f64> {
    line_of("/proc/self/status", key)
}

fn line_of(file: &str, key: &str) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
