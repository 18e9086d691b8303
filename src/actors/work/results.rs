//! What workers ask for, and what they say of their jobs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::answered::AskKey;
use super::handle::QueueHandle;
use super::handover::Handover;
use super::message::QueueMsg;
use super::poll::{Handed, Poll};
use crate::actors::cases::message::{CommandError, CommandMeta};
use crate::actors::handles::Handle;
use crate::domain::case::command::{Command, Rejection};
use crate::domain::case::job::{JobAct, JobConflict, JobOutcome, result_id};
use crate::domain::ids::LeaseDigest;
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobId;
use crate::domain::work::worker::Heard;
use crate::store::logs::{Attempt, Batch, Line, Progress};
use crate::store::record::By;

/// Workers that wait at the same time.
const WAITING_MAX: usize = 1000;

/// How long one that is being given something waits for it.
const GIVEN_WITHIN: Duration = Duration::from_secs(10);

/// A worker that asks for jobs.
#[derive(Debug, Clone)]
pub struct Asking {
    pub worker: Arc<str>,
    pub version: Option<Arc<str>>,
    pub host: Option<Arc<str>>,
    /// Jobs at the most.
    pub most: usize,
    /// Milliseconds of a lease; none: the job's, else the queue's.
    pub millis: Option<i64>,
    /// How long it waits where there is none.
    pub wait: Duration,
}

/// What a worker says while it does a job.
#[derive(Debug, Clone, Default)]
pub struct Saying {
    pub lines: Vec<Line>,
    pub progress: Option<Progress>,
}

/// What became of a job's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobReply {
    /// done, failed, repeating, queued
    pub state: &'static str,
}

impl Handle {
    /// The queue of this name.
    pub fn queue(&self, name: &str) -> Option<Arc<QueueHandle>> {
        self.context.work.find(name)
    }

    /// All queues, by name.
    pub fn queues(&self) -> Vec<Arc<QueueHandle>> {
        self.context.work.list()
    }

    /// Looks at the workers.
    pub fn workers<T>(&self, look: impl FnOnce(&crate::domain::work::worker::Workers) -> T) -> T {
        look(&self.context.work.workers())
    }

    /// An operator says that nothing is leased from a queue.
    ///
    /// # Errors
    /// When it cannot be stored; so below.
    pub async fn pause_queue(
        &self,
        queue: &QueueHandle,
        reason: String,
        by: By,
    ) -> Result<(), String> {
        ask(queue, |reply| QueueMsg::Pause { reason, by, reply }).await?
    }

    /// An operator lets a queue go on.
    pub async fn resume_queue(&self, queue: &QueueHandle, by: By) -> Result<(), String> {
        ask(queue, |reply| QueueMsg::Resume { by, reply }).await?
    }

    /// What is queued now is never leased. How many jobs these are, near enough.
    pub async fn purge_queue(
        &self,
        queue: &QueueHandle,
        reason: String,
        by: By,
    ) -> Result<u64, String> {
        ask(queue, |reply| QueueMsg::Purge { reason, by, reply }).await?
    }

    /// Jobs for a worker, each committed before it is handed over; under a key it has some of already, those.
    /// None came in time: an empty list. None: too many workers wait.
    pub async fn lease(
        &self,
        queue: &Arc<QueueHandle>,
        asking: Asking,
        key: Option<AskKey>,
    ) -> Option<Handover> {
        let context = &self.context;
        let Some(key) = key else {
            return self.lease_anew(queue, asking).await;
        };
        let gate = context.work.answered.gate(&key);
        let _turn = gate.lock().await;
        let known = self.still_held(queue, context.work.answered.get(&key));
        if !known.is_empty() {
            let mut again = self.handover(known);
            again.is_over();
            return Some(again);
        }
        let mut handover = self.lease_anew(queue, asking).await?;
        let now = context.clock.now();
        if !handover.jobs().is_empty() && context.work.answered.put(key, handover.jobs(), now) {
            handover.is_over();
        }
        Some(handover)
    }

    /// Of what was given under a key: what its worker still has.
    fn still_held(&self, queue: &QueueHandle, handed: Vec<Handed>) -> Vec<Handed> {
        let until = |handed: &Handed| {
            queue.desk(|desk| {
                let held = desk.leases().get(&handed.job.id)?;
                let same = held.lease.digest == LeaseDigest::of(&handed.token) && !held.over;
                same.then_some(held.until)
            })
        };
        let held = handed.into_iter().filter_map(|handed| {
            let until = until(&handed)?;
            Some(Handed { until, ..handed })
        });
        held.collect()
    }

    fn handover(&self, jobs: Vec<Handed>) -> Handover {
        Handover::new(self.context.clone(), jobs)
    }

    async fn lease_anew(&self, queue: &Arc<QueueHandle>, asking: Asking) -> Option<Handover> {
        let context = &self.context;
        let Asking { worker, version, host, most, millis, wait } = asking;
        let heard = Heard { queue: Some(queue.name.clone()), version, host: host.clone() };
        context.work.workers().heard(&worker, heard, context.clock.now());
        if context.stopping.load(Ordering::Acquire) {
            return Some(self.handover(Vec::new()));
        }
        let _place = Place::take(&context.work.waiting)?;
        let (reply, mut answer) = oneshot::channel();
        let number = context.seed();
        queue.wait(Poll { number, worker, host, most, millis, reply });
        context.serve_queue(queue);
        if queue.is_waited_for() {
            // a rate, or who is leased alone, may let one go before anything else happens
            queue.poke();
        }
        if let Ok(handed) = tokio::time::timeout(wait, &mut answer).await {
            // an error means that the process is ending
            return Some(handed.unwrap_or_else(|_| self.handover(Vec::new())));
        }
        if queue.withdraw(number) {
            return Some(self.handover(Vec::new()));
        }
        let handed = tokio::time::timeout(GIVEN_WITHIN, answer).await;
        Some(handed.ok().and_then(Result::ok).unwrap_or_else(|| self.handover(Vec::new())))
    }

