//! The handle of one schedule: how it stands, for whoever shows it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::oneshot;

use super::message::ScheduleMsg;
use crate::domain::ids::EventCursor;
use crate::domain::schedule::state::State;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::Definition;

/// How long an actor takes to begin.
const ATTACHES: Duration = Duration::from_millis(5);

/// One schedule.
pub struct ScheduleHandle {
    /// `<namespace>.<name>`.
    pub id: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    seen: Mutex<Seen>,
    actor: Mutex<Option<ActorRef<ScheduleMsg>>>,
    poked: AtomicBool,
}

/// How it stands, as its actor last left it.
#[derive(Clone, Default)]
pub struct Seen {
    pub state: State,
    /// The definition that rules.
    pub ruling: Option<Arc<Definition>>,
    /// Since when it owes what it should have begun; none: nothing.
    pub late_since: Option<Timestamp>,
    /// The journal ended here when a version was registered that does not rule yet.
    pub registered_at: Option<EventCursor>,
    /// Why it cannot be read.
    pub unreadable: Option<String>,
}

impl Seen {
    /// It stands still: what it owes begins late.
    pub(super) fn cannot_be_read(&mut self, why: String, now: Timestamp) {
        self.unreadable = Some(why);
        self.late_since.get_or_insert(now);
    }
}

impl ScheduleHandle {
    /// The handle of a workflow's schedule.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            id: id_of(namespace, name).into(),
            namespace: namespace.into(),
            name: name.into(),
            seen: Mutex::default(),
            actor: Mutex::default(),
            poked: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands; none: it never had a schedule.
    pub fn seen(&self) -> Option<Seen> {
        let seen = self.lock();
        (seen.state.revision > 0 || seen.unreadable.is_some()).then(|| seen.clone())
    }

    /// Looks at how it stands, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.lock())
    }

    /// Who looks after it from now on.
    pub(super) fn attach(&self, actor: ActorRef<ScheduleMsg>) {
        *self.actor.lock().unwrap_or_else(PoisonError::into_inner) = Some(actor);
        self.poked.store(false, Ordering::Release);
    }

    /// The actor that looks after it.
    pub fn actor(&self) -> Option<ActorRef<ScheduleMsg>> {
        self.actor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers once the actor has looked which version rules.
    pub async fn rule_anew(&self) {
        loop {
            let (reply, ruled) = oneshot::channel();
            if let Some(actor) = self.actor()
                && actor.cast(ScheduleMsg::Rule { reply }).is_ok()
                && ruled.await.is_ok()
            {
                return;
            }
            // it is about to begin, or to begin again
            tokio::time::sleep(ATTACHES).await;
        }
    }

    /// Tells the actor that there may be something to do; once until it has looked.
    pub fn poke(&self) {
        if !self.poked.swap(true, Ordering::AcqRel)
            && let Some(actor) = self.actor()
        {
            // an error means that it is about to begin again, and looks then
            let _ = actor.cast(ScheduleMsg::Look);
        }
    }

    /// The actor looks now.
    pub(super) fn looked(&self) {
        self.poked.store(false, Ordering::Release);
    }
}

/// A schedule's id.
pub fn id_of(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}
