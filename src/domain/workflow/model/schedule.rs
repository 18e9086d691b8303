//! When a definition's cases begin by themselves.

use super::Listen;
use crate::domain::cron::Cron;
use crate::domain::ids::Fingerprint;
use crate::domain::staff::civil::Zone;
use crate::domain::time::Duration;

/// `schedule`, and what our metadata says of it.
#[derive(Debug)]
pub struct Schedule {
    pub timing: Timing,
    pub zone: Zone,
    pub missed: Missed,
    pub overlap: Overlap,
    /// Milliseconds by which a start may come later than it is due.
    pub jitter: i64,
}

/// What cases begin at.
#[derive(Debug)]
pub enum Timing {
    Cron(Box<Cron>),
    /// Each period since the registration.
    Every(Duration),
    /// So long after the last run's end.
    After(Duration),
    /// When events have come. The fingerprint is of all that is said of them.
    On(Listen, Fingerprint),
}

/// What becomes of runs that were due while nothing could run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Missed {
    /// The latest runs.
    #[default]
    Once,
    All,
    Skip,
}

/// What becomes of a run that is due while another is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overlap {
    #[default]
    Allow,
    Skip,
    /// The latest waits for the other's end.
    Wait,
}

impl Timing {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cron(_) => "cron",
            Self::Every(_) => "every",
            Self::After(_) => "after",
            Self::On(..) => "on",
        }
    }

    /// What it says, in short: the expression, the period, or the types of the events.
    pub fn spec(&self) -> String {
        match self {
            Self::Cron(cron) => cron.to_string(),
            Self::Every(period) | Self::After(period) => period.to_string(),
            Self::On(listen, _) => {
                let types = listen.filters.iter().map(|f| f.event_type.as_deref().unwrap_or("*"));
                types.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

impl Missed {
    /// The words for them.
    pub const WORDS: [(&str, Self); 3] =
        [("once", Self::Once), ("all", Self::All), ("skip", Self::Skip)];

    /// The word for it.
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, of)| *of == self).map_or("", |(word, _)| word)
    }
}

impl Overlap {
    /// The words for them.
    pub const WORDS: [(&str, Self); 3] =
        [("allow", Self::Allow), ("skip", Self::Skip), ("wait", Self::Wait)];

    /// The word for it.
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, of)| *of == self).map_or("", |(word, _)| word)
    }
}
