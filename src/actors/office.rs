//! The office: what all actors share. Cases decide here, couriers leave from here, and whoever has
//! something to tell a case comes here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{oneshot, watch};

use super::cabinet::Cabinet;
use super::care::{self, Care};
use super::case::{CaseMsg, Meta, Tell, TellError, Told};
use super::cases::{Cases, Place, Turn};
use super::courier::Courier;
use super::definitions::Definitions;
use super::evaluator::Evaluator;
use super::feed::Feed;
use super::intake::Intake;
use super::load::{self, LoadError, Loaded};
use super::services::Services;
use super::timers::Timers;
use super::under_way::UnderWay;
use super::watches::Watches;
use crate::clock::Clock;
use crate::domain::case::command::Command;
use crate::domain::case::event::Event;
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::Summary;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::store::EngineJournal;
use crate::store::journal::RecordCursor;
use crate::store::snapshots::{Snapshot, Snapshots};
use crate::store::views::Views;

/// What all actors share.
pub struct Office {
    pub clock: Clock,
    /// Where actors and effects run; the API has a runtime of its own.
    pub runtime: tokio::runtime::Handle,
    pub journal: EngineJournal,
    pub views: Views,
    pub snapshots: Snapshots,
    pub definitions: Definitions,
    pub services: Services,
    pub evaluator: Evaluator,
    pub cabinet: Cabinet,
    pub courier: Courier,
    pub watches: Watches,
    pub timers: Timers,
    pub feed: Feed,
    pub cases: Arc<Cases>,
    pub under_way: UnderWay,
    pub care: Care,
    /// Since when this process has its cases.
    pub begun: Timestamp,
    /// Set once the views are filled and the actors run; until then nobody is let in.
    pub started: AtomicBool,
    pub intake: Intake,
    /// The place in the journal up to which the views are complete.
    pub projected: watch::Sender<RecordCursor>,
    pub seeds: AtomicU64,
}

impl Office {
    /// A number that no decision had before.
    pub fn seed(&self) -> u64 {
        // the golden ratio: consecutive seeds differ in all their bits after one mixing step
        self.seeds.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    /// A case's snapshot, if a readable one is there.
    pub fn snapshot(&self, case: CaseId) -> Option<Snapshot> {
        self.snapshots.get(case)
    }

    /// A case as the journal has it, without its actor.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn load(&self, case: CaseId) -> Result<Loaded, LoadError> {
        load::load(&self.journal, &self.definitions, case, self.snapshot(case)).await
    }

    /// Tells a case something and waits for the answer. Needs no place among the live cases: who
    /// calls is bounded elsewhere.
    ///
    /// # Errors
    /// When the case does not carry it out.
    pub async fn tell(
        self: &Arc<Self>,
        case: CaseId,
        command: Command,
        meta: Meta,
    ) -> Result<Told, TellError> {
        let make = |reply, turn| message(command.clone(), meta.clone(), Some(reply), turn);
        self.answered(case, |reply| self.cases.ask(self, case, |turn| make(reply, turn))).await
    }

    /// Tells a case something of our own, with a place that was got before.
    ///
    /// # Errors
    /// When the case does not carry it out.
    pub async fn tell_at(
        self: &Arc<Self>,
        case: CaseId,
        command: Command,
        meta: Meta,
        mut place: Option<Place>,
    ) -> Result<Told, TellError> {
        let make = |reply| message(command.clone(), meta.clone(), Some(reply), None);
        let hand = |reply| {
            self.cases.tell(self, case, place.take(), make(reply));
            true
        };
        self.answered(case, hand).await
    }

    /// Tells a case something of our own, as soon as there is a place for it, and waits until it
    /// is done.
    ///
    /// # Errors
    /// When the case does not carry it out.
    pub async fn wake(self: &Arc<Self>, case: CaseId, command: Command) -> Result<Told, TellError> {
        let place = self.cases.place().await;
        let Some(noted) = self.care.note(case).await else {
            return self.tell_at(case, command, Meta::engine(), place).await;
        };
        let telling = self.tell_at(case, command, Meta::engine(), place);
        let told = tokio::time::timeout(care::PATIENCE, telling).await;
        noted.has_woken();
        told.unwrap_or(Err(TellError::Busy("it takes long to wake")))
    }

    /// The same, without waiting for more than a place, unless the start is careful. False: the case
    /// is out of service.
    pub async fn wake_soon(self: &Arc<Self>, case: CaseId, command: Command) -> bool {
        if self.cases.quarantined(case).is_some() {
            return false;
        }
        if self.care.is_taken() {
            // a "no" means that it came too late
            let _ = self.wake(case, command).await;
            return true;
        }
        let message = message(command, Meta::engine(), None, None);
        if let Err(message) = self.cases.tell_live(case, message) {
            let place = self.cases.place().await;
            self.cases.tell(self, case, place, message);
        }
        true
    }

    /// Hands a case a message and waits for the answer; false from `hand`: there are too many already.
    async fn answered(
        self: &Arc<Self>,
        case: CaseId,
        mut hand: impl FnMut(Reply) -> bool,
    ) -> Result<Told, TellError> {
        // who meets an actor that has just crashed asks once more
        for _ in 0..2 {
            if let Some(reason) = self.cases.quarantined(case) {
                return Err(TellError::Quarantined(reason));
            }
            let (reply, answer) = oneshot::channel();
            if !hand(reply) {
                return Err(TellError::Busy("too many ask for the case at the same time"));
            }
            if let Ok(told) = answer.await {
                return told;
            }
        }
        Err(TellError::Unavailable("the case's actor has crashed".to_owned()))
    }

    /// Counts what became of a case, for the metrics.
    pub fn count_phase(&self, before: Option<Phase>, phase: Phase) {
        if before != Some(phase) && phase.ended() {
            metrics::counter!("caseworker_cases_ended_total", "phase" => phase.name()).increment(1);
        }
    }

    /// Says in the log that a case needs a person, and everything that leads to it.
    pub fn tell_of_alerts(&self, now: &Summary, answered: Option<&str>, events: &[Event]) {
        for event in events {
            if let Event::Alerted { cause } = event {
                metrics::counter!("caseworker_alerts_total").increment(1);
                let dead = now.dead.as_ref();
                let waits_for = now.wait.as_ref().and_then(|wait| wait.on.as_deref());
                tracing::error!(
                    case.id = %now.id,
                    workflow = %now.definition,
                    task = dead.and_then(|dead| dead.task.as_deref()),
                    dead_letter = dead.map(|dead| dead.id.to_string()),
                    service = answered.or(waits_for),
                    cause = %cause,
                    detail = dead.and_then(|dead| dead.error.as_ref()?.detail.as_deref()),
                    "a case needs a person"
                );
            }
        }
    }
}

/// Who waits for what a case says.
type Reply = oneshot::Sender<Result<Told, TellError>>;

fn message(command: Command, meta: Meta, reply: Option<Reply>, turn: Option<Turn>) -> CaseMsg {
    CaseMsg::Tell(Box::new(Tell { command, meta, reply, turn }))
}
