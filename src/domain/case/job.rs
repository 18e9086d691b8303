//! A job of a case: a task's attempt that a worker outside does. What stands here and in the ledger is all
//! that is known of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::{Call, Stage, State};
use crate::domain::data::Data;
use crate::domain::document::DocumentId;
use crate::domain::ids::{Bits, CommandId, LeaseDigest, TemplateHash};
use crate::domain::time::Timestamp;
use crate::domain::work::job::{JobId, JobKey};
use crate::domain::work::lease::{Lease, Leasing};
use crate::domain::work::row::{JobAt, JobRow};
use crate::domain::workflow::model::TaskId;

/// Leases that may be lost before nobody is given the job any more.
pub const LOSSES_MAX: u32 = 3;

/// What is fixed of a job when it is queued.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Job {
    pub key: JobKey,
    pub queue: Arc<str>,
    pub priority: u8,
    /// Least first.
    pub place: Timestamp,
    /// When its iteration was queued first: its time to live counts from then.
    pub queued_at: Timestamp,
    /// When it is not to be leased any more.
    pub expires_at: Option<Timestamp>,
    /// Milliseconds of a lease; none: the queue's.
    pub lease: Option<i64>,
    /// How often it is tried in all.
    pub attempts: u32,
}

/// A job as it is handed to a worker.
#[derive(Clone, PartialEq, Debug)]
pub struct GivenJob {
    pub id: JobId,
    pub queue: Arc<str>,
    /// The idempotency key.
    pub key: Arc<str>,
    pub workflow: Arc<str>,
    pub version: Arc<str>,
    /// Reference of the task.
    pub task: Arc<str>,
    pub input: Data,
    pub priority: u8,
    pub attempt: u32,
    pub lost: u32,
    pub queued_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub lease_millis: i64,
    /// The template that its document is made by, and its content.
    pub template: Option<(Arc<str>, TemplateHash)>,
}

/// What a worker has done, or has not.
#[derive(Clone, PartialEq, Debug)]
pub enum JobOutcome {
    Done {
        output: Data,
        /// What it made, each stored before.
        documents: Vec<DocumentId>,
    },
    Failed {
        error: super::problem::Problem,
        retryable: bool,
        /// Milliseconds after which it is tried again at the earliest.
        retry_after: Option<i64>,
    },
    /// The lease is over without a result: it ran out, or the worker's process was killed.
    Lost(Arc<str>),
    /// The worker gives it back, or never got it; it counts for nothing.
    Released,
}

/// What is asked of a case about one of its jobs.
#[derive(Clone, PartialEq, Debug)]
pub enum JobAct {
    /// A worker may have it.
    Lease(Leasing),
    /// What became of a lease.
    End { digest: LeaseDigest, outcome: JobOutcome },
    /// Whether the lease still stands.
    Look { digest: LeaseDigest },
    /// It is not wanted any more: the queue was purged of what was queued before this.
    Purge { before: Timestamp },
}

/// Why a job does not allow what is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobConflict {
    /// It does not stand in the line any more, or not yet.
    NotQueued,
    /// Somebody else has it, or had it since.
    LeaseLost,
    /// Another result was recorded under this lease.
    AlreadyDone,
    /// Nobody wants it any more.
    Over,
}

impl Call {
    /// The lease under which a worker has it, if one does.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.stage {
            Stage::Leased { lease, .. } => Some(lease),
            _ => None,
        }
    }
}

/// A job's row, where the call is one.
fn row(state: &State, key: (TaskId, u32), call: &Call) -> Option<JobRow> {
    let job = call.job.as_deref()?;
    let at = match &call.stage {
        Stage::Queued { from } => JobAt::Queued { from: *from, repeats: call.misses > 0 },
        Stage::Leased { lease, .. } => JobAt::Leased((**lease).clone()),
        _ => return None,
    };
    let lost = state.ledger.get(key).map_or(0, |entry| entry.lost);
    Some(JobRow {
        key: job.key,
        task: key.0,
        iteration: key.1,
        attempt: call.attempt,
        queue: job.queue.clone(),
        priority: job.priority,
        place: job.place,
        queued_at: job.queued_at,
        lost,
        at,
    })
}

/// The jobs of a case that stand in a line or are in somebody's hands.
pub fn rows(state: &State) -> Vec<JobRow> {
    let mut rows = Vec::new();
    let held = super::derive::holds(state) && state.unwinding.is_none();
    state.walk(&mut |activation| {
        if activation.failed.is_some() {
            return;
        }
        let key = (activation.task, activation.iteration);
        let row = activation.call().and_then(|call| row(state, key, call));
        // what a held case has queued is not given to anybody
        rows.extend(row.filter(|row| !held || matches!(row.at, JobAt::Leased(_))));
    });
    rows
}

/// The task's entry that a job is, if it is open.
pub fn find(state: &State, key: JobKey) -> Option<(TaskId, u32)> {
    let mut found = None;
    state.walk(&mut |activation| {
        let job = activation.call().and_then(|call| call.job.as_deref());
        if activation.failed.is_none() && job.is_some_and(|job| job.key == key) {
            found = Some((activation.task, activation.iteration));
        }
    });
    found
}

/// Where a job is now, in the word that its worker reads; none: nowhere any more.
pub fn stands(state: &State, key: JobKey, now: Timestamp) -> Option<&'static str> {
    let (task, iteration) = find(state, key)?;
    let mut word = None;
    state.walk(&mut |activation| {
        if (activation.task, activation.iteration) != (task, iteration) {
            return;
        }
        word = word.or(match activation.call().map(|call| &call.stage) {
            Some(Stage::Queued { from }) if *from > now => Some("repeating"),
            Some(Stage::Queued { .. }) => Some("queued"),
            Some(Stage::Leased { .. }) => Some("leased"),
            _ => None,
        });
    });
    word
}

impl JobConflict {
    /// What it means, for whoever asked.
    pub fn detail(self) -> &'static str {
        match self {
            Self::NotQueued => "the job does not stand in its queue now",
            Self::LeaseLost => "the lease is over: it ran out, and the job goes to another worker",
            Self::AlreadyDone => "another result was recorded under this lease",
            Self::Over => "nobody wants the job any more",
        }
    }
}

/// What stands behind a lease's digest among the commands that a case remembers, where the lease was lost.
const LOST: [u8; 8] = [0xff; 8];

/// The id of the command that brings a result under a lease: the same result has the same one.
pub fn result_id(digest: LeaseDigest, result: &[u8]) -> CommandId {
    let mut said: [u8; 8] = std::array::from_fn(|place| Bits::derived(&[result]).0[place]);
    // the mark of a lost one says something else
    said[7] &= 0x7f;
    ended(digest, said)
}

/// What a case remembers of a lease that was lost.
pub fn lost_id(digest: LeaseDigest) -> CommandId {
    ended(digest, LOST)
}

fn ended(digest: LeaseDigest, how: [u8; 8]) -> CommandId {
    let mut bits = digest.0;
    bits.0[8..].copy_from_slice(&how);
    CommandId(bits)
}

/// Why a lease that the job is not at any more is of no use.
pub fn conflict(state: &State, key: JobKey, digest: LeaseDigest) -> JobConflict {
    let of_lease = |id: &&CommandId| id.0.0[..8] == digest.0.0[..8];
    match state.commands.iter().rev().find(of_lease) {
        Some(id) if *id == lost_id(digest) => JobConflict::LeaseLost,
        Some(_) => JobConflict::AlreadyDone,
        None if find(state, key).is_some() => JobConflict::LeaseLost,
        None => JobConflict::Over,
    }
}
