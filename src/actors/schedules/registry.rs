//! All schedules, and which cases they wait for.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;

use super::handle::{ScheduleHandle, id_of};
use super::message::ScheduleMsg;
use crate::actors::context::Context;
use crate::clock::Clock;
use crate::domain::ids::{CaseId, EntityKind, EventCursor};
use crate::domain::schedule::wall::Wall;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, DefinitionId};
use crate::store::journal::{Journal, ReadError};
use crate::store::schedule_events;

/// How long a registration waits for its schedule.
const RULES_WITHIN: Duration = Duration::from_secs(5);

/// Schedules at the most.
pub const SCHEDULES_MAX: usize = 5000;

/// All schedules.
pub struct Schedules {
    all: RwLock<BTreeMap<Arc<str>, Arc<ScheduleHandle>>>,
    /// Whose run a case is, while it is under way.
    open: Mutex<HashMap<CaseId, Arc<ScheduleHandle>>>,
    wall: Mutex<Wall>,
    /// Told of schedules that want an actor.
    added: mpsc::UnboundedSender<Arc<ScheduleHandle>>,
}

impl Schedules {
    /// No schedules. The second part names every one that wants an actor.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Arc<ScheduleHandle>>) {
        let (added, wanted) = mpsc::unbounded_channel();
        let (all, open, wall) = (RwLock::default(), Mutex::default(), Mutex::default());
        (Self { all, open, wall, added }, wanted)
    }

    /// The schedule of this id, if there is one.
    pub fn find(&self, id: &str) -> Option<Arc<ScheduleHandle>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All schedules, by id.
    pub fn list(&self) -> Vec<Arc<ScheduleHandle>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether there is room for a definition's schedule.
    ///
    /// # Errors
    /// When there is none.
    pub fn admit(&self, definition: &Definition) -> Result<(), String> {
        let DefinitionId { namespace, name, .. } = &definition.id;
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let is_known = all.contains_key(&*id_of(namespace, name));
        let has_room = all.len() < SCHEDULES_MAX;
        drop(all);
        if definition.schedule.is_some() {
            if !is_known && !has_room {
                return Err(format!(
                    "there are {SCHEDULES_MAX} schedules, and there may be no more"
                ));
            }
            // one registration at a time comes here: its place is taken
            self.of(namespace, name);
        }
        Ok(())
    }

    /// A version was registered: answers once it rules, so that whatever comes later is its own. Before the
    /// actors run nobody waits for that, since nothing comes.
    pub async fn registered(&self, definition: &Definition, end: EventCursor, waits: bool) {
        let DefinitionId { namespace, name, .. } = &definition.id;
        let schedule = match definition.schedule {
            Some(_) => self.of(namespace, name),
            // one before it may have had one
            None => match self.find(&id_of(namespace, name)) {
                Some(known) => known,
                None => return,
            },
        };
        schedule.with(|seen| seen.registered_at = Some(end));
        if waits && tokio::time::timeout(RULES_WITHIN, schedule.rule_anew()).await.is_err() {
            // it is stored, and rules as soon as its schedule can be written
            tracing::error!(schedule = %schedule.id, "a version does not rule yet");
        } else if waits {
            schedule.with(|seen| seen.registered_at = None);
        }
    }

    /// The schedule of a workflow; it is made where there is none.
    pub fn of(&self, namespace: &str, name: &str) -> Arc<ScheduleHandle> {
        let id = id_of(namespace, name);
        if let Some(known) = self.find(&id) {
            return known;
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let handle = all.entry(id.into()).or_insert_with(|| {
            let handle = Arc::new(ScheduleHandle::new(namespace, name));
            // an error means that the process is ending
            let _ = self.added.send(handle.clone());
            handle
        });
        handle.clone()
    }

    /// The time that schedules go by.
    pub fn now(&self, clock: &Clock) -> Timestamp {
        let mut wall = self.wall.lock().unwrap_or_else(PoisonError::into_inner);
        wall.believed(clock.now(), clock.wall_ahead())
    }

    /// Events were stored that may begin cases.
    pub fn events_came(&self) {
        for schedule in self.list() {
            let hears = schedule.with(|seen| seen.state.timing.starts_with("on "));
            if hears {
                schedule.poke();
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<CaseId, Arc<ScheduleHandle>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A case is a run of a schedule, which is told of its end.
    pub(super) fn waits_for(&self, case: CaseId, schedule: Arc<ScheduleHandle>) {
        self.open().insert(case, schedule);
    }

    /// A run is not under way any more.
    pub(super) fn forget(&self, case: CaseId) {
        self.open().remove(&case);
    }

    /// A case has ended.
    pub fn case_ended(&self, case: CaseId) {
        let schedule = self.open().remove(&case);
        if let Some(actor) = schedule.and_then(|schedule| schedule.actor()) {
            // an error means that it is about to begin again, and asks for itself then
            let _ = actor.cast(ScheduleMsg::Ended(case));
        }
    }
}

impl Context {
    /// Makes the schedules that the journal or the definitions name.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn load_schedules(&self) -> Result<(), ReadError> {
        for entity in self.journal.entities(EntityKind::Schedule).await? {
            let last = match self.journal.last(entity).await {
                Ok(Some(last)) => last,
                Ok(None) => continue,
                Err(error) if !error.damaged => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "a schedule is damaged");
                    continue;
                }
            };
            match schedule_events::decode(&last.record) {
                Ok((_, batch)) => self.show_schedule(&batch.schedule).await?,
                Err(why) => tracing::error!(why, "a schedule cannot be read"),
            }
        }
        for (namespace, name) in self.definitions.scheduled().await? {
            self.schedules.of(&namespace, &name);
        }
        Ok(())
    }

    /// Whoever asks for it before its actor runs sees how it stands.
    async fn show_schedule(&self, id: &Arc<str>) -> Result<(), ReadError> {
        let Some((namespace, name)) = id.split_once('.') else { return Ok(()) };
        let handle = self.schedules.of(namespace, name);
        match self.load_schedule(id).await {
            Ok((state, _)) => {
                let version = state.version.clone();
                let ruling = version.map(|version| DefinitionId {
                    namespace: namespace.into(),
                    name: name.into(),
                    version,
                });
                let ruling = match ruling {
                    Some(ruling) => self.definitions.get(&ruling).await?,
                    None => None,
                };
                handle.with(|seen| (seen.state, seen.ruling) = (state, ruling));
            }
            Err(error) if !error.damaged => return Err(error),
            Err(error) => {
                let now = self.clock.now();
                handle.with(|seen| seen.cannot_be_read(error.to_string(), now));
            }
        }
        Ok(())
    }
}
