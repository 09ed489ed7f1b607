//! How much memory the process uses.

/// Largest resident size so far, MiB, where the system tells.
pub(crate) fn peak_mib() -> Option<f64> {
    status("VmHWM:")
}

/// Resident size now, MiB, where the system tells.
pub(crate) fn now_mib() -> Option<f64> {
    status("VmRSS:")
}

fn status(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with(key))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
