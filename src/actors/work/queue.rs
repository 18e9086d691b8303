//! The actor of one queue: keeps the clocks of leases, reads the line from the index, purges, notes what
//! operators say.
//!
//! Parent: the root. Its mailbox holds at most one `Look` from the handle, one from its alarm, one `Swept` and
//! the calls of operators. When it crashes it begins again over the same desk.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::handle::QueueHandle;
use super::message::QueueMsg;
use crate::actors::alarm::Alarm;
use crate::actors::cases::message::CommandError;
use crate::actors::context::Context;
use crate::domain::case::command::Command;
use crate::domain::case::job::{JobAct, JobOutcome};
use crate::domain::ids::{Entity, LeaseDigest};
use crate::domain::line::KEPT;
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobId;
use crate::domain::work::queue::QueueEvent;
use crate::domain::work::waiting::Waiting;
use crate::store::journal::{Append, Journal, LEFT_OPEN, Settled, append_until_known};
use crate::store::queue_events;
use crate::store::record::{self, By, Header};

/// Jobs that are purged in one go, and between two of these.
const SWEPT: usize = 50;
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// Milliseconds after which a case that could not be told of a lease's end is told again.
const TELL_AGAIN: i64 = 1000;

/// After which the index is read again where it could not be.
const READ_AGAIN: i64 = 1000;

/// Why a lease is lost.
const RAN_OUT: &str = "its lease ran out without a result";

/// The actor.
pub struct QueueActor;

/// What it lives on.
pub struct QueueState {
    context: Arc<Context>,
    queue: Arc<QueueHandle>,
    alarm: Alarm,
    /// How far the line was gone through for what is purged; none: nothing is.
    sweep: Option<Sweep>,
}

/// Where a purge is.
#[derive(Default)]
struct Sweep {
    behind: Option<Waiting>,
    /// The line was gone through; those that are repeated are not yet.
    line_is_done: bool,
}

impl Actor for QueueActor {
    type Msg = QueueMsg;
    type State = QueueState;
    type Arguments = (Arc<Context>, Arc<QueueHandle>);

    async fn pre_start(
        &self,
        myself: ActorRef<QueueMsg>,
        (context, queue): Self::Arguments,
    ) -> Result<QueueState, ActorProcessingErr> {
        queue.attach(myself.clone());
        myself.cast(QueueMsg::Look)?;
        let mut live = QueueState { context, queue, alarm: Alarm::default(), sweep: None };
        if live.queue.desk(|desk| desk.said().purged.is_some()) {
            // one may not have come to its end
            live.begin_sweep(&myself);
        }
        Ok(live)
    }

    async fn handle(
        &self,
        myself: ActorRef<QueueMsg>,
        message: QueueMsg,
        live: &mut QueueState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            QueueMsg::Look => {}
            QueueMsg::Pause { reason, by, reply } => {
                let event = QueueEvent::Paused {
                    reason: reason.as_str().into(),
                    by: by.who.as_str().into(),
                };
                let _ = reply.send(live.say(event, By { why: reason, ..by }).await);
            }
            QueueMsg::Resume { by, reply } => {
                let is_paused = live.queue.desk(|desk| desk.said().paused.is_some());
                let said = match is_paused {
                    true => live.say(QueueEvent::Resumed, by).await,
                    false => Ok(()),
                };
                let _ = reply.send(said);
            }
            QueueMsg::Purge { reason, by, reply } => {
                let _ = reply.send(live.purge(&myself, reason, by).await);
            }
            QueueMsg::Swept => live.sweep(&myself).await,
        }
        live.look(&myself).await;
        Ok(())
    }
}

impl QueueState {
    async fn look(&mut self, myself: &ActorRef<QueueMsg>) {
        self.queue.looked();
        let now = self.context.clock.now();
        let over = self.queue.desk(|desk| desk.over(now));
        for (job, digest) in over {
            let (context, queue) = (self.context.clone(), self.queue.clone());
            tokio::spawn(async move { lease_is_over(&context, &queue, job, digest).await });
        }
        let purged = self.queue.desk(|desk| desk.take_purged());
        for job in purged {
            self.tell_purged(job);
        }
        let read = match self.context.views.progress() {
            None => self.read_index(now).await,
            // it is read once it is complete
            Some(_) => true,
        };
        self.context.serve_queue(&self.queue);
        let next = self.queue.desk(|desk| desk.next_due(now));
        let again = (!read).then(|| now.plus(READ_AGAIN));
        self.set_alarm(myself, next.into_iter().chain(again).min());
    }

    /// Who comes next, from the index, where memory does not know. False: it could not be read.
    async fn read_index(&self, now: Timestamp) -> bool {
        let (line, repeats) = self.queue.desk(|desk| (desk.wants_line(), desk.wants_repeats()));
        if !line && !repeats {
            return true;
        }
        let (views, name) = (self.context.views.clone(), self.queue.name.clone());
        let (of_line, of_repeats) = self.queue.desk(|desk| desk.reads());
        let read = tokio::task::spawn_blocking(move || {
            let waiting = if line { Some(views.jobs(&name, None, KEPT)?) } else { None };
            let repeating = if repeats { Some(views.jobs_again(&name, KEPT)?) } else { None };
            Ok::<_, crate::store::views::TableError>((waiting, repeating))
        });
        match read.await {
            Ok(Ok((waiting, repeating))) => {
                self.queue.desk(|desk| {
                    if let Some(rows) = waiting {
                        let complete = rows.len() < KEPT;
                        desk.line_up(of_line, rows, complete, now);
                    }
                    if let Some(rows) = repeating {
                        let complete = rows.len() < KEPT;
                        desk.repeat(of_repeats, rows, complete, now);
                    }
                });
                true
            }
            Ok(Err(error)) => {
                tracing::error!(queue = %self.queue.name, %error, "a line cannot be read");
                false
            }
            Err(_) => false,
        }
    }

