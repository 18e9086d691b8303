//! Something happened to one task.

use super::call::{
    Again, attempt_started, goes_on, note, open_call, reconciled, retried, unknown, waiting,
};
use super::effects::{self, Begun};
use super::enter::enter;
use super::job;
use super::leave::{Left, cancelled, completed, race, skip};
use super::open::open;
use super::prune::prune;
use super::staff;
use super::stuck::settle_stuck;
use super::{CorruptHistory, corrupt};
use crate::domain::case::event::{Answer, Change, Doubt, Entry, TaskEvent};
use crate::domain::case::ledger::{Fate, Kept};
use crate::domain::case::problem::Problem;
use crate::domain::case::state::{Activation, Body, Failed, Stage, State};
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
    change(definition, state, key, &event.change, at)?;
    let told = state.stuck || state.alert.is_some();
    if told && matches!(event.change, Change::Completed { .. } | Change::Cancelled { .. }) {
        settle_stuck(state);
    }
    match event.change {
        Change::Completed { .. } | Change::Cancelled { .. } | Change::Faulted { .. } => {
            prune(definition, state);
        }
        Change::Started { .. }
        | Change::Queued { .. }
        | Change::Preparing { .. }
        | Change::Turned { .. }
        | Change::ReadBack { .. }
        | Change::Waiting { .. }
        | Change::Listening { .. }
        | Change::Unknown { .. }
        | Change::Reconciled { .. }
        | Change::Retried { .. }
        | Change::Received { .. } => {}
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
        Change::Started { entry, attempt, service, generation, safe, lease } => {
            let enters = *attempt == 0;
            begun(definition, state, key, entry.as_deref(), enters, at)?;
            if *attempt > 0 {
                let (attempt, generation, safe) = (*attempt, *generation, *safe);
                let lease = lease.as_deref();
                let begun = Begun { attempt, service, generation, safe, lease, at };
                attempt_started(definition, state, key, &begun)?;
            }
            Ok(())
        }
        Change::Waiting { entry, wait, outcome } => {
            begun(definition, state, key, entry.as_deref(), false, at)?;
            waiting(definition, state, key, (wait, *outcome), at)
        }
        Change::Queued { entry, job } => {
            begun(definition, state, key, entry.as_deref(), false, at)?;
            job::queued(definition, state, key, job)
        }
        Change::Preparing { entry, service } => {
            begun(definition, state, key, entry.as_deref(), false, at)?;
            let call = open_call(definition, state, key)?;
            call.service = Some(service.clone());
            call.stage = Stage::Preparing { service: service.clone() };
            Ok(())
        }
        Change::Turned { turn } => match &mut open(definition, state, key)?.body {
            Body::For { turn: at, seq, .. } => {
                *at = Some(*turn);
                seq.at = u32::MAX;
                Ok(())
            }
            _ => corrupt("a task turns that is no loop"),
        },
        Change::Listening { expected: values, .. } => {
            match &mut open(definition, state, key)?.body {
                Body::Listen { expected, .. } => {
                    *expected = values.clone();
                    Ok(())
                }
                _ => corrupt("a task listens that cannot"),
            }
        }
        Change::ReadBack { output } => match state.ledger.get_mut(key) {
            Some(entry) => {
                entry.read_back(output.clone());
                Ok(())
            }
            None => corrupt("something is read back that was not done"),
        },
        Change::Unknown { error } => unknown(definition, state, key, error, at),
        Change::Reconciled { found } => reconciled(definition, state, key, *found),
        Change::Retried { error, at: until, deadline, outcome, until: waits_until } => {
            let (until, deadline, outcome) = (*until, *deadline, *outcome);
            let again = Again { until, deadline, outcome, waits_until: *waits_until };
            retried(definition, state, key, error, &again, at)
        }
        Change::Faulted { error, doubt, answer, keep } => {
            let ended = Ended { doubt: *doubt, answer: answer.as_ref(), keep: *keep };
            faulted(definition, state, key, error, &ended, at)
        }
        Change::Completed { output, context, then, skipped, recalled: _ } => {
            if let Some(context) = context {
                state.context = context.clone();
            }
            if *skipped {
                return skip(definition, state, key.0);
            }
            let left = Left { output: output.as_ref(), then: *then };
            completed(definition, state, key, &left, at)
        }
        Change::Cancelled { unsettled, keep } => {
            cancelled(definition, state, key, (*unsettled, *keep))
        }
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

/// Enters the task, unless it is open already. A detached call goes on by itself; only a plain
/// beginning takes it back into the flow.
fn begun(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    entry: Option<&Entry>,
    enters: bool,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let in_tree = state.find_any(definition, key.0).is_some_and(|a| a.iteration == key.1);
    if in_tree || (!enters && state.detached_place(key).is_some()) {
        return Ok(());
    }
    enter(definition, state, key, entry.unwrap_or(&Entry::default()), at)
}

/// What an error leaves of a call.
struct Ended<'a> {
    doubt: Option<Doubt>,
    answer: Option<&'a Answer>,
    keep: bool,
}

