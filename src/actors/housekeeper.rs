//! The housekeeper: looks once a second at what nobody tells: room on the disk, cases that wait to be
//! started, and the numbers that are measured rather than counted.
//!
//! Parent: the root. Its mailbox holds its own message alone.

use crate::actors::context::Context;
use crate::actors::disk::free_bytes;
use crate::actors::projection::feed::{Changed, QueueSeen, ScheduleSeen};
use crate::domain::time::Timestamp;
use crate::store::journal::Journal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

const EVERY: Duration = Duration::from_secs(1);

/// Milliseconds between two looks at documents that nobody refers to.
const SWEEP_EVERY: i64 = 3_600_000;

/// Milliseconds after which a schedule is late that owes a case.
const LATE: i64 = 60_000;

/// The actor.
pub struct HousekeeperActor;

/// What it begins with.
#[derive(Clone)]
pub struct HousekeeperArgs {
    pub context: Arc<Context>,
    pub folder: PathBuf,
    /// Bytes that have to be free on the folder's disk.
    pub min_free: u64,
}

/// Its state.
pub struct Housekeeper {
    args: HousekeeperArgs,
    told: Told,
    /// When documents that nobody refers to were looked for last.
    swept: Timestamp,
}

/// What was told last of each queue and schedule: once a second at the most.
#[derive(Default)]
struct Told {
    queues: BTreeMap<Arc<str>, QueueSeen>,
    schedules: BTreeMap<Arc<str>, ScheduleSeen>,
}

/// What it is told, by itself alone.
pub enum HousekeeperMsg {
    Look,
}

impl Actor for HousekeeperActor {
    type Msg = HousekeeperMsg;
    type State = Housekeeper;
    type Arguments = HousekeeperArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<HousekeeperMsg>,
        args: HousekeeperArgs,
    ) -> Result<Housekeeper, ActorProcessingErr> {
        myself.cast(HousekeeperMsg::Look)?;
        Ok(Housekeeper { args, told: Told::default(), swept: Timestamp(0) })
    }

    async fn handle(
        &self,
        myself: ActorRef<HousekeeperMsg>,
        HousekeeperMsg::Look: HousekeeperMsg,
        state: &mut Housekeeper,
    ) -> Result<(), ActorProcessingErr> {
        let Housekeeper { args: HousekeeperArgs { context, folder, min_free }, told, swept } =
            state;
        match free_bytes(folder) {
            Ok(free) => {
                metrics::gauge!("caseworker_disk_free_bytes").set(free as f64);
                context.intake.set_disk_full(free < *min_free);
            }
            Err(error) => tracing::warn!(%error, "the disk's free room is not known"),
        }
        if context.views.progress().is_none() {
            let pending = usize::try_from(context.views.count_pending()).unwrap_or(usize::MAX);
            context.intake.set_pending(pending);
        }
        let pending = context.intake.pending();
        metrics::gauge!("caseworker_dead_letters", "state" => "open")
            .set(context.views.count_open_dead_letters() as f64);
        metrics::gauge!("caseworker_cases_pending").set(pending as f64);
        metrics::gauge!("caseworker_cases_live").set(context.cases.count() as f64);
        let lag =
            context.journal.notes().waiting_since().map_or(0.0, |s| s.elapsed().as_secs_f64());
        metrics::gauge!("caseworker_projector_lag_seconds").set(lag);
        metrics::gauge!("caseworker_expression_threads_abandoned")
            .set(context.evaluator.abandoned() as f64);
        measure_services(context);
        measure_queues(context, &mut told.queues);
        measure_schedules(context, &mut told.schedules);
        let now = context.clock.now();
        if now.since(*swept) > SWEEP_EVERY && context.views.progress().is_none() {
            *swept = now;
            context.sweep_documents();
        }
        tokio::time::sleep(EVERY).await;
        myself.cast(HousekeeperMsg::Look)?;
        Ok(())
    }
}

