//! Leasing: jobs that were taken out for a worker are asked of their cases, and handed over once each case has
//! committed that the worker has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::handle::{QueueHandle, Served};
use super::handover::Handover;
use super::poll::{Handed, Poll, token};
use crate::actors::cases::message::CommandError;
use crate::actors::cases::submit::random;
use crate::actors::context::Context;
use crate::domain::case::command::Command;
use crate::domain::case::job::{JobAct, JobOutcome};
use crate::domain::ids::{CaseId, LeaseDigest};
use crate::domain::work::job::JobId;
use crate::domain::work::lease::Leasing;
use crate::domain::work::row::{JobAt, JobRow};
use crate::domain::work::waiting::Waiting;
use crate::domain::workflow::expr::json::size_of;
use crate::store::logs::Attempt;

/// Jobs that are leased at the same time for one worker, and bytes of their inputs after which it is enough.
const AT_ONCE: usize = 32;
const BYTES_MAX: usize = 4 * 1024 * 1024 - 256 * 1024;

/// How long one goes on leasing for a worker that has got some.
const LEASING: Duration = Duration::from_secs(1);

/// After which a case that could not be told is told again, and how often at the most.
const AGAIN: Duration = Duration::from_secs(1);
const GIVEN_BACK: usize = 60;

impl Context {
    /// Serves the workers that wait at a queue, as far as there is something for them.
    pub fn serve_queue(self: &Arc<Self>, queue: &Arc<QueueHandle>) {
        if !queue.is_waited_for() {
            return;
        }
        for served in queue.serve(self.work.workers_lock(), self.clock.now()) {
            self.runtime.spawn(self.clone().lease_all(queue.clone(), served));
        }
    }

    /// A case has committed what becomes of its jobs.
    pub fn jobs_committed(self: &Arc<Self>, case: CaseId, jobs: (&[JobRow], &[JobRow])) {
        if jobs.0.is_empty() && jobs.1.is_empty() {
            return;
        }
        for row in jobs.0.iter().filter(|row| matches!(row.at, JobAt::Leased(_))) {
            if !jobs.1.contains(row) {
                let (task, iteration, attempt) = (row.task, row.iteration, row.attempt);
                self.logs.ended(case, Attempt { task, iteration, attempt });
            }
        }
        for queue in self.work.committed(case, jobs, self.clock.now()) {
            self.serve_queue(&queue);
            // a lease may end before all others, or a repeat begin
            queue.poke();
        }
    }

    /// Asks the cases of some jobs for leases, and hands the worker what it got.
    async fn lease_all(self: Arc<Self>, queue: Arc<QueueHandle>, served: Served) {
        let Served { poll, jobs } = served;
        let handed = match &jobs[..] {
            [one] => self.lease_one(&queue, &poll, *one).await.into_iter().collect(),
            many => self.lease_many(&queue, &poll, many).await,
        };
        if handed.is_empty() {
            // what it was to get was gone
            queue.wait_first(poll);
            self.serve_queue(&queue);
            return;
        }
        // whoever does not wait any more drops it, and they are given back
        let _ = poll.reply.send(Handover::new(self, handed));
    }

    /// Leases some at a time, until their inputs are large together; the rest goes back to the line.
    async fn lease_many(
        self: &Arc<Self>,
        queue: &Arc<QueueHandle>,
        poll: &Poll,
        jobs: &[Waiting],
    ) -> Vec<Handed> {
        let (mut handed, mut bytes, begun) = (Vec::new(), 0, Instant::now());
        let mut some = jobs.chunks(AT_ONCE);
        while bytes < BYTES_MAX
            && begun.elapsed() < LEASING
            && let Some(jobs) = some.next()
        {
            let asked = jobs.iter().map(|job| self.lease_one(queue, poll, *job));
            for job in join_all(asked).await.into_iter().flatten() {
                bytes += size_of(&job.job.input);
                handed.push(job);
            }
        }
        let now = self.clock.now();
        for waiting in some.flatten() {
            queue.desk(|desk| {
                desk.put_back(waiting.id, &poll.worker, &mut self.work.workers(), now);
            });
        }
        handed
    }

    async fn lease_one(
        self: &Arc<Self>,
        queue: &Arc<QueueHandle>,
        poll: &Poll,
        waiting: Waiting,
    ) -> Option<Handed> {
        let (token, digest) = token(random());
        let leasing = Leasing {
            worker: poll.worker.clone(),
            host: poll.host.clone(),
            millis: poll.millis,
            of_queue: queue.desk(|desk| desk.settings().lease),
            digest,
        };
        let (id, worker) = (waiting.id, &poll.worker);
        let act = Box::new(JobAct::Lease(leasing));
        let told = self.wake(id.case, Command::Job { key: id.key, act }).await;
        let now = self.clock.now();
        match told {
            Ok(told) if told.given.is_some() => {
                let job = *told.given?;
                let until = now.plus(job.lease_millis);
                return Some(Handed { job, token, until });
            }
            Err(
                CommandError::Unavailable(_) | CommandError::Unknown(_) | CommandError::Busy(_),
            ) => {
                queue.desk(|desk| desk.put_back(id, worker, &mut self.work.workers(), now));
                let (context, queue) = (self.clone(), queue.clone());
                self.runtime.spawn(async move {
                    // it may be committed all the same, and nobody has it
                    context.give_back(id, &token).await;
                    context.serve_queue(&queue);
                });
            }
            // it does not stand in the line any more
            Ok(_) | Err(_) => {
                queue.desk(|desk| desk.refused(id, worker, &mut self.work.workers(), now));
            }
        }
        None
    }

    /// A job that its worker never got is given back, which counts for nothing: until its case has said yes or
    /// no, or the lease would have run out.
    pub(super) async fn give_back(self: &Arc<Self>, job: JobId, token: &str) {
        let digest = LeaseDigest::of(token);
        for _ in 0..GIVEN_BACK {
            match self.end_lease(job, digest, JobOutcome::Released).await {
                Err(
                    CommandError::Unavailable(_) | CommandError::Unknown(_) | CommandError::Busy(_),
                ) => tokio::time::sleep(AGAIN).await,
                // a "no" means that it came too late, or that there never was one
                Ok(()) | Err(_) => return,
            }
        }
    }

    /// Tells a case that a lease has ended.
    pub(super) async fn end_lease(
        self: &Arc<Self>,
        job: JobId,
        digest: LeaseDigest,
        outcome: JobOutcome,
    ) -> Result<(), CommandError> {
        let act = Box::new(JobAct::End { digest, outcome });
        self.wake(job.case, Command::Job { key: job.key, act }).await.map(drop)
    }
}
