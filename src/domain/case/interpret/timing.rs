//! Instants that have come: waits that are over, timeouts.

use super::fail::Leaving;
use super::{Halt, Interpreter, Key};
use crate::domain::case::event::Change;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::repeat::called_anew;

impl Interpreter<'_> {
    pub(super) fn end_wait(&mut self, key: Key) -> Result<(), Halt> {
        self.complete(key, None, None)
    }

    /// A task took longer than it may: what is below it ends, and the error leaves it.
    pub(super) fn task_timeout(&mut self, key: Key) -> Result<(), Halt> {
        self.cancel_below(key, Leaving::Otherwise)?;
        let goes_on = self.goes_on(key)?;
        let task = self.task(key.0);
        let undoes = task.metadata.compensate.is_some();
        let spare = called_anew(task) || (self.work(key).is_some() && self.repeatable(key)?);
        let keep = goes_on && (undoes || !spare);
        self.cancel_child_of(key)?;
        let reference = &self.task(key.0).reference;
        let error = timeout(&format!("the task {reference}")).at(reference);
        self.emit_task(key, Change::Faulted { error, doubt: None, answer: None, keep })
    }

    /// A try's attempt took longer than its retry policy allows: the error is raised in its body.
    pub(super) fn attempt_timeout(&mut self, key: Key) -> Result<(), Halt> {
        let children = self.open(key)?.children();
        match children.first().map(|child| (child.task, child.iteration)) {
            Some(child) => self.task_timeout(child),
            None => self.enter_next(key),
        }
    }

    pub(super) fn workflow_timeout(&mut self) -> Result<(), Halt> {
        self.fail_workflow(timeout("the workflow"))
    }
}

fn timeout(what: &str) -> Problem {
    Problem::new(Standard::Timeout, format!("{what} took longer than it may"))
}
