//! Errors: raised at a task, carried outwards, caught, or left to a person.

use super::{Halt, Interpreter, Key, Trouble};
use crate::domain::case::derive;
use crate::domain::case::event::{Answer, Change, Doubt, Event};
use crate::domain::case::evolve::effects::has_to_undo;
use crate::domain::case::problem::Problem;
use crate::domain::case::repeat::called_anew;
use crate::domain::case::state::{Activation, Body, Branch, Stage, TryStage};
use crate::domain::workflow::model::{Kind, OnError};

/// Why tasks are left before they have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// A timeout, a failed fork, the workflow's early end.
    Otherwise,
    /// Another branch has won.
    Lost,
    /// The case undoes what it did.
    Unwinding,
}

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
        if self.is_detached(key) && self.is_unknown(key) {
            // beside the flow nobody hears of an error, and what may have been done must be settled
            return self.leave_to_person(key, problem);
        }
        self.fault_with(key, problem, None)
    }

    /// An error leaves a call that may have been acted on all the same.
    pub(super) fn fault_with(
        &mut self,
        key: Key,
        problem: Problem,
        doubt: Option<Doubt>,
    ) -> Result<(), Halt> {
        let error = problem.at(&self.task(key.0).reference);
        self.emit_task(key, Change::Faulted { error, doubt, answer: None, keep: false })
    }

    /// An error leaves a call that was done.
    pub(super) fn fault_done(
        &mut self,
        key: Key,
        problem: Problem,
        answer: Answer,
    ) -> Result<(), Halt> {
        let error = problem.at(&self.task(key.0).reference);
        let answer = Some(answer);
        self.emit_task(key, Change::Faulted { error, doubt: None, answer, keep: false })
    }

    /// Carries the error of a failed task outwards, to the try that catches it or to the end.
    pub(super) fn propagate(&mut self, key: Key) -> Result<(), Halt> {
        let failed = self.state.find_any(self.definition, key.0);
        let Some(failed) = failed.and_then(|activation| activation.failed.clone()) else {
            return Ok(());
        };
        let around: Vec<Key> = self
            .state
            .ancestry(self.definition, key.0)
            .iter()
            .rev()
            .skip(1)
            .map(|a| (a.task, a.iteration))
            .collect();
        for (depth, &try_key) in around.iter().enumerate() {
            let inner = depth.checked_sub(1).map_or(key, |below| around[below]);
            if self.races_on_without(try_key, inner)? {
                // of a race, an error drops its branch alone
                return self.fail_next(&around[..depth], &failed.error);
            }
            let caught = match self.caught_by(try_key, &failed.error) {
                Ok(Caught::Not) => continue,
                Err(Trouble::Halt(halt)) => return Err(halt),
                caught => caught,
            };
            if depth > 0 {
                return self.fail_next(&around[..depth], &failed.error);
            }
            return match caught {
                Ok(caught) => self.handle(try_key, caught, &failed.error),
                Err(Trouble::Problem(problem)) => self.fault(try_key, problem),
                Err(Trouble::Halt(halt)) => Err(halt),
            };
        }
        self.uncaught(key, &around, &failed.error)
    }

    /// Whether a race goes on when one of its branches has failed.
    fn races_on_without(&self, fork: Key, failed: Key) -> Result<bool, Halt> {
        let Kind::Fork { compete: true, .. } = &self.task(fork.0).kind else { return Ok(false) };
        let Body::Fork(branches) = &self.in_tree(fork)?.body else { return Ok(false) };
        Ok(branches.iter().any(|branch| match branch {
            Branch::Ready | Branch::Done(_) => true,
            Branch::Running(child) => {
                (child.task, child.iteration) != failed && child.failed.is_none()
            }
            Branch::Dropped => false,
        }))
    }

    fn handle(&mut self, key: Key, caught: Caught, error: &Problem) -> Result<(), Halt> {
        match caught {
            Caught::Retry { at, deadline } => {
                let error = error.clone();
                let (outcome, until) = (None, None);
                self.emit_task(key, Change::Retried { error, at, deadline, outcome, until })
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

    /// The next task that the error passes fails with it, and what ran beside it in a fork is dropped:
    /// the error moves outwards by one task in each step.
    fn fail_next(&mut self, between: &[Key], error: &Problem) -> Result<(), Halt> {
        if let Some(&key) = between.first() {
            let activation = self.open(key)?;
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
                    self.cancel_tree(branch, Leaving::Otherwise)?;
                }
            }
            let error = error.clone();
            self.emit_task(key, Change::faulted(error))?;
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
        match around.is_empty() {
            true => self.end_faulted(error.clone()),
            false => self.fail_next(around, error),
        }
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
        self.cancel_flow(Leaving::Otherwise)?;
        self.end_faulted(problem)
    }

    /// The case ends faulted, once what can be undone is undone.
    fn end_faulted(&mut self, error: Problem) -> Result<(), Halt> {
        if self.gives_back()? {
            return Ok(());
        }
        if !has_to_undo(self.definition, &self.state) {
            return self.emit(Event::Faulted { error });
        }
        self.cancel_flow(Leaving::Unwinding)?;
        let reason = error.title.as_deref().unwrap_or("an error that nothing catches").to_owned();
        self.emit(Event::UnwindingStarted { reason, error: Some(error) })
    }

    /// Drops everything that is open in the flow.
    pub(super) fn cancel_flow(&mut self, why: Leaving) -> Result<(), Halt> {
        match &self.state.flow.seq.child {
            Some(child) => self.cancel_tree((child.task, child.iteration), why),
            None => Ok(()),
        }
    }

    /// Ends a task and all below it, innermost first. Calls that may have been acted on go on beside
    /// the flow.
    pub(super) fn cancel_tree(&mut self, key: Key, why: Leaving) -> Result<(), Halt> {
        self.cancel_below(key, why)?;
        if self.in_tree(key)?.failed.is_some() {
            // it has ended already, and goes with what is around it
            return Ok(());
        }
        let goes_on = self.goes_on(key)?;
        let settled = goes_on && self.is_settled_when(key, why)?;
        self.cancel_child_of(key)?;
        let unsettled = (why == Leaving::Unwinding && settled) || why == Leaving::Lost;
        let keep = why == Leaving::Otherwise && settled;
        self.emit_task(key, Change::Cancelled { unsettled, keep })
    }

    /// Ends what is below a task, but not the task.
    pub(super) fn cancel_below(&mut self, key: Key, why: Leaving) -> Result<(), Halt> {
        let children = self.in_tree(key)?.children();
        let keys: Vec<Key> = children.iter().map(|c| (c.task, c.iteration)).collect();
        keys.into_iter().try_for_each(|key| self.cancel_tree(key, why))
    }

    /// A child case that the task waits for is not wanted any more.
    pub(super) fn cancel_child_of(&mut self, key: Key) -> Result<(), Halt> {
        let child = self.in_tree(key)?.call().and_then(|call| match call.stage {
            Stage::Child { case, .. } => Some(case),
            Stage::InFlight { .. } if self.is_run(key) && !self.is_joined(key) => {
                Some(self.child_id(key))
            }
            Stage::Ready
            | Stage::Preparing { .. }
            | Stage::InFlight { .. }
            | Stage::Parked { .. }
            | Stage::Pausing { .. }
            | Stage::Person { .. }
            | Stage::Queued { .. }
            | Stage::Leased { .. } => None,
        });
        if let Some(child) = child {
            self.cancel_child(key, child);
        }
        Ok(())
    }

    /// Whether a task's call is under way, or asked for.
    pub(super) fn goes_on(&self, key: Key) -> Result<bool, Halt> {
        let activation = self.in_tree(key)?;
        Ok(activation.failed.is_none() && crate::domain::case::evolve::goes_on(activation))
    }

    /// Whether the outcome of a call that is under way has to be found out although nobody waits
    /// for it any more.
    fn is_settled_when(&mut self, key: Key, why: Leaving) -> Result<bool, Halt> {
        let task = self.task(key.0);
        let undoes = task.metadata.compensate.is_some();
        if undoes || self.is_run(key) {
            return Ok(true);
        }
        if self.work(key).is_some() {
            // a result that nobody waits for is not waited for
            return Ok(!self.repeatable(key)?);
        }
        match why {
            // what is only asked for, or may be done again, is asked anew
            Leaving::Otherwise => Ok(!called_anew(task)),
            Leaving::Lost | Leaving::Unwinding => Ok(!self.repeatable(key)?),
        }
    }

    /// The activation of a task in the flow or in a compensation, not that of its detached call.
    fn in_tree(&self, key: Key) -> Result<&Activation, Halt> {
        match self.state.find_any(self.definition, key.0) {
            Some(activation) if activation.iteration == key.1 => Ok(activation),
            _ => self.open(key),
        }
    }
}
