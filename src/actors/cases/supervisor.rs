//! The parent of all case actors. Finding and starting them needs no message to it (see
//! [`super::registry`]); it hears of crashes, and has the case begin again after a while, or takes it
//! out of service when it crashed too often. Whoever comes meanwhile queues.
//!
//! Parent: the root. Its mailbox holds one message for each actor that has ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::actors::cases::actor::spawner;
use crate::actors::cases::slot::LiveSlot;
use crate::actors::context::Context;
use crate::actors::restart::{Crashes, Restart};
use crate::domain::ids::CaseId;

/// Cases whose crashes are remembered at the most.
const REMEMBERED: usize = 10_000;

/// The actor.
pub struct CaseSupervisor;

/// What it is told: nothing but crashes, which come as events of supervision.
pub enum SupervisorMsg {}

/// What it lives on.
pub struct SupervisorState {
    context: Arc<Context>,
    crashes: HashMap<CaseId, Crashes>,
}

impl Actor for CaseSupervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        context: Arc<Context>,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        context.cases.attach(spawner(&context, myself.get_cell()));
        Ok(SupervisorState { context, crashes: HashMap::new() })
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        live: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, error) = event
            && let Some((case, place)) = live.context.cases.crashed(actor.get_id())
        {
            live.crashed(case, place, &error.to_string()).await;
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn crashed(&mut self, case: CaseId, place: Option<LiveSlot>, error: &str) {
        metrics::counter!("caseworker_actor_restarts_total", "actor" => "case").increment(1);
        let now = self.context.clock.now();
        if self.crashes.len() >= REMEMBERED {
            self.crashes.clear();
        }
        match self.crashes.entry(case).or_default().crashed(now) {
            Restart::Again(delay) => {
                tracing::warn!(case.id = %case, error, delay, "a case's actor crashed");
                let context = self.context.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(delay.unsigned_abs())).await;
                    if context.cases.quarantined(case).is_some() {
                        context.cases.end_here(case);
                        return;
                    }
                    context.cases.begin_again(case, place);
                });
            }
            Restart::GiveUp => {
                self.crashes.remove(&case);
                let reason = format!("its actor crashed too often: {error}");
                self.context.quarantine(case, reason.into()).await;
                self.context.cases.end_here(case);
            }
        }
    }
}
