//! What a person may ask of a case: suspend, resume, retry.

use super::{Halt, Interpreter, Key};
use crate::domain::case::command::{Rejection, Verdict};
use crate::domain::case::event::{Change, Event};
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::Problem;
use crate::domain::case::state::{Activation, Stage};
use crate::domain::data::Data;
use crate::domain::workflow::expr::json::{DEPTH_MAX, SIZE_MAX, shallow_enough, size_of};
use crate::domain::workflow::schema::Violation;

/// Something that waits for a person.
struct Stuck {
    key: Key,
    /// None: it is not known whether the call was done.
    error: Option<Problem>,
    /// It is not of the flow, which goes on (or has ended) without it.
    beside: bool,
}

impl Interpreter<'_> {
    /// The verbs that the case's state allows.
    pub(super) fn allowed(&self) -> Vec<&'static str> {
        let state = &self.state;
        let mut verbs = Vec::new();
        match state.phase {
            Phase::Running | Phase::Waiting => verbs.push("suspend"),
            Phase::Suspended if state.hold.is_some() => verbs.push("resume"),
            Phase::Faulted if !state.compensated => verbs.push("retry"),
            _ => {}
        }
        let beside = self.stuck(false).iter().any(|stuck| stuck.beside);
        if state.stuck || (beside && !verbs.contains(&"retry")) {
            verbs.push("retry");
        }
        if !state.phase.ended() && state.unwinding.is_none() {
            verbs.push("cancel");
        }
        verbs
    }

    pub(super) fn conflict(&self, verb: &str) -> Rejection {
        let phase = self.state.phase.name();
        let detail = format!("a {phase} case cannot be {verb}");
        Rejection::Conflict { detail, allowed: self.allowed() }
    }

    pub(super) fn suspend(&mut self, reason: &str) -> Result<(), Halt> {
        if !matches!(self.state.phase, Phase::Running | Phase::Waiting) {
            return Err(self.conflict("suspended").into());
        }
        self.emit(Event::Suspended { reason: reason.to_owned(), error: None, task: None })
    }

    pub(super) fn resume(&mut self, reason: &str) -> Result<(), Halt> {
        if self.state.hold.is_none() {
            return Err(self.conflict("resumed").into());
        }
        self.emit(Event::Resumed { reason: reason.to_owned(), retried: false })
    }

    /// Takes up what waits for a person: a failed task again, an unknown outcome as the person
    /// says.
    pub(super) fn retry_by_person(
        &mut self,
        reason: &str,
        task: Option<&str>,
        verdict: Option<Verdict>,
        output: Option<&Data>,
    ) -> Result<(), Halt> {
        let chosen = self.chosen(task)?;
        let unknown = chosen.iter().any(|stuck| stuck.error.is_none());
        if unknown && verdict.is_none() {
            let detail = "whether the call was done is not known: say so with `outcome`".to_owned();
            return Err(Rejection::Conflict { detail, allowed: vec!["done", "repeat"] }.into());
        }
        let done = matches!(verdict, Some(Verdict::Done));
        if let Some(output) = output.filter(|_| done) {
            check_output(output, chosen.len())?;
        }
        let flow = chosen.iter().any(|stuck| !stuck.beside) || chosen.is_empty();
        if flow && self.state.hold.is_none() {
            let reason = reason.to_owned();
            self.emit(Event::Resumed { reason, retried: true })?;
        }
        // a call that is unknown beside its failed task is settled first: the task goes by that
        let (settled, failed): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|stuck| stuck.error.is_none());
        let keys: Vec<Key> = settled.iter().map(|stuck| stuck.key).collect();
        for Stuck { key, error, .. } in settled.into_iter().chain(failed) {
            match (error, verdict) {
                (Some(error), _) if keys.contains(&key) => self.take_up_again(key, error)?,
                (Some(error), None | Some(Verdict::Repeat)) => {
                    self.take_up_again(key, error)?;
                }
                (Some(error), Some(Verdict::Done)) => {
                    self.take_up_again(key, error)?;
                    self.complete(key, output.cloned(), None)?;
                }
                (None, Some(Verdict::Done)) => {
                    self.emit_task(key, Change::Reconciled { found: true })?;
                    let output = output.cloned().unwrap_or_default();
                    self.complete(key, Some(output), None)?;
                }
                (None, _) if self.is_detached(key) => {
                    // nobody waits for it: what was not done need not be done now
                    self.emit_task(key, Change::dropped())?;
                }
                (None, _) => self.emit_task(key, Change::Reconciled { found: false })?,
            }
        }
        Ok(())
    }

    /// A failed task is taken up again where it stands.
    fn take_up_again(&mut self, key: Key, error: Problem) -> Result<(), Halt> {
        let at = self.now;
        let (deadline, outcome, until) = (None, None, None);
        self.emit_task(key, Change::Retried { error, at, deadline, outcome, until })
    }

    /// What `retry` means: everything that waits for a person, or the one task that is named.
    fn chosen(&mut self, task: Option<&str>) -> Result<Vec<Stuck>, Halt> {
        let beside = self.stuck(false).iter().any(|stuck| stuck.beside);
        let undone = self.state.compensated;
        let faulted = self.state.phase == Phase::Faulted && !(undone && beside);
        if faulted && undone {
            let detail = "what the case did was undone, so it cannot go on".to_owned();
            return Err(Rejection::Conflict { detail, allowed: Vec::new() }.into());
        }
        let mut stuck = self.stuck(faulted);
        if self.state.phase.ended() && stuck.iter().any(|s| s.beside) {
            stuck.retain(|s| s.beside);
        }
        let workflow = self.state.flow.failed.is_some();
        if stuck.is_empty() && !workflow && !(faulted && task.is_none()) {
            return Err(self.conflict("retried").into());
        }
        let Some(reference) = task else { return Ok(stuck) };
        let Some(named) = self.definition.find(reference) else {
            return Err(Rejection::NoSuchTask(reference.to_owned()).into());
        };
        stuck.retain(|s| s.key.0 == named.id);
        if stuck.is_empty() {
            let detail = format!("the task {reference} does not wait for a person");
            return Err(Rejection::Conflict { detail, allowed: self.allowed() }.into());
        }
        Ok(stuck)
    }

    /// Everything that waits for a person.
    fn stuck(&self, faulted: bool) -> Vec<Stuck> {
        let mut stuck = Vec::new();
        for root in self.state.roots() {
            self.stuck_below(root, faulted, &mut stuck);
        }
        stuck
    }

    /// The innermost failed tasks of strands whose error nobody caught, and calls that only a person
    /// can settle.
    fn stuck_below(&self, activation: &Activation, waits: bool, stuck: &mut Vec<Stuck>) {
        let key = (activation.task, activation.iteration);
        let beside = self.task(key.0).undoing.is_some() && self.state.unwinding.is_none();
        let beside = beside || (activation.failed.is_none() && self.is_detached(key));
        let uncaught = activation.failed.as_ref().is_some_and(|failed| failed.uncaught);
        let waits = uncaught || (waits && !beside);
        let children = activation.children();
        let inner = children.iter().any(|child| child.failed.is_some());
        match &activation.failed {
            Some(failed) if waits && !inner => {
                stuck.push(Stuck { key, error: Some(failed.error.clone()), beside });
            }
            Some(_) => {}
            None => {
                let stage = activation.call().map(|call| &call.stage);
                if matches!(stage, Some(Stage::Person { .. })) {
                    stuck.push(Stuck { key, error: None, beside });
                }
            }
        }
        for child in children {
            self.stuck_below(child, waits, stuck);
        }
    }
}

/// What a person says was done has to fit into a record, as often as it is said.
fn check_output(output: &Data, tasks: usize) -> Result<(), Rejection> {
    if !shallow_enough(output) {
        let detail = format!("it nests deeper than {DEPTH_MAX} levels");
        return Err(Rejection::Invalid(vec![Violation { pointer: "/output".to_owned(), detail }]));
    }
    if size_of(output) * tasks <= SIZE_MAX {
        return Ok(());
    }
    let most = SIZE_MAX / 1024;
    Err(Rejection::TooLarge(match tasks {
        1 => format!("the output is larger than {most} KiB"),
        _ => format!("the outputs of {tasks} tasks are larger than {most} KiB: name one by `task`"),
    }))
}
