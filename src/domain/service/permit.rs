//! What a gate answers and is told: whether a call may go out, and how it went.

use std::sync::Arc;

use super::circuit::Transition;
use crate::domain::ids::CaseId;

/// Why a call may not go out now.
#[derive(Clone, PartialEq, Debug)]
pub enum Denied {
    /// The breaker is open.
    Outage(Option<Arc<str>>),
    /// An operator holds the service.
    Operator(Arc<str>),
    /// Too many calls are under way, or too many in this time.
    Full(&'static str),
}

/// How a call went.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Answered,
    /// 429: too much, after so many milliseconds again.
    Throttled(Option<i64>),
    /// No connection, no answer, 502 to 504.
    Outage {
        status: i64,
        detail: Arc<str>,
    },
    /// It was never sent, for a reason of our own.
    NotSent,
}

/// What the breaker's actor has to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// Tell this case that its place is free.
    Admit(CaseId),
    /// Send the configured probe.
    AskHealth,
    /// Note this in the journal.
    Note(Transition),
}
