//! The one clock of every limit: task, workflow, attempt of a try, retry policy. It counts the time
//! that goes by while it runs, stands still and goes on.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// A limit and how much of it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Clock {
    /// Milliseconds that may be used.
    pub limit: i64,
    /// Milliseconds used before it last began to run.
    pub used: i64,
    /// Since when it runs; none while it stands still.
    pub since: Option<Timestamp>,
    /// It never stands still.
    pub wall: bool,
}

impl Clock {
    /// A clock that begins to run.
    pub fn begin(limit: i64, at: Timestamp, wall: bool) -> Self {
        Self { limit: limit.max(0), used: 0, since: Some(at), wall }
    }

    /// A clock without a limit, which only counts.
    pub fn counting(at: Timestamp) -> Self {
        Self::begin(i64::MAX, at, false)
    }

    /// Milliseconds used by now.
    pub fn used_at(&self, now: Timestamp) -> i64 {
        let running = self.since.map_or(0, |since| now.since(since).max(0));
        self.used.saturating_add(running)
    }

    /// When the limit is reached, if it goes on running. A standing clock has no such instant.
    pub fn due(&self) -> Option<Timestamp> {
        let since = self.since?;
        (self.limit < i64::MAX).then(|| since.plus(self.limit.saturating_sub(self.used)))
    }

    /// Whether the limit was reached while it ran.
    pub fn is_over(&self, now: Timestamp) -> bool {
        // also where it stands still by now
        self.used_at(now) >= self.limit
    }

    /// Stands still, or goes on.
    pub fn stand(&mut self, still: bool, at: Timestamp) {
        match (still && !self.wall, self.since) {
            (true, Some(_)) => {
                self.used = self.used_at(at);
                self.since = None;
            }
            (false, None) => self.since = Some(at),
            _ => {}
        }
    }

    /// Nothing of it is used any more.
    pub fn reset(&mut self, at: Timestamp) {
        self.used = 0;
        self.since = self.since.map(|_| at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_counts_only_while_it_runs() {
        let mut clock = Clock::begin(100, Timestamp(0), false);
        clock.stand(true, Timestamp(40));
        assert_eq!((clock.due(), clock.used_at(Timestamp(1000))), (None, 40));
        clock.stand(true, Timestamp(50));
        clock.stand(false, Timestamp(1000));
        assert_eq!(clock.due(), Some(Timestamp(1060)));
        assert!(!clock.is_over(Timestamp(1059)) && clock.is_over(Timestamp(1060)));
        clock.reset(Timestamp(1050));
        assert_eq!(clock.due(), Some(Timestamp(1150)));
    }

    #[test]
    fn a_wall_clock_never_stands_still() {
        let mut clock = Clock::begin(100, Timestamp(0), true);
        clock.stand(true, Timestamp(40));
        assert_eq!(clock.due(), Some(Timestamp(100)));
    }
}
