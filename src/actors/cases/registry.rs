//! The registry of cases: which actor is whose. A case has one owner from before its first append;
//! finding it costs a lock of one shard; starting one, a place among `[cases] live_max`.
//!
//! An actor that has nothing to do leaves by a handshake: it says how many messages it has handled,
//! and goes only if no more were sent. So no message ever falls between two actors of a case.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ractor::{ActorId, ActorRef};
use tokio::sync::Semaphore;

use crate::actors::cases::committed::Committed;
use crate::actors::cases::message::{CaseMsg, CaseRequest, CommandMeta};
use crate::actors::cases::slot::{At, CaseLive, LiveSlot, Queue, Slot};
use crate::actors::cases::turn::Turn;
use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;

const SHARDS: usize = 16;

/// Starts the actor of a case, which goes on from what was committed just now or loads what is there.
/// None: the process is ending.
pub type Spawner =
    Box<dyn Fn(CaseId, Option<Box<Committed>>) -> Option<ActorRef<CaseMsg>> + Send + Sync>;

/// The live cases.
pub struct CaseRegistry {
    shards: [Mutex<HashMap<CaseId, Slot>>; SHARDS],
    places: Arc<Semaphore>,
    live_max: usize,
    /// What starts their actors; none before there is a parent for them.
    spawner: RwLock<Option<Spawner>>,
    /// Cases that were taken out of service, and why.
    quarantined: Mutex<HashMap<CaseId, Arc<str>>>,
}

impl CaseRegistry {
    /// No live cases, and room for so many.
    pub fn new(live_max: usize) -> Self {
        Self {
            shards: Default::default(),
            places: Arc::new(Semaphore::new(live_max)),
            live_max,
            spawner: RwLock::new(None),
            quarantined: Mutex::default(),
        }
    }

    /// What starts the actors of cases from now on.
    pub fn attach(&self, spawner: Spawner) {
        *self.spawner.write().unwrap_or_else(PoisonError::into_inner) = Some(spawner);
    }

    /// A place for another live case, if there is one.
    pub fn try_place(&self) -> Option<LiveSlot> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// A place for another live case, as soon as there is one.
    pub async fn place(&self) -> Option<LiveSlot> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// Cases that hold a place.
    pub fn count(&self) -> usize {
        self.live_max.saturating_sub(self.places.available_permits())
    }

    /// Hands a message to a case that has an owner; gives it back where it has none.
    pub fn tell_live(&self, case: CaseId, message: CaseMsg) -> Result<(), CaseMsg> {
        match self.shard(case).get_mut(&case) {
            Some(slot) => slot.hand(message),
            None => Err(message),
        }
    }

    /// Whether the case is live, and has its place.
    pub fn has_place(&self, case: CaseId) -> bool {
        self.shard(case).get(&case).is_some_and(Slot::has_place)
    }

    /// Hands a message of our own to a case, starting its actor if it has no owner. One that was live a
    /// moment ago and is not any more takes a place again, where there is one.
    pub fn tell(&self, case: CaseId, place: Option<LiveSlot>, message: CaseMsg) {
        let mut shard = self.shard(case);
        let has_owner = shard.contains_key(&case);
        let place = if has_owner { place } else { place.or_else(|| self.try_place()) };
        self.hand(&mut shard, case, place, message);
    }

    /// Hands a client's message to a case; `message` is made with the client's turn. False: too many
    /// clients wait for the case.
    pub fn ask(&self, case: CaseId, message: impl FnOnce(Option<Turn>) -> CaseMsg) -> bool {
        let mut shard = self.shard(case);
        let turn = match shard.get(&case) {
            Some(slot) => match slot.clients.take() {
                Some(turn) => Some(turn),
                None => return false,
            },
            // the first one
            None => None,
        };
        self.hand(&mut shard, case, None, message(turn));
        true
    }

    fn hand(
        &self,
        shard: &mut HashMap<CaseId, Slot>,
        case: CaseId,
        mut place: Option<LiveSlot>,
        message: CaseMsg,
    ) {
        let handed = match shard.get_mut(&case) {
            Some(slot) => {
                let handed = slot.hand(message);
                if handed.is_ok()
                    && let Some(place) = place.take()
                {
                    slot.take_place(place);
                }
                handed
            }
            None => Err(message),
        };
        // nobody has it, or an actor that has crashed and whose end nobody has noticed yet
        if let Err(message) = handed {
            self.live(shard, case, place, vec![message]);
        }
    }

    /// An actor takes the case, and these messages in order.
    fn live(
        &self,
        shard: &mut HashMap<CaseId, Slot>,
        case: CaseId,
        place: Option<LiveSlot>,
        messages: Vec<CaseMsg>,
    ) {
        let Some(mut live) = self.spawn(case, place, None) else {
            shard.remove(&case);
            return;
        };
        for message in messages {
            let _ = live.cast(message);
        }
        match shard.get_mut(&case) {
            // who waits there waits on
            Some(slot) => slot.at = At::Live(live),
            None => drop(shard.insert(case, Slot::new(At::Live(live)))),
        }
    }

    /// Takes the slot of a case that is about to begin, before anything of it is decided: whoever
    /// comes from now on queues behind it. None: the case has an owner.
    pub fn reserve(self: &Arc<Self>, case: CaseId) -> Option<Beginning> {
        let mut shard = self.shard(case);
        if shard.contains_key(&case) {
            return None;
        }
        shard.insert(case, Slot::new(At::Held(Queue::default())));
        Some(Beginning { cases: self.clone(), case, ended: false })
    }

