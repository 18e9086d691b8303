//! Instants that have come: waits that are over, timeouts.

use super::{Halt, Interpreter, Key};
use crate::domain::case::event::Doubt;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::Stage;

impl Interpreter<'_> {
    pub(super) fn end_wait(&mut self, key: Key) -> Result<(), Halt> {
        self.complete(key, None, None)
    }

    /// A task took longer than it may: what is below it ends, and the error leaves it.
    pub(super) fn task_timeout(&mut self, key: Key) -> Result<(), Halt> {
        self.cancel_below(key)?;
        let may_be_done = self
            .open(key)?
            .call()
            .is_some_and(|call| call.asking || matches!(call.stage, Stage::InFlight { .. }));
        let unsure = may_be_done && !self.repeatable(key)?;
        let reference = &self.task(key.0).reference;
        let doubt = unsure.then_some(Doubt::Silent);
        self.fault_with(key, timeout(&format!("the task {reference}")), doubt)
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
