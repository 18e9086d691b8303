//! Child cases: their ends, and ending them.

use super::{Halt, Interpreter, Key};
use crate::domain::case::command::ChildOutcome;
use crate::domain::case::effect::{Ask, Effect};
use crate::domain::case::event::Change;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::Stage;
use crate::domain::data::Data;
use crate::domain::ids::CaseId;
use crate::domain::workflow::model::Kind;

impl Interpreter<'_> {
    /// A child has ended; tasks that wait for it go on.
    pub(super) fn child_ended(
        &mut self,
        child: CaseId,
        outcome: &ChildOutcome,
    ) -> Result<(), Halt> {
        let mut waiting = Vec::new();
        self.state.walk(&mut |activation| {
            let key = (activation.task, activation.iteration);
            let waits = activation.call().is_some_and(|call| match call.stage {
                Stage::Child { case, .. } => case == child,
                Stage::InFlight { .. } => {
                    matches!(outcome, ChildOutcome::Refused(_))
                        && !self.is_joined(key)
                        && self.child_id(key) == child
                }
                Stage::Ready
                | Stage::Preparing { .. }
                | Stage::Parked { .. }
                | Stage::Pausing { .. }
                | Stage::Person { .. }
                | Stage::Queued { .. }
                | Stage::Leased { .. } => false,
            });
            if waits && activation.failed.is_none() {
                waiting.push(key);
            }
        });
        for key in waiting {
            let Kind::Run(run) = &self.task(key.0).kind else { continue };
            match outcome {
                ChildOutcome::Completed(output) => {
                    let output = if run.discard { Data::null() } else { output.clone() };
                    self.complete(key, Some(output), None)?;
                }
                _ if self.is_detached(key) => self.emit_task(key, Change::dropped())?,
                ChildOutcome::Faulted(error) | ChildOutcome::Refused(error) => {
                    let error = Problem { instance: None, ..error.clone() };
                    self.fault(key, error)?;
                }
                ChildOutcome::Cancelled => {
                    let detail = format!("the case {child} was cancelled");
                    self.fault(key, Problem::new(Standard::Runtime, detail))?;
                }
            }
        }
        Ok(())
    }

    /// A child goes on without a task that has left the flow.
    pub(super) fn child_left(&mut self, key: Key) -> Result<(), Halt> {
        match self.is_detached(key) && self.is_joined(key) {
            true => self.emit_task(key, Change::dropped()),
            false => Ok(()),
        }
    }

    /// A child is not wanted any more: it is ended, unless others may have joined it.
    pub(super) fn cancel_child(&mut self, (task, iteration): Key, child: CaseId) {
        let ask = match self.is_joined((task, iteration)) {
            true => Ask::LeaveChild,
            false => Ask::CancelChild(child),
        };
        self.effects.push(Effect {
            case: self.state.id,
            task,
            iteration,
            attempt: 0,
            key: child.to_string(),
            service: None,
            ask,
        });
    }

    /// Whether the task's child is the one case under a key.
    pub(super) fn is_joined(&self, key: Key) -> bool {
        self.is_run(key) && self.task(key.0).metadata.key.is_some()
    }
}
