//! The registry of cases: which actor is whose. A case has one owner from before its first append;
//! finding it costs a lock of one shard; starting one, a place among `[cases] live_max`.
//!
//! An actor that has nothing to do leaves by a handshake: it says how many messages it has handled,
//! and goes only if no more were sent. So no message ever falls between two actors of a case.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ractor::{ActorCell, ActorId, ActorRef, ActorRuntime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::case::{CaseActor, CaseArgs, CaseMsg, Committed};
use super::office::Office;
use crate::domain::ids::CaseId;

const SHARDS: usize = 16;

/// A place among the live cases.
pub type Place = OwnedSemaphorePermit;

/// Commands that queue behind the beginning of a case at the most.
const QUEUED: usize = 64;

struct Live {
    actor: ActorRef<CaseMsg>,
    /// Messages sent to it from here.
    sent: u64,
    _place: Option<Place>,
}

/// What a case is at. One that is not here belongs to nobody.
enum Slot {
    /// It is being begun: whoever comes meanwhile queues, in order.
    Beginning(Vec<CaseMsg>),
    Live(Live),
}

/// The live cases.
pub struct Cases {
    shards: [Mutex<HashMap<CaseId, Slot>>; SHARDS],
    places: Arc<Semaphore>,
    live_max: usize,
    /// Who hears of their crashes.
    router: RwLock<Option<ActorCell>>,
    /// Cases that were taken out of service, and why.
    quarantined: Mutex<HashMap<CaseId, Arc<str>>>,
}

impl Cases {
    /// No live cases, and room for so many.
    pub fn new(live_max: usize) -> Self {
        Self {
            shards: Default::default(),
            places: Arc::new(Semaphore::new(live_max)),
            live_max,
            router: RwLock::new(None),
            quarantined: Mutex::default(),
        }
    }

    /// Who hears of crashes from now on.
    pub fn attach(&self, router: ActorCell) {
        *self.router.write().unwrap_or_else(PoisonError::into_inner) = Some(router);
    }

