//! Places in the line of a queue.

use super::job::JobId;
use crate::domain::line::Entry;
use crate::domain::time::Timestamp;

/// A job in the line. Smaller comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    pub place: Timestamp,
    pub id: JobId,
    pub queued_at: Timestamp,
    pub lost: u32,
}

/// A job that has failed, and is given to nobody before an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repeating {
    pub from: Timestamp,
    pub waiting: Waiting,
}

impl Entry for Waiting {
    type Id = JobId;

    fn id(&self) -> JobId {
        self.id
    }
}

impl Entry for Repeating {
    type Id = JobId;

    fn id(&self) -> JobId {
        self.waiting.id
    }
}