    /// Commits what an operator says, and goes by it.
    async fn say(&self, event: QueueEvent, by: By) -> Result<(), String> {
        let entity = Entity::queue(&self.queue.name);
        let journal = &self.context.journal;
        let last = journal.last(entity).await.map_err(|e| e.to_string())?;
        let bytes = last.as_ref().map(|last| &last.record[..]);
        let header = Header::following(bytes, entity, self.context.clock.now(), by);
        let header = header.map_err(|e| e.to_string())?;
        let record = record::encode(&header, &queue_events::encode(&self.queue.name, &event));
        let fence = last.map(|last| last.fence);
        let append =
            Append { entity, fence, first: header.version, record: record.into(), note: None };
        match append_until_known(journal, append).await {
            Settled::Committed(_) => {
                self.queue.desk(|desk| desk.said_mut().evolve(&event));
                Ok(())
            }
            Settled::Conflict => Err("somebody else wrote of this queue".to_owned()),
            Settled::Refused(refused) => Err(refused.to_string()),
            Settled::LeftOpen => Err(LEFT_OPEN.to_owned()),
        }
    }

    async fn purge(
        &mut self,
        myself: &ActorRef<QueueMsg>,
        reason: String,
        by: By,
    ) -> Result<u64, String> {
        let counts = self.context.views.count_jobs(&self.queue.name);
        let at = self.context.clock.now();
        let event = QueueEvent::Purged { at, reason: reason.as_str().into() };
        self.say(event, By { why: reason, ..by }).await?;
        let jobs = counts.queued + counts.repeating;
        self.queue.set_purging(jobs);
        // what memory knows of the line is sorted anew
        self.queue.desk(|desk| desk.sort_purged());
        self.begin_sweep(myself);
        Ok(jobs)
    }

    fn begin_sweep(&mut self, myself: &ActorRef<QueueMsg>) {
        let goes_on = self.sweep.replace(Sweep::default()).is_some();
        if !goes_on {
            let _ = myself.cast(QueueMsg::Swept);
        }
    }

    /// Goes through a page of the line for what was queued before the purge.
    async fn sweep(&mut self, myself: &ActorRef<QueueMsg>) {
        let Some(before) = self.queue.desk(|desk| desk.said().purged) else {
            self.sweep = None;
            return;
        };
        let context = self.context.clone();
        context.views_filled().await;
        let Some(sweep) = &self.sweep else { return };
        let name = self.queue.name.clone();
        let (views, behind, line) = (context.views.clone(), sweep.behind, !sweep.line_is_done);
        let read = tokio::task::spawn_blocking(move || match line {
            true => views.jobs(&name, behind.as_ref(), KEPT),
            false => {
                let rows = views.jobs_again(&name, KEPT)?;
                Ok(rows.into_iter().map(|row| row.waiting).collect())
            }
        });
        let rows = match read.await {
            Ok(Ok(rows)) => rows,
            Ok(Err(_)) | Err(_) => {
                myself.send_after(Duration::from_secs(1), || QueueMsg::Swept);
                return;
            }
        };
        let all = rows.len() < KEPT;
        let wanted: Vec<Waiting> =
            rows.iter().filter(|row| row.queued_at < before).copied().take(SWEPT).collect();
        let full = wanted.len() == SWEPT;
        for waiting in &wanted {
            self.tell_purged(waiting.id);
        }
        let done = u64::try_from(wanted.len()).unwrap_or(0);
        self.queue.set_purging(self.queue.purging().saturating_sub(done));
        let Some(sweep) = &mut self.sweep else { return };
        sweep.behind = match full {
            true => wanted.last().copied(),
            false => rows.last().copied(),
        };
        // those that are repeated have no order to go on by: they are read until none is left
        let through = all && !full;
        match (line, through) {
            (true, true) => sweep.line_is_done = true,
            (false, true) if wanted.is_empty() => {
                self.sweep = None;
                self.queue.set_purging(0);
                return;
            }
            _ => {}
        }
        myself.send_after(SWEEP_EVERY, || QueueMsg::Swept);
    }

    fn tell_purged(&self, job: JobId) {
        let Some(before) = self.queue.desk(|desk| desk.said().purged) else { return };
        let context = self.context.clone();
        tokio::spawn(async move {
            let act = Box::new(JobAct::Purge { before });
            // a "no" means that it is not queued any more
            let _ = context.wake(job.case, Command::Job { key: job.key, act }).await;
        });
    }

    fn set_alarm(&mut self, myself: &ActorRef<QueueMsg>, at: Option<Timestamp>) {
        self.alarm.set(&self.context.clock, myself, at, || QueueMsg::Look);
    }
}

/// Tells a case that a lease has run out.
async fn lease_is_over(
    context: &Arc<Context>,
    queue: &Arc<QueueHandle>,
    job: JobId,
    digest: LeaseDigest,
) {
    let told = context.end_lease(job, digest, JobOutcome::Lost(RAN_OUT.into())).await;
    let now = context.clock.now();
    match told {
        Ok(()) => {}
        Err(
            CommandError::Unavailable(_)
            | CommandError::Unknown(_)
            | CommandError::Busy(_)
            | CommandError::Quarantined(_),
        ) => {
            queue.desk(|desk| desk.tell_again(job, digest, now.plus(TELL_AGAIN)));
            queue.poke();
        }
        Err(_) => queue.desk(|desk| desk.unknown(job, digest, &mut context.work.workers())),
    }
}
