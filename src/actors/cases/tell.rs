//! Telling a case something: a client's command, or one of our own wakes.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::actors::cases::message::{CaseMsg, CaseReply, CaseRequest, CommandError, CommandMeta};
use crate::actors::context::Context;
use crate::actors::recovery::careful_start::PATIENCE;
use crate::actors::registry::slot::LiveSlot;
use crate::actors::registry::turn::Turn;
use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;

/// What became of a wake that nobody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The case was told, or is told as soon as there is a place for it.
    Noted,
    /// There are too many wants: who wakes comes again.
    NoRoom,
    OutOfService,
}

impl Context {
    /// Tells a case something and waits for the answer. Needs no place among the live cases: who
    /// calls is bounded elsewhere.
    ///
    /// # Errors
    /// When the case does not carry it out.
    pub async fn tell(
        self: &Arc<Self>,
        case: CaseId,
        command: Command,
        meta: CommandMeta,
    ) -> Result<CaseReply, CommandError> {
        let make = |reply, turn| message(command.clone(), meta.clone(), Some(reply), turn);
        self.answered(case, |reply| self.cases.ask(case, |turn| make(reply, turn))).await
    }

    /// Tells a case something of our own, with a place that was got before.
    ///
    /// # Errors
    /// When the case does not carry it out.
    pub async fn tell_at(
        self: &Arc<Self>,
        case: CaseId,
        command: Command,
        meta: CommandMeta,
        mut place: Option<LiveSlot>,
    ) -> Result<CaseReply, CommandError> {
        let make = |reply| message(command.clone(), meta.clone(), Some(reply), None);
        let hand = |reply| {
            self.cases.tell(case, place.take(), make(reply));
            true
        };
        self.answered(case, hand).await
    }

    /// Tells a case something of our own, as soon as there is a place for it, and waits until it
    /// is done.
    ///
    /// # Errors
    /// When the case does not carry it out.
    pub async fn wake(
        self: &Arc<Self>,
        case: CaseId,
        command: Command,
    ) -> Result<CaseReply, CommandError> {
        // one that is live has its place, and waits for nobody who needs one
        let live = self.cases.has_place(case);
        // whoever waits for its turn takes no place from those who begin
        let _turn = if live { None } else { self.careful_start.turn().await };
        let place = if live { None } else { self.cases.place().await };
        let Some(noted) = self.careful_start.note(case).await else {
            return self.tell_at(case, command, CommandMeta::engine(), place).await;
        };
        let telling = self.tell_at(case, command, CommandMeta::engine(), place);
        let told = tokio::time::timeout(PATIENCE, telling).await;
        noted.has_woken(matches!(told, Ok(Ok(_))));
        told.unwrap_or(Err(CommandError::Busy("it takes long to wake")))
    }

    /// The same, without waiting for anything: where there is no place, or the start is careful, a want
    /// is left.
    pub fn wake_soon(&self, case: CaseId, command: Command) -> Woken {
        if self.cases.quarantined(case).is_some() {
            return Woken::OutOfService;
        }
        if self.careful_start.is_taken() {
            return self.want(case, command);
        }
        let told = message(command.clone(), CommandMeta::engine(), None, None);
        let Err(told) = self.cases.tell_live(case, told) else { return Woken::Noted };
        match self.cases.try_place() {
            Some(place) => self.cases.tell(case, Some(place), told),
            None => return self.want(case, command),
        }
        Woken::Noted
    }

    fn want(&self, case: CaseId, command: Command) -> Woken {
        if self.wants.leave(case, command) { Woken::Noted } else { Woken::NoRoom }
    }

    /// Serves the wants, as places come free.
    pub async fn serve_wants(self: Arc<Self>) {
        loop {
            let (case, command) = self.wants.next().await;
            if self.cases.quarantined(case).is_some() {
                continue;
            }
            if self.careful_start.is_taken() {
                // a "no" means that it came too late
                let _ = self.wake(case, command).await;
                continue;
            }
            let told = message(command, CommandMeta::engine(), None, None);
            if let Err(told) = self.cases.tell_live(case, told) {
                let place = self.cases.place().await;
                self.cases.tell(case, place, told);
            }
        }
    }

    /// Hands a case a message and waits for the answer; false from `hand`: there are too many already.
    async fn answered(
        self: &Arc<Self>,
        case: CaseId,
        mut hand: impl FnMut(Reply) -> bool,
    ) -> Result<CaseReply, CommandError> {
        // who meets an actor that has just crashed asks once more
        for _ in 0..2 {
            if let Some(reason) = self.cases.quarantined(case) {
                return Err(CommandError::Quarantined(reason));
            }
            let (reply, answer) = oneshot::channel();
            if !hand(reply) {
                return Err(CommandError::Busy("too many ask for the case at the same time"));
            }
            if let Ok(told) = answer.await {
                return told;
            }
        }
        Err(CommandError::Unavailable("the case's actor has crashed".to_owned()))
    }
}

/// Who waits for what a case says.
type Reply = oneshot::Sender<Result<CaseReply, CommandError>>;

fn message(
    command: Command,
    meta: CommandMeta,
    reply: Option<Reply>,
    turn: Option<Turn>,
) -> CaseMsg {
    CaseMsg::Request(Box::new(CaseRequest { command, meta, reply, turn }))
}
