//! The pause that a service has asked for by a 429.

use super::circuit::Transition;
use crate::domain::time::Timestamp;

/// Milliseconds by which a pause is longer than what the journal knows of it, before that hears of it.
const WORTH_NOTING: i64 = 2000;

/// Until when nothing goes out.
#[derive(Debug, Default)]
pub struct Pause {
    until: Timestamp,
    /// The end that the journal knows of.
    noted: Timestamp,
}

impl Pause {
    /// One that the journal knows of.
    pub fn noted(until: Timestamp) -> Self {
        Self { until, noted: until }
    }

    /// The service asks for one; it ends none earlier.
    pub fn asked(&mut self, until: Timestamp) {
        self.until = self.until.max(until);
    }

    /// Its end, if that is to come.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.until).filter(|until| *until > now)
    }

    /// A person ends it. False: there was none.
    pub fn end(&mut self, now: Timestamp) -> bool {
        let was = self.until > now;
        if was {
            *self = Self::noted(now);
        }
        was
    }

    /// Whether the journal has to hear of it, so that a restart heeds it.
    pub fn has_to_be_noted(&self, now: Timestamp) -> bool {
        self.until.since(self.noted.max(now)) >= WORTH_NOTING
    }

    /// What the journal hears.
    pub fn note(&mut self) -> Transition {
        self.noted = self.until;
        Transition::Paused { until: self.until }
    }
}
