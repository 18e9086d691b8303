//! Something happened to a call: an attempt, a wait, doubt, a repeat.

use std::sync::Arc;

use super::enter::take_doubt;
use super::stuck::settle_stuck;
use super::task::open;
use super::{CorruptHistory, corrupt};
use crate::domain::case::event::{Wait, WaitKind};
use crate::domain::case::problem::Problem;
use crate::domain::case::state::{
    Activation, Body, Branch, Call, NOTES_KEPT, Note, Stage, State, TryStage,
};
use crate::domain::case::tree::strand_path;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Kind, TaskId};

pub fn open_call<'s>(
    definition: &Definition,
    state: &'s mut State,
    key: (TaskId, u32),
) -> Result<&'s mut Call, CorruptHistory> {
    match &mut open(definition, state, key)?.body {
        Body::Call(call) => Ok(call),
        _ => corrupt("a task without an effect is said to have one"),
    }
}

pub fn attempt_started(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    attempt: u32,
    service: &Option<Arc<str>>,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let call = open_call(definition, state, key)?;
    call.attempt = attempt;
    call.service.clone_from(service);
    call.stage = Stage::InFlight { service: service.clone(), at };
    if !call.asking {
        call.attempted_at = Some(at);
    }
    Ok(())
}

pub fn waiting(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    wait: &Wait,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let activation = open(definition, state, key)?;
    match &mut activation.body {
        Body::Wait { until } => *until = wait.until,
        Body::Call(call) => {
            call.service.clone_from(&wait.on);
            if wait.kind == WaitKind::Service {
                call.missing_since.get_or_insert(at);
            }
            call.stage = match (wait.kind, &wait.on) {
                (WaitKind::Case, Some(case)) => match case.parse() {
                    Ok(case) => Stage::Child { case, since: at },
                    Err(_) => return corrupt("it waits for something that is no case"),
                },
                (WaitKind::Person, _) => Stage::Person { since: at },
                _ => {
                    let since = match call.stage {
                        Stage::Parked { since, .. } => since,
                        _ => at,
                    };
                    Stage::Parked { wait: wait.clone(), since }
                }
            };
        }
        Body::Instant
        | Body::List(_)
        | Body::For { .. }
        | Body::Fork(_)
        | Body::Try(_)
        | Body::Listen { .. } => {
            return corrupt("a task waits that has nothing to wait for");
        }
    }
    Ok(())
}

pub fn unknown(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    error: &Problem,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let reconciles = definition.task(key.0).metadata.reconcile.is_some();
    let call = open_call(definition, state, key)?;
    note(call, error, at);
    if reconciles && !call.asking {
        call.asking = true;
        call.misses = 0;
        call.missing_since = None;
        call.stage = Stage::Ready;
    } else {
        call.stage = Stage::Person { since: at };
    }
    Ok(())
}

pub fn reconciled(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    found: bool,
) -> Result<(), CorruptHistory> {
    state.unsure.retain(|u| (u.task, u.iteration) != key);
    let call = open_call(definition, state, key)?;
    call.asking = false;
    call.misses = 0;
    call.missing_since = None;
    if !found {
        call.stage = Stage::Ready;
    }
    settle_stuck(state);
    Ok(())
}

pub fn retried(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    (error, until, deadline): (&Problem, Timestamp, Option<Timestamp>),
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let activation = open(definition, state, key)?;
    let by_a_person = activation.failed.take().is_some();
    if by_a_person && let Some(deadline) = &mut activation.deadline {
        // it gets as much time as it had
        deadline.at = at.plus(deadline.at.since(activation.started_at));
        activation.started_at = at;
    }
    match &mut activation.body {
        Body::Try(inner) if !by_a_person => {
            inner.stage = TryStage::Pause { until };
            inner.retries += 1;
            inner.first_error_at.get_or_insert(at);
            inner.deadline = deadline;
        }
        Body::Call(call) => {
            if by_a_person {
                call.misses = 0;
                call.missing_since = None;
                call.stage = Stage::Ready;
            } else {
                note(call, error, at);
                call.misses += 1;
                call.missing_since.get_or_insert(at);
                call.stage = Stage::Pausing { until };
            }
        }
        _ => {}
    }
    if by_a_person {
        if let Some(attempted_at) = take_doubt(state, definition.task(key.0), key) {
            let call = open_call(definition, state, key)?;
            call.asking = true;
            call.attempted_at = Some(attempted_at);
        }
        for id in strand_path(definition, key.0).iter().rev().skip(1) {
            if let Some(around) = state.find_any_mut(definition, *id) {
                around.failed = None;
                let started = around.started_at;
                if let Some(deadline) = around.deadline.as_mut().filter(|d| d.at <= at) {
                    deadline.at = at.plus(deadline.at.since(started));
                }
                begin_dropped_again(definition, around);
            }
        }
        settle_stuck(state);
    }
    Ok(())
}

/// A fork that failed and is taken up again runs the branches that were dropped for it.
fn begin_dropped_again(definition: &Definition, fork: &mut Activation) {
    let compete = matches!(&definition.task(fork.task).kind, Kind::Fork { compete: true, .. });
    if let (Body::Fork(branches), false) = (&mut fork.body, compete) {
        let dropped = branches.iter_mut().filter(|b| matches!(b, Branch::Dropped));
        dropped.for_each(|branch| *branch = Branch::Ready);
    }
}

pub fn note(call: &mut Call, error: &Problem, at: Timestamp) {
    let started = match call.stage {
        Stage::InFlight { at, .. } => at,
        _ => at,
    };
    call.notes.push(Note { at, error: error.clone(), millis: at.since(started) });
    if call.notes.len() > NOTES_KEPT {
        call.notes.remove(0);
    }
}
