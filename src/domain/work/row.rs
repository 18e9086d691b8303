//! Where a job is, as queues and lists know it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::job::{JobId, JobKey};
use super::lease::Lease;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::TaskId;

/// A job of a case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobRow {
    pub key: JobKey,
    /// The task's entry that it is, and attempts begun.
    pub task: TaskId,
    pub iteration: u32,
    pub attempt: u32,
    pub queue: Arc<str>,
    pub priority: u8,
    pub place: Timestamp,
    pub queued_at: Timestamp,
    pub lost: u32,
    pub at: JobAt,
}

/// Where it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum JobAt {
    /// In the line; a repeat is not leased before `from`.
    Queued {
        from: Timestamp,
        /// It has failed before.
        repeats: bool,
    },
    Leased(Lease),
}

impl JobRow {
    /// Its id.
    pub fn id(&self, case: CaseId) -> JobId {
        JobId { case, key: self.key }
    }
}
