//! The parent of all actors of a kind. Finding and starting them needs no message to it (see
//! [`super::Registry`]); it hears of crashes, and has the entity begin again after a while, or takes it
//! out of service when it crashed too often. Whoever comes meanwhile queues.
//!
//! Parent: the root. Its mailbox holds one message for each actor that has ended.

use std::collections::HashMap;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::slot::LiveSlot;
use super::{Kind, Registry, Spawner};
use crate::actors::context::Context;
use crate::actors::restart::{Crashes, Restart};

/// Entities whose crashes are remembered at the most.
const REMEMBERED: usize = 10_000;

/// A kind of entity whose actors are looked after here.
pub trait Supervised: Kind<Id: Display> {
    /// The word for one in logs and metrics.
    const NAME: &'static str;

    /// Which actor is whose.
    fn registry(context: &Context) -> &Arc<Registry<Self>>;

    /// What starts their actors, under a parent that hears of their crashes.
    fn spawner(context: &Arc<Context>, parent: ActorCell) -> Spawner<Self>;

    /// Takes one out of service.
    fn quarantine(
        context: &Context,
        id: Self::Id,
        reason: Arc<str>,
    ) -> impl Future<Output = ()> + Send;
}

/// The actor.
pub struct Supervisor<K>(PhantomData<fn() -> K>);

impl<K> Default for Supervisor<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// What it is told: nothing but crashes, which come as events of supervision.
pub enum SupervisorMsg {}

/// What it lives on.
pub struct SupervisorState<K: Kind> {
    context: Arc<Context>,
    crashes: HashMap<K::Id, Crashes>,
}

impl<K: Supervised> Actor for Supervisor<K> {
    type Msg = SupervisorMsg;
    type State = SupervisorState<K>;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        context: Arc<Context>,
    ) -> Result<SupervisorState<K>, ActorProcessingErr> {
        K::registry(&context).attach(K::spawner(&context, myself.get_cell()));
        Ok(SupervisorState { context, crashes: HashMap::new() })
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        live: &mut SupervisorState<K>,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, error) = event
            && let Some((id, place)) = K::registry(&live.context).crashed(actor.get_id())
        {
            live.crashed(id, place, &error.to_string()).await;
        }
        Ok(())
    }
}

impl<K: Supervised> SupervisorState<K> {
    async fn crashed(&mut self, id: K::Id, place: Option<LiveSlot>, error: &str) {
        metrics::counter!("caseworker_actor_restarts_total", "actor" => K::NAME).increment(1);
        let now = self.context.clock.now();
        if self.crashes.len() >= REMEMBERED {
            self.crashes.clear();
        }
        match self.crashes.entry(id).or_default().crashed(now) {
            Restart::Again(delay) => {
                tracing::warn!(kind = K::NAME, %id, error, delay, "an actor crashed");
                let context = self.context.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(delay.unsigned_abs())).await;
                    let registry = K::registry(&context);
                    if registry.quarantined(id).is_some() {
                        registry.end_here(id);
                        return;
                    }
                    registry.begin_again(id, place);
                });
            }
            Restart::GiveUp => {
                self.crashes.remove(&id);
                let reason = format!("its actor crashed too often: {error}");
                K::quarantine(&self.context, id, reason.into()).await;
                K::registry(&self.context).end_here(id);
            }
        }
    }
}
