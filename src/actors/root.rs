//! The root: parent of the shared actors. One that crashes begins again after a while; one that
//! crashes too often ends the process, so that whoever started it takes over.
//!
//! Its mailbox holds one message for each crash, and one for each service that is new.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime};
use ractor::{SpawnErr, SupervisionEvent};
use tokio::sync::mpsc;

use super::breaker::BreakerActor;
use super::keeper::{KeeperActor, KeeperArgs};
use super::office::Office;
use super::projector::ProjectorActor;
use super::recovery;
use super::restart::{Crashes, Verdict};
use super::router::RouterActor;
use super::services::Served;
use super::timers::TimersActor;
use super::waker::{StarterActor, WakerActor};

/// The actor.
pub struct RootActor;

/// What it begins with.
pub struct RootArgs {
    pub keeper: KeeperArgs,
    /// Services that want a breaker actor.
    pub wanted: mpsc::UnboundedReceiver<Arc<Served>>,
    /// Told when the process has to end, and why.
    pub fatal: mpsc::UnboundedSender<String>,
}

/// What it is told.
pub enum RootMsg {
    Start(Shared),
    Serve(Arc<Served>),
}

/// A shared actor.
#[derive(Clone)]
pub enum Shared {
    Router,
    Projector,
    Timers,
    Waker,
    Starter,
    Keeper,
    Breaker(Arc<Served>),
}

impl Shared {
    fn name(&self) -> String {
        match self {
            Self::Router => "router".to_owned(),
            Self::Projector => "projector".to_owned(),
            Self::Timers => "timers".to_owned(),
            Self::Waker => "waker".to_owned(),
            Self::Starter => "starter".to_owned(),
            Self::Keeper => "keeper".to_owned(),
            Self::Breaker(served) => format!("breaker {}", served.settings.name),
        }
    }
}

/// What it lives on.
pub struct Live {
    office: Arc<Office>,
    keeper: KeeperArgs,
    fatal: mpsc::UnboundedSender<String>,
    running: HashMap<ActorId, Shared>,
    crashes: HashMap<String, Crashes>,
}

impl Actor for RootActor {
    type Msg = RootMsg;
    type State = Live;
    type Arguments = RootArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMsg>,
        args: RootArgs,
    ) -> Result<Live, ActorProcessingErr> {
        let RootArgs { keeper, mut wanted, fatal } = args;
        let office = keeper.office.clone();
        let (running, crashes) = (HashMap::new(), HashMap::new());
        let mut live = Live { office, keeper, fatal, running, crashes };
        for shared in [Shared::Projector, Shared::Router, Shared::Keeper, Shared::Timers] {
            live.start(&myself, shared).await?;
        }
        for shared in [Shared::Waker, Shared::Starter] {
            live.start(&myself, shared).await?;
        }
        let root = myself.clone();
        tokio::spawn(async move {
            while let Some(served) = wanted.recv().await {
                if root.cast(RootMsg::Serve(served)).is_err() {
                    return;
                }
            }
        });
        Ok(live)
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        message: RootMsg,
        live: &mut Live,
    ) -> Result<(), ActorProcessingErr> {
        let shared = match message {
            RootMsg::Start(shared) => shared,
            RootMsg::Serve(served) => Shared::Breaker(served),
        };
        if let Err(error) = live.start(&myself, shared.clone()).await {
            live.crashed(&myself, shared, &error.to_string());
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        live: &mut Live,
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

impl Live {
    async fn start(&mut self, root: &ActorRef<RootMsg>, shared: Shared) -> Result<(), SpawnErr> {
        let (office, over) = (self.office.clone(), root.get_cell());
        let id = match &shared {
            Shared::Router => {
                let id = spawn(RouterActor, office.clone(), over).await?;
                // cases that were live under another router are gone; what they owe is not
                tokio::spawn(recovery::recover(office));
                id
            }
            Shared::Projector => spawn(ProjectorActor, office, over).await?,
            Shared::Timers => spawn(TimersActor, office, over).await?,
            Shared::Waker => spawn(WakerActor, office, over).await?,
            Shared::Starter => spawn(StarterActor, office, over).await?,
            Shared::Keeper => spawn(KeeperActor, self.keeper.clone(), over).await?,
            Shared::Breaker(served) => spawn(BreakerActor, (office, served.clone()), over).await?,
        };
        self.running.insert(id, shared);
        Ok(())
    }

    fn crashed(&mut self, root: &ActorRef<RootMsg>, shared: Shared, error: &str) {
        let name = shared.name();
        metrics::counter!("caseworker_actor_restarts_total", "actor" => "shared").increment(1);
        match self.crashes.entry(name.clone()).or_default().crashed(self.office.clock.now()) {
            Verdict::Again(delay) => {
                tracing::error!(actor = name, error, delay, "an actor crashed");
                let delay = Duration::from_millis(delay.unsigned_abs());
                root.send_after(delay, move || RootMsg::Start(shared));
            }
            Verdict::GiveUp => {
                let _ = self.fatal.send(format!("the {name} crashed too often: {error}"));
            }
        }
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
