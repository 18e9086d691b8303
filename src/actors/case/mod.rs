//! The actor of one case: decides, commits, acts, answers, in this order.
//!
//! Parent: the router. Its mailbox is bounded by those who write to it: one result for each attempt
//! in flight, one `Projected` for each batch of the projector, commands of clients that wait for
//! the answer, wakes that hold a place. When it crashes its state is folded anew from the journal.

mod carry_out;
mod desk;
mod told;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

pub use carry_out::{Committed, Uncommitted, commit, make};
pub use told::{Meta, TellError, Told};

use super::cases::Turn;
use super::load::Loaded;
use super::office::Office;
use crate::domain::case::command::{Command, Outcome};
use crate::domain::case::derive;
use crate::domain::case::phase::Phase;
use crate::domain::ids::CaseId;
use crate::domain::workflow::model::TaskId;

/// The actor.
pub struct CaseActor;

/// What it begins with.
pub struct CaseArgs {
    pub office: Arc<Office>,
    pub id: CaseId,
    /// It begins here: this was committed just now.
    pub begun: Option<Box<Committed>>,
}

/// What it is told.
pub enum CaseMsg {
    Tell(Box<Tell>),
    /// What an attempt came to.
    Result {
        task: TaskId,
        iteration: u32,
        attempt: u32,
        outcome: Box<Outcome>,
    },
    /// The last decision was cut off.
    GoOn,
    /// The views show the case at this version.
    Projected(u64),
}

/// A command, and who waits for the answer.
pub struct Tell {
    pub command: Command,
    pub meta: Meta,
    pub reply: Option<oneshot::Sender<Result<Told, TellError>>>,
    /// A client's, among those that wait for the case; none for one of ours.
    pub turn: Option<Turn>,
}

/// The actor's address, as couriers know it.
#[derive(Clone)]
pub struct CaseRef {
    office: Arc<Office>,
    case: CaseId,
    actor: ActorRef<CaseMsg>,
}

impl CaseRef {
    /// The address of a case's actor.
    pub fn new(office: Arc<Office>, case: CaseId, actor: ActorRef<CaseMsg>) -> Self {
        Self { office, case, actor }
    }

    /// Brings back what an attempt came to. A case that has crashed meanwhile finds it when it begins
    /// again.
    pub fn result(&self, task: TaskId, iteration: u32, attempt: u32, outcome: Outcome) {
        self.office.under_way.came((self.case, task, iteration, attempt), &outcome);
        let message = |outcome| {
            let outcome = Box::new(outcome);
            CaseMsg::Result { task, iteration, attempt, outcome }
        };
        if self.actor.cast(message(outcome.clone())).is_ok() {
            return;
        }
        // the actor has left or crashed: whoever has the case now is told, if anybody has
        let _ = self.office.cases.tell_live(self.case, message(outcome));
    }
}

/// What it lives on.
pub struct Live {
    office: Arc<Office>,
    id: CaseId,
    /// The case as the journal has it; none before it is loaded, or where there is none.
    case: Option<Loaded>,
    /// Version of the last snapshot.
    snapshot: u64,
    /// The views show the case at this version.
    projected: u64,
    /// Messages handled that came through the live cases.
    handled: u64,
}

impl Actor for CaseActor {
    type Msg = CaseMsg;
    type State = Live;
    type Arguments = CaseArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<CaseMsg>,
        CaseArgs { office, id, begun }: CaseArgs,
    ) -> Result<Live, ActorProcessingErr> {
        let mut live = Live { office, id, case: None, snapshot: 0, projected: 0, handled: 0 };
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
        live: &mut Live,
    ) -> Result<(), ActorProcessingErr> {
        // boxed, so that an idle actor holds no room for what a busy one needs
        let broken = Box::pin(live.on(&myself, message)).await;
        if let Some(reason) = broken {
            live.office.quarantine(live.id, reason).await;
            live.office.cases.dismiss(live.id, myself.get_id());
            myself.stop(None);
        } else if live.is_at_rest() {
            // before the case may have another owner, who begins attempts of its own
            live.office.under_way.forget(live.id);
            if live.office.cases.retire(live.id, myself.get_id(), live.handled) {
                myself.stop(None);
            }
        }
        Ok(())
    }
}

impl Live {
    /// Handles a message; a reason means that the case cannot go on.
    async fn on(&mut self, me: &ActorRef<CaseMsg>, message: CaseMsg) -> Option<Arc<str>> {
        match message {
            CaseMsg::Tell(tell) => {
                self.handled += 1;
                let Tell { command, meta, reply, turn: _waiting } = *tell;
                let told = self.carry_out(me, &command, &meta).await;
                let broken = broken(&told);
                if let Some(reply) = reply {
                    let _ = reply.send(told);
                }
                broken
            }
            CaseMsg::Result { task, iteration, attempt, outcome } => {
                // what was fetched first is no attempt; the one that follows has the same number
                let fetched = matches!(*outcome, Outcome::Prepared);
                let command = Command::Result { task, iteration, attempt, outcome: *outcome };
                let told = self.carry_out(me, &command, &Meta::engine()).await;
                if !fetched
                    && !matches!(told, Err(TellError::Unavailable(_) | TellError::Unknown(_)))
                {
                    self.office.under_way.end((self.id, task, iteration, attempt));
                }
                broken(&told)
            }
            CaseMsg::GoOn => self.carry_out_own(me, Command::Continue).await,
            CaseMsg::Projected(version) => {
                self.handled += 1;
                self.projected = self.projected.max(version);
                None
            }
        }
    }

    /// A "no" to one of our own commands means that it came too late.
    async fn carry_out_own(
        &mut self,
        me: &ActorRef<CaseMsg>,
        command: Command,
    ) -> Option<Arc<str>> {
        broken(&self.carry_out(me, &command, &Meta::engine()).await)
    }

    /// Whether the case has nothing to do before something comes from outside, and whatever it
    /// waits for finds it in the views.
    fn is_at_rest(&mut self) -> bool {
        let Some(case) = &self.case else { return true };
        let state = &case.state;
        if state.phase == Phase::Running || derive::owes(state) {
            return false;
        }
        if state.phase.ended() || self.projected >= state.version {
            return true;
        }
        if self.handled > 0 && self.projected == 0 {
            // woken for nothing: the views may know it already
            let shown = self.office.views.case(self.id).ok().flatten();
            self.projected = shown.map_or(0, |row| row.version);
        }
        self.projected >= state.version
    }
}

fn broken(told: &Result<Told, TellError>) -> Option<Arc<str>> {
    match told {
        Err(TellError::Broken(reason)) => Some(reason.as_str().into()),
        Ok(_) | Err(_) => None,
    }
}
