//! The root: parent of the shared actors. One that crashes begins again after a while; one that
//! crashes too often ends the process, so that whoever started it takes over.
//!
//! Its mailbox holds one message for each crash, and one for each service that is new.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::cases::kind::Cases;
use crate::actors::context::Context;
use crate::actors::housekeeper::{HousekeeperActor, HousekeeperArgs};
use crate::actors::projection::ProjectorActor;
use crate::actors::projection::notifier::NotifierActor;
use crate::actors::projection::starter::StarterActor;
use crate::actors::recovery;
use crate::actors::registry::supervisor::Supervisor;
use crate::actors::restart::{Crashes, Restart};
use crate::actors::schedules::ScheduleActor;
use crate::actors::schedules::handle::ScheduleHandle;
use crate::actors::services::breaker::BreakerActor;
use crate::actors::services::handle::ServiceHandle;
use crate::actors::staff::kind::Csrs;
use crate::actors::staff::planner::PlannerActor;
use crate::actors::staff::waiting;
use crate::actors::timers::TimersActor;
use crate::actors::work::handle::QueueHandle;
use crate::actors::work::queue::QueueActor;
use futures_util::FutureExt;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime};
use ractor::{SpawnErr, SupervisionEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// After which a schedule that crashed too often begins again.
const SCHEDULE_AGAIN: Duration = Duration::from_secs(60);

/// The actor.
pub struct RootActor;

/// What it begins with.
pub struct RootArgs {
    pub housekeeper: HousekeeperArgs,
    /// Services that want a breaker actor.
    pub wanted: mpsc::UnboundedReceiver<Arc<ServiceHandle>>,
    /// Queues that want an actor.
    pub wanted_queues: mpsc::UnboundedReceiver<Arc<QueueHandle>>,
    /// Schedules that want an actor.
    pub wanted_schedules: mpsc::UnboundedReceiver<Arc<ScheduleHandle>>,
    /// Told when the process has to end, and why.
    pub fatal: mpsc::UnboundedSender<String>,
}

/// What it is told.
pub enum RootMsg {
    Start(SharedActor),
    Serve(Arc<ServiceHandle>),
    Queue(Arc<QueueHandle>),
    Schedule(Arc<ScheduleHandle>),
}

/// A shared actor.
#[derive(Clone)]
pub enum SharedActor {
    CaseSupervisor,
    CsrSupervisor,
    Planner,
    Projector,
    Timers,
    Notifier,
    Starter,
    Housekeeper,
    Breaker(Arc<ServiceHandle>),
    Queue(Arc<QueueHandle>),
    Schedule(Arc<ScheduleHandle>),
}

impl SharedActor {
    fn name(&self) -> String {
        match self {
            Self::CaseSupervisor => "case supervisor".to_owned(),
            Self::CsrSupervisor => "CSR supervisor".to_owned(),
            Self::Planner => "planner".to_owned(),
            Self::Projector => "projector".to_owned(),
            Self::Timers => "timers".to_owned(),
            Self::Notifier => "notifier".to_owned(),
            Self::Starter => "starter".to_owned(),
            Self::Housekeeper => "housekeeper".to_owned(),
            Self::Breaker(served) => format!("breaker {}", served.settings.name),
            Self::Queue(queue) => format!("queue {}", queue.name),
            Self::Schedule(schedule) => format!("schedule {}", schedule.id),
        }
    }
}

/// What it lives on.
pub struct RootState {
    context: Arc<Context>,
    housekeeper: HousekeeperArgs,
    fatal: mpsc::UnboundedSender<String>,
    running: HashMap<ActorId, SharedActor>,
    crashes: HashMap<String, Crashes>,
    /// Serves the wants.
    wants: Option<JoinHandle<()>>,
    /// Has those look again who wait for people, and those go whose time is over.
    waiting: Vec<JoinHandle<()>>,
    /// Wakes what is owed from before the start.
    recovering: Option<JoinHandle<()>>,
}

impl Actor for RootActor {
    type Msg = RootMsg;
    type State = RootState;
    type Arguments = RootArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMsg>,
        args: RootArgs,
    ) -> Result<RootState, ActorProcessingErr> {
        let RootArgs { housekeeper, wanted, wanted_queues, wanted_schedules, fatal } = args;
        let context = housekeeper.context.clone();
        let (running, crashes) = (HashMap::new(), HashMap::new());
        let (wants, waiting, recovering) = (None, Vec::new(), None);
        let mut live =
            RootState { context, housekeeper, fatal, running, crashes, wants, waiting, recovering };
        for shared in [
            SharedActor::Projector,
            SharedActor::CsrSupervisor,
            SharedActor::Planner,
            SharedActor::CaseSupervisor,
            SharedActor::Housekeeper,
            SharedActor::Timers,
        ] {
            live.start(&myself, shared).await?;
        }
        live.wants = Some(tokio::spawn(serve_wants(live.context.clone())));
        live.waiting = vec![
            tokio::spawn(waiting::serve(live.context.clone())),
            tokio::spawn(live.context.clone().see_off()),
        ];
        for shared in [SharedActor::Notifier, SharedActor::Starter] {
            live.start(&myself, shared).await?;
        }
        start_wanted(&myself, wanted, RootMsg::Serve);
        start_wanted(&myself, wanted_queues, RootMsg::Queue);
        start_wanted(&myself, wanted_schedules, RootMsg::Schedule);
        Ok(live)
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        message: RootMsg,
        live: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let shared = match message {
            RootMsg::Start(shared) => shared,
            RootMsg::Serve(served) => SharedActor::Breaker(served),
            RootMsg::Queue(queue) => SharedActor::Queue(queue),
            RootMsg::Schedule(schedule) => SharedActor::Schedule(schedule),
        };
        if let Err(error) = live.start(&myself, shared.clone()).await {
            live.crashed(&myself, shared, &error.to_string());
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<RootMsg>,
        live: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        live.wants.take().iter().for_each(JoinHandle::abort);
        live.waiting.iter().for_each(JoinHandle::abort);
        live.recovering.take().iter().for_each(JoinHandle::abort);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        live: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                if let Some(shared) = live.running.remove(&actor.get_id()) {
                    live.crashed(&myself, shared, &error.to_string());
                }
            }
            SupervisionEvent::ActorTerminated(actor, ..) => {
                live.running.remove(&actor.get_id());
            }
            _ => {}
        }
        Ok(())
    }
}

