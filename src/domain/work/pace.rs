//! How many jobs came and went in the last minute.

use crate::domain::time::Timestamp;

const SECONDS: usize = 60;

/// Counts by second.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The second that was counted last.
    at: i64,
    counts: [u32; SECONDS],
}

impl Default for Pace {
    fn default() -> Self {
        Self { at: 0, counts: [0; SECONDS] }
    }
}

impl Pace {
    /// One more.
    pub fn note(&mut self, now: Timestamp) {
        self.turn(now);
        self.counts[place(self.at)] += 1;
    }

    /// How many in the minute before now.
    pub fn of_last_minute(&self, now: Timestamp) -> u32 {
        let mut turned = self.clone();
        turned.turn(now);
        turned.counts.iter().sum()
    }

    /// Forgets what is older than a minute.
    fn turn(&mut self, now: Timestamp) {
        let second = now.seconds();
        let passed = second.saturating_sub(self.at).clamp(0, SECONDS as i64);
        for step in 1..=passed {
            self.counts[place(second - passed + step)] = 0;
        }
        self.at = self.at.max(second);
    }
}

fn place(second: i64) -> usize {
    usize::try_from(second.rem_euclid(SECONDS as i64)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_counted() {
        let mut pace = Pace::default();
        for second in 0..100 {
            pace.note(Timestamp(second * 1000));
        }
        assert_eq!(pace.of_last_minute(Timestamp(99_000)), 60);
        assert_eq!(pace.of_last_minute(Timestamp(129_500)), 30);
        assert_eq!(pace.of_last_minute(Timestamp(999_000)), 0);
        pace.note(Timestamp(50_000));
        assert_eq!(pace.of_last_minute(Timestamp(99_500)), 61, "a clock that goes back loses none");
    }
}
