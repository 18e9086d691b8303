//! Undoing: what was done is undone once each, latest first, after every attempt is settled.

use super::fail::Leaving;
use super::{Halt, Interpreter};
use crate::domain::case::command::Rejection;
use crate::domain::case::event::{Change, Doubt, Event};
use crate::domain::case::evolve::CorruptHistory;
use crate::domain::case::evolve::effects::has_to_undo;
use crate::domain::case::ledger::{Entry, Knowledge};
use crate::domain::case::staff;

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
            self.cancel_flow(Leaving::Unwinding)?;
        }
        let unknown = |entry: &Entry| match &entry.knowledge {
            Knowledge::Unknown(doubt) => {
                *doubt == Doubt::Silent || self.task(entry.task).metadata.reconcile.is_some()
            }
            Knowledge::Done(_) | Knowledge::NotDone => false,
        };
        let owed = !self.state.detached.is_empty()
            || self.state.ledger.iter().any(unknown)
            || has_to_undo(self.definition, &self.state)
            || staff::has_to_give_back(&self.state);
        if owed {
            return self.emit(Event::UnwindingStarted { reason, error: None });
        }
        self.emit(Event::Cancelled { reason })
    }

    pub(super) fn undo_latest(&mut self) -> Result<(), Halt> {
        let Some(due) = self.state.undo_due() else { return Ok(()) };
        let (task, iteration) = (due.task, due.iteration);
        let input = match (due.undo_input(), due.knowledge.clone()) {
            (None, Knowledge::Done(kept)) => {
                // a step of its own, since it may be large
                let output = self.read_back(kept)?.into_data();
                return self.emit_task((task, iteration), Change::ReadBack { output });
            }
            (input, _) => input.unwrap_or_default(),
        };
        match self.task(task).metadata.compensate {
            Some(compensation) => self.enter_undo(compensation, iteration, input),
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
