//! Worker threads that stay a bounded number of cases ahead.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::order::Draw;
use super::prepare::{Prepared, Preparer};
use super::{Batch, LoadError};

/// What workers and consumer agree on.
#[derive(Default)]
struct Desk {
    /// Next place in the order that no worker has taken.
    next: usize,
    /// Places the consumer has received.
    received: usize,
    /// Finished cases by place.
    done: BTreeMap<usize, Result<Prepared, LoadError>>,
    /// The consumer is gone.
    closed: bool,
}

struct Shared {
    preparer: Arc<Preparer>,
    draws: Vec<Draw>,
    epoch: u64,
    /// Most cases between the consumer and the foremost worker.
    ahead: usize,
    desk: Mutex<Desk>,
    changed: Condvar,
}

impl Shared {
    /// A poisoned desk is still in order: every change to it is a single step.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut desk = self.desk();
            while !desk.closed
                && desk.next < self.draws.len()
                && desk.next >= desk.received + self.ahead
            {
                desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
            if desk.closed || desk.next >= self.draws.len() {
                return;
            }
            let place = desk.next;
            desk.next += 1;
            drop(desk);
            let case = self.preparer.prepare(self.epoch, self.draws[place]);
            self.desk().done.insert(place, case);
            self.changed.notify_all();
        }
    }

    /// The case at the consumer's place.
    fn receive(&self) -> Result<Prepared, LoadError> {
        let mut desk = self.desk();
        loop {
            let place = desk.received;
            if let Some(case) = desk.done.remove(&place) {
                desk.received += 1;
                drop(desk);
                self.changed.notify_all();
                return case;
            }
            if desk.next <= place {
                // No worker has taken it (there may be none): do it here.
                desk.next = place + 1;
                desk.received += 1;
                drop(desk);
                return self.preparer.prepare(self.epoch, self.draws[place]);
            }
            desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The batches of one epoch, in order.
pub struct EpochBatches {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    left: usize,
}

impl EpochBatches {
    pub(super) fn start(preparer: Arc<Preparer>, draws: Vec<Draw>, epoch: u64) -> Self {
        let (batch, wanted) = (preparer.config.batch, preparer.config.workers);
        let left = draws.len();
        let shared = Arc::new(Shared {
            preparer,
            draws,
            epoch,
            ahead: (2 * batch).max(2 * wanted),
            desk: Mutex::default(),
            changed: Condvar::new(),
        });
        let workers = (0..wanted.min(left))
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                // A machine that has no thread left does with fewer; the consumer helps out.
                Builder::new().name(format!("batch-{i}")).spawn(move || shared.work()).ok()
            })
            .collect();
        Self { shared, workers, left }
    }

    /// Stops the workers and waits for the cases they are working on.
    fn close(&mut self) {
        self.left = 0;
        self.shared.desk().closed = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // Workers turn panics into errors, so there is nothing to learn from joining.
            let _ = worker.join();
        }
    }
}

impl Iterator for EpochBatches {
    type Item = Result<Batch, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let count = self.shared.preparer.config.batch.min(self.left);
        self.left -= count;
        let cases: Result<Vec<Prepared>, LoadError> =
            (0..count).map(|_| self.shared.receive()).collect();
        let batch = cases.and_then(Batch::stack);
        if batch.is_err() {
            self.close();
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let batches = self.left.div_ceil(self.shared.preparer.config.batch);
        // Exact unless a case fails.
        (usize::from(batches > 0), Some(batches))
    }
}

impl Drop for EpochBatches {
    fn drop(&mut self) {
        self.close();
    }
}
