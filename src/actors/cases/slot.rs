//! What one case is at, and who waits for it.

use ractor::{ActorId, ActorRef};
use tokio::sync::OwnedSemaphorePermit;

use crate::actors::cases::message::{CaseMsg, CaseRequest};
use crate::actors::cases::turn::Turns;
use crate::domain::case::command::Command;

/// A slot among the live cases.
pub type LiveSlot = OwnedSemaphorePermit;

/// The slot of a case that has an owner.
pub struct Slot {
    pub at: At,
    /// The clients that wait.
    pub clients: Turns,
}

/// Who has the case.
pub enum At {
    /// No actor: it is being begun, or begins again after a crash. Whoever comes queues, in order.
    Held(Queue),
    /// Its actor. One with an append whose outcome is unknown handles nothing before that is known,
    /// and messages wait in its mailbox.
    Live(CaseLive),
}

/// A case's actor.
pub struct CaseLive {
    pub actor: ActorRef<CaseMsg>,
    /// Messages sent to it from here, without results.
    pub sent: u64,
    pub place: Option<LiveSlot>,
}

/// What queues where no actor is. Clients are bounded by their turns, wakes that wait for an answer by
/// the places they hold, results by the calls under way; all other messages of our own are in it
/// once, however often they come.
#[derive(Default)]
pub struct Queue {
    messages: Vec<CaseMsg>,
    /// A place that came with one of them, for the actor that takes them up.
    place: Option<LiveSlot>,
}

impl Slot {
    /// A slot that nobody waits for yet.
    pub fn new(at: At) -> Self {
        Self { at, clients: Turns::default() }
    }

    /// Whether this actor has the case.
    pub fn is_of(&self, actor: ActorId) -> bool {
        match &self.at {
            At::Live(live) => live.actor.get_id() == actor,
            At::Held(_) => false,
        }
    }

    /// Whether an actor has the case, and a place among the live ones.
    pub fn has_place(&self) -> bool {
        matches!(&self.at, At::Live(live) if live.place.is_some())
    }

    /// Hands a message to whoever has the case. Given back where that is an actor that has crashed.
    pub fn hand(&mut self, message: CaseMsg) -> Result<(), CaseMsg> {
        match &mut self.at {
            At::Live(live) => live.cast(message),
            At::Held(queue) => {
                queue.push(message);
                Ok(())
            }
        }
    }

    /// A place for whoever has the case; one that has a place gives it back.
    pub fn take_place(&mut self, place: LiveSlot) {
        let kept = match &mut self.at {
            At::Live(live) => &mut live.place,
            At::Held(queue) => &mut queue.place,
        };
        kept.get_or_insert(place);
    }
}

impl Queue {
    fn push(&mut self, message: CaseMsg) {
        let known = self.messages.iter_mut().find_map(|known| match (known, &message) {
            (CaseMsg::Projected(known), CaseMsg::Projected(version)) => {
                *known = (*known).max(*version);
                Some(())
            }
            (CaseMsg::Request(known), CaseMsg::Request(tell)) => {
                is_same_wake(known, tell).then_some(())
            }
            _ => None,
        });
        if known.is_none() {
            self.messages.push(message);
        }
    }

    /// Everything in it, in order, and the place for who takes it up.
    pub fn into_parts(self) -> (Vec<CaseMsg>, Option<LiveSlot>) {
        (self.messages, self.place)
    }
}

/// Whether two wakes that nobody waits for come to the same.
fn is_same_wake(one: &CaseRequest, other: &CaseRequest) -> bool {
    let unasked = one.reply.is_none() && other.reply.is_none();
    unasked
        && match (&one.command, &other.command) {
            (Command::Timer, Command::Timer) | (Command::Recover, Command::Recover) => true,
            (Command::Admit { service: one }, Command::Admit { service: other }) => one == other,
            _ => false,
        }
}

impl CaseLive {
    /// Sends it a message.
    pub fn cast(&mut self, message: CaseMsg) -> Result<(), CaseMsg> {
        // results reach the actor directly as well: neither it nor this counts them
        let counts = !matches!(message, CaseMsg::Result { .. });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::cases::message::CommandMeta;

    fn wake(command: Command) -> CaseMsg {
        CaseMsg::Request(Box::new(CaseRequest {
            command,
            meta: CommandMeta::engine(),
            reply: None,
            turn: None,
        }))
    }

    #[test]
    fn wakes_queue_once_however_often_they_come() {
        let mut queue = Queue::default();
        for n in 0..1000 {
            queue.push(wake(Command::Timer));
            queue.push(wake(Command::Recover));
            queue.push(CaseMsg::Projected(n));
            let service = if n % 2 == 0 { "a" } else { "b" };
            queue.push(wake(Command::Admit { service: service.into() }));
        }
        let (messages, _) = queue.into_parts();
        assert_eq!(messages.len(), 5);
        assert!(messages.iter().any(|m| matches!(m, CaseMsg::Projected(999))));
    }
}
