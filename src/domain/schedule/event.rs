//! What happens to a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{CaseId, EventCursor, EventId, Fingerprint};
use crate::domain::time::Timestamp;

/// An event of a schedule.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ScheduleEvent {
    /// A version of the workflow rules from now on.
    Set(Set),
    /// The version that rules has no schedule.
    Ended { version: Arc<str> },
    /// A case begins; it is owed until it is there.
    Fired(Run),
    /// Runs that were due, or events that came, begin none.
    Skipped { due: Timestamp, why: Skip, count: u64 },
    /// A run is due, and waits until no other is under way.
    Waits { due: Timestamp },
    /// An event is one of several that begin a case together.
    Kept { event: KeptEvent },
    /// All events up to a place were looked at, and the cases that they began are there.
    Heard { through: EventCursor },
    /// A case that it began has ended, or could not be begun.
    Closed { case: CaseId, at: Timestamp, outcome: Outcome },
    /// Nothing begins from now on; events behind this place pass by.
    Paused { reason: Arc<str>, by: Arc<str>, events: EventCursor },
    /// It goes on; with `from`, what is due after that instant is decided, even where it was before.
    Resumed { from: Option<Timestamp>, at: Timestamp, events: EventCursor },
}

/// How a version rules.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Set {
    pub version: Arc<str>,
    /// The kind and what it says, such as `every PT5M`.
    pub timing: Arc<str>,
    /// Which events begin cases; none: none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Fingerprint>,
    /// What periods are counted from.
    pub anchor: Timestamp,
    /// What is due until then is not this version's.
    pub through: Timestamp,
    /// Events up to there came before.
    pub events: EventCursor,
}

/// A run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// When it was due; of one that events begin when the last of them was stored.
    pub due: Timestamp,
    pub at: Timestamp,
    pub case: CaseId,
    pub version: Arc<str>,
    #[serde(flatten)]
    pub cause: Cause,
}

impl Run {
    /// It began because it was due.
    pub fn was_due(&self) -> bool {
        matches!(self.cause, Cause::Due { .. })
    }
}

/// What began it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "cause")]
pub enum Cause {
    /// It was due. `previous` is when the run before it was.
    Due { previous: Option<Timestamp> },
    /// An operator wanted it.
    Triggered { previous: Option<Timestamp> },
    /// These events came.
    Events { places: Vec<EventCursor> },
}

/// An event that waits for the others.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeptEvent {
    pub filter: u16,
    pub place: EventCursor,
    pub id: EventId,
    /// What the correlations found in it, by their names.
    pub values: BTreeMap<Arc<str>, Fingerprint>,
}

/// Why a run was skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Skip {
    /// Nothing could run when it was due.
    Missed,
    /// Another was under way.
    Overlap,
    /// It was paused.
    Paused,
    /// Too many runs were under way, or too many events waited for others.
    Bound,
    /// It has its case, from before it was decided again.
    Ran,
}

impl Skip {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Overlap => "overlap",
            Self::Paused => "paused",
            Self::Bound => "bound",
            Self::Ran => "ran",
        }
    }
}

/// How a run ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Completed,
    Faulted,
    Cancelled,
    /// There is no case: the workflow does not take the input.
    Refused(Arc<str>),
}

impl Outcome {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Faulted => "faulted",
            Self::Cancelled => "cancelled",
            Self::Refused(_) => "refused",
        }
    }
}
