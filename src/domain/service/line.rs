//! Who waits for a service, the most important and oldest first.

use crate::domain::ids::CaseId;
use crate::domain::line::{Entry, Line};
use crate::domain::time::Timestamp;

pub use crate::domain::line::{IndexRead, KEPT};

/// A place in the line. Smaller comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueEntry {
    /// 9 minus the priority.
    pub rank: u8,
    pub since: Timestamp,
    pub case: CaseId,
}

/// The head of the line.
pub type WaitQueue = Line<QueueEntry>;

impl QueueEntry {
    /// The ticket of a case that waits since then.
    pub fn new(priority: u8, since: Timestamp, case: CaseId) -> Self {
        Self { rank: 9u8.saturating_sub(priority), since, case }
    }
}

impl Entry for QueueEntry {
    type Id = CaseId;

    fn id(&self) -> CaseId {
        self.case
    }
}
