//! What one entity is at, and who waits for it.

use ractor::{ActorId, ActorRef};
use tokio::sync::OwnedSemaphorePermit;

use super::Kind;
use super::turn::Turns;

/// A place among the live ones.
pub type LiveSlot = OwnedSemaphorePermit;

/// The slot of an entity that has an owner.
pub struct Slot<K: Kind> {
    pub at: At<K>,
    /// The clients that wait.
    pub clients: Turns,
}

/// Who has the entity.
pub enum At<K: Kind> {
    /// No actor: it is being begun, or begins again after a crash. Whoever comes queues, in order.
    Held(Queue<K>),
    /// Its actor. One with an append whose outcome is unknown handles nothing before that is known,
    /// and messages wait in its mailbox.
    Live(Live<K>),
}

/// An entity's actor.
pub struct Live<K: Kind> {
    pub actor: ActorRef<K::Message>,
    /// Messages sent to it from here, without results.
    pub sent: u64,
    pub place: Option<LiveSlot>,
}

/// What queues where no actor is. Clients are bounded by their turns, wakes that wait for an answer by
/// the places they hold, results by the calls under way; all other messages of our own are in it
/// once, however often they come.
pub struct Queue<K: Kind> {
    messages: Vec<K::Message>,
    /// A place that came with one of them, for the actor that takes them up.
    place: Option<LiveSlot>,
}

impl<K: Kind> Default for Queue<K> {
    fn default() -> Self {
        Self { messages: Vec::new(), place: None }
    }
}

impl<K: Kind> Slot<K> {
    /// A slot that nobody waits for yet.
    pub fn new(at: At<K>) -> Self {
        Self { at, clients: Turns::default() }
    }

    /// Whether this actor has the entity.
    pub fn is_of(&self, actor: ActorId) -> bool {
        match &self.at {
            At::Live(live) => live.actor.get_id() == actor,
            At::Held(_) => false,
        }
    }

    /// Whether an actor has the entity, and a place among the live ones.
    pub fn has_place(&self) -> bool {
        matches!(&self.at, At::Live(live) if live.place.is_some())
    }

    /// Hands a message to whoever has the entity. Given back where that is an actor that has crashed.
    pub fn hand(&mut self, message: K::Message) -> Result<(), K::Message> {
        match &mut self.at {
            At::Live(live) => live.cast(message),
            At::Held(queue) => {
                queue.push(message);
                Ok(())
            }
        }
    }

    /// A place for whoever has the entity; one that has a place gives it back.
    pub fn take_place(&mut self, place: LiveSlot) {
        let kept = match &mut self.at {
            At::Live(live) => &mut live.place,
            At::Held(queue) => &mut queue.place,
        };
        kept.get_or_insert(place);
    }
}

impl<K: Kind> Queue<K> {
    /// Adds a message, or makes one of it and another that waits.
    pub fn push(&mut self, message: K::Message) {
        if !self.messages.iter_mut().any(|known| K::absorb(known, &message)) {
            self.messages.push(message);
        }
    }

    /// Everything in it, in order, and the place for who takes it up.
    pub fn into_parts(self) -> (Vec<K::Message>, Option<LiveSlot>) {
        (self.messages, self.place)
    }
}

impl<K: Kind> Live<K> {
    /// Sends it a message.
    pub fn cast(&mut self, message: K::Message) -> Result<(), K::Message> {
        let counts = K::is_counted(&message);
        match self.actor.cast(message) {
            Ok(()) => {
                self.sent += u64::from(counts);
                Ok(())
            }
            Err(ractor::MessagingErr::SendErr(message)) => Err(message),
            Err(_) => Ok(()),
        }
    }
}
