//! A registry of entities, cases or CSRs: which actor is whose. An entity has one owner from before its
//! first append; finding it costs a lock of one shard; starting one, a place where places are counted.
//!
//! An actor that has nothing to do leaves by a handshake: it says how many messages it has handled,
//! and goes only if no more were sent. So no message ever falls between two actors of an entity.

pub mod slot;
pub mod supervisor;
pub mod turn;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ractor::{ActorId, ActorRef};
use tokio::sync::Semaphore;

use slot::{At, Live, LiveSlot, Queue, Slot};
use turn::Turn;

const SHARDS: usize = 16;

/// A kind of entity that has actors.
pub trait Kind: Sized + Send + Sync + 'static {
    type Id: Copy + Eq + Hash + Send + Sync;
    type Message: ractor::Message;
    /// What an entity begins with, where it was committed just now.
    type Begun: Send;

    /// A byte of an id that is random.
    fn random_byte(id: Self::Id) -> u8;

    /// What an actor takes up first that follows one that crashed.
    fn recover() -> Self::Message;

    /// Whether an actor counts the message among those that it has handled.
    fn is_counted(message: &Self::Message) -> bool;

    /// Makes one message of two that wait and come to the same. False: they do not.
    fn absorb(known: &mut Self::Message, message: &Self::Message) -> bool;
}

/// Starts the actor of an entity, which goes on from what was committed just now or loads what is there.
/// None: the process is ending.
pub type Spawner<K> = Box<
    dyn Fn(
            <K as Kind>::Id,
            Option<Box<<K as Kind>::Begun>>,
        ) -> Option<ActorRef<<K as Kind>::Message>>
        + Send
        + Sync,
>;

type Slots<K> = HashMap<<K as Kind>::Id, Slot<K>>;

/// The live entities of a kind.
pub struct Registry<K: Kind> {
    shards: [Mutex<Slots<K>>; SHARDS],
    places: Arc<Semaphore>,
    live_max: usize,
    /// What starts their actors; none before there is a parent for them.
    spawner: RwLock<Option<Spawner<K>>>,
    /// Entities that were taken out of service, and why.
    quarantined: Mutex<HashMap<K::Id, Arc<str>>>,
}

