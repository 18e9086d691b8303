//! Cases as a kind of entity that has actors.

use std::sync::Arc;

use ractor::ActorCell;

use super::actor::spawner;
use super::committed::Committed;
use super::message::{CaseMsg, CaseRequest, CommandMeta};
use crate::actors::context::Context;
use crate::actors::registry::supervisor::Supervised;
use crate::actors::registry::{Kind, Registry, Spawner};
use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;

/// Cases.
pub struct Cases;

/// The live cases.
pub type CaseRegistry = Registry<Cases>;

impl Kind for Cases {
    type Id = CaseId;
    type Message = CaseMsg;
    type Begun = Committed;

    fn random_byte(id: CaseId) -> u8 {
        // the last byte is random in every kind of id
        id.0.0[15]
    }

    fn recover() -> CaseMsg {
        let (command, meta) = (Command::Recover, CommandMeta::engine());
        CaseMsg::Request(Box::new(CaseRequest { command, meta, reply: None, turn: None }))
    }

    fn is_counted(message: &CaseMsg) -> bool {
        // results reach the actor directly as well: neither it nor the registry counts them
        !matches!(message, CaseMsg::Result { .. })
    }

    fn absorb(known: &mut CaseMsg, message: &CaseMsg) -> bool {
        match (known, message) {
            (CaseMsg::Projected(known), CaseMsg::Projected(version)) => {
                *known = (*known).max(*version);
                true
            }
            (CaseMsg::Request(known), CaseMsg::Request(told)) => is_same_wake(known, told),
            _ => false,
        }
    }
}

impl Supervised for Cases {
    const NAME: &'static str = "case";

    fn registry(context: &Context) -> &Arc<CaseRegistry> {
        &context.cases
    }

    fn spawner(context: &Arc<Context>, parent: ActorCell) -> Spawner<Self> {
        spawner(context, parent)
    }

    async fn quarantine(context: &Context, case: CaseId, reason: Arc<str>) {
        context.quarantine(case, reason).await;
    }
}

/// Whether two wakes that nobody waits for come to the same.
fn is_same_wake(one: &CaseRequest, other: &CaseRequest) -> bool {
    let unasked = one.reply.is_none() && other.reply.is_none();
    unasked
        && match (&one.command, &other.command) {
            (Command::Timer, Command::Timer)
            | (Command::Recover, Command::Recover)
            | (Command::LookAgain, Command::LookAgain) => true,
            (Command::Admit { service: one }, Command::Admit { service: other }) => one == other,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::registry::slot::Queue;

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
        let mut queue = Queue::<Cases>::default();
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