fn faulted(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    error: &Problem,
    ended: &Ended<'_>,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    if state.is_detached(definition, key)
        && let Some(place) = state.detached_place(key)
    {
        // it left the flow long ago; now it has come to nothing
        state.detached.remove(place);
        call_failed(definition, state, key, ended);
        if ended.doubt.is_none()
            && ended.answer.is_none()
            && let Some(entry) = state.ledger.get_mut(key)
        {
            entry.was_not_done();
        }
        return Ok(());
    }
    let activation = open(definition, state, key)?;
    if ended.keep && goes_on(activation) {
        effects::detach(definition, state, key, Fate::Detached);
    }
    let activation = open_in_tree(definition, state, key)?;
    let plan = activation.plan();
    staff::left(state, plan);
    let activation = open_in_tree(definition, state, key)?;
    activation.failed = Some(Failed { error: error.clone(), uncaught: false });
    if let Body::Call(call) = &mut activation.body {
        note(call, error, at);
        let was_child = matches!(call.stage, Stage::Child { .. });
        let lease = call.lease().map(|lease| lease.digest);
        call.stage = Stage::Ready;
        call.asking = false;
        call_failed(definition, state, key, ended);
        if was_child
            && !ended.keep
            && let Some(entry) = state.ledger.get_mut(key)
        {
            // a child that ended badly is over: the next attempt is another generation
            entry.fate = Fate::Undone;
        }
        if ended.doubt == Some(Doubt::Silent) {
            job::lost(state, key, lease);
        }
        effects::ask_beside(definition, state, key);
    }
    if error.is_for_a_person() {
        return Ok(());
    }
    race(definition, state, key.0)
}

/// The ledger learns what became of a call whose task failed.
fn call_failed(definition: &Definition, state: &mut State, key: (TaskId, u32), ended: &Ended<'_>) {
    if let Some(answer) = ended.answer {
        let kept = match answer {
            Answer::Kept(answer) => Kept::Answer(answer.clone()),
            Answer::Gone => Kept::Gone,
        };
        effects::done(definition, state, key, kept, true);
        return;
    }
    let Some(entry) = state.ledger.get_mut(key) else { return };
    if !ended.keep {
        entry.cut |= entry.running.take().is_some();
    }
    if let Some(doubt) = ended.doubt {
        entry.doubt(doubt);
    }
}

fn open_in_tree<'s>(
    definition: &Definition,
    state: &'s mut State,
    key: (TaskId, u32),
) -> Result<&'s mut Activation, CorruptHistory> {
    match state.find_any_mut(definition, key.0) {
        Some(activation) if activation.iteration == key.1 => Ok(activation),
        _ => corrupt("a task fails that is not open"),
    }
}