/// The numbers of each service.
fn measure_services(context: &Context) {
    for served in context.services.list() {
        if !served.settings.known {
            continue;
        }
        let name = served.settings.name.to_string();
        let (waiting, oldest) = context.views.count_line(&name).unwrap_or_default();
        metrics::gauge!("caseworker_cases_waiting", "service" => name.clone()).set(waiting as f64);
        let age = oldest.map_or(0, |since| context.clock.now().since(since).max(0));
        metrics::gauge!("caseworker_oldest_wait_seconds", "service" => name.clone())
            .set(age as f64 / 1000.0);
        let calls = context.views.calls(&name).unwrap_or_default();
        let outcomes =
            [("answered", calls.answered), ("failed", calls.failed), ("unknown", calls.unknown)];
        for (outcome, count) in outcomes {
            let labels = [("service", name.clone()), ("outcome", outcome.to_owned())];
            metrics::counter!("caseworker_calls_total", &labels).absolute(count);
        }
        let state = served.gate().circuit().name();
        let open = if state == "closed" { 0.0 } else { 1.0 };
        metrics::gauge!("caseworker_breaker_open", "service" => name).set(open);
    }
}

/// Schedules that are late; what has changed of one is told to whoever follows.
fn measure_schedules(context: &Context, told: &mut BTreeMap<Arc<str>, ScheduleSeen>) {
    let now = context.clock.now();
    let mut late = 0;
    for schedule in context.schedules.list() {
        let (late_since, state, revision) =
            schedule.with(|seen| (seen.late_since, seen.state.word(), seen.state.revision));
        if revision == 0 {
            continue;
        }
        late += u32::from(late_since.is_some_and(|since| now.since(since) > LATE));
        let workflow = format!("{}/{}", schedule.namespace, schedule.name);
        let seen = ScheduleSeen { id: schedule.id.clone(), workflow, state, revision, at: now };
        let known = told.get(&schedule.id);
        let same = known.is_some_and(|known| ScheduleSeen { at: now, ..known.clone() } == seen);
        if !same && context.feed.push_beside(Changed::Schedule(seen.clone())) {
            told.insert(seen.id.clone(), seen);
        }
    }
    metrics::gauge!("caseworker_schedules_late").set(f64::from(late));
}

/// The numbers of each queue; what has changed is told to whoever follows.
fn measure_queues(context: &Context, told: &mut BTreeMap<Arc<str>, QueueSeen>) {
    let now = context.clock.now();
    for queue in context.work.list() {
        let name = queue.name.to_string();
        let jobs = context.views.count_jobs(&name);
        let states =
            [("queued", jobs.queued), ("repeating", jobs.repeating), ("leased", jobs.leased)];
        for (state, count) in states {
            let labels = [("queue", name.clone()), ("state", state.to_owned())];
            metrics::gauge!("caseworker_jobs", &labels).set(count as f64);
        }
        let oldest = context.views.oldest_job(&name).unwrap_or_default();
        let age = oldest.map_or(0, |(since, _)| now.since(since).max(0));
        metrics::gauge!("caseworker_oldest_job_seconds", "queue" => name.clone())
            .set(age as f64 / 1000.0);
        let (came, went) = queue.desk(|desk| desk.pace(now));
        for (direction, count) in [("in", came), ("out", went)] {
            let labels = [("queue", name.clone()), ("direction", direction.to_owned())];
            metrics::gauge!("caseworker_jobs_last_minute", &labels).set(f64::from(count));
        }
        let ended = context.views.queue_counts(&name).unwrap_or_default();
        let outcomes = [
            ("done", ended.done),
            ("failed", ended.failed),
            ("lost", ended.lost),
            ("expired", ended.expired),
            ("purged", ended.purged),
        ];
        for (outcome, count) in outcomes {
            let labels = [("queue", name.clone()), ("outcome", outcome.to_owned())];
            metrics::counter!("caseworker_jobs_total", &labels).absolute(count);
        }
        let paused = queue.desk(|desk| desk.said().paused.is_some());
        let share = if paused { 1.0 } else { 0.0 };
        metrics::gauge!("caseworker_queue_paused", "queue" => name).set(share);
        let seen = QueueSeen {
            name: queue.name.clone(),
            depth: jobs.queued + jobs.repeating,
            leased: jobs.leased,
            is_paused: paused,
            at: now,
        };
        let known = told.get(&queue.name);
        let same = known.is_some_and(|known| QueueSeen { at: now, ..known.clone() } == seen);
        if !same && context.feed.push_beside(Changed::Queue(seen.clone())) {
            told.insert(seen.name.clone(), seen);
        }
    }
}
