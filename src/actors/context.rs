//! The context: what all actors share. It names no actor, so that every actor can hold it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use super::cases::cancelling::Cancelling;
use super::cases::intake::Intake;
use super::cases::kind::CaseRegistry;
use super::cases::load::{self, LoadError, Loaded};
use super::cases::wants::Wants;
use super::cases::watches::Watches;
use super::definitions::Definitions;
use super::effects::attempts::Attempts;
use super::effects::call_resources::CallResources;
use super::effects::dispatcher::Dispatcher;
use super::effects::evaluator::Evaluator;
use super::events_in_hand::EventsInHand;
use super::projection::feed::Feed;
use super::projection::fresh::FreshNews;
use super::recovery::careful_start::CarefulStart;
use super::schedules::registry::Schedules;
use super::services::registry::Services;
use super::staff::board::Staff;
use super::timers::near::Timers;
use super::work::queues::Queues;
use crate::clock::Clock;
use crate::domain::case::event::Event;
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::Summary;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::store::EngineJournal;
use crate::store::documents::Documents;
use crate::store::journal::RecordCursor;
use crate::store::logs::Logs;
use crate::store::snapshots::{Snapshot, Snapshots};
use crate::store::templates::Templates;
use crate::store::views::Views;

/// What all actors share.
pub struct Context {
    pub clock: Clock,
    /// Where actors and effects run; the API has a runtime of its own.
    pub runtime: tokio::runtime::Handle,
    pub journal: EngineJournal,
    pub views: Views,
    pub snapshots: Snapshots,
    pub definitions: Definitions,
    pub services: Arc<Services>,
    pub evaluator: Evaluator,
    pub resources: Arc<CallResources>,
    pub dispatcher: Dispatcher,
    pub watches: Watches,
    pub timers: Timers,
    pub feed: Feed,
    pub fresh_news: FreshNews,
    pub cases: Arc<CaseRegistry>,
    /// CSRs, and who looks for them.
    pub staff: Staff,
    /// What workers write.
    pub logs: Logs,
    /// What workers make.
    pub documents: Documents,
    /// What documents are made by.
    pub templates: Templates,
    /// Queues, and who works for them.
    pub work: Queues,
    /// What begins cases by itself.
    pub schedules: Schedules,
    pub wants: Wants,
    pub cancelling: Cancelling,
    pub events_in_hand: EventsInHand,
    pub attempts: Attempts,
    pub careful_start: CarefulStart,
    /// The data folder, and bytes that have to be free on its disk.
    pub disk: (PathBuf, u64),
    /// Since when this process has its cases.
    pub begun: Timestamp,
    /// Set once the actors run; until then nobody is let in.
    pub started: AtomicBool,
    /// The process is about to end: what takes long is left as it stands.
    pub stopping: AtomicBool,
    pub intake: Intake,
    /// The place in the journal up to which the views are complete.
    pub projected: watch::Sender<RecordCursor>,
    pub seeds: AtomicU64,
}

/// Between two seeds. The golden ratio: consecutive ones differ in all their bits after one mixing step.
pub const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Context {
    /// A number that no decision had before.
    pub fn seed(&self) -> u64 {
        self.seeds.fetch_add(SEED_STEP, Ordering::Relaxed)
    }

    /// Waits until the views hold all that the journal held when they were last begun. Until then
    /// nothing is concluded from them.
    pub async fn views_filled(&self) {
        let mut projected = self.projected.subscribe();
        while self.views.progress().is_some() {
            // an error means that the process is ending
            let _ = projected.changed().await;
        }
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
