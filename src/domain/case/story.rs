//! The story of each task, ended ones too, read off a case's history.

use std::collections::HashMap;
use std::sync::Arc;

use super::event::{Change, Event, TaskEvent};
use super::problem::Problem;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, TaskId};

/// One entry of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    pub reference: Arc<str>,
    pub task: TaskId,
    pub iteration: u32,
    /// pending, running, waiting, completed, faulted or cancelled.
    pub phase: &'static str,
    pub attempt: u32,
    pub queue: Option<Arc<str>>,
    pub worker: Option<Arc<str>>,
    pub host: Option<Arc<str>>,
    pub queued_at: Option<Timestamp>,
    /// When its first attempt began; of a task without attempts, when it was entered.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Leases that were lost.
    pub lost: u32,
    pub error: Option<Problem>,
}

/// The stories of a case, in the order in which they began.
#[derive(Default)]
pub struct Stories {
    all: Vec<Story>,
    by_key: HashMap<(TaskId, u32), usize>,
}

impl Stories {
    /// Takes the next event of the history.
    pub fn take(&mut self, definition: &Definition, at: Timestamp, event: &Event) {
        let Event::Task(TaskEvent { task, iteration, change }) = event else { return };
        let story = self.story(definition, (*task, *iteration));
        match change {
            Change::Started { attempt, lease, .. } => {
                story.phase = "running";
                story.ended_at = None;
                story.attempt = story.attempt.max(*attempt);
                let first = *attempt <= 1 || story.started_at.is_none();
                if first {
                    story.started_at = Some(at);
                }
                if let Some(lease) = lease {
                    story.worker = Some(lease.worker.clone());
                    story.host.clone_from(&lease.host);
                }
            }
            Change::Queued { job, .. } => {
                story.phase = "waiting";
                story.queue = Some(job.queue.clone());
                story.queued_at.get_or_insert(at);
            }
            Change::Waiting { .. } | Change::Listening { .. } => {
                story.phase = "waiting";
                story.started_at.get_or_insert(at);
            }
            Change::Preparing { .. } => {
                story.started_at.get_or_insert(at);
            }
            Change::Retried { error, outcome, .. } => {
                story.phase = "waiting";
                story.error = Some(error.clone());
                let lost = story.queue.is_some() && *outcome == Some(super::event::Came::Unknown);
                story.lost += u32::from(lost);
            }
            Change::Unknown { error } => {
                story.phase = "waiting";
                story.error = Some(error.clone());
                story.lost += u32::from(story.queue.is_some());
            }
            Change::Faulted { error, .. } => {
                (story.phase, story.ended_at) = ("faulted", Some(at));
                story.error = Some(error.clone());
            }
            Change::Completed { .. } => {
                (story.phase, story.ended_at) = ("completed", Some(at));
                story.started_at.get_or_insert(at);
            }
            Change::Cancelled { .. } => {
                (story.phase, story.ended_at) = ("cancelled", Some(at));
            }
            Change::Turned { .. }
            | Change::Reconciled { .. }
            | Change::Received { .. }
            | Change::ReadBack { .. } => {}
        }
    }

    fn story(&mut self, definition: &Definition, key: (TaskId, u32)) -> &mut Story {
        let place = *self.by_key.entry(key).or_insert_with(|| {
            self.all.push(Story {
                reference: definition.task(key.0).reference.clone(),
                task: key.0,
                iteration: key.1,
                phase: "pending",
                attempt: 0,
                queue: None,
                worker: None,
                host: None,
                queued_at: None,
                started_at: None,
                ended_at: None,
                lost: 0,
                error: None,
            });
            self.all.len() - 1
        });
        &mut self.all[place]
    }

    /// All of them.
    pub fn into_all(self) -> Vec<Story> {
        self.all
    }
}
