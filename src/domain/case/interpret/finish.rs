//! Tasks and the workflow end: outputs transformed, checked, exported.

use serde_json::Value as Json;

use super::fail::Leaving;
use super::{Halt, Interpreter, Key, Trouble};
use crate::domain::case::event::{Answer, Change, Event};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::repeat::called_anew;
use crate::domain::case::state::{Activation, Body, Branch};
use crate::domain::data::Data;
use crate::domain::workflow::expr::json::{SIZE_MAX, size_of};
use crate::domain::workflow::model::{Kind, Then};

/// What a completed task leaves.
struct Left {
    /// None: what went in, or what the last subtask left.
    output: Option<Data>,
    context: Option<Data>,
    status: Option<String>,
}

/// What a task without a result of its own leaves: the data of its list, else its input.
pub fn what_it_left(activation: &Activation) -> Data {
    match activation.seq() {
        Some(seq) => seq.data.clone(),
        None => activation.input.clone(),
    }
}

impl Interpreter<'_> {
    /// Completes a task with its raw output; `None` where that is what went in or what its last
    /// subtask left.
    pub(super) fn complete(
        &mut self,
        key: Key,
        raw: Option<Data>,
        then: Option<Then>,
    ) -> Result<(), Halt> {
        if self.is_detached(key) {
            // nobody waits for an output: what was answered is recorded as it is
            let input = self.open(key)?.input.clone();
            return self.emit_task(
                key,
                Change::Completed {
                    output: Some(raw.unwrap_or(input)),
                    context: None,
                    then: None,
                    skipped: false,
                    recalled: false,
                },
            );
        }
        let left = match self.left(key, raw.clone()) {
            Ok(left) => left,
            Err(Trouble::Halt(halt)) => return Err(halt),
            Err(Trouble::Problem(problem)) => {
                // the call was done all the same
                let answer = raw.filter(|_| !called_anew(self.task(key.0)));
                let is_call = self.open(key)?.call().is_some();
                return match answer.filter(|_| is_call) {
                    Some(answer) => self.fault_done(key, problem, Answer::Kept(answer)),
                    None => self.fault(key, problem),
                };
            }
        };
        let Left { output, context, status } = left;
        let then = then.filter(|then| *then != self.task(key.0).then);
        let (skipped, recalled) = (false, false);
        self.emit_task(key, Change::Completed { output, context, then, skipped, recalled })?;
        match status {
            Some(status) => self.set_status(&status),
            None => Ok(()),
        }
    }

    fn left(&mut self, key: Key, raw: Option<Data>) -> Result<Left, Trouble> {
        let task = self.task(key.0);
        let activation = self.open(key)?;
        let (unchanged, is_call) = (what_it_left(activation), activation.call().is_some());
        let mut place = self.place(key)?;
        let raw_output = raw.clone().unwrap_or_else(|| unchanged.clone());
        place.raw_output = Some(raw_output.clone());
        self.recall_authorization(task, &mut place)?;
        let mut output = raw;
        if let Some(transform) = &task.output.transform {
            output = Some(self.render(transform, &raw_output, &place)?);
        }
        if is_call || task.metadata.compensate.is_some() {
            // the ledger may have to read it back
            output.get_or_insert_with(|| unchanged.clone());
        }
        let value = output.clone().unwrap_or(unchanged);
        bounded(&value, "the output")?;
        self.check(task.output.schema.as_ref(), &value)?;
        place.output = Some(value.clone());
        // the context is the case's, however old the one is that a call was pinned to
        place.context = None;
        let mut context = None;
        if let Some(export) = &task.export {
            if let Some(transform) = &export.transform {
                let exported = self.render(transform, &value, &place)?;
                bounded(&exported, "the context")?;
                context = Some(exported);
            }
            let now = context.clone().unwrap_or_else(|| self.state.context.clone());
            self.check(export.schema.as_ref(), &now)?;
        }
        let status = match &task.metadata.status {
            Some(status) => Some(self.render_status(status, &value, &place)?),
            None => None,
        };
        Ok(Left { output, context, status })
    }

    pub(super) fn end_fork(&mut self, key: Key) -> Result<(), Halt> {
        let Body::Fork(branches) = self.open(key)?.body.clone() else { return Ok(()) };
        let compete = matches!(&self.task(key.0).kind, Kind::Fork { compete: true, .. });
        let done = |branch: &Branch| match branch {
            Branch::Done(data) => Some(data.clone()),
            Branch::Ready | Branch::Running(_) | Branch::Dropped => None,
        };
        if compete {
            let winner = branches.iter().find_map(done);
            for branch in &branches {
                if let Branch::Running(loser) = branch {
                    self.cancel_tree((loser.task, loser.iteration), Leaving::Lost)?;
                }
            }
            return self.complete(key, winner, None);
        }
        let outputs = branches.iter().map(|b| (*done(b).unwrap_or_default()).clone());
        let outputs = Json::Array(outputs.collect());
        self.complete(key, Some(Data::from(outputs)), None)
    }

    /// `then: end`: what is still open ends with the workflow.
    pub(super) fn finish_early(&mut self) -> Result<(), Halt> {
        let data = self.state.flow.ending.clone().unwrap_or_default();
        self.cancel_flow(Leaving::Otherwise)?;
        self.end_workflow(data)
    }

    pub(super) fn end_workflow(&mut self, data: Data) -> Result<(), Halt> {
        if self.gives_back()? {
            return Ok(());
        }
        match self.workflow_output(&data) {
            Ok(output) => self.emit(Event::Completed { output }),
            Err(Trouble::Halt(halt)) => Err(halt),
            Err(Trouble::Problem(problem)) => self.fail_workflow(problem),
        }
    }

    fn workflow_output(&mut self, data: &Data) -> Result<Option<Data>, Trouble> {
        let definition = self.definition;
        let mut output = None;
        if let Some(transform) = &definition.output.transform {
            let place = super::evaluate::Place::default();
            output = Some(self.render(transform, data, &place)?);
        }
        let value = output.clone().unwrap_or_else(|| data.clone());
        bounded(&value, "the output")?;
        self.check(definition.output.schema.as_ref(), &value)?;
        Ok(output)
    }
}

pub fn bounded(value: &Json, what: &str) -> Result<(), Problem> {
    if size_of(value) <= SIZE_MAX {
        return Ok(());
    }
    let detail = format!("{what} is larger than {} KiB", SIZE_MAX / 1024);
    Err(Problem::new(Standard::Runtime, detail))
}
