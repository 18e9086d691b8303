//! When runs are due.

use super::event::Run;
use super::state::State;
use crate::domain::ids::Bits;
use crate::domain::time::{Duration, Timestamp};
use crate::domain::workflow::model::{Schedule, Timing};

impl Schedule {
    /// The first due instant after this one; none: there is none, or none that is known yet.
    pub fn next(&self, state: &State, after: Timestamp) -> Option<Timestamp> {
        match &self.timing {
            Timing::Cron(cron) => cron.next(&self.zone, after),
            Timing::Every(period) => {
                let mut n = passed(*period, state.anchor, after);
                while times(*period, n, state.anchor) <= after {
                    n += 1;
                }
                Some(times(*period, n, state.anchor)).filter(|at| *at < Timestamp::MAX)
            }
            Timing::After(period) => {
                let under_way = state.open.values().any(Run::was_due);
                let waits = under_way || state.waiting.is_some();
                let due = period.after(state.after);
                (!waits && due > after && due < Timestamp::MAX).then_some(due)
            }
            Timing::On(..) => None,
        }
    }

    /// The last due instant until this one.
    pub fn latest(&self, state: &State, until: Timestamp) -> Option<Timestamp> {
        match &self.timing {
            Timing::Cron(cron) => cron.latest(&self.zone, until),
            Timing::Every(period) => {
                let mut n = passed(*period, state.anchor, until);
                while times(*period, n + 1, state.anchor) <= until {
                    n += 1;
                }
                Some(times(*period, n, state.anchor)).filter(|at| *at <= until)
            }
            Timing::After(_) => self.next(state, Timestamp(i64::MIN)).filter(|due| *due <= until),
            Timing::On(..) => None,
        }
    }

    /// When a run starts that is due: the same for the same schedule and instant for ever.
    pub fn start(&self, id: &str, due: Timestamp) -> Timestamp {
        if self.jitter == 0 {
            return due;
        }
        let bits = Bits::derived(&[b"jitter", id.as_bytes(), &due.0.to_le_bytes()]);
        let number = u64::from_le_bytes(*bits.0.first_chunk().expect("an id has sixteen bytes"));
        due.plus((number % self.jitter.unsigned_abs()).cast_signed())
    }
}

/// How often a period has passed since the anchor: that often at the least, and once more at the most.
fn passed(period: Duration, anchor: Timestamp, at: Timestamp) -> i64 {
    let gone = at.since(anchor).max(0);
    // months differ in length: the longest count, so that it is never too often
    let longest = period.millis.saturating_add(i64::from(period.months) * 31 * 24 * 3_600_000);
    (gone / longest.max(1)).max(1)
}

fn times(period: Duration, n: i64, anchor: Timestamp) -> Timestamp {
    let months = i64::from(period.months).saturating_mul(n);
    let months = i32::try_from(months).unwrap_or(i32::MAX);
    Duration { months, millis: period.millis.saturating_mul(n) }.after(anchor)
}