    /// A worker says what became of a job. `said`: the same for the same result.
    ///
    /// # Errors
    /// When it was not recorded.
    pub async fn end_job(
        &self,
        job: JobId,
        token: &str,
        (outcome, said): (JobOutcome, &[u8]),
        by: By,
    ) -> Result<JobReply, CommandError> {
        let digest = LeaseDigest::of(token);
        self.heard_of(job, digest);
        let otherwise = match &outcome {
            JobOutcome::Done { .. } => "done",
            JobOutcome::Failed { .. } | JobOutcome::Lost(_) => "failed",
            JobOutcome::Released => "queued",
        };
        let command = Some(result_id(digest, said));
        let act = Box::new(JobAct::End { digest, outcome });
        let meta = CommandMeta { command, by, if_match: None };
        let told = self.command(job.case, Command::Job { key: job.key, act }, meta).await?;
        Ok(JobReply { state: told.job.unwrap_or(otherwise) })
    }

    /// A worker extends its lease, and may say how far it is. Nothing of it is written to the journal.
    ///
    /// # Errors
    /// When the lease is over, or nobody wants the job any more.
    pub async fn extend_job(
        &self,
        job: JobId,
        token: &str,
        said: Saying,
    ) -> Result<Timestamp, CommandError> {
        let digest = LeaseDigest::of(token);
        self.heard_of(job, digest);
        if let Some(until) = self.extended(job, digest) {
            self.write_log(job, said);
            return match self.context.cases.quarantined(job.case) {
                Some(reason) => Err(CommandError::Quarantined(reason)),
                None => Ok(until),
            };
        }
        // its case says why
        let act = Box::new(JobAct::Look { digest });
        let command = Command::Job { key: job.key, act };
        self.command(job.case, command, CommandMeta::engine()).await?;
        // it stands, and ran out just now, or is not known here yet
        if let Some(until) = self.extended(job, digest) {
            self.write_log(job, said);
            return Ok(until);
        }
        let queue = self.context.work.leasing(job);
        let over = queue.is_some_and(|queue| {
            queue.desk(|desk| {
                let held = desk.leases().get(&job);
                held.is_some_and(|held| held.lease.digest == digest && held.over)
            })
        });
        Err(match over {
            true => CommandError::Rejected(Rejection::Job(JobConflict::LeaseLost)),
            false => CommandError::Unavailable("leases are being read again".into()),
        })
    }

    /// Keeps what a worker has written, beside the journal.
    fn write_log(&self, job: JobId, said: Saying) {
        let Saying { lines, progress } = said;
        if lines.is_empty() && progress.is_none() {
            return;
        }
        let Some(queue) = self.context.work.leasing(job) else { return };
        let of = queue.desk(|desk| desk.leases().get(&job).map(|held| held.of));
        let Some((task, iteration, attempt)) = of else { return };
        let of = Attempt { task, iteration, attempt };
        let batch = Batch { case: job.case, of, lines, progress, left_out: 0 };
        self.context.logs.append(batch, self.context.clock.now());
    }

    fn extended(&self, job: JobId, digest: LeaseDigest) -> Option<Timestamp> {
        let queue = self.context.work.leasing(job)?;
        let now = self.context.clock.now();
        let until = queue.desk(|desk| desk.extend(job, digest, now))?;
        queue.poke();
        Some(until)
    }

    /// The queue of a job that is open.
    pub async fn queue_of(&self, job: JobId) -> Option<Arc<str>> {
        if let Some(queue) = self.context.work.leasing(job) {
            return Some(queue.name.clone());
        }
        let case = self.case(job.case).await.ok()?;
        let rows = crate::domain::case::job::rows(&case.state);
        rows.into_iter().find(|row| row.key == job.key).map(|row| row.queue)
    }

    /// The worker that has a lease has called.
    fn heard_of(&self, job: JobId, digest: LeaseDigest) {
        let Some(queue) = self.context.work.leasing(job) else { return };
        let of_lease = queue.desk(|desk| {
            let held = desk.leases().get(&job).filter(|held| held.lease.digest == digest)?;
            Some(held.lease.worker.clone())
        });
        if let Some(worker) = of_lease {
            let now = self.context.clock.now();
            self.context.work.workers().heard(&worker, Heard::default(), now);
        }
    }
}

async fn ask<T>(
    queue: &QueueHandle,
    message: impl FnOnce(oneshot::Sender<T>) -> QueueMsg,
) -> Result<T, String> {
    let gone = || "the queue begins again; ask once more".to_owned();
    let (reply, answer) = oneshot::channel();
    let actor = queue.actor().ok_or_else(gone)?;
    actor.cast(message(reply)).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}

/// A place among those who wait.
struct Place<'a>(&'a std::sync::atomic::AtomicUsize);

impl<'a> Place<'a> {
    fn take(all: &'a std::sync::atomic::AtomicUsize) -> Option<Self> {
        let taken = all.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting < WAITING_MAX).then_some(waiting + 1)
        });
        taken.ok().map(|_| Self(all))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
