//! Undoing: what was done is undone once each, latest first, after every attempt is settled.

use super::{Halt, Interpreter};
use crate::domain::case::command::Rejection;
use crate::domain::case::event::Event;
use crate::domain::case::evolve::CorruptHistory;

impl Interpreter<'_> {
    pub(super) fn cancel(&mut self, reason: &str) -> Result<(), Halt> {
        if self.state.phase.ended() {
            return Err(self.conflict("cancelled").into());
        }
        if self.state.unwinding.is_some() {
            let detail = "the case is undoing what it did already".to_owned();
            return Err(Rejection::Conflict { detail, allowed: self.allowed() }.into());
        }
        let reason = reason.to_owned();
        if self.state.started_at.is_some() {
            self.cancel_flow()?;
        }
        let owed = !self.state.undo.is_empty()
            || !self.state.unsettled.is_empty()
            || !self.state.unsure.is_empty()
            || self.state.undoing.is_some();
        if owed {
            return self.emit(Event::UnwindingStarted { reason, error: None });
        }
        self.emit(Event::Cancelled { reason })
    }

    pub(super) fn undo_latest(&mut self) -> Result<(), Halt> {
        let Some(undo) = self.state.undo.iter().rev().find(|undo| undo.due).cloned() else {
            return Ok(());
        };
        match self.task(undo.task).metadata.compensate {
            Some(compensation) => self.enter_undo(compensation, undo.iteration, undo.output),
            None => Err(Halt::Corrupt(CorruptHistory(
                "something is to be undone that has no compensation".to_owned(),
            ))),
        }
    }

    pub(super) fn end_unwinding(&mut self) -> Result<(), Halt> {
        let Some(unwinding) = self.state.unwinding.clone() else { return Ok(()) };
        self.emit(Event::UnwindingEnded)?;
        match unwinding.error {
            Some(error) => self.emit(Event::Faulted { error }),
            None => self.emit(Event::Cancelled { reason: unwinding.reason }),
        }
    }
}
