//! How often something that crashed begins again: a budget of attempts in a window, with growing
//! delays. Plain functions over times.

use crate::domain::time::Timestamp;

/// Crashes within the window at which it is given up.
const CRASHES: usize = 5;

/// Milliseconds after which a crash is forgotten.
const WINDOW: i64 = 60 * 1000;

/// Milliseconds before the first restart; each further one waits twice as long.
const FIRST: i64 = 100;

/// The crashes of one thing.
#[derive(Debug, Clone, Default)]
pub struct Crashes {
    at: Vec<Timestamp>,
}

/// What to do after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Begin again after so many milliseconds.
    Again(i64),
    /// It crashed too often.
    GiveUp,
}

impl Crashes {
    /// Notes a crash.
    pub fn crashed(&mut self, now: Timestamp) -> Restart {
        self.at.retain(|at| now.since(*at) < WINDOW);
        self.at.push(now);
        match self.at.len() {
            n if n >= CRASHES => Restart::GiveUp,
            n => Restart::Again(FIRST << (n - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_until_it_is_given_up() {
        let mut crashes = Crashes::default();
        let verdicts: Vec<_> = (0..5).map(|n| crashes.crashed(Timestamp(n))).collect();
        assert_eq!(
            verdicts,
            [
                Restart::Again(100),
                Restart::Again(200),
                Restart::Again(400),
                Restart::Again(800),
                Restart::GiveUp
            ]
        );
    }

    #[test]
    fn old_crashes_are_forgotten() {
        let mut crashes = Crashes::default();
        for n in 0..20 {
            assert_eq!(crashes.crashed(Timestamp(n * (WINDOW + 1))), Restart::Again(100));
        }
    }
}
