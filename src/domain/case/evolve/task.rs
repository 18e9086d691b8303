//! Something happened to one task.

use super::call::{attempt_started, note, open_call, reconciled, retried, unknown, waiting};
use super::clocks::{is_parked, move_clocks};
use super::enter::enter;
use super::leave::{cancelled, completed, skip};
use super::stuck::settle_stuck;
use super::{CorruptHistory, corrupt};
use crate::domain::case::event::{Change, Doubt, Entry, TaskEvent};
use crate::domain::case::problem::Problem;
use crate::domain::case::state::{Activation, Body, Failed, Stage, State, Unsure};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, TaskId};

/// Folds a task's event.
pub fn apply(
    definition: &Definition,
    state: &mut State,
    event: &TaskEvent,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let key = (event.task, event.iteration);
    if definition.tasks.len() <= event.task.0 as usize {
        return corrupt(format!("there is no task number {}", event.task.0));
    }
    let parked_before = is_parked(definition, state, key);
    change(definition, state, key, &event.change, at)?;
    let told = state.stuck || state.alert.is_some();
    if told && matches!(event.change, Change::Completed { .. } | Change::Cancelled { .. }) {
        settle_stuck(state);
    }
    let parked_after = is_parked(definition, state, key);
    if parked_before != parked_after {
        move_clocks(definition, state, event.task, parked_after, at);
    }
    Ok(())
}

fn change(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    change: &Change,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    match change {
        Change::Started { entry, attempt, service } => {
            let enters = *attempt == 0;
            begun(definition, state, key, entry.as_deref(), enters, at)?;
            if *attempt > 0 {
                attempt_started(definition, state, key, *attempt, service, at)?;
            }
            Ok(())
        }
        Change::Waiting { entry, wait } => {
            begun(definition, state, key, entry.as_deref(), false, at)?;
            waiting(definition, state, key, wait, at)
        }
        Change::Preparing { entry, service } => {
            begun(definition, state, key, entry.as_deref(), false, at)?;
            let call = open_call(definition, state, key)?;
            call.service = Some(service.clone());
            call.stage = Stage::Preparing { service: service.clone() };
            Ok(())
        }
        Change::Listening { expected: values, .. } => {
            match &mut open(definition, state, key)?.body {
                Body::Listen { expected, .. } => {
                    *expected = values.clone();
                    Ok(())
                }
                _ => corrupt("a task listens that cannot"),
            }
        }
        Change::Unknown { error } => unknown(definition, state, key, error, at),
        Change::Reconciled { found } => reconciled(definition, state, key, *found),
        Change::Retried { error, at: until, deadline } => {
            retried(definition, state, key, (error, *until, *deadline), at)
        }
        Change::Faulted { error, doubt } => faulted(definition, state, key, error, *doubt, at),
        Change::Completed { output, context, then, skipped } => {
            if let Some(context) = context {
                state.context = context.clone();
            }
            if *skipped {
                return skip(definition, state, key.0);
            }
            completed(definition, state, key, output.as_ref(), *then)
        }
        Change::Cancelled { unsettled } => cancelled(definition, state, key, *unsettled),
        Change::Received { filter, event } => {
            state.taken.insert(event.position);
            match &mut open(definition, state, key)?.body {
                Body::Listen { taken, .. } if (*filter as usize) < taken.len() => {
                    taken[*filter as usize] = Some((**event).clone());
                    Ok(())
                }
                _ => corrupt("an event is taken by a task that does not listen"),
            }
        }
    }
}

pub fn open<'s>(
    definition: &Definition,
    state: &'s mut State,
    (task, iteration): (TaskId, u32),
) -> Result<&'s mut Activation, CorruptHistory> {
    let found = state.find_mut(definition, task, iteration);
    found.ok_or_else(|| {
        let reference = &definition.task(task).reference;
        CorruptHistory(format!("{reference} is not open in iteration {iteration}"))
    })
}

/// Enters the task, unless it is open already. A call that was left unsettled goes on by itself;
/// only a plain beginning takes it back into the flow.
fn begun(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    entry: Option<&Entry>,
    enters: bool,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let in_tree = state.find_any(definition, key.0).is_some_and(|a| a.iteration == key.1);
    if in_tree || (!enters && unsettled_place(state, key).is_some()) {
        return Ok(());
    }
    enter(definition, state, key, entry.unwrap_or(&Entry::default()), at)
}

fn faulted(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    error: &Problem,
    doubt: Option<Doubt>,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    if let Some(gone) = unsettled_place(state, key) {
        // it left the flow long ago; now it is known that it was not done
        state.unsettled.remove(gone);
        return Ok(());
    }
    let activation = open(definition, state, key)?;
    activation.failed = Some(Failed { error: error.clone(), uncaught: false });
    let mut attempted = None;
    if let Body::Call(call) = &mut activation.body {
        note(call, error, at);
        attempted = call.attempted_at;
        call.stage = Stage::Ready;
        call.asking = false;
    }
    if let (Some(attempted_at), Some(doubt)) = (attempted, doubt) {
        let unsure = Unsure {
            task: key.0,
            iteration: key.1,
            raw: activation.raw.clone(),
            input: activation.input.clone(),
            context: activation.context.clone(),
            attempted_at,
            unanswered: doubt == Doubt::Silent,
        };
        state.unsure.retain(|u| (u.task, u.iteration) != key);
        state.unsure.push(unsure);
    }
    Ok(())
}

pub fn unsettled_place(state: &State, (task, iteration): (TaskId, u32)) -> Option<usize> {
    state.unsettled.iter().position(|a| a.task == task && a.iteration == iteration)
}
