//! `evolve`: what an event makes of a state. Nothing is evaluated here, nothing is looked up.

mod call;
mod clocks;
mod counts;
pub mod effects;
mod enter;
mod job;
mod leave;
mod open;
mod prune;
pub mod staff;
mod stretch;
mod stuck;
mod task;

use super::clock::Clock;
use super::event::{Event, Submission};
use super::ledger::{Entry, Fate};
use super::notices::{self, CorruptDesk};
use super::phase::Phase;
use super::state::{Activation, Alert, Flow, Seq, State, Taken, Unwinding};
use crate::domain::data::Data;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Kind, PRIORITY};
pub use call::goes_on;
pub use leave::what_it_left;

/// An event that the state cannot have led to: the history is damaged, or written by a version
/// that decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history does not fit: {0}")]
pub struct CorruptHistory(pub String);

pub(super) fn corrupt<T>(text: impl Into<String>) -> Result<T, CorruptHistory> {
    Err(CorruptHistory(text.into()))
}

/// The state that a case's first event makes.
///
/// # Errors
/// When it is no first event.
pub fn begin(
    definition: &Definition,
    id: CaseId,
    event: &Event,
    at: Timestamp,
) -> Result<State, CorruptHistory> {
    let submission = match event {
        Event::Accepted(submission) => &**submission,
        Event::Started(start) => match &start.submission {
            Some(submission) => submission,
            None => return corrupt("it starts without a submission"),
        },
        _ => return corrupt("it begins with something else than a submission"),
    };
    let mut state = blank(id, submission, at);
    evolve(definition, &mut state, event, at)?;
    Ok(state)
}

/// The state before the first event.
pub fn blank(id: CaseId, submission: &Submission, at: Timestamp) -> State {
    State {
        id,
        definition: submission.definition.clone(),
        version: 0,
        phase: Phase::Pending,
        status: None,
        subject: submission.subject.clone(),
        tags: submission.tags.clone(),
        priority: submission.priority.unwrap_or(PRIORITY),
        fingerprint: submission.fingerprint,
        parent: submission.parent.clone(),
        created_at: at,
        started_at: None,
        updated_at: at,
        ended_at: None,
        input: submission.input.clone(),
        context: Data::null(),
        flow: Flow::default(),
        clock: None,
        entries: Default::default(),
        ledger: Default::default(),
        plans: Vec::new(),
        plans_begun: 0,
        desk: Default::default(),
        closing: false,
        undoing: None,
        detached: Vec::new(),
        stretch: Default::default(),
        hold: None,
        stuck: false,
        unwinding: None,
        compensated: false,
        alert: None,
        output: None,
        error: None,
        taken: Taken::default(),
        documents: Vec::new(),
        commands: Vec::new(),
    }
}