impl RootState {
    async fn start(
        &mut self,
        root: &ActorRef<RootMsg>,
        shared: SharedActor,
    ) -> Result<(), SpawnErr> {
        let (context, over) = (self.context.clone(), root.get_cell());
        let id = match &shared {
            SharedActor::CaseSupervisor => {
                let id = spawn(Supervisor::<Cases>::default(), context.clone(), over).await?;
                // cases that were live under another supervisor are gone; what they owe is not
                let recovering = tokio::spawn(recovery::recover(context));
                self.recovering.replace(recovering).iter().for_each(JoinHandle::abort);
                id
            }
            SharedActor::CsrSupervisor => {
                let id = spawn(Supervisor::<Csrs>::default(), context.clone(), over).await?;
                context.tell_all_displaced();
                id
            }
            SharedActor::Planner => spawn(PlannerActor, context, over).await?,
            SharedActor::Projector => spawn(ProjectorActor, context, over).await?,
            SharedActor::Timers => spawn(TimersActor, context, over).await?,
            SharedActor::Notifier => spawn(NotifierActor, context, over).await?,
            SharedActor::Starter => spawn(StarterActor, context, over).await?,
            SharedActor::Housekeeper => {
                spawn(HousekeeperActor, self.housekeeper.clone(), over).await?
            }
            SharedActor::Breaker(served) => {
                spawn(BreakerActor, (context, served.clone()), over).await?
            }
            SharedActor::Queue(queue) => spawn(QueueActor, (context, queue.clone()), over).await?,
            SharedActor::Schedule(schedule) => {
                spawn(ScheduleActor, (context, schedule.clone()), over).await?
            }
        };
        self.running.insert(id, shared);
        Ok(())
    }

    fn crashed(&mut self, root: &ActorRef<RootMsg>, shared: SharedActor, error: &str) {
        let name = shared.name();
        metrics::counter!("caseworker_actor_restarts_total", "actor" => "shared").increment(1);
        match self.crashes.entry(name.clone()).or_default().crashed(self.context.clock.now()) {
            Restart::Again(delay) => {
                tracing::error!(actor = name, error, delay, "an actor crashed");
                let delay = Duration::from_millis(delay.unsigned_abs());
                root.send_after(delay, move || RootMsg::Start(shared));
            }
            Restart::GiveUp if matches!(shared, SharedActor::Schedule(_)) => {
                // it alone stands still: what it owes is in the journal, and it tries again
                tracing::error!(actor = name, error, "a schedule crashes again and again");
                root.send_after(SCHEDULE_AGAIN, move || RootMsg::Start(shared));
            }
            Restart::GiveUp => {
                let _ = self.fatal.send(format!("the {name} crashed too often: {error}"));
            }
        }
    }
}

/// Starts an actor for each that wants one, now and later.
fn start_wanted<T: Send + 'static>(
    root: &ActorRef<RootMsg>,
    mut wanted: mpsc::UnboundedReceiver<T>,
    say: fn(T) -> RootMsg,
) {
    let root = root.clone();
    tokio::spawn(async move {
        while let Some(one) = wanted.recv().await {
            if root.cast(say(one)).is_err() {
                return;
            }
        }
    });
}

/// Serves the wants, whatever happens to one of them.
async fn serve_wants(context: Arc<Context>) {
    while AssertUnwindSafe(context.clone().serve_wants()).catch_unwind().await.is_err() {
        metrics::counter!("caseworker_actor_restarts_total", "actor" => "shared").increment(1);
        tracing::error!("whoever serves the wants has crashed, and goes on with the next one");
    }
}

async fn spawn<A: Actor>(
    actor: A,
    args: A::Arguments,
    over: ActorCell,
) -> Result<ActorId, SpawnErr> {
    let (actor, _) = ActorRuntime::spawn_linked(None, actor, args, over).await?;
    Ok(actor.get_id())
}