    /// A place for another live case, if there is one.
    pub fn try_place(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// A place for another live case, as soon as there is one.
    pub async fn place(&self) -> Option<Place> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// Cases that hold a place.
    pub fn count(&self) -> usize {
        self.live_max.saturating_sub(self.places.available_permits())
    }

    /// Hands a message to a case that has an owner; gives it back where it has none.
    pub fn tell_live(&self, case: CaseId, message: CaseMsg) -> Result<(), CaseMsg> {
        let mut shard = self.shard(case);
        match shard.get_mut(&case) {
            Some(Slot::Live(live)) => live.cast(message),
            // our own messages come from what is bounded: calls under way, timers, the waker
            Some(Slot::Beginning(queue)) => {
                queue.push(message);
                Ok(())
            }
            None => Err(message),
        }
    }

    /// Hands a message to a case, starting its actor if it has no owner. False: too many queue behind
    /// its beginning.
    pub fn tell(
        &self,
        office: &Arc<Office>,
        case: CaseId,
        place: Option<Place>,
        message: CaseMsg,
    ) -> bool {
        let mut shard = self.shard(case);
        let message = match shard.get_mut(&case) {
            Some(Slot::Live(live)) => match live.cast(message) {
                Ok(()) => return true,
                // it has crashed, and nobody has noticed yet
                Err(message) => message,
            },
            Some(Slot::Beginning(queue)) => {
                let room = queue.len() < QUEUED;
                if room {
                    queue.push(message);
                }
                return room;
            }
            None => message,
        };
        if let Some(mut live) = self.spawn(office, case, place, None) {
            let _ = live.cast(message);
            shard.insert(case, Slot::Live(live));
        }
        true
    }

    /// Takes the slot of a case that is about to begin, before anything of it is decided: whoever
    /// comes from now on queues behind it. None: the case has an owner.
    pub fn reserve(self: &Arc<Self>, office: &Arc<Office>, case: CaseId) -> Option<Beginning> {
        let mut shard = self.shard(case);
        if shard.contains_key(&case) {
            return None;
        }
        shard.insert(case, Slot::Beginning(Vec::new()));
        Some(Beginning { cases: self.clone(), office: office.clone(), case, ended: false })
    }

    /// The actor of a case that has just begun takes over, and all who queued, in order.
    fn begun(&self, office: &Arc<Office>, case: CaseId, place: Place, begun: Committed) {
        let mut shard = self.shard(case);
        let queue = match shard.remove(&case) {
            Some(Slot::Beginning(queue)) => queue,
            Some(Slot::Live(_)) | None => Vec::new(),
        };
        if let Some(mut live) = self.spawn(office, case, Some(place), Some(Box::new(begun))) {
            // the message that it sends to itself
            live.sent = 1;
            for message in queue {
                let _ = live.cast(message);
            }
            shard.insert(case, Slot::Live(live));
        }
    }

    /// A beginning came to nothing here: who queued is served by an actor that loads the case, or
    /// finds that there is none.
    fn give_up(&self, office: &Arc<Office>, case: CaseId) {
        let mut shard = self.shard(case);
        let Some(Slot::Beginning(queue)) = shard.remove(&case) else { return };
        if queue.is_empty() {
            return;
        }
        if let Some(mut live) = self.spawn(office, case, None, None) {
            for message in queue {
                let _ = live.cast(message);
            }
            shard.insert(case, Slot::Live(live));
        }
    }

    fn spawn(
        &self,
        office: &Arc<Office>,
        case: CaseId,
        place: Option<Place>,
        begun: Option<Box<Committed>>,
    ) -> Option<Live> {
        let router = self.router.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let args = CaseArgs { office: office.clone(), id: case, begun };
        // whoever asks may be of another runtime; cases live in the one of the engine
        let _engine = office.runtime.enter();
        match ActorRuntime::spawn_linked_instant(None, CaseActor, args, router) {
            Ok((actor, _starting)) => Some(Live { actor, sent: 0, _place: place }),
            Err(error) => {
                tracing::error!(case.id = %case, %error, "no actor for a case");
                None
            }
        }
    }

    /// A case's actor has nothing to do and has handled so many messages. True: it is forgotten,
    /// and has to stop.
    pub fn retire(&self, case: CaseId, actor: ActorId, handled: u64) -> bool {
        let mut shard = self.shard(case);
        match shard.get(&case) {
            Some(Slot::Live(live)) if live.actor.get_id() == actor => {
                let all = live.sent == handled;
                if all {
                    shard.remove(&case);
                }
                all
            }
            Some(Slot::Live(_) | Slot::Beginning(_)) | None => true,
        }
    }

    /// A case's actor stops whatever was sent to it; who wrote asks again.
    pub fn dismiss(&self, case: CaseId, actor: ActorId) {
        let mut shard = self.shard(case);
        if shard.get(&case).is_some_and(|slot| slot.is_of(actor)) {
            shard.remove(&case);
        }
    }

    /// Forgets a crashed actor. The case that it was of.
    pub fn forget(&self, actor: ActorId) -> Option<CaseId> {
        // crashes are rare enough to look everywhere
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let found = shard.iter().find(|(_, slot)| slot.is_of(actor));
            if let Some(case) = found.map(|(case, _)| *case) {
                shard.remove(&case);
                return Some(case);
            }
        }
        None
    }

    /// Takes a case out of service.
    pub fn quarantine(&self, case: CaseId, reason: Arc<str>) {
        self.lock_quarantined().insert(case, reason);
    }

    /// Takes a case back into service.
    pub fn release(&self, case: CaseId) {
        self.lock_quarantined().remove(&case);
    }

    /// Why a case is out of service, if it is.
    pub fn quarantined(&self, case: CaseId) -> Option<Arc<str>> {
        self.lock_quarantined().get(&case).cloned()
    }

    fn lock_quarantined(&self) -> MutexGuard<'_, HashMap<CaseId, Arc<str>>> {
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, case: CaseId) -> MutexGuard<'_, HashMap<CaseId, Slot>> {
        // the last byte is random in every kind of id
        let shard = &self.shards[usize::from(case.0.0[15]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_of(&self, actor: ActorId) -> bool {
        match self {
            Self::Live(live) => live.actor.get_id() == actor,
            Self::Beginning(_) => false,
        }
    }
}

/// The slot of a case while it begins. Dropped before it is known to have begun, it is given up, so
/// that nobody queues for ever.
pub struct Beginning {
    cases: Arc<Cases>,
    office: Arc<Office>,
    case: CaseId,
    ended: bool,
}

impl Beginning {
    /// The case has begun, and its actor goes on from what was committed.
    pub fn live(mut self, place: Place, begun: Committed) {
        self.ended = true;
        self.cases.begun(&self.office, self.case, place, begun);
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if !self.ended {
            self.cases.give_up(&self.office, self.case);
        }
    }
}

impl Live {
    fn cast(&mut self, message: CaseMsg) -> Result<(), CaseMsg> {
        match self.actor.cast(message) {
            Ok(()) => {
                self.sent += 1;
                Ok(())
            }
            Err(ractor::MessagingErr::SendErr(message)) => Err(message),
            Err(_) => Ok(()),
        }
    }
}
