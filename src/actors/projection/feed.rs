//! The live feed: what changed lately, for whoever follows. A ring of the last changes; who falls
//! behind it has to look at the lists again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::case::assignments::Assigned;
use crate::domain::case::summary::Summary;
use crate::domain::ids::{CaseId, DeadId};
use crate::domain::time::Timestamp;
pub use crate::store::journal::RecordCursor;

/// Changes kept.
const KEPT: usize = 4096;

/// A change.
#[derive(Debug)]
pub struct FeedChange {
    /// The place in the journal up to which it is told.
    pub at: RecordCursor,
    pub what: Changed,
}

/// What changed.
#[derive(Debug)]
pub enum Changed {
    /// A case; what is large about it is left out.
    Case(Box<Summary>),
    Assignment(Box<Assigned>),
    Service {
        name: Arc<str>,
        state: &'static str,
        at: Timestamp,
    },
    /// How a queue stands; no record of its own.
    Queue(QueueSeen),
    /// How a schedule stands; no record that the views have.
    Schedule(ScheduleSeen),
    DeadLetter {
        id: DeadId,
        case: CaseId,
        workflow: String,
        state: &'static str,
        at: Timestamp,
    },
}

/// How a queue stood when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSeen {
    pub name: Arc<str>,
    /// Jobs that are not leased.
    pub depth: u64,
    pub leased: u64,
    pub is_paused: bool,
    pub at: Timestamp,
}

/// How a schedule stood when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleSeen {
    pub id: Arc<str>,
    pub workflow: String,
    pub state: &'static str,
    pub revision: u64,
    pub at: Timestamp,
}

/// The feed.
pub struct Feed {
    ring: Mutex<Ring>,
    last: watch::Sender<u64>,
}

struct Ring {
    changes: VecDeque<Arc<FeedChange>>,
    /// Everything after this number is in the ring.
    complete_after: u64,
    /// Number of the last change.
    last: u64,
}

/// A place in the feed, to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedCursor(u64);

/// What has come since a place.
#[derive(Debug)]
pub enum Since {
    Changes(Vec<Arc<FeedChange>>, FeedCursor),
    /// Some of it is not kept any more.
    Reset(FeedCursor),
}

impl Default for Feed {
    fn default() -> Self {
        let ring = Ring { changes: VecDeque::new(), complete_after: 0, last: 0 };
        Self { ring: Mutex::new(ring), last: watch::Sender::new(0) }
    }
}

impl Feed {
    /// Adds changes.
    pub fn push(&self, changes: Vec<FeedChange>) {
        if changes.is_empty() {
            return;
        }
        let mut ring = self.lock();
        for change in changes {
            ring.last += 1;
            ring.changes.push_back(Arc::new(change));
        }
        while ring.changes.len() > KEPT {
            ring.changes.pop_front();
        }
        ring.complete_after = ring.last - ring.changes.len() as u64;
        let last = ring.last;
        drop(ring);
        self.last.send_replace(last);
    }

    /// Adds a change that no record tells of, at the place of the last that one does. False: there is none
    /// yet, and nothing was added.
    pub fn push_beside(&self, what: Changed) -> bool {
        let last = self.lock().changes.back().map(|change| change.at);
        let Some(at) = last else { return false };
        self.push(vec![FeedChange { at, what }]);
        true
    }

    /// What came meanwhile is told to nobody: whoever follows starts over.
    pub fn start_over(&self) {
        let mut ring = self.lock();
        ring.changes.clear();
        ring.last += 1;
        ring.complete_after = ring.last;
        let last = ring.last;
        drop(ring);
        self.last.send_replace(last);
    }

    /// Where the feed is now.
    pub fn now(&self) -> FeedCursor {
        FeedCursor(self.lock().last)
    }

    /// The place behind everything up to there, if that is still known.
    pub fn after(&self, at: RecordCursor) -> Option<FeedCursor> {
        let ring = self.lock();
        let later = ring.changes.iter().filter(|change| change.at > at).count() as u64;
        let complete = ring.changes.front().is_some_and(|first| first.at <= at);
        complete.then(|| FeedCursor(ring.last - later))
    }

    /// What has come since a place.
    pub fn since(&self, place: FeedCursor) -> Since {
        let ring = self.lock();
        let now = FeedCursor(ring.last);
        if place.0 < ring.complete_after {
            return Since::Reset(now);
        }
        let skipped = (place.0 - ring.complete_after) as usize;
        Since::Changes(ring.changes.iter().skip(skipped).cloned().collect(), now)
    }

    /// Waits until something has come since a place.
    pub async fn beyond(&self, place: FeedCursor) {
        // an error means that the process is ending
        let _ = self.last.subscribe().wait_for(|last| *last > place.0).await;
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(position: u64) -> FeedChange {
        let what =
            Changed::Service { name: "x".into(), state: "open", at: Timestamp(position as i64) };
        FeedChange { at: RecordCursor(position), what }
    }

    #[test]
    fn who_falls_behind_is_told() {
        let feed = Feed::default();
        let start = feed.now();
        feed.push((1..=10).map(change).collect());
        let Since::Changes(changes, place) = feed.since(start) else { panic!() };
        assert_eq!(changes.len(), 10);
        let Since::Changes(changes, _) = feed.since(feed.after(RecordCursor(7)).unwrap()) else {
            panic!()
        };
        assert_eq!(changes.iter().map(|c| c.at.0).collect::<Vec<_>>(), [8, 9, 10]);
        assert!(feed.after(RecordCursor(0)).is_none());
        feed.push((11..=KEPT as u64 + 11).map(change).collect());
        assert!(matches!(feed.since(place), Since::Reset(_)));
        assert!(feed.after(RecordCursor(5)).is_none());
        let place = feed.now();
        feed.start_over();
        let Since::Reset(place) = feed.since(place) else { panic!() };
        assert!(matches!(feed.since(place), Since::Changes(changes, _) if changes.is_empty()));
    }
}
