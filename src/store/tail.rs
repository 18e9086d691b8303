//! What was committed, handed on in order to the one who keeps the views.
//!
//! The committer never waits for the reader: when too much has queued up, the queue is dropped and
//! the reader goes back to the journal, which has it all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Records that wait at the most; a reader further behind reads the journal instead.
const QUEUE_MAX: usize = 50_000;

/// A committed record.
#[derive(Clone, Debug)]
pub struct Committed<N> {
    pub position: u64,
    pub record: Arc<[u8]>,
    /// What whoever appended it wants the reader to know, so that nothing is folded twice.
    pub note: Option<N>,
}

/// The queue between committer and reader.
pub struct Tail<N> {
    queue: Mutex<VecDeque<Committed<N>>>,
    arrived: Notify,
}

impl<N> Default for Tail<N> {
    fn default() -> Self {
        Self { queue: Mutex::new(VecDeque::new()), arrived: Notify::new() }
    }
}

impl<N> Tail<N> {
    /// Adds what one commit brought.
    pub fn push(&self, committed: Vec<Committed<N>>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() + committed.len() > QUEUE_MAX {
            queue.clear();
        }
        queue.extend(committed);
        drop(queue);
        self.arrived.notify_one();
    }

    /// Everything that has arrived, up to `most`; waits until there is something.
    pub async fn take(&self, most: usize) -> Vec<Committed<N>> {
        loop {
            let taken = self.try_take(most);
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// Everything that has arrived, up to `most`, without waiting.
    pub fn try_take(&self, most: usize) -> Vec<Committed<N>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let count = queue.len().min(most);
        queue.drain(..count).collect()
    }

    /// Records that wait.
    pub fn len(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
