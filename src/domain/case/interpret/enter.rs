//! Entering tasks: which is next, what goes into it, and those that end where they began.

use std::sync::Arc;

use super::evaluate::Place;
use super::finish::bounded;
use super::{Halt, Interpreter, Key, Trouble};
use crate::domain::case::event::{Change, Entry, Event, Wait, WaitKind};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::state::{Body, Seq, TryStage};
use crate::domain::data::Data;
use crate::domain::workflow::model::{Kind, RaisedError, Task, TaskId, Template, Then};

/// Bytes of one text of a raised error.
const ERROR_MAX: usize = 16 * 1024;

/// Bytes of a business status.
const STATUS_MAX: usize = 1024;

/// Where a task is about to be entered.
struct EntryPoint {
    raw: Data,
    /// The task around it.
    around: Option<TaskId>,
    /// Variables that are not in the state yet.
    locals: Vec<(Arc<str>, Data)>,
    /// The loop's turn that begins with it.
    turn: Option<u32>,
}

impl EntryPoint {
    /// A place where nothing is known but what goes in.
    fn of(raw: Data, around: Option<TaskId>) -> Self {
        Self { raw, around, locals: Vec::new(), turn: None }
    }
}

impl Interpreter<'_> {
    pub(super) fn enter_next_of_root(&mut self) -> Result<(), Halt> {
        let Seq { at, data, .. } = self.state.flow.seq.clone();
        let definition = self.definition;
        let gate = EntryPoint::of(data.clone(), None);
        if self.enter_from(&definition.root, at, gate)? { Ok(()) } else { self.end_workflow(data) }
    }

    pub(super) fn enter_next(&mut self, key: Key) -> Result<(), Halt> {
        let activation = self.open(key)?;
        let input = activation.input.clone();
        let data = super::finish::what_it_left(activation);
        let at = activation.seq().map_or(0, |seq| seq.at);
        let pausing = matches!(
            &activation.body,
            Body::Try(inner) if matches!(inner.stage, TryStage::Pause { .. })
        );
        let catching = matches!(
            &activation.body,
            Body::Try(inner) if matches!(inner.stage, TryStage::Catch { .. })
        );
        let gate = |raw| EntryPoint::of(raw, Some(key.0));
        let definition = self.definition;
        let entered = match &definition.task(key.0).kind {
            Kind::For { .. } => self.enter_turn(key)?,
            Kind::Do(list) => self.enter_from(list, at, gate(data.clone()))?,
            Kind::Function { body, .. } => self.enter_from(&[*body], at, gate(data.clone()))?,
            Kind::Try { body, .. } if pausing => self.enter_from(body, 0, gate(input))?,
            Kind::Try { catch, .. } if catching => {
                let list = catch.body.as_deref().unwrap_or_default();
                self.enter_from(list, at, gate(data.clone()))?
            }
            Kind::Try { body, .. } => self.enter_from(body, at, gate(data.clone()))?,
            _ => false,
        };
        if entered { Ok(()) } else { self.complete(key, None, None) }
    }

    /// The first task from here on whose condition holds. False: there is none.
    fn enter_from(&mut self, list: &[TaskId], from: u32, gate: EntryPoint) -> Result<bool, Halt> {
        for &id in list.iter().skip(from as usize) {
            let task = self.task(id);
            match self.condition(task, &gate) {
                Ok(false) => continue,
                Ok(true) => {
                    self.enter(task, gate, None)?;
                    return Ok(true);
                }
                Err(Trouble::Halt(halt)) => return Err(halt),
                Err(Trouble::Problem(problem)) => {
                    self.enter_failed(task, gate.turn, problem, None)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn condition(&mut self, task: &Task, gate: &EntryPoint) -> Result<bool, Trouble> {
        let Some(condition) = &task.condition else { return Ok(true) };
        let mut place = self.place_before(task, gate.around, &gate.raw);
        place.locals.clone_from(&gate.locals);
        self.holds(condition, &gate.raw, &place)
    }

    /// The next turn of a loop, or what is left of the one that runs.
    fn enter_turn(&mut self, key: Key) -> Result<bool, Halt> {
        let activation = self.open(key)?;
        let Body::For { items, turn, seq } = activation.body.clone() else { return Ok(false) };
        let task = self.task(key.0);
        let Kind::For { each, at, condition, body, .. } = &task.kind else { return Ok(false) };
        let next = match turn {
            Some(turn) if (seq.at as usize) < body.len() => {
                let gate = EntryPoint::of(seq.data.clone(), Some(key.0));
                if self.enter_from(body, seq.at, gate)? {
                    return Ok(true);
                }
                turn + 1
            }
            Some(turn) => turn + 1,
            None => 0,
        };
        if body.is_empty() {
            return Ok(false);
        }
        if let Some(item) = items.get(next as usize) {
            let locals = vec![
                (each.clone(), Data::from(item.clone())),
                (at.clone(), Data::from(serde_json::Value::from(next))),
            ];
            if let Some(condition) = condition {
                let mut place = self.place(key)?;
                place.locals.clone_from(&locals);
                match self.holds(condition, &seq.data, &place) {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(Trouble::Halt(halt)) => return Err(halt),
                    Err(Trouble::Problem(problem)) => {
                        self.fault(key, problem)?;
                        return Ok(true);
                    }
                }
            }
            let raw = seq.data.clone();
            let turn = Some(next);
            let gate = EntryPoint { locals, turn, ..EntryPoint::of(raw, Some(key.0)) };
            if !self.enter_from(body, 0, gate)? {
                // a step of its own, so that a long list is gone through in many decisions
                self.emit_task(key, Change::Turned { turn: next })?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    pub(super) fn enter_branch(&mut self, key: Key, place: usize) -> Result<(), Halt> {
        let raw = self.open(key)?.input.clone();
        let Kind::Fork { branches, .. } = &self.task(key.0).kind else { return Ok(()) };
        let task = self.task(branches[place]);
        let gate = EntryPoint::of(raw, Some(key.0));
        if self.enter_from(&[task.id], 0, gate)? {
            return Ok(());
        }
        let skipped = Change::Completed {
            output: None,
            context: None,
            then: None,
            skipped: true,
            recalled: false,
        };
        self.emit_task((task.id, 0), skipped)
    }

    /// The first task of a catch; false: there is none to enter.
    pub(super) fn enter_catch(&mut self, key: Key, error: &Problem) -> Result<bool, Halt> {
        let raw = self.open(key)?.input.clone();
        let Kind::Try { catch, .. } = &self.task(key.0).kind else { return Ok(false) };
        let locals = vec![(catch.variable.clone(), error.to_data())];
        let gate = EntryPoint { locals, ..EntryPoint::of(raw, Some(key.0)) };
        self.enter_from(catch.body.as_deref().unwrap_or_default(), 0, gate)
    }

    /// A compensation, for an entry of the task that it undoes.
    pub(super) fn enter_undo(&mut self, id: TaskId, iteration: u32, raw: Data) -> Result<(), Halt> {
        let task = self.task(id);
        let gate = EntryPoint::of(raw, None);
        match self.condition(task, &gate) {
            Ok(true) => self.enter(task, gate, Some(iteration)),
            Ok(false) => {
                self.emit_task((id, iteration), Change::entered(None))?;
                self.emit_task((id, iteration), Change::passed())
            }
            Err(Trouble::Halt(halt)) => Err(halt),
            Err(Trouble::Problem(problem)) => {
                self.enter_failed(task, None, problem, Some(iteration))
            }
        }
    }

    fn enter(&mut self, task: &Task, gate: EntryPoint, iteration: Option<u32>) -> Result<(), Halt> {
        let turn = gate.turn;
        let (entry, status) = match self.entry(task, gate) {
            Ok(entry) => entry,
            Err(Trouble::Halt(halt)) => return Err(halt),
            Err(Trouble::Problem(problem)) => {
                return self.enter_failed(task, turn, problem, iteration);
            }
        };
        let key = (task.id, iteration.unwrap_or_else(|| self.next_iteration(task, turn)));
        let entry = (entry != Entry::default()).then(|| Box::new(entry));
        self.emit_task(key, Change::entered(entry))?;
        if let Some(status) = status {
            self.set_status(&status)?;
        }
        Ok(())
    }

    /// A task whose input is wrong begins and fails in one.
    fn enter_failed(
        &mut self,
        task: &Task,
        turn: Option<u32>,
        problem: Problem,
        iteration: Option<u32>,
    ) -> Result<(), Halt> {
        let key = (task.id, iteration.unwrap_or_else(|| self.next_iteration(task, turn)));
        let entry = turn.map(|_| Box::new(Entry { turn, ..Entry::default() }));
        self.emit_task(key, Change::entered(entry))?;
        // what was under way beside the flow goes on there
        let keep = self.goes_on(key)?;
        let error = problem.at(&task.reference);
        self.emit_task(key, Change::Faulted { error, doubt: None, answer: None, keep })
    }

    /// What is fixed when the task is entered, and the status that goes with it.
    fn entry(&mut self, task: &Task, gate: EntryPoint) -> Result<(Entry, Option<String>), Trouble> {
        self.check(task.input.schema.as_ref(), &gate.raw)?;
        let mut entry = Entry { turn: gate.turn, ..Entry::default() };
        let mut place = self.place_before(task, gate.around, &gate.raw);
        place.locals = gate.locals;
        place.started_at = Some(self.now);
        if let Some(from) = &task.input.from {
            let input = self.render(from, &gate.raw, &place)?;
            bounded(&input, "the input")?;
            entry.input = Some(input);
        }
        let input = entry.input.clone().unwrap_or_else(|| gate.raw.clone());
        place.input = Some(input.clone());
        if let Some(timeout) = &task.timeout {
            entry.deadline = Some(self.span(timeout, &input, &place)?.after(self.now));
        }
        match &task.kind {
            Kind::For { over, .. } => {
                let items = self.evaluate(over, &input, &place)?;
                if !items.is_array() {
                    let detail = format!("`{}` gave no list to go over", over.source);
                    return Err(Problem::new(Standard::Expression, detail).into());
                }
                entry.work = (items != *input).then(|| Data::from(items));
            }
            Kind::Function { arguments: Some(arguments), .. } => {
                entry.work = Some(self.render(arguments, &input, &place)?);
            }
            Kind::Try { catch, .. } => {
                let policy = catch.retry.as_ref();
                if let Some(limit) = policy.and_then(|policy| policy.attempt_duration.as_ref()) {
                    entry.attempt_deadline =
                        Some(self.span(limit, &input, &place)?.after(self.now));
                }
            }
            _ => {}
        }
        if let Some(work) = &entry.work {
            bounded(work, "what the task works on")?;
        }
        let status = match &task.metadata.status_on_start {
            // it takes effect when the first human task is started
            Some(_) if matches!(task.kind, Kind::Perform(_)) => None,
            Some(status) => Some(self.render_status(status, &input, &place)?),
            None => None,
        };
        Ok((entry, status))
    }

    /// Which entry of the task this is.
    fn next_iteration(&self, task: &Task, turn: Option<u32>) -> u32 {
        self.state.next_iteration(self.definition, task, turn)
    }

    /// A task that was entered and has nothing to wait for.
    pub(super) fn execute(&mut self, key: Key) -> Result<(), Halt> {
        let place = self.place(key)?;
        let input = self.open(key)?.input.clone();
        match self.effectless(key, &input, &place) {
            Ok(()) => Ok(()),
            Err(Trouble::Halt(halt)) => Err(halt),
            Err(Trouble::Problem(problem)) => self.fault(key, problem),
        }
    }

    fn effectless(&mut self, key: Key, input: &Data, place: &Place) -> Result<(), Trouble> {
        match &self.task(key.0).kind {
            Kind::Set(template) => {
                let value = self.render(template, input, place)?;
                Ok(self.complete(key, Some(value), None)?)
            }
            Kind::Switch(cases) => {
                let mut chosen = None;
                for case in cases {
                    let Some(when) = &case.when else { continue };
                    if self.holds(when, input, place)? {
                        chosen = Some(case.then);
                        break;
                    }
                }
                let default = || cases.iter().find(|case| case.when.is_none()).map(|c| c.then);
                let then: Option<Then> = chosen.or_else(default);
                Ok(self.complete(key, None, then)?)
            }
            Kind::Raise(error) => {
                let problem = self.raised(error, input, place)?;
                Ok(self.fault(key, problem)?)
            }
            Kind::Wait(span) => {
                let until = Some(self.span(span, input, place)?.after(self.now));
                let wait = Wait { kind: WaitKind::Timer, on: None, until, detail: None };
                Ok(self.emit_task(key, Change::Waiting { entry: None, wait, outcome: None })?)
            }
            Kind::Listen(listen) => self.listen(key, listen),
            Kind::Book(with) => self.book(key, with, input, place),
            Kind::Perform(with) => self.perform_task(key, with, input, place),
            _ => Ok(()),
        }
    }

    fn raised(
        &mut self,
        error: &RaisedError,
        input: &Data,
        place: &Place,
    ) -> Result<Problem, Trouble> {
        let mut text = |template: &Option<_>| -> Result<Option<Arc<str>>, Trouble> {
            let Some(template) = template else { return Ok(None) };
            let text = self.render_text(template, input, place)?;
            if text.len() > ERROR_MAX {
                let detail = format!("a text of the error is larger than {} KiB", ERROR_MAX / 1024);
                return Err(Problem::new(Standard::Expression, detail).into());
            }
            Ok(Some(text.into()))
        };
        let (title, detail, instance) =
            (text(&error.title)?, text(&error.detail)?, text(&error.instance)?);
        let kind = text(&Some(error.kind.clone()))?.unwrap_or_default();
        Ok(Problem { kind, status: error.status, title, detail, instance })
    }

    /// A business status. It is shown in lists.
    pub(super) fn render_status(
        &mut self,
        template: &Template,
        input: &Data,
        place: &Place,
    ) -> Result<String, Trouble> {
        let status = self.render_text(template, input, place)?;
        if status.len() > STATUS_MAX {
            let detail = format!("the status is longer than {STATUS_MAX} bytes");
            return Err(Problem::new(Standard::Expression, detail).into());
        }
        Ok(status)
    }

    /// Sets the business status, if it is another than before.
    pub(super) fn set_status(&mut self, status: &str) -> Result<(), Halt> {
        if self.state.status.as_deref() == Some(status) {
            return Ok(());
        }
        self.emit(Event::Status { status: status.into() })
    }
}