impl<K: Kind> Registry<K> {
    /// No live entities, and room for so many.
    pub fn new(live_max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            places: Arc::new(Semaphore::new(live_max)),
            live_max,
            spawner: RwLock::new(None),
            quarantined: Mutex::default(),
        }
    }

    /// What starts the actors of entities from now on.
    pub fn attach(&self, spawner: Spawner<K>) {
        *self.spawner.write().unwrap_or_else(PoisonError::into_inner) = Some(spawner);
    }

    /// A place for another live entity, if there is one.
    pub fn try_place(&self) -> Option<LiveSlot> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// A place for another live entity, as soon as there is one.
    pub async fn place(&self) -> Option<LiveSlot> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// Entities that hold a place.
    pub fn count(&self) -> usize {
        self.live_max.saturating_sub(self.places.available_permits())
    }

    /// Hands a message to an entity that has an owner; gives it back where it has none.
    pub fn tell_live(&self, id: K::Id, message: K::Message) -> Result<(), K::Message> {
        match self.shard(id).get_mut(&id) {
            Some(slot) => slot.hand(message),
            None => Err(message),
        }
    }

    /// Whether the entity is live, and has its place.
    pub fn has_place(&self, id: K::Id) -> bool {
        self.shard(id).get(&id).is_some_and(Slot::has_place)
    }

    /// Hands a message of our own to an entity, starting its actor if it has no owner. One that was live a
    /// moment ago and is not any more takes a place again, where there is one.
    pub fn tell(&self, id: K::Id, place: Option<LiveSlot>, message: K::Message) {
        let mut shard = self.shard(id);
        let has_owner = shard.contains_key(&id);
        let place = if has_owner { place } else { place.or_else(|| self.try_place()) };
        self.hand(&mut shard, id, place, message);
    }

    /// Hands a client's message to an entity; `message` is made with the client's turn. False: too many
    /// clients wait for the entity.
    pub fn ask(&self, id: K::Id, message: impl FnOnce(Option<Turn>) -> K::Message) -> bool {
        let mut shard = self.shard(id);
        let turn = match shard.get(&id) {
            Some(slot) => match slot.clients.take() {
                Some(turn) => Some(turn),
                None => return false,
            },
            // the first one
            None => None,
        };
        self.hand(&mut shard, id, None, message(turn));
        true
    }

    fn hand(
        &self,
        shard: &mut Slots<K>,
        id: K::Id,
        mut place: Option<LiveSlot>,
        message: K::Message,
    ) {
        let handed = match shard.get_mut(&id) {
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
            self.live(shard, id, place, vec![message]);
        }
    }

    /// An actor takes the entity, and these messages in order.
    fn live(
        &self,
        shard: &mut Slots<K>,
        id: K::Id,
        place: Option<LiveSlot>,
        messages: Vec<K::Message>,
    ) {
        let Some(mut live) = self.spawn(id, place, None) else {
            shard.remove(&id);
            return;
        };
        for message in messages {
            let _ = live.cast(message);
        }
        match shard.get_mut(&id) {
            // who waits there waits on
            Some(slot) => slot.at = At::Live(live),
            None => drop(shard.insert(id, Slot::new(At::Live(live)))),
        }
    }

    /// Takes the slot of an entity that is about to begin, before anything of it is decided: whoever
    /// comes from now on queues behind it. None: the entity has an owner.
    pub fn reserve(self: &Arc<Self>, id: K::Id) -> Option<Beginning<K>> {
        let mut shard = self.shard(id);
        if shard.contains_key(&id) {
            return None;
        }
        shard.insert(id, Slot::new(At::Held(Queue::default())));
        Some(Beginning { all: self.clone(), id, ended: false })
    }

    /// The actor of an entity that has just begun takes over, and all who queued, in order.
    fn begun(&self, id: K::Id, place: LiveSlot, begun: K::Begun) {
        let mut shard = self.shard(id);
        let Some(mut live) = self.spawn(id, Some(place), Some(Box::new(begun))) else {
            // the process is ending: who has queued is told so
            shard.remove(&id);
            return;
        };
        // the message that it sends to itself
        live.sent = 1;
        let Some(slot) = shard.get_mut(&id) else { return };
        if let At::Held(queue) = std::mem::replace(&mut slot.at, At::Live(live)) {
            let (messages, _more) = queue.into_parts();
            for message in messages {
                let _ = slot.hand(message);
            }
        }
    }

    /// A beginning came to nothing here: who queued is served by an actor that loads the entity, or
    /// finds that there is none.
    fn give_up(&self, id: K::Id) {
        let mut shard = self.shard(id);
        let (messages, place) = take_queue(&mut shard, id);
        if messages.is_empty() {
            shard.remove(&id);
        } else {
            self.live(&mut shard, id, place, messages);
        }
    }

    /// A crashed entity begins again, with whoever has queued meanwhile.
    pub fn begin_again(&self, id: K::Id, place: Option<LiveSlot>) {
        let mut shard = self.shard(id);
        if !shard.get(&id).is_some_and(|slot| matches!(slot.at, At::Held(_))) {
            return;
        }
        // it takes up what its predecessor had under way, before anything else
        let mut messages = vec![K::recover()];
        let (queued, another) = take_queue(&mut shard, id);
        messages.extend(queued);
        self.live(&mut shard, id, place.or(another), messages);
    }

    /// A crashed entity does not begin again: who has queued finds out why.
    pub fn end_here(&self, id: K::Id) {
        let mut shard = self.shard(id);
        if shard.get(&id).is_some_and(|slot| matches!(slot.at, At::Held(_))) {
            shard.remove(&id);
        }
    }

    fn spawn(
        &self,
        id: K::Id,
        place: Option<LiveSlot>,
        begun: Option<Box<K::Begun>>,
    ) -> Option<Live<K>> {
        let spawner = self.spawner.read().unwrap_or_else(PoisonError::into_inner);
        let actor = spawner.as_ref()?(id, begun)?;
        Some(Live { actor, sent: 0, place })
    }

    /// An entity's actor has nothing to do and has handled so many messages. True: it is forgotten,
    /// and has to stop; `forget` is done before the entity may have another owner.
    pub fn retire(&self, id: K::Id, actor: ActorId, handled: u64, forget: impl FnOnce()) -> bool {
        let mut shard = self.shard(id);
        match shard.get(&id).map(|slot| &slot.at) {
            Some(At::Live(live)) if live.actor.get_id() == actor => {
                let all = live.sent == handled;
                if all {
                    forget();
                    shard.remove(&id);
                }
                all
            }
            Some(At::Live(_) | At::Held(_)) | None => true,
        }
    }

    /// An entity's actor stops whatever was sent to it; who wrote asks again.
    pub fn dismiss(&self, id: K::Id, actor: ActorId) {
        let mut shard = self.shard(id);
        if shard.get(&id).is_some_and(|slot| slot.is_of(actor)) {
            shard.remove(&id);
        }
    }

    /// An actor has crashed: whoever comes to its entity queues until it begins again. The entity that it
    /// was of, and the place that it had.
    pub fn crashed(&self, actor: ActorId) -> Option<(K::Id, Option<LiveSlot>)> {
        // crashes are rare enough to look everywhere
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((id, slot)) = shard.iter_mut().find(|(_, slot)| slot.is_of(actor)) {
                let place = match std::mem::replace(&mut slot.at, At::Held(Queue::default())) {
                    At::Live(live) => live.place,
                    At::Held(_) => None,
                };
                return Some((*id, place));
            }
        }
        None
    }

    /// Takes an entity out of service.
    pub fn quarantine(&self, id: K::Id, reason: Arc<str>) {
        self.lock_quarantined().insert(id, reason);
    }

    /// Takes an entity back into service.
    pub fn release(&self, id: K::Id) {
        self.lock_quarantined().remove(&id);
    }

    /// Why an entity is out of service, if it is.
    pub fn quarantined(&self, id: K::Id) -> Option<Arc<str>> {
        self.lock_quarantined().get(&id).cloned()
    }

    fn lock_quarantined(&self) -> MutexGuard<'_, HashMap<K::Id, Arc<str>>> {
        self.quarantined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, id: K::Id) -> MutexGuard<'_, Slots<K>> {
        let shard = &self.shards[usize::from(K::random_byte(id)) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what has queued for an entity; its slot stays, so that who waits is still counted.
fn take_queue<K: Kind>(shard: &mut Slots<K>, id: K::Id) -> (Vec<K::Message>, Option<LiveSlot>) {
    match shard.get_mut(&id).map(|slot| &mut slot.at) {
        Some(At::Held(queue)) => std::mem::take(queue).into_parts(),
        Some(At::Live(_)) | None => (Vec::new(), None),
    }
}

/// The slot of an entity while it begins. Dropped before it is known to have begun, it is given up, so
/// that nobody queues for ever.
pub struct Beginning<K: Kind> {
    all: Arc<Registry<K>>,
    id: K::Id,
    ended: bool,
}

impl<K: Kind> Beginning<K> {
    /// The entity has begun, and its actor goes on from what was committed.
    pub fn live(mut self, place: LiveSlot, begun: K::Begun) {
        self.ended = true;
        self.all.begun(self.id, place, begun);
    }
}

impl<K: Kind> Drop for Beginning<K> {
    fn drop(&mut self) {
        if !self.ended {
            self.all.give_up(self.id);
        }
    }
}
