//! Which time schedules go by: the wall's, since a calendar means that. One that is far off is believed only
//! after a while, so that a slip of whoever sets the clock begins no year of runs.

use crate::domain::time::Timestamp;

/// Milliseconds that the wall may be off engine time and is believed at once.
const NEAR: i64 = 3_600_000;

/// Milliseconds after which one that is further off is believed.
const BELIEVED_AFTER: i64 = 600_000;

/// Milliseconds by which a distance that is believed may change: clocks drift.
const DRIFT: i64 = 60_000;

/// How far the wall was off, and since when.
#[derive(Debug, Default)]
pub struct Wall {
    /// The last distance that was believed; none: the wall was not looked at yet.
    believed: Option<i64>,
    /// A distance that is not yet, and since when it is there.
    doubted: Option<(i64, Timestamp)>,
}

impl Wall {
    /// What the wall shows, as far as it is believed; `ahead` is how far it is ahead of engine time `now`. At
    /// first it is believed in any case: engine time is the wall's of the start, or of older records.
    pub fn believed(&mut self, now: Timestamp, ahead: i64) -> Timestamp {
        let known = *self.believed.get_or_insert(ahead);
        if ahead.abs() <= NEAR || (ahead - known).abs() <= DRIFT {
            (self.believed, self.doubted) = (Some(ahead), None);
            return now.plus(ahead);
        }
        let since = match self.doubted {
            Some((doubted, since)) if (ahead - doubted).abs() <= DRIFT => since,
            _ => now,
        };
        self.doubted = Some((ahead, since));
        if now.since(since) < BELIEVED_AFTER {
            return now.plus(known);
        }
        (self.believed, self.doubted) = (Some(ahead), None);
        now.plus(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn a_wall_that_is_far_off_is_believed_after_a_while() {
        let mut wall = Wall::default();
        let mut at = |minute: i64, ahead: i64| {
            wall.believed(Timestamp(minute * MINUTE), ahead * MINUTE).0 / MINUTE
        };
        assert_eq!(at(100, 0), 100);
        assert_eq!(at(100, -30), 70, "half an hour is believed at once");
        assert_eq!(at(101, 600), 71, "ten hours are not");
        assert_eq!(at(110, 600), 80);
        assert_eq!(at(111, 600), 711, "but after ten minutes");
        assert_eq!(at(112, -1000), 712);
        assert_eq!(at(113, 600), 713, "it is back, and nothing was doubted");
        assert_eq!(at(122, -1000), 722);
        assert_eq!(at(131, -1000), 731);
        assert_eq!(at(132, -1000), -868);
        assert_eq!(at(133, 0), 133, "engine time is believed at once");
    }

    #[test]
    fn at_the_start_it_is_believed_however_far_it_is_off() {
        let day = 24 * 60 * MINUTE;
        let mut wall = Wall::default();
        assert_eq!(wall.believed(Timestamp(10 * day), -3 * day), Timestamp(7 * day));
        assert_eq!(wall.believed(Timestamp(10 * day), -3 * day + 100), Timestamp(7 * day + 100));
    }

    #[test]
    fn two_small_steps_are_a_large_one() {
        let mut wall = Wall::default();
        assert_eq!(wall.believed(Timestamp(0), 0), Timestamp(0));
        assert_eq!(wall.believed(Timestamp(0), 50 * MINUTE), Timestamp(50 * MINUTE));
        assert_eq!(wall.believed(Timestamp(0), 100 * MINUTE), Timestamp(50 * MINUTE));
    }
}
