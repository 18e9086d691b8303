//! Errors: raised at a task, carried outwards, caught, or left to a person.

use super::{Halt, Interpreter, Key, Trouble};
use crate::domain::case::derive;
use crate::domain::case::event::{Change, Doubt, Event};
use crate::domain::case::problem::Problem;
use crate::domain::case::state::{Body, Branch, Stage, TryStage};
use crate::domain::workflow::model::{Kind, OnError};

/// What a try task does with an error from its body.
enum Caught {
    Retry {
        at: crate::domain::time::Timestamp,
        deadline: Option<crate::domain::time::Timestamp>,
    },
    Handle,
    /// No retry and nothing to do: the error is gone.
    Swallow,
    /// It is not for this task.
    Not,
}

impl Interpreter<'_> {
    /// An error leaves the task.
    pub(super) fn fault(&mut self, key: Key, problem: Problem) -> Result<(), Halt> {
        self.fault_with(key, problem, None)
    }

    pub(super) fn fault_with(
        &mut self,
        key: Key,
        problem: Problem,
        doubt: Option<Doubt>,
    ) -> Result<(), Halt> {
        let error = problem.at(&self.task(key.0).reference);
        self.emit_task(key, Change::Faulted { error, doubt })
    }

    /// Carries the error of a failed task outwards, to the try that catches it or to the end.
    pub(super) fn propagate(&mut self, key: Key) -> Result<(), Halt> {
        let Some(failed) = self.open(key)?.failed.clone() else { return Ok(()) };
        let around: Vec<Key> = self
            .state
            .ancestry(self.definition, key.0)
            .iter()
            .rev()
            .skip(1)
            .map(|a| (a.task, a.iteration))
            .collect();
        for (depth, &try_key) in around.iter().enumerate() {
            let caught = match self.caught_by(try_key, &failed.error) {
                Ok(caught) => caught,
                Err(Trouble::Halt(halt)) => return Err(halt),
                Err(Trouble::Problem(problem)) => {
                    self.fail_between(&around[..depth], &failed.error)?;
                    return self.fault(try_key, problem);
                }
            };
            if matches!(caught, Caught::Not) {
                continue;
            }
            self.fail_between(&around[..depth], &failed.error)?;
            return self.handle(try_key, caught, &failed.error);
        }
        self.uncaught(key, &around, &failed.error)
    }

    fn handle(&mut self, key: Key, caught: Caught, error: &Problem) -> Result<(), Halt> {
        match caught {
            Caught::Retry { at, deadline } => {
                let error = error.clone();
                self.emit_task(key, Change::Retried { error, at, deadline })
            }
            Caught::Handle => {
                if self.enter_catch(key, error)? {
                    return Ok(());
                }
                self.swallow(key)
            }
            Caught::Swallow => self.swallow(key),
            Caught::Not => Ok(()),
        }
    }

    /// The try task ends as if nothing had happened: its output is its input.
    fn swallow(&mut self, key: Key) -> Result<(), Halt> {
        let input = self.open(key)?.input.clone();
        self.complete(key, Some(input), None)
    }

    fn caught_by(&mut self, key: Key, error: &Problem) -> Result<Caught, Trouble> {
        let activation = self.open(key)?;
        let Body::Try(inner) = &activation.body else { return Ok(Caught::Not) };
        if !matches!(inner.stage, TryStage::Body(_)) {
            return Ok(Caught::Not);
        }
        let inner = inner.clone();
        let Kind::Try { catch, .. } = &self.task(key.0).kind else { return Ok(Caught::Not) };
        if catch.filter.as_ref().is_some_and(|filter| !error.matches(filter)) {
            return Ok(Caught::Not);
        }
        let data = error.to_data();
        let mut place = self.place(key)?;
        place.locals = vec![(catch.variable.clone(), data.clone())];
        if let Some(when) = &catch.when
            && !self.holds(when, &data, &place)?
        {
            return Ok(Caught::Not);
        }
        if let Some(except) = &catch.except_when
            && self.holds(except, &data, &place)?
        {
            return Ok(Caught::Not);
        }
        if let Some(policy) = &catch.retry {
            let input = place.input.clone().unwrap_or_default();
            let again = self.next_retry(policy, &inner, &data, &input, &place)?;
            if let Some((at, deadline)) = again {
                return Ok(Caught::Retry { at, deadline });
            }
        }
        Ok(match (&catch.retry, &catch.body) {
            (_, Some(_)) => Caught::Handle,
            (None, None) => Caught::Swallow,
            (Some(_), None) => Caught::Not,
        })
    }

    /// The tasks that the error passes fail with it, and what ran beside it in forks is dropped.
    fn fail_between(&mut self, between: &[Key], error: &Problem) -> Result<(), Halt> {
        for &key in between {
            let activation = self.open(key)?;
            if activation.failed.is_some() {
                continue;
            }
            if let Body::Fork(branches) = &activation.body {
                let running: Vec<Key> = branches
                    .iter()
                    .filter_map(|branch| match branch {
                        Branch::Running(child) if child.failed.is_none() => {
                            Some((child.task, child.iteration))
                        }
                        _ => None,
                    })
                    .collect();
                for branch in running {
                    self.cancel_tree(branch)?;
                }
            }
            let error = error.clone();
            self.emit_task(key, Change::Faulted { error, doubt: None })?;
        }
        Ok(())
    }

    fn uncaught(&mut self, key: Key, around: &[Key], error: &Problem) -> Result<(), Halt> {
        let undoing = self.task(key.0).undoing.is_some();
        if undoing && self.state.unwinding.is_none() {
            // beside the flow, which goes on: only a person is told
            return self.emit(Event::Alerted { cause: error.cause() });
        }
        if undoing || self.definition.on_error == OnError::Suspend {
            return self.suspend_by_error(Some(key), error);
        }
        self.fail_between(around, error)?;
        self.end_faulted(error.clone())
    }

    /// Stops the case where it stands, until a person has had a look.
    pub(super) fn suspend_by_error(
        &mut self,
        task: Option<Key>,
        error: &Problem,
    ) -> Result<(), Halt> {
        let reason = error.title.as_deref().or(error.detail.as_deref());
        let reason = reason.unwrap_or("an error that nothing catches").to_owned();
        let error = error.clone();
        self.emit(Event::Suspended { reason, error: Some(error), task })
    }

    /// Raises a dead letter.
    pub(super) fn alert(&mut self) -> Result<(), Halt> {
        let cause = derive::cause_for_a_person(&self.state).unwrap_or_default();
        self.emit(Event::Alerted { cause })
    }

    /// An error of the workflow itself: of its output, or its timeout.
    pub(super) fn fail_workflow(&mut self, problem: Problem) -> Result<(), Halt> {
        if self.definition.on_error == OnError::Suspend {
            return self.suspend_by_error(None, &problem);
        }
        self.cancel_flow()?;
        self.end_faulted(problem)
    }

    /// The case ends faulted, once what can be undone is undone.
    fn end_faulted(&mut self, error: Problem) -> Result<(), Halt> {
        let to_undo = !self.state.undo.is_empty() || !self.state.unsettled.is_empty();
        if !to_undo {
            return self.emit(Event::Faulted { error });
        }
        self.cancel_flow()?;
        let reason = error.title.as_deref().unwrap_or("an error that nothing catches").to_owned();
        self.emit(Event::UnwindingStarted { reason, error: Some(error) })
    }

    /// Drops everything that is open in the flow.
    pub(super) fn cancel_flow(&mut self) -> Result<(), Halt> {
        match &self.state.flow.seq.child {
            Some(child) => self.cancel_tree((child.task, child.iteration)),
            None => Ok(()),
        }
    }

    /// Ends a task and all below it, innermost first. Calls that may have been acted on are kept
    /// to be settled.
    pub(super) fn cancel_tree(&mut self, key: Key) -> Result<(), Halt> {
        self.cancel_below(key)?;
        let unsettled = self.needs_settling(key)?;
        if unsettled && let Some(child) = self.child_of(key)? {
            self.cancel_child(key, child);
        }
        self.emit_task(key, Change::Cancelled { unsettled })
    }

    /// Ends what is below a task, but not the task.
    pub(super) fn cancel_below(&mut self, key: Key) -> Result<(), Halt> {
        let children = self.open(key)?.children();
        let keys: Vec<Key> = children.iter().map(|c| (c.task, c.iteration)).collect();
        keys.into_iter().try_for_each(|key| self.cancel_tree(key))
    }

    fn child_of(&self, key: Key) -> Result<Option<crate::domain::ids::CaseId>, Halt> {
        Ok(self.open(key)?.call().and_then(|call| match call.stage {
            Stage::Child { case, .. } => Some(case),
            _ => None,
        }))
    }

    /// Whether the outcome of a call has to be found out although nobody waits for it any more.
    pub(super) fn needs_settling(&mut self, key: Key) -> Result<bool, Halt> {
        let activation = self.open(key)?;
        if activation.failed.is_some() {
            return Ok(false);
        }
        let Some(call) = activation.call() else { return Ok(false) };
        let may_be_done = match call.stage {
            Stage::InFlight { .. } | Stage::Child { .. } | Stage::Person { .. } => true,
            Stage::Ready
            | Stage::Preparing { .. }
            | Stage::Parked { .. }
            | Stage::Pausing { .. } => call.asking,
        };
        let is_child = matches!(call.stage, Stage::Child { .. });
        Ok(may_be_done && (is_child || !self.repeatable(key)?))
    }
}
