//! How calls went of late.

use std::collections::VecDeque;

use super::settings::Trip;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;

/// Calls remembered at the most.
const KEPT: usize = 512;

/// Milliseconds after which a call is forgotten, however long the breaker's window is.
const REMEMBERED: i64 = 60_000;

/// Calls of others that have to be seen before one case is said to fail by itself.
const OTHERS_MIN: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Timestamp,
    case: CaseId,
    answered: bool,
}

/// The calls of the last while.
#[derive(Debug, Clone, Default)]
pub struct Window {
    seen: VecDeque<Seen>,
    /// Calls before this count no more for the breaker.
    cleared: Timestamp,
}

impl Window {
    /// Notes how a call of this case went.
    pub fn note(&mut self, now: Timestamp, case: CaseId, answered: bool, trip: &Trip) {
        let horizon = trip.window.max(REMEMBERED);
        while self.seen.front().is_some_and(|seen| now.since(seen.at) > horizon) {
            self.seen.pop_front();
        }
        if self.seen.len() == KEPT {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { at: now, case, answered });
    }

    /// Whether there were too many failures.
    pub fn tripped(&self, now: Timestamp, trip: &Trip) -> bool {
        let counts = |seen: &&Seen| now.since(seen.at) <= trip.window && seen.at >= self.cleared;
        let (mut calls, mut failures) = (0u32, 0u32);
        for seen in self.seen.iter().rev().take_while(counts) {
            calls += 1;
            failures += u32::from(!seen.answered);
        }
        failures >= trip.failures.max(1) && failures * 2 >= calls
    }

    /// From now on the breaker counts anew.
    pub fn clear(&mut self, now: Timestamp) {
        self.cleared = now.plus(1);
    }

    /// Whether at least nine in ten of the other cases' calls were answered.
    pub fn others_answered(&self, case: CaseId) -> bool {
        let others = self.seen.iter().filter(|seen| seen.case != case);
        let (mut calls, mut answered) = (0usize, 0usize);
        for seen in others {
            calls += 1;
            answered += usize::from(seen.answered);
        }
        calls >= OTHERS_MIN && answered * 10 >= calls * 9
    }
}
