//! The time, and waiting for it. The rest of the program asks here, so that a test can move it.
//!
//! Engine time is the wall's at the start of the process, but never before what the journal has seen,
//! and from there on what really goes by. A wall clock that is set, even between two runs, neither ends
//! a wait nor stops one.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::domain::time::Timestamp;

/// Longest sleep in one go: a machine that sleeps stops our timers, but not the time that goes by.
const NAP: Duration = Duration::from_secs(30);

/// A clock.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's: what the wall said at the start, and the monotonic time then.
    Engine { wall: Timestamp, begun: Duration },
    /// One that stands still until it is moved.
    Simulated(Arc<watch::Sender<Timestamp>>),
}

impl Clock {
    /// Engine time, which begins with what the wall says now.
    pub fn engine() -> Self {
        Self::Engine { wall: wall(), begun: gone_by() }
    }

    /// The same clock, but not before an instant that was seen already: a wall that was set back since
    /// would have everything wait for it.
    #[must_use]
    pub fn not_before(self, seen: Timestamp) -> Self {
        match self {
            Self::Engine { wall, begun } => {
                let behind = seen.since(self.now()).max(0);
                Self::Engine { wall: wall.plus(behind), begun }
            }
            Self::Simulated(_) => self,
        }
    }

    /// How far the wall is ahead of engine time, in milliseconds; the clock was set since the start.
    pub fn wall_ahead(&self) -> i64 {
        match self {
            Self::Engine { .. } => wall().since(self.now()),
            Self::Simulated(_) => 0,
        }
    }

    /// A clock that stands at an instant until [`Clock::advance`] moves it.
    pub fn simulated(at: Timestamp) -> Self {
        Self::Simulated(Arc::new(watch::channel(at).0))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Engine { wall, begun } => {
                let since = gone_by().saturating_sub(*begun);
                wall.plus(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Simulated(now) => *now.borrow(),
        }
    }

    /// What the wall shows now: for calendars, and nothing else.
    pub fn wall(&self) -> Timestamp {
        self.now().plus(self.wall_ahead())
    }

    /// Waits until an instant has come.
    pub async fn sleep_until(&self, at: Timestamp) {
        match self {
            Self::Engine { .. } => loop {
                let left = at.since(self.now());
                if left <= 0 {
                    return;
                }
                let left = Duration::from_millis(left.unsigned_abs());
                tokio::time::sleep(left.min(NAP)).await;
            },
            Self::Simulated(now) => {
                let mut now = now.subscribe();
                // an error means that the clock is gone, and with it whoever waits
                let _ = now.wait_for(|now| *now >= at).await;
            }
        }
    }

    /// Moves a simulated clock; the machine's is not ours to move.
    pub fn advance(&self, millis: i64) {
        if let Self::Simulated(now) = self {
            now.send_modify(|now| *now = now.plus(millis));
        }
    }
}

fn wall() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Monotonic time, which goes on while the machine sleeps.
fn gone_by() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_simulated_clock_moves_when_it_is_told() {
        let clock = Clock::simulated(Timestamp(1000));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(Timestamp(1500)).await }
        });
        clock.advance(499);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(1);
        sleeper.await.unwrap();
        assert_eq!(clock.now(), Timestamp(1500));
    }

    #[test]
    fn what_was_seen_is_not_ahead() {
        let now = Clock::engine().now();
        let hour = 3_600_000;
        let ahead = Clock::engine().not_before(now.plus(hour));
        assert!(ahead.now() >= now.plus(hour) && ahead.now() < now.plus(2 * hour));
        assert!(ahead.wall_ahead() <= -hour + 60_000);
        assert!(Clock::engine().not_before(now.plus(-hour)).now() < now.plus(hour));
    }

    #[test]
    fn the_machines_clock_is_past_the_making_of_this() {
        assert!(Clock::engine().now() > Timestamp(1_700_000_000_000));
    }
}
