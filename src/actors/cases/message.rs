//! What a case is told, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::actors::registry::turn::Turn;
use crate::domain::case::command::{Command, Outcome, Rejection};
use crate::domain::case::job::GivenJob;
use crate::domain::case::phase::Phase;
use crate::domain::ids::{CaseId, CommandId, Fingerprint};
use crate::domain::workflow::model::TaskId;
use crate::store::record::By;

/// What the actor of a case is told.
pub enum CaseMsg {
    Request(Box<CaseRequest>),
    /// What an attempt came to.
    Result {
        task: TaskId,
        iteration: u32,
        attempt: u32,
        outcome: Box<Outcome>,
    },
    /// The last decision was cut off.
    GoOn,
    /// The views show the case at this version.
    Projected(u64),
}

/// A command, and who waits for the answer.
pub struct CaseRequest {
    pub command: Command,
    pub meta: CommandMeta,
    pub reply: Option<oneshot::Sender<Result<CaseReply, CommandError>>>,
    /// A client's, among those that wait for the case; none for one of ours.
    pub turn: Option<Turn>,
}

/// What comes along with a command.
#[derive(Debug, Clone)]
pub struct CommandMeta {
    /// The command's own id; none for one of ours, which repeats itself harmlessly.
    pub command: Option<CommandId>,
    pub by: By,
    /// The version that the case has to be at.
    pub if_match: Option<u64>,
}

impl CommandMeta {
    /// A command of our own.
    pub fn engine() -> Self {
        Self { command: None, by: By::engine(), if_match: None }
    }
}

/// How the case stands after a command.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseReply {
    pub id: CaseId,
    pub version: u64,
    pub phase: Phase,
    pub status: Option<Arc<str>>,
    /// The command was carried out before; nothing was done now.
    pub replayed: bool,
    /// Of the events that it was told of: how many it need not be told of again.
    pub heard: usize,
    /// The job that is handed to a worker.
    pub given: Option<Box<GivenJob>>,
    /// Where the job is that the command was about.
    pub job: Option<&'static str>,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("the case is at version {0}")]
    Stale(u64),
    #[error("there is no such case")]
    NotFound,
    /// The case's id is taken by a submission with another body.
    #[error("this key was used with another body")]
    Other(Option<Fingerprint>),
    #[error("the case is out of service: {0}")]
    Quarantined(Arc<str>),
    #[error("the case cannot be loaded: {0}")]
    Broken(String),
    /// It may have been carried out, or still be.
    #[error("{0}")]
    Unknown(&'static str),
    /// Later there may be room.
    #[error("{0}")]
    Busy(&'static str),
    #[error("{0}")]
    Unavailable(String),
}
