//! A task that is entered again under its key: what the ledger knows decides whether it is called.

use super::{Halt, Interpreter, Key};
use crate::domain::case::event::{Change, Doubt, Event, TaskEvent, Wait, WaitKind};
use crate::domain::case::evolve::CorruptHistory;
use crate::domain::case::evolve::effects::items;
use crate::domain::case::ledger::{Fate, Kept, Knowledge};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::case::repeat::called_anew;
use crate::domain::ids::CaseId;
use crate::domain::workflow::model::Kind;

impl Interpreter<'_> {
    /// Goes by what is known of the effect already. True: there is nothing to send.
    pub(super) fn recall(&mut self, key: Key) -> Result<bool, Halt> {
        let Some(entry) = self.state.ledger.get(key).cloned() else { return Ok(false) };
        if entry.fate == Fate::Undone {
            return Ok(false);
        }
        let task = self.task(key.0);
        match entry.knowledge {
            Knowledge::NotDone => Ok(false),
            Knowledge::Done(_) if called_anew(task) => Ok(false),
            Knowledge::Done(_) if entry.items != items(self.definition, &self.state, key.0) => {
                Ok(false)
            }
            Knowledge::Done(kept) => self.recall_done(key, kept),
            Knowledge::Unknown(doubt) => self.repeat_unknown(key, doubt),
        }
    }

    /// What was done is not called again. True: there is nothing to send.
    fn recall_done(&mut self, key: Key, kept: Kept) -> Result<bool, Halt> {
        match self.read_back(kept)? {
            Kept::Output(output) => {
                let recalled = Change::Completed {
                    output: Some(output),
                    context: None,
                    then: None,
                    skipped: false,
                    recalled: true,
                };
                self.emit_task(key, recalled)?;
                Ok(true)
            }
            // only our evaluation of the answer had failed
            Kept::Answer(answer) => {
                self.complete(key, Some(answer), None)?;
                Ok(true)
            }
            Kept::Gone | Kept::Recorded { .. } => {
                let detail = "the call was done, but its answer is gone";
                self.leave_to_person(key, Problem::new(Standard::Communication, detail))?;
                Ok(true)
            }
        }
    }

    /// What an effect has left, read back from the history where only that has it.
    pub(super) fn read_back(&mut self, kept: Kept) -> Result<Kept, Halt> {
        let Kept::Recorded { version, raw } = kept else { return Ok(kept) };
        let before = self.state.version - self.events.len() as u64;
        let event = match version.checked_sub(before + 1) {
            // by this very decision
            Some(place) => self.events.get(place as usize).cloned(),
            None => Some(self.ctx.recorded(version).ok_or(Halt::Evaluating)?),
        };
        let left = match &event {
            Some(Event::Task(TaskEvent { change, .. })) => change.left().cloned(),
            _ => None,
        };
        match left {
            Some(data) if raw => Ok(Kept::Answer(data)),
            Some(data) => Ok(Kept::Output(data)),
            None => {
                let detail = format!("the event {version} does not say what was done");
                Err(Halt::Corrupt(CorruptHistory(detail)))
            }
        }
    }

    /// Whether an effect that cannot be asked for is repeated, dropped, or left to a person.
    fn repeat_unknown(&mut self, key: Key, doubt: Doubt) -> Result<bool, Halt> {
        let safe = self.repeatable(key)?;
        if self.is_detached(key) && self.is_joined(key) {
            // others may have joined it, and it goes on without us
            self.emit_task(key, Change::dropped())?;
            return Ok(true);
        }
        if self.is_detached(key) && self.is_run(key) {
            // the child may have begun: it is cancelled, and waited for
            let child = self.child_id(key);
            let on = Some(child.to_string().into());
            let wait = Wait { kind: WaitKind::Case, on, until: None, detail: None };
            self.emit_task(key, Change::Waiting { entry: None, wait, outcome: None })?;
            self.cancel_child(key, child);
            return Ok(true);
        }
        if self.is_detached(key) {
            let undoes = self.task(key.0).metadata.compensate.is_some();
            let pinned = self.state.ledger.get(key).is_some_and(|entry| entry.pinned.is_some());
            if safe && undoes && pinned {
                return Ok(false);
            }
            let counts_as_not_done = !safe && doubt == Doubt::Answered;
            if counts_as_not_done || (safe && !undoes) {
                self.emit_task(key, Change::dropped())?;
                return Ok(true);
            }
        } else if safe || doubt == Doubt::Answered || !self.is_patient(key)? {
            return Ok(false);
        }
        let detail = "whether the call was done is not known";
        self.leave_to_person(key, Problem::new(Standard::Communication, detail))?;
        Ok(true)
    }

    /// Whether the call waits through outages of its service.
    pub(super) fn is_patient(&mut self, key: Key) -> Result<bool, Halt> {
        let known = self.state.ledger.get(key).and_then(|entry| entry.service.clone());
        let service = match known {
            Some(service) => Some(service),
            None => self.open(key)?.call().and_then(|call| call.service.clone()),
        };
        Ok(service.is_none_or(|name| {
            let service = self.ctx.service(&name);
            self.patience(key, &service, None) > 0
        }))
    }

    /// Which generation of the effect the task's next attempt belongs to.
    pub(super) fn generation(&self, key: Key) -> u32 {
        let task = self.task(key.0);
        if let Some(compensation) = task.undoing
            && let Some(undoing) = &self.state.undoing
            && let Some(undone) = self.task(compensation).parent()
        {
            let undone = self.state.ledger.get((undone, undoing.iteration));
            return undone.map_or(0, |entry| entry.generation);
        }
        let Some(entry) = self.state.ledger.get(key) else { return 0 };
        if self.is_detached(key) {
            // what has left the flow stays what it was, wherever the loops around it are by now
            return entry.generation;
        }
        let another = entry.fate == Fate::Undone
            || (entry.is_done()
                && !called_anew(task)
                && entry.items != items(self.definition, &self.state, key.0));
        entry.generation + u32::from(another)
    }

    /// The id of the child that the task starts next, or has started last.
    pub(super) fn child_id(&self, key: Key) -> CaseId {
        let reference = &self.task(key.0).reference;
        CaseId::of_child(self.state.id, reference, key.1, self.generation(key))
    }

    /// Whether the task starts a child case.
    pub(super) fn is_run(&self, key: Key) -> bool {
        matches!(self.task(key.0).kind, Kind::Run(_))
    }

    /// Whether what happens under the key happens to a call that has left the flow.
    pub(super) fn is_detached(&self, key: Key) -> bool {
        self.state.is_detached(self.definition, key)
    }
}
