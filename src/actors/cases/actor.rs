//! The actor of one case: decides, commits, acts, answers, in this order.
//!
//! Parent: their supervisor. Its mailbox is bounded by those who write to it: one result for each attempt
//! in flight, one `Projected` for each batch of the projector, commands of clients that wait for
//! the answer, wakes that hold a place. When it crashes its state is folded anew from the journal.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime};

use crate::actors::cases::committed::Committed;
use crate::actors::cases::kind::Cases;
use crate::actors::cases::message::{CaseMsg, CaseReply, CaseRequest, CommandError, CommandMeta};
use crate::actors::cases::state::CaseState;
use crate::actors::context::Context;
use crate::actors::registry::Spawner;
use crate::domain::case::command::{Command, Outcome};
use crate::domain::case::derive;
use crate::domain::ids::CaseId;

/// After which what could not be written is taken up again: results, and whatever else is the case's own.
const AGAIN: Duration = Duration::from_secs(1);

/// The actor.
pub struct CaseActor;

/// What it begins with.
pub struct CaseArgs {
    pub context: Arc<Context>,
    pub id: CaseId,
    /// It begins here: this was committed just now.
    pub begun: Option<Box<Committed>>,
}

/// What starts the actors of cases, under a parent that hears of their crashes.
pub fn spawner(context: &Arc<Context>, parent: ActorCell) -> Spawner<Cases> {
    // the context holds the registry, which holds this
    let context = Arc::downgrade(context);
    Box::new(move |case, begun| {
        let context = context.upgrade()?;
        let args = CaseArgs { context: context.clone(), id: case, begun };
        // whoever asks may be of another runtime; cases live in the one of the engine
        let _engine = context.runtime.enter();
        match ActorRuntime::spawn_linked_instant(None, CaseActor, args, parent.clone()) {
            Ok((actor, _starting)) => Some(actor),
            Err(error) => {
                tracing::error!(case.id = %case, %error, "no actor for a case");
                None
            }
        }
    })
}

impl Actor for CaseActor {
    type Msg = CaseMsg;
    type State = CaseState;
    type Arguments = CaseArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<CaseMsg>,
        CaseArgs { context, id, begun }: CaseArgs,
    ) -> Result<CaseState, ActorProcessingErr> {
        let mut live = CaseState::new(context, id);
        if let Some(begun) = begun {
            live.take_up(&myself, *begun);
            // whatever has to follow: a case that begins with a wait is at rest already
            myself.cast(CaseMsg::Projected(0))?;
        }
        Ok(live)
    }

    async fn handle(
        &self,
        myself: ActorRef<CaseMsg>,
        message: CaseMsg,
        live: &mut CaseState,
    ) -> Result<(), ActorProcessingErr> {
        // boxed, so that an idle actor holds no room for what a busy one needs
        let broken = Box::pin(live.on(&myself, message)).await;
        if let Some(reason) = broken {
            live.context.quarantine(live.id, reason).await;
            live.context.cases.dismiss(live.id, myself.get_id());
            myself.stop(None);
        } else if live.is_at_rest() {
            // what comes later of its calls comes too late
            let forget = || live.context.attempts.forget(live.id);
            if live.context.cases.retire(live.id, myself.get_id(), live.handled, forget) {
                myself.stop(None);
            }
        }
        Ok(())
    }
}

impl CaseState {
    /// Handles a message; a reason means that the case cannot go on.
    async fn on(&mut self, me: &ActorRef<CaseMsg>, message: CaseMsg) -> Option<Arc<str>> {
        match message {
            CaseMsg::Request(tell) => {
                self.handled += 1;
                let CaseRequest { command, meta, reply, turn: _waiting } = *tell;
                let told = self.carry_out(me, &command, &meta).await;
                let broken = broken(&told);
                match reply {
                    Some(reply) => drop(reply.send(told)),
                    // nobody else comes again with it
                    None => drop(self.take_up_again(me, &told)),
                }
                broken
            }
            // another one could not be written: this one is found with it, when the case is loaded
            CaseMsg::Result { .. } if self.again && self.case.is_none() => None,
            CaseMsg::Result { task, iteration, attempt, outcome } => {
                // what was fetched first is no attempt; the one that follows has the same number
                let fetched = matches!(*outcome, Outcome::Fetched(_));
                let command = Command::Result { task, iteration, attempt, outcome: *outcome };
                let told = self.carry_out(me, &command, &CommandMeta::engine()).await;
                if !self.take_up_again(me, &told) && !fetched {
                    self.context.attempts.end((self.id, task, iteration, attempt));
                }
                broken(&told)
            }
            CaseMsg::GoOn => {
                self.again = false;
                let told = self.carry_out(me, &Command::Continue, &CommandMeta::engine()).await;
                self.take_up_again(me, &told);
                broken(&told)
            }
            CaseMsg::Projected(version) => {
                self.handled += 1;
                self.projected = self.projected.max(version);
                None
            }
        }
    }

    /// One of our own commands that could not be written is taken up again until it can: loading the
    /// case says what that is. Any other "no" to one means that it came too late. True: it is.
    fn take_up_again(
        &mut self,
        me: &ActorRef<CaseMsg>,
        told: &Result<CaseReply, CommandError>,
    ) -> bool {
        let unwritten =
            matches!(told, Err(CommandError::Unavailable(_) | CommandError::Unknown(_)));
        if unwritten {
            // what came meanwhile is found again when it is loaded
            self.case = None;
        }
        if unwritten && !self.again {
            me.send_after(AGAIN, || CaseMsg::GoOn);
            self.again = true;
        }
        unwritten
    }

    /// Whether the case has nothing to do before something comes from outside, and whatever it
    /// waits for finds it in the views.
    fn is_at_rest(&mut self) -> bool {
        if self.again || !self.planning.is_empty() {
            return false;
        }
        let Some(case) = &self.case else {
            // none was loaded: whoever has calls under way is not done with them
            return !self.context.attempts.of_case(self.id);
        };
        let state = &case.state;
        if !derive::rests(state) {
            return false;
        }
        if state.phase.ended() || self.projected >= state.version {
            return true;
        }
        if self.handled > 0 && self.projected == 0 {
            // woken for nothing: the views may know it already
            let shown = self.context.views.case(self.id).ok().flatten();
            self.projected = shown.map_or(0, |row| row.version);
        }
        self.projected >= state.version
    }
}

fn broken(told: &Result<CaseReply, CommandError>) -> Option<Arc<str>> {
    match told {
        Err(CommandError::Broken(reason)) => Some(reason.as_str().into()),
        Ok(_) | Err(_) => None,
    }
}
