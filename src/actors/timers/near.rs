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
    /// How many are kept at the most.
    kept: usize,
    near: Mutex<Near>,
    /// The first instant has changed.
    pub sooner: Notify,
}

/// A read of the index: the instants up to one, the first ones only.
#[derive(Clone, Copy)]
pub struct Read {
    pub until: Timestamp,
    pub most: usize,
}

struct Near {
    instants: BTreeSet<(Timestamp, CaseId)>,
    /// All instants before this one are here.
    horizon: Timestamp,
    /// Up to where the index is being read. What is noted meanwhile is kept here, since it may be missing
    /// there.
    reading: Timestamp,
    /// The first of those that found no room since that began.
    left_out: Option<Timestamp>,
}

impl Default for Timers {
    fn default() -> Self {
        Self::with_room(KEPT)
    }
}

impl Timers {
    /// None are known, and so many are kept at the most.
    fn with_room(kept: usize) -> Self {
        // whatever is noted before the index is read for the first time is kept here
        let (horizon, reading) = (Timestamp(0), Timestamp::MAX);
        let near = Near { instants: BTreeSet::new(), horizon, reading, left_out: None };
        Self { kept, near: Mutex::new(near), sooner: Notify::new() }
    }

    /// A case has to be woken at this instant. Those beyond the horizon are left to the index.
    pub fn note(&self, due: Timestamp, case: CaseId) {
        let mut near = self.lock();
        if due >= near.horizon.max(near.reading) {
            return;
        }
        let first = near.instants.first().copied();
        near.instants.insert((due, case));
        near.keep_bound(self.kept);
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
            Some((at, _)) if near.is_rather_full(self.kept) => *at,
            Some((at, _)) => (*at).min(refill),
            None => refill,
        }
    }

    /// Whether the index has to be read.
    pub fn wants_more(&self, now: Timestamp) -> bool {
        let near = self.lock();
        near.horizon <= now.plus(AHEAD / 2) && !near.is_rather_full(self.kept)
    }

    /// The index cannot be read for now: whatever is noted meanwhile is kept here.
    pub fn keep_all(&self) {
        self.lock().reading = Timestamp::MAX;
    }

    /// The index holds what it did not: it is read anew, also where it is being read.
    pub fn start_over(&self) {
        let mut near = self.lock();
        near.instants.clear();
        (near.horizon, near.left_out) = (Timestamp(0), Some(Timestamp(0)));
        drop(near);
        self.sooner.notify_one();
    }

    /// The first instant that is near.
    pub fn first(&self) -> Option<Timestamp> {
        self.lock().instants.first().map(|(at, _)| *at)
    }

    /// The index is about to be read, as far as this says.
    pub fn reads(&self, now: Timestamp) -> Read {
        let until = now.plus(AHEAD);
        let mut near = self.lock();
        (near.reading, near.left_out) = (until.plus(1), None);
        Read { until, most: self.kept }
    }

    /// What the index holds, in order.
    pub fn refill(&self, read: Read, instants: Vec<(Timestamp, CaseId)>) {
        let mut near = self.lock();
        let horizon = match instants.last() {
            // there may be more of this one
            Some((at, _)) if instants.len() == read.most => *at,
            _ => read.until.plus(1),
        };
        near.horizon = near.left_out.map_or(horizon, |left_out| left_out.min(horizon));
        near.reading = Timestamp(0);
        near.instants.extend(instants);
        near.keep_bound(self.kept);
    }

    fn lock(&self) -> MutexGuard<'_, Near> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Near {
    /// Enough is here: the index is read again when half of it is gone. Where it is not known whether an
    /// earlier one was left out, nothing is enough.
    fn is_rather_full(&self, kept: usize) -> bool {
        let known = self.instants.first().is_some_and(|(at, _)| *at <= self.horizon);
        known && self.instants.len() > kept / 2
    }

    fn keep_bound(&mut self, kept: usize) {
        while self.instants.len() > kept
            && let Some((at, _)) = self.instants.pop_last()
        {
            self.horizon = self.horizon.min(at);
            self.left_out = Some(self.left_out.map_or(at, |left_out| left_out.min(at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::Bits;

    fn case(n: u8) -> CaseId {
        CaseId(Bits([n; 16]))
    }

    fn read(timers: &Timers, now: i64, instants: &[(i64, u8)]) {
        let read = timers.reads(Timestamp(now));
        let instants = instants.iter().map(|(at, n)| (Timestamp(*at), case(*n))).collect();
        timers.refill(read, instants);
    }

    #[test]
    fn near_instants_are_kept_and_far_ones_left_to_the_index() {
        let timers = Timers::default();
        assert!(timers.wants_more(Timestamp(1000)));
        read(&timers, 1000, &[(2000, 1)]);
        timers.note(Timestamp(1500), case(2));
        timers.note(Timestamp(61_001), case(3));
        assert_eq!(timers.next(), Timestamp(1500));
        assert_eq!(timers.take_due(Timestamp(1999), 10), [case(2)]);
        assert_eq!(timers.take_due(Timestamp(70_000), 10), [case(1)]);
        assert!(timers.wants_more(Timestamp(31_001)));
    }

    #[test]
    fn what_is_left_to_the_index_while_it_is_read_is_not_lost() {
        let timers = Timers::default();
        let read = timers.reads(Timestamp(1000));
        timers.note(Timestamp(1500), case(1));
        timers.note(Timestamp(61_001), case(2));
        // it is not among what was read
        timers.refill(read, Vec::new());
        assert!(!timers.wants_more(Timestamp(1000)));
        assert_eq!(timers.take_due(Timestamp(1500), 10), [case(1)]);
    }

    #[test]
    fn the_horizon_comes_nearer_when_there_is_too_much() {
        let timers = Timers::with_room(10);
        read(&timers, 0, &[]);
        for n in 0..12 {
            timers.note(Timestamp(n), CaseId::default());
        }
        assert_eq!(timers.lock().instants.len(), 10);
        assert_eq!(timers.lock().horizon, Timestamp(10));
        timers.note(Timestamp(11), case(1));
        assert_eq!(timers.lock().instants.len(), 10);
    }

    /// What happens around the sleeper.
    #[derive(Debug, Clone)]
    enum Happening {
        /// A case has to be woken after so many milliseconds, or at no instant any more. The index has it
        /// first.
        Moves(u8, Option<i64>),
        /// The one that told of its row last time is told of late.
        Told,
        Passes(i64),
        /// The sleeper looks; what the index held at the beginning, or in the end, of its read is found.
        Looks {
            early: bool,
        },
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            4 => (0..12u8, prop::option::weighted(0.8, 0..150_000i64))
                .prop_map(|(n, due)| Happening::Moves(n, due)),
            2 => Just(Happening::Told),
            2 => (0..40_000i64).prop_map(Happening::Passes),
            3 => any::<bool>().prop_map(|early| Happening::Looks { early }),
        ]
    }

    type Found = Vec<(Timestamp, CaseId)>;

    /// The timers among an index that knows of every row before they do.
    struct Run {
        timers: Timers,
        now: Timestamp,
        index: BTreeSet<(Timestamp, CaseId)>,
        /// Rows that are in the index, and nobody was told of yet.
        untold: Vec<(Timestamp, CaseId)>,
        /// A read that is under way, and what it has found if it has.
        reading: Option<(Read, Option<Found>)>,
    }

    impl Run {
        fn happen(&mut self, happening: &Happening) {
            match happening {
                Happening::Moves(n, due) => {
                    self.index.retain(|(_, known)| *known != case(*n));
                    if let Some(due) = due.map(|due| self.now.plus(due)) {
                        self.index.insert((due, case(*n)));
                        self.untold.push((due, case(*n)));
                    }
                }
                Happening::Told => self.tell(),
                Happening::Passes(millis) => self.now = self.now.plus(*millis),
                Happening::Looks { early } => self.look(*early),
            }
        }

        fn tell(&mut self) {
            for (due, case) in std::mem::take(&mut self.untold) {
                self.timers.note(due, case);
            }
        }

        fn found(&self, read: Read) -> Found {
            let near = self.index.iter().filter(|(at, _)| *at <= read.until);
            near.take(read.most).copied().collect()
        }

        /// One step of the sleeper: a read begins, or ends and what is due is woken.
        fn look(&mut self, early: bool) {
            match self.reading.take() {
                None if self.timers.wants_more(self.now) => {
                    let read = self.timers.reads(self.now);
                    let found = early.then(|| self.found(read));
                    self.reading = Some((read, found));
                    return;
                }
                None => {}
                Some((read, found)) => {
                    let found = found.unwrap_or_else(|| self.found(read));
                    self.timers.refill(read, found);
                }
            }
            for case in self.timers.take_due(self.now, 1000) {
                // it moves on, unless it is told too early
                self.index.retain(|(at, known)| *known != case || *at > self.now);
            }
        }
    }

    proptest! {
        #[test]
        fn nobody_is_forgotten(
            room in 2..8usize,
            happenings in prop::collection::vec(happening(), 0..80),
        ) {
            let (index, untold) = (BTreeSet::new(), Vec::new());
            let timers = Timers::with_room(room);
            let mut run = Run { timers, now: Timestamp(0), index, untold, reading: None };
            for happening in &happenings {
                run.happen(happening);
                prop_assert!(run.timers.lock().instants.len() <= room);
            }
            run.tell();
            for _ in 0..100 {
                run.look(true);
            }
            let late: Vec<_> = run.index.iter().filter(|(at, _)| *at <= run.now).collect();
            prop_assert!(late.is_empty(), "{late:?} at {:?}", run.now);
            // and it wakes up in time for the next one
            if let Some((first, _)) = run.index.first() {
                prop_assert!(run.timers.next() <= *first);
            }
        }
    }
}