    /// The actor of a case that has just begun takes over, and all who queued, in order.
    fn begun(&self, case: CaseId, place: LiveSlot, begun: Committed) {
        let mut shard = self.shard(case);
        let Some(mut live) = self.spawn(case, Some(place), Some(Box::new(begun))) else {
            // the process is ending: who has queued is told so
            shard.remove(&case);
            return;
        };
        // the message that it sends to itself
        live.sent = 1;
        let Some(slot) = shard.get_mut(&case) else { return };
        if let At::Held(queue) = std::mem::replace(&mut slot.at, At::Live(live)) {
            let (messages, _more) = queue.into_parts();
            for message in messages {
                let _ = slot.hand(message);
            }
        }
    }

    /// A beginning came to nothing here: who queued is served by an actor that loads the case, or
    /// finds that there is none.
    fn give_up(&self, case: CaseId) {
        let mut shard = self.shard(case);
        let (messages, place) = take_queue(&mut shard, case);
        if messages.is_empty() {
            shard.remove(&case);
        } else {
            self.live(&mut shard, case, place, messages);
        }
    }

    /// A crashed case begins again, with whoever has queued meanwhile.
    pub fn begin_again(&self, case: CaseId, place: Option<LiveSlot>) {
        let mut shard = self.shard(case);
        if !shard.get(&case).is_some_and(|slot| matches!(slot.at, At::Held(_))) {
            return;
        }
        // it takes up what its predecessor had under way, before anything else
        let mut messages = vec![recover()];
        let (queued, another) = take_queue(&mut shard, case);
        messages.extend(queued);
        self.live(&mut shard, case, place.or(another), messages);
    }

    /// A crashed case does not begin again: who has queued finds out why.
    pub fn end_here(&self, case: CaseId) {
        let mut shard = self.shard(case);
        if shard.get(&case).is_some_and(|slot| matches!(slot.at, At::Held(_))) {
            shard.remove(&case);
        }
    }

    fn spawn(
        &self,
        case: CaseId,
        place: Option<LiveSlot>,
        begun: Option<Box<Committed>>,
    ) -> Option<CaseLive> {
        let spawner = self.spawner.read().unwrap_or_else(PoisonError::into_inner);
        let actor = spawner.as_ref()?(case, begun)?;
        Some(CaseLive { actor, sent: 0, place })
    }

    /// A case's actor has nothing to do and has handled so many messages. True: it is forgotten,
    /// and has to stop; `forget` is done before the case may have another owner.
    pub fn retire(
        &self,
        case: CaseId,
        actor: ActorId,
        handled: u64,
        forget: impl FnOnce(),
    ) -> bool {
        let mut shard = self.shard(case);
        match shard.get(&case).map(|slot| &slot.at) {
            Some(At::Live(live)) if live.actor.get_id() == actor => {
                let all = live.sent == handled;
                if all {
                    forget();
                    shard.remove(&case);
                }
                all
            }
            Some(At::Live(_) | At::Held(_)) | None => true,
        }
    }

    /// A case's actor stops whatever was sent to it; who wrote asks again.
    pub fn dismiss(&self, case: CaseId, actor: ActorId) {
        let mut shard = self.shard(case);
        if shard.get(&case).is_some_and(|slot| slot.is_of(actor)) {
            shard.remove(&case);
        }
    }

    /// An actor has crashed: whoever comes to its case queues until it begins again. The case that it
    /// was of, and the place that it had.
    pub fn crashed(&self, actor: ActorId) -> Option<(CaseId, Option<LiveSlot>)> {
        // crashes are rare enough to look everywhere
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((case, slot)) = shard.iter_mut().find(|(_, slot)| slot.is_of(actor)) {
                let place = match std::mem::replace(&mut slot.at, At::Held(Queue::default())) {
                    At::Live(live) => live.place,
                    At::Held(_) => None,
                };
                return Some((*case, place));
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

fn recover() -> CaseMsg {
    let (command, meta) = (Command::Recover, CommandMeta::engine());
    CaseMsg::Request(Box::new(CaseRequest { command, meta, reply: None, turn: None }))
}

/// Takes what has queued for a case; its slot stays, so that who waits is still counted.
fn take_queue(shard: &mut HashMap<CaseId, Slot>, case: CaseId) -> (Vec<CaseMsg>, Option<LiveSlot>) {
    match shard.get_mut(&case).map(|slot| &mut slot.at) {
        Some(At::Held(queue)) => std::mem::take(queue).into_parts(),
        Some(At::Live(_)) | None => (Vec::new(), None),
    }
}

/// The slot of a case while it begins. Dropped before it is known to have begun, it is given up, so
/// that nobody queues for ever.
pub struct Beginning {
    cases: Arc<CaseRegistry>,
    case: CaseId,
    ended: bool,
}

impl Beginning {
    /// The case has begun, and its actor goes on from what was committed.
    pub fn live(mut self, place: LiveSlot, begun: Committed) {
        self.ended = true;
        self.cases.begun(self.case, place, begun);
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if !self.ended {
            self.cases.give_up(self.case);
        }
    }
}
