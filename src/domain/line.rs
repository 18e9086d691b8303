//! A line whose head alone is kept here, first come first; the rest are rows of an index, read when the
//! head has been served. Cases stand in one before a service, jobs in one of their queue.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Entries kept at the most; the others stay in the index.
pub const KEPT: usize = 1024;

/// A place in a line. Smaller comes first.
pub trait Entry: Copy + Ord {
    /// What stands there, once in a line.
    type Id: Copy + Eq + Hash;

    /// What stands there.
    fn id(&self) -> Self::Id;
}

/// When the index was read, by how often somebody had been left to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRead(u64);

/// The head of a line.
#[derive(Debug, Clone)]
pub struct Line<E: Entry> {
    order: BTreeSet<E>,
    by_id: HashMap<E::Id, E>,
    /// There may be others in the index.
    more: bool,
    /// How often somebody was left to the index. What was read before the last of them does not say who is
    /// there.
    left: u64,
}

impl<E: Entry> Default for Line<E> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), by_id: HashMap::new(), more: false, left: 0 }
    }
}

impl<E: Entry> Line<E> {
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

    /// Whether somebody is known to wait.
    pub fn contains(&self, id: E::Id) -> bool {
        self.by_id.contains_key(&id)
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Those who are known, in order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.order.iter()
    }

    /// Somebody joins the line, or keeps the better of two places.
    pub fn join(&mut self, ticket: E) {
        if let Some(&known) = self.by_id.get(&ticket.id()) {
            if known <= ticket {
                return;
            }
            self.order.remove(&known);
            self.by_id.remove(&ticket.id());
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
            self.by_id.remove(&last.id());
            self.expect_more();
        }
    }

    /// What the index holds, in order; `complete` when there was no more to read.
    pub fn refill(
        &mut self,
        read: IndexRead,
        tickets: impl IntoIterator<Item = E>,
        complete: bool,
    ) {
        self.more = !complete || read != self.reads();
        for ticket in tickets {
            if self.order.len() >= KEPT {
                self.more = true;
                return;
            }
            if !self.by_id.contains_key(&ticket.id()) {
                self.insert(ticket);
            }
        }
    }

    /// Takes the first, but `except` only if nobody else is there.
    pub fn take(&mut self, except: Option<E::Id>) -> Option<E::Id> {
        let other = self.order.iter().find(|t| Some(t.id()) != except);
        let ticket = *other.or_else(|| self.order.first())?;
        self.leave(ticket.id());
        Some(ticket.id())
    }

    /// Somebody leaves the line.
    pub fn leave(&mut self, id: E::Id) {
        if let Some(ticket) = self.by_id.remove(&id) {
            self.order.remove(&ticket);
        }
    }

    fn insert(&mut self, ticket: E) {
        self.order.insert(ticket);
        self.by_id.insert(ticket.id(), ticket);
    }
}
