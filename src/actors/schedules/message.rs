//! What the actor of a schedule is told.

use tokio::sync::oneshot;

use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::store::record::By;

/// What it is told, by the handle, by its alarm and by operators.
pub enum ScheduleMsg {
    /// There may be something to do.
    Look,
    /// A version was registered: what rules is looked at anew before this is answered.
    Rule {
        reply: oneshot::Sender<()>,
    },
    /// A case that it began has ended.
    Ended(CaseId),
    Pause {
        reason: String,
        by: By,
        reply: oneshot::Sender<Result<(), ScheduleError>>,
    },
    Resume {
        from: Option<Timestamp>,
        by: By,
        reply: oneshot::Sender<Result<(), ScheduleError>>,
    },
    /// A run is wanted now, whose case has this id.
    Trigger {
        case: CaseId,
        by: By,
        reply: oneshot::Sender<Result<Triggered, ScheduleError>>,
    },
}

/// The run that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triggered {
    /// False: it was there already.
    pub new: bool,
}

/// Why nothing became of what an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not as it stands.
    #[error("{0}")]
    Conflict(String),
    /// The workflow does not take what it would begin with.
    #[error("{0}")]
    Refused(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}
