//! Where the outcome of a case's effect goes.

use std::sync::Arc;

use ractor::ActorRef;

use crate::actors::cases::message::CaseMsg;
use crate::actors::context::Context;
use crate::domain::case::command::Outcome;
use crate::domain::ids::CaseId;
use crate::domain::workflow::model::TaskId;

/// The actor's address, as whoever carries out its effects knows it.
#[derive(Clone)]
pub struct CaseRef {
    context: Arc<Context>,
    case: CaseId,
    actor: ActorRef<CaseMsg>,
}

impl CaseRef {
    /// The address of a case's actor.
    pub fn new(context: Arc<Context>, case: CaseId, actor: ActorRef<CaseMsg>) -> Self {
        Self { context, case, actor }
    }

    /// Brings back what an attempt came to. A case that has crashed meanwhile finds it when it begins
    /// again.
    pub fn result(&self, task: TaskId, iteration: u32, attempt: u32, outcome: Outcome) {
        // what was fetched first is no attempt; the one that follows has the same number
        if !matches!(outcome, Outcome::Fetched(_)) {
            self.context.attempts.came((self.case, task, iteration, attempt), &outcome);
        }
        let message = |outcome| {
            let outcome = Box::new(outcome);
            CaseMsg::Result { task, iteration, attempt, outcome }
        };
        if self.actor.cast(message(outcome.clone())).is_ok() {
            return;
        }
        // the actor has left or crashed: whoever has the case now is told, if anybody has
        let _ = self.context.cases.tell_live(self.case, message(outcome));
    }
}
