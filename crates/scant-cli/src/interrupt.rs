//! Ctrl-C asks the run to stop after the current batch; a second one ends the program at once.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// The flag that is set when the user asks to stop.
pub(crate) fn flag() -> &'static AtomicBool {
    INSTALLED.get_or_init(|| {
        let handler = || {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(crate::exit::INTERRUPTED));
            }
            eprintln!("\nstopping after this batch, with a checkpoint (once more to stop at once)");
        };
        if let Err(e) = ctrlc::set_handler(handler) {
            tracing::warn!("Ctrl-C will stop without a checkpoint: {e}");
        }
    });
    &STOP
}

/// Asks to stop as well once standard input ends: a child whose parent is gone, killed or not, must
/// not go on unseen.
pub(crate) fn when_stdin_ends() {
    std::thread::spawn(|| {
        let mut ignored = [0; 64];
        while std::io::stdin().read(&mut ignored).is_ok_and(|n| n > 0) {}
        STOP.store(true, Ordering::Relaxed);
    });
}
