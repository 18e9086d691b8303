//! Who waits for a service, the most important and oldest first. Only the head of the line is kept
//! here; the rest are rows of an index, read when the head has been served.

use std::collections::{BTreeSet, HashMap};

use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;

/// Cases kept at the most; the others stay in the index.
pub const KEPT: usize = 1024;

/// A place in the line. Smaller comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueEntry {
    /// 9 minus the priority.
    pub rank: u8,
    pub since: Timestamp,
    pub case: CaseId,
}

impl QueueEntry {
    /// The ticket of a case that waits since then.
    pub fn new(priority: u8, since: Timestamp, case: CaseId) -> Self {
        Self { rank: 9u8.saturating_sub(priority), since, case }
    }
}

/// When the index was read, by how often somebody had been left to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRead(u64);

/// The head of the line.
#[derive(Debug, Clone, Default)]
pub struct WaitQueue {
    order: BTreeSet<QueueEntry>,
    by_case: HashMap<CaseId, QueueEntry>,
    /// There may be others in the index.
    more: bool,
    /// How often somebody was left to the index. What was read before the last of them does not say who is
    /// there.
    left: u64,
}

impl WaitQueue {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty() && !self.more
    }

    /// Whether the index has to be read to know who comes next.
    pub fn wants_more(&self) -> bool {
        self.order.is_empty() && self.more
    }

    /// There are, or may be, others in the index.
    pub fn expect_more(&mut self) {
        self.more = true;
        self.left += 1;
    }

    /// What is read of the index from now on knows of everybody who was left to it so far.
    pub fn reads(&self) -> IndexRead {
        IndexRead(self.left)
    }

    /// Whether a case is known to wait.
    pub fn contains(&self, case: CaseId) -> bool {
        self.by_case.contains_key(&case)
    }

    /// A case joins the line, or keeps the better of its two places.
    pub fn join(&mut self, ticket: QueueEntry) {
        if let Some(&known) = self.by_case.get(&ticket.case) {
            if known <= ticket {
                return;
            }
            self.order.remove(&known);
            self.by_case.remove(&ticket.case);
        }
        // whoever is not here is in the index, and older than who comes after the last of us
        let last = self.order.last().copied();
        let behind = last.is_none_or(|last| ticket > last);
        if behind && (self.more || self.order.len() >= KEPT) {
            self.expect_more();
            return;
        }
        self.insert(ticket);
        if self.order.len() > KEPT
            && let Some(last) = self.order.pop_last()
        {
            self.by_case.remove(&last.case);
            self.expect_more();
        }
    }

    /// What the index holds, in order; `complete` when there was no more to read.
    pub fn refill(
        &mut self,
        read: IndexRead,
        tickets: impl IntoIterator<Item = QueueEntry>,
        complete: bool,
    ) {
        self.more = !complete || read != self.reads();
        for ticket in tickets {
            if self.order.len() >= KEPT {
                self.more = true;
                return;
            }
            if !self.by_case.contains_key(&ticket.case) {
                self.insert(ticket);
            }
        }
    }

    /// Takes the first, but `except` only if nobody else is there.
    pub fn take(&mut self, except: Option<CaseId>) -> Option<CaseId> {
        let other = self.order.iter().find(|t| Some(t.case) != except);
        let ticket = *other.or_else(|| self.order.first())?;
        self.leave(ticket.case);
        Some(ticket.case)
    }

    /// A case leaves the line.
    pub fn leave(&mut self, case: CaseId) {
        if let Some(ticket) = self.by_case.remove(&case) {
            self.order.remove(&ticket);
        }
    }

    fn insert(&mut self, ticket: QueueEntry) {
        self.order.insert(ticket);
        self.by_case.insert(ticket.case, ticket);
    }
}
