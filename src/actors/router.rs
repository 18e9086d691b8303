//! The router: parent of all case actors. Finding and starting them needs no message to it (see
//! [`super::cases`]); it hears of crashes, and has the case begin again after a while, or takes it
//! out of service when it crashed too often. Whoever comes meanwhile queues.
//!
//! Parent: the root. Its mailbox holds one message for each crash.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::cases::Place;
use super::office::Office;
use super::restart::{Crashes, Verdict};
use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;

/// Cases whose crashes are remembered at the most.
const REMEMBERED: usize = 10_000;

/// The actor.
pub struct RouterActor;

/// What it is told: nothing but crashes, which come as events of supervision.
pub enum RouterMsg {}

/// What it lives on.
pub struct Live {
    office: Arc<Office>,
    crashes: HashMap<CaseId, Crashes>,
}

impl Actor for RouterActor {
    type Msg = RouterMsg;
    type State = Live;
    type Arguments = Arc<Office>;

    async fn pre_start(
        &self,
        myself: ActorRef<RouterMsg>,
        office: Arc<Office>,
    ) -> Result<Live, ActorProcessingErr> {
        office.cases.attach(myself.get_cell());
        Ok(Live { office, crashes: HashMap::new() })
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<RouterMsg>,
        event: SupervisionEvent,
        live: &mut Live,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, error) = event
            && let Some((case, place)) = live.office.cases.crashed(actor.get_id())
        {
            live.crashed(case, place, &error.to_string()).await;
        }
        Ok(())
    }
}

impl Live {
    async fn crashed(&mut self, case: CaseId, place: Option<Place>, error: &str) {
        metrics::counter!("caseworker_actor_restarts_total", "actor" => "case").increment(1);
        let now = self.office.clock.now();
        if self.crashes.len() >= REMEMBERED {
            self.crashes.clear();
        }
        match self.crashes.entry(case).or_default().crashed(now) {
            Verdict::Again(delay) => {
                tracing::warn!(case.id = %case, error, delay, "a case's actor crashed");
                let office = self.office.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(delay.unsigned_abs())).await;
                    if office.cases.quarantined(case).is_some() {
                        office.cases.end_here(case);
                        return;
                    }
                    office.cases.begin_again(&office, case, place);
                    office.wake_soon(case, Command::Recover).await;
                });
            }
            Verdict::GiveUp => {
                self.crashes.remove(&case);
                let reason = format!("its actor crashed too often: {error}");
                self.office.quarantine(case, reason.into()).await;
                self.office.cases.end_here(case);
            }
        }
    }
}