/// Folds one event into the state.
///
/// # Errors
/// When the event does not fit the state; the state is then not to be used any more.
pub fn evolve(
    definition: &Definition,
    state: &mut State,
    event: &Event,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let before = state.phase;
    state.version += 1;
    state.updated_at = state.updated_at.max(at);
    stretch::count(definition, state, event, at);
    match event {
        Event::Accepted(submission) => {
            if state.version != 1 {
                return corrupt("it is accepted twice");
            }
            state.priority = submission.priority.unwrap_or(state.priority);
        }
        Event::Started(start) => {
            if state.started_at.is_some() {
                return corrupt("it starts twice");
            }
            state.started_at = Some(at);
            if let Some(submission) = &start.submission {
                state.priority = submission.priority.unwrap_or(state.priority);
            }
            let data = start.data.clone().unwrap_or_else(|| state.input.clone());
            state.context = data.clone();
            state.flow = Flow { seq: Seq::begin(data), ..Flow::default() };
            state.clock = start.deadline.map(|deadline| Clock::begin(deadline.since(at), at, true));
        }
        Event::Task(event) => task::apply(definition, state, event, at)?,
        Event::Suspended { reason, error: None, .. } => {
            state.hold = Some(reason.as_str().into());
        }
        Event::Suspended { error: Some(error), task, .. } => {
            state.stuck = true;
            match task {
                None => state.flow.failed = Some(error.clone()),
                Some((task, iteration)) => {
                    let found = state.find_any_mut(definition, *task);
                    let found = found.filter(|activation| activation.iteration == *iteration);
                    if let Some(failed) = found.and_then(|a| a.failed.as_mut()) {
                        failed.uncaught = true;
                    }
                }
            }
        }
        Event::Resumed { retried, .. } => resume(state, *retried, at),
        Event::Status { status } => state.status = Some(status.clone()),
        Event::Referred { documents } => state.documents.extend_from_slice(documents),
        Event::Alerted { cause } => {
            let cause = cause.as_str().into();
            state.alert = Some(Alert { cause, version: state.version, at });
            stuck::leave_undo_to_person(state);
        }
        Event::UnwindingStarted { reason, error } => {
            state.unwinding = Some(Unwinding { reason: reason.clone(), error: error.clone() });
            state.hold = None;
            state.flow.failed = None;
            // what is left there has failed, and is not taken up again
            state.flow.seq.child = None;
            stuck::settle_stuck(state);
            effects::unwind(definition, state);
            staff::close_all(state, at);
        }
        Event::UnwindingEnded => state.compensated = true,
        Event::Plan(event) => staff::apply(definition, state, event, at)?,
        Event::Notice(event) => notices::evolve(&mut state.desk, &mut state.plans, event, at)
            .map_err(|CorruptDesk(why)| CorruptHistory(why.to_owned()))?,
        Event::Closing => {
            state.closing = true;
            staff::close_all(state, at);
        }
        Event::Trimmed { through } => {
            if let Some(through) = through.or_else(|| state.ledger.too_much()) {
                state.ledger.trim(through);
            }
        }
        Event::Completed { output } => {
            let left = || state.flow.ending.clone().unwrap_or_else(|| state.flow.seq.data.clone());
            state.output = Some(output.clone().unwrap_or_else(left));
            end(definition, state, at);
        }
        Event::Faulted { error } => {
            state.error = Some(error.clone());
            state.ended_at = Some(at);
            state.unwinding = None;
        }
        Event::Cancelled { .. } => {
            end(definition, state, at);
            state.unwinding = None;
            state.hold = None;
            state.stuck = false;
            state.alert = None;
        }
    }
    clocks::refresh(state, at);
    state.phase = phase_after(state, event);
    if !before.may_become(state.phase) {
        return corrupt(format!("from {} to {}", before.name(), state.phase.name()));
    }
    Ok(())
}

/// A person lets the case go on.
fn resume(state: &mut State, retried: bool, at: Timestamp) {
    let open = state.plans.iter_mut().filter(|plan| !plan.closed);
    open.for_each(|plan| plan.give_up_passed(at));
    state.hold = None;
    if !retried {
        return;
    }
    state.closing = false;
    if state.ended_at.take().is_some() {
        state.error = None;
    }
    if state.flow.failed.take().is_some() {
        stuck::settle_stuck(state);
    }
    // whoever retries a workflow that timed out gives it all its time again
    if let Some(clock) = state.clock.as_mut().filter(|clock| clock.is_over(at)) {
        clock.reset(at);
    }
}

/// What an ended case does not need any more. What it owes stays.
fn end(definition: &Definition, state: &mut State, at: Timestamp) {
    state.ended_at = Some(at);
    state.flow = Flow::default();
    state.clock = None;
    // what is undone later still needs keys of its own
    state.entries.retain(|id, _| definition.task(*id).undoing.is_some());
    let owed = |state: &State, activation: &Activation| {
        let key = (activation.task, activation.iteration);
        let due = state.ledger.get(key).is_some_and(|entry| entry.fate == Fate::Due);
        due || matches!(definition.task(activation.task).kind, Kind::Run(_))
    };
    let detached = std::mem::take(&mut state.detached);
    let detached: Vec<_> = detached.into_iter().filter(|a| owed(state, a)).collect();
    let undoes = state.undoing.is_some();
    let is_open = |entry: &Entry| {
        let of_the_compensation = undoes && definition.task(entry.task).undoing.is_some();
        of_the_compensation || detached.iter().any(|a| (a.task, a.iteration) == entry.key())
    };
    state.ledger.retain(|entry| {
        entry.fate == Fate::Undoing
            || (entry.fate == Fate::Due && entry.is_done())
            || is_open(entry)
    });
    state.detached = detached;
    if state.ledger.is_empty() {
        state.context = Data::null();
    }
    stuck::settle_stuck(state);
}

fn phase_after(state: &State, event: &Event) -> Phase {
    match event {
        Event::Completed { .. } => Phase::Completed,
        Event::Cancelled { .. } => Phase::Cancelled,
        Event::Faulted { .. } => Phase::Faulted,
        _ if state.ended_at.is_some() => state.phase,
        _ if state.started_at.is_none() => Phase::Pending,
        _ if state.hold.is_some() || state.stuck => Phase::Suspended,
        // a retried case is taken up again, whatever it then waits for
        Event::Resumed { .. } if state.phase == Phase::Faulted => Phase::Running,
        _ if super::derive::idle(state) => Phase::Waiting,
        _ => Phase::Running,
    }
}
