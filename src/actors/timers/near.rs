//! The instants that are near.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;

/// Milliseconds that the memory looks ahead.
pub const AHEAD: i64 = 60_000;

/// Instants kept in memory at the most; the horizon comes nearer when there are more.
pub const KEPT: usize = 50_000;

/// The instants that are near.
pub struct Timers {
    near: Mutex<Near>,
    /// The first instant has changed.
    pub sooner: Notify,
}

struct Near {
    instants: BTreeSet<(Timestamp, CaseId)>,
    /// All instants before this one are here.
    horizon: Timestamp,
    /// Up to where the index is being read. What is noted meanwhile is kept here, since it may be missing
    /// there.
    reading: Timestamp,
}

impl Default for Timers {
    fn default() -> Self {
        let (horizon, reading) = (Timestamp(0), Timestamp(0));
        let near = Near { instants: BTreeSet::new(), horizon, reading };
        Self { near: Mutex::new(near), sooner: Notify::new() }
    }
}

impl Timers {
    /// A case has to be woken at this instant. Those beyond the horizon are left to the index.
    pub fn note(&self, due: Timestamp, case: CaseId) {
        let mut near = self.lock();
        if due >= near.horizon.max(near.reading) {
            return;
        }
        let first = near.instants.first().copied();
        near.instants.insert((due, case));
        near.keep_bound();
        drop(near);
        if first.is_none_or(|(at, _)| due < at) {
            self.sooner.notify_one();
        }
    }

    /// The cases that are due.
    pub fn take_due(&self, now: Timestamp, most: usize) -> Vec<CaseId> {
        let mut near = self.lock();
        let mut due = Vec::new();
        while due.len() < most
            && let Some(first) = near.instants.first().copied().filter(|(at, _)| *at <= now)
        {
            near.instants.remove(&first);
            due.push(first.1);
        }
        due
    }

    /// When to look again.
    pub fn next(&self) -> Timestamp {
        let near = self.lock();
        let refill = near.horizon.plus(-AHEAD / 2);
        match near.instants.first() {
            Some((at, _)) if near.is_rather_full() => *at,
            Some((at, _)) => (*at).min(refill),
            None => refill,
        }
    }

    /// Whether the index has to be read.
    pub fn wants_more(&self, now: Timestamp) -> bool {
        let near = self.lock();
        near.horizon <= now.plus(AHEAD / 2) && !near.is_rather_full()
    }

    /// The index is about to be read up to there.
    pub fn reads(&self, until: Timestamp) {
        self.lock().reading = until;
    }

    /// What the index holds up to the new horizon.
    pub fn refill(&self, instants: Vec<(Timestamp, CaseId)>, horizon: Timestamp) {
        let mut near = self.lock();
        (near.horizon, near.reading) = (horizon, Timestamp(0));
        near.instants.extend(instants);
        near.keep_bound();
    }

    fn lock(&self) -> MutexGuard<'_, Near> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Near {
    /// Enough is here: the index is read again when half of it is gone.
    fn is_rather_full(&self) -> bool {
        self.instants.len() > KEPT / 2
    }

    fn keep_bound(&mut self) {
        while self.instants.len() > KEPT
            && let Some((at, _)) = self.instants.pop_last()
        {
            self.horizon = self.horizon.min(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Bits;

    fn case(n: u8) -> CaseId {
        CaseId(Bits([n; 16]))
    }

    #[test]
    fn near_instants_are_kept_and_far_ones_left_to_the_index() {
        let timers = Timers::default();
        assert!(timers.wants_more(Timestamp(1000)));
        timers.refill(vec![(Timestamp(2000), case(1))], Timestamp(61_000));
        timers.note(Timestamp(1500), case(2));
        timers.note(Timestamp(61_000), case(3));
        assert_eq!(timers.next(), Timestamp(1500));
        assert_eq!(timers.take_due(Timestamp(1999), 10), [case(2)]);
        assert_eq!(timers.take_due(Timestamp(70_000), 10), [case(1)]);
        assert!(timers.wants_more(Timestamp(31_000)));
    }

    #[test]
    fn what_is_left_to_the_index_while_it_is_read_is_not_lost() {
        let timers = Timers::default();
        timers.reads(Timestamp(61_000));
        timers.note(Timestamp(1500), case(1));
        timers.note(Timestamp(61_000), case(2));
        // it is not among what was read
        timers.refill(Vec::new(), Timestamp(61_000));
        assert!(!timers.wants_more(Timestamp(1000)));
        assert_eq!(timers.take_due(Timestamp(1500), 10), [case(1)]);
    }

    #[test]
    fn the_horizon_comes_nearer_when_there_is_too_much() {
        let timers = Timers::default();
        timers.refill(Vec::new(), Timestamp(1_000_000));
        for n in 0..KEPT as i64 + 10 {
            timers.note(Timestamp(n), CaseId::default());
        }
        assert_eq!(timers.lock().instants.len(), KEPT);
        assert_eq!(timers.lock().horizon, Timestamp(KEPT as i64));
        timers.note(Timestamp(KEPT as i64 + 5), case(1));
        assert_eq!(timers.lock().instants.len(), KEPT);
    }
}
