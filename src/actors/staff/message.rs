//! What a CSR's actor is told, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::actors::registry::turn::Turn;
use crate::domain::ids::CsrId;
use crate::domain::staff::csr::Csr;
use crate::domain::staff::csr::command::{Answer, Command, Rejection};
use crate::store::record::By;

/// What the actor of a CSR is told.
pub enum CsrMsg {
    Request(Box<CsrRequest>),
    /// Its predecessor has crashed: what it owed is told again.
    Recover,
}

/// A command, and who waits for the answer.
pub struct CsrRequest {
    pub id: CsrId,
    pub command: Command,
    pub by: By,
    /// The revision that they have to be at.
    pub if_match: Option<u64>,
    /// Only what would come of it is wanted.
    pub dry_run: bool,
    pub reply: oneshot::Sender<Result<CsrReply, CsrError>>,
    /// A client's, among those that wait for the CSR; none for a case's.
    pub turn: Option<Turn>,
}

/// How a CSR stands after a command.
#[derive(Debug, Clone)]
pub struct CsrReply {
    pub csr: Option<Arc<Csr>>,
    pub answer: Answer,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CsrError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("the CSR is at revision {0}")]
    Stale(u64),
    #[error("the CSR is out of service: {0}")]
    Quarantined(Arc<str>),
    #[error("too many ask for the CSR at the same time")]
    Busy,
    /// It may have been carried out, or still be.
    #[error("{0}")]
    Unknown(&'static str),
    #[error("{0}")]
    Unavailable(String),
}
