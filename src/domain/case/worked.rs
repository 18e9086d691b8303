//! What became of jobs, for the numbers of their queues and workers.

use std::sync::Arc;

use super::event::{Came, Change, Event, TaskEvent};
use super::state::{Call, State};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::Definition;

/// What became of a job, or of a lease of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worked {
    pub queue: Arc<str>,
    /// Who had it.
    pub worker: Option<Arc<str>>,
    pub how: How,
    pub at: Timestamp,
}

/// How it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Done,
    Failed,
    Lost,
    /// It stood in its queue longer than it may.
    Expired,
    Purged,
}

/// What these events say of jobs. `before` is the state before them.
pub fn worked(
    definition: &Definition,
    before: Option<&State>,
    events: &[Event],
    at: Timestamp,
) -> Vec<Worked> {
    let Some(before) = before else { return Vec::new() };
    let mut found = Vec::new();
    for event in events {
        let Event::Task(TaskEvent { task, iteration, change }) = event else { continue };
        let call = before.find(definition, *task, *iteration).and_then(|known| known.call());
        let Some(call) = call else { continue };
        let Some(job) = call.job.as_deref() else { continue };
        let Some(how) = how(call, change) else { continue };
        let worker = call.lease().map(|lease| lease.worker.clone());
        found.push(Worked { queue: job.queue.clone(), worker, how, at });
    }
    found
}

fn how(call: &Call, change: &Change) -> Option<How> {
    let leased = call.lease().is_some();
    match change {
        Change::Completed { .. } if leased => Some(How::Done),
        Change::Retried { outcome: Some(Came::NotDone), .. } if leased => Some(How::Failed),
        Change::Retried { outcome: Some(Came::Unknown), .. } | Change::Unknown { .. } if leased => {
            Some(How::Lost)
        }
        Change::Faulted { doubt: Some(_), .. } if leased => Some(How::Lost),
        // what was done and could not be used was done all the same
        Change::Faulted { answer: Some(_), .. } if leased => Some(How::Done),
        Change::Faulted { .. } if leased => Some(How::Failed),
        Change::Faulted { error, .. } if error.is_for_a_person() => Some(How::Purged),
        Change::Faulted { error, .. } if error.title.as_deref() == Some("Expired") => {
            Some(How::Expired)
        }
        _ => None,
    }
}
