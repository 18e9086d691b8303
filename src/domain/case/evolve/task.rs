//! Something happened to one task.

use std::sync::Arc;

use super::enter::{enter, take_doubt};
use super::{CorruptHistory, corrupt};
use crate::domain::case::derive;
use crate::domain::case::event::{Change, Entry, TaskEvent, Wait, WaitKind};
use crate::domain::case::problem::Problem;
use crate::domain::case::state::{
    Activation, Body, Branch, Call, Failed, NOTES_KEPT, Note, Stage, State, TryStage, Undo, Unsure,
};
use crate::domain::case::tree::strand_path;
use crate::domain::data::Data;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Kind, Task, TaskId, Then};

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
        Change::Faulted { error, unsure } => faulted(definition, state, key, error, *unsure, at),
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

fn open<'s>(
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

fn open_call<'s>(
    definition: &Definition,
    state: &'s mut State,
    key: (TaskId, u32),
) -> Result<&'s mut Call, CorruptHistory> {
    match &mut open(definition, state, key)?.body {
        Body::Call(call) => Ok(call),
        _ => corrupt("a task without an effect is said to have one"),
    }
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

fn attempt_started(
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

fn waiting(
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

fn unknown(
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

fn reconciled(
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

fn retried(
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

fn faulted(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    error: &Problem,
    unsure: bool,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    if let Some(gone) = unsettled_place(state, key) {
        // it left the flow long ago; now it is known that it was not done
        state.unsettled.remove(gone);
        return Ok(());
    }
    let activation = open(definition, state, key)?;
    activation.failed = Some(Failed { error: error.clone(), uncaught: false });
    let mut doubt = None;
    if let Body::Call(call) = &mut activation.body {
        note(call, error, at);
        if unsure {
            let unanswered = call.asking || matches!(call.stage, Stage::InFlight { .. });
            let unanswered = unanswered && error.status < 500;
            doubt = call.attempted_at.map(|at| (at, unanswered));
        }
        call.stage = Stage::Ready;
        call.asking = false;
    }
    if let Some((attempted_at, unanswered)) = doubt {
        let unsure = Unsure {
            task: key.0,
            iteration: key.1,
            raw: activation.raw.clone(),
            input: activation.input.clone(),
            context: activation.context.clone(),
            attempted_at,
            unanswered,
        };
        state.unsure.retain(|u| (u.task, u.iteration) != key);
        state.unsure.push(unsure);
    }
    Ok(())
}

fn completed(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    output: Option<&Data>,
    then: Option<Then>,
) -> Result<(), CorruptHistory> {
    let task = definition.task(key.0);
    state.unsure.retain(|u| (u.task, u.iteration) != key);
    if let Some(gone) = unsettled_place(state, key) {
        let activation = state.unsettled.remove(gone);
        let output = output.cloned().unwrap_or(activation.input);
        remember_undo(state, task, key.1, output, true);
        return Ok(());
    }
    let activation = open(definition, state, key)?;
    let output = output.cloned().unwrap_or_else(|| what_it_left(activation));
    remember_undo(state, task, key.1, output.clone(), state.unwinding.is_some());
    if task.is_undo() {
        state.undoing = None;
        state.compensated = true;
        settle_stuck(state);
        return Ok(());
    }
    leave(definition, state, task, output, then.unwrap_or(task.then))
}

/// What a task without a result of its own leaves: the data of its list, else its input.
pub fn what_it_left(activation: &Activation) -> Data {
    match activation.seq() {
        Some(seq) => seq.data.clone(),
        None => activation.input.clone(),
    }
}

fn remember_undo(state: &mut State, task: &Task, iteration: u32, output: Data, due: bool) {
    if task.metadata.compensate.is_none() {
        return;
    }
    // the same key is done once, whatever repeats there were
    state.undo.retain(|u| (u.task, u.iteration) != (task.id, iteration));
    state.undo.push(Undo { task: task.id, iteration, output, due });
}

/// Takes the task out of the tree and leaves its output to whoever is around it.
fn leave(
    definition: &Definition,
    state: &mut State,
    task: &Task,
    output: Data,
    then: Then,
) -> Result<(), CorruptHistory> {
    if then == Then::End {
        state.flow.ending = Some(output.clone());
    }
    let Some(parent_id) = task.parent() else {
        let length = definition.root.len() as u32;
        let seq = &mut state.flow.seq;
        (seq.child, seq.data) = (None, output);
        seq.at = next_place(seq.at, then, length);
        return Ok(());
    };
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt("the parent is gone");
    };
    if let Body::Fork(branches) = &mut parent.body {
        return end_branch(branches, task.id, Branch::Done(output));
    }
    let Some(seq) = parent.seq_mut() else {
        return corrupt("the parent pauses");
    };
    (seq.child, seq.data) = (None, output);
    seq.at = next_place(seq.at, then, u32::MAX);
    Ok(())
}

fn next_place(at: u32, then: Then, length: u32) -> u32 {
    match then {
        Then::Continue => at + 1,
        Then::To(place) => place,
        Then::Exit | Then::End => length,
    }
}

fn end_branch(branches: &mut [Branch], task: TaskId, end: Branch) -> Result<(), CorruptHistory> {
    let running = branches.iter_mut().find(|b| matches!(b, Branch::Running(a) if a.task == task));
    match running {
        Some(branch) => {
            *branch = end;
            Ok(())
        }
        None => corrupt("a branch ends that does not run"),
    }
}

/// A branch whose condition does not hold: it is through before it began.
fn skip(definition: &Definition, state: &mut State, task: TaskId) -> Result<(), CorruptHistory> {
    let parent_id = definition.task(task).parent();
    let Some(parent_id) = parent_id else {
        return corrupt("only branches are skipped");
    };
    let Kind::Fork { branches, .. } = &definition.task(parent_id).kind else {
        return corrupt("only branches are skipped");
    };
    let place = branches.iter().position(|&id| id == task);
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt("the fork is gone");
    };
    let input = parent.input.clone();
    match (&mut parent.body, place) {
        (Body::Fork(branches), Some(place)) => {
            branches[place] = Branch::Done(input);
            Ok(())
        }
        _ => corrupt("a branch of no fork"),
    }
}

fn cancelled(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    unsettled: bool,
) -> Result<(), CorruptHistory> {
    if let Some(gone) = unsettled_place(state, key) {
        state.unsettled.remove(gone);
        return Ok(());
    }
    let task = definition.task(key.0);
    let activation = open(definition, state, key)?;
    if unsettled {
        let mut kept = activation.clone();
        kept.deadline = None;
        kept.failed = None;
        state.unsure.retain(|u| (u.task, u.iteration) != key);
        state.unsettled.push(kept);
    }
    if task.is_undo() {
        state.undoing = None;
        return Ok(());
    }
    let Some(parent_id) = task.parent() else {
        state.flow.seq.child = None;
        return Ok(());
    };
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt("the parent is gone");
    };
    match &mut parent.body {
        Body::Fork(branches) => end_branch(branches, key.0, Branch::Dropped),
        _ => {
            if let Some(seq) = parent.seq_mut() {
                seq.child = None;
            }
            Ok(())
        }
    }
}

/// Calls of which it is not known whether they were done are asked for before anything is undone.
/// Where they cannot be asked for, an answer that was an error counts as an answer; if none came,
/// a person has to say.
pub fn ask_for_the_unsure(definition: &Definition, state: &mut State) {
    for unsure in std::mem::take(&mut state.unsure) {
        let reconciles = definition.task(unsure.task).metadata.reconcile.is_some();
        if !reconciles && !unsure.unanswered {
            continue;
        }
        let mut call = Call::new(true);
        call.attempted_at = Some(unsure.attempted_at);
        if !reconciles {
            call.stage = Stage::Person { since: state.updated_at };
        }
        state.unsettled.push(Activation {
            task: unsure.task,
            iteration: unsure.iteration,
            raw: unsure.raw,
            input: unsure.input,
            context: unsure.context,
            started_at: unsure.attempted_at,
            deadline: None,
            failed: None,
            body: Body::Call(Box::new(call)),
        });
    }
}

fn unsettled_place(state: &State, (task, iteration): (TaskId, u32)) -> Option<usize> {
    state.unsettled.iter().position(|a| a.task == task && a.iteration == iteration)
}

fn note(call: &mut Call, error: &Problem, at: Timestamp) {
    let started = match call.stage {
        Stage::InFlight { at, .. } => at,
        _ => at,
    };
    call.notes.push(Note { at, error: error.clone(), millis: at.since(started) });
    if call.notes.len() > NOTES_KEPT {
        call.notes.remove(0);
    }
}

/// After something was taken up again: the case is stuck, and its dead letter open, only while
/// something else waits for a person.
pub fn settle_stuck(state: &mut State) {
    state.stuck = still_stuck(state);
    if derive::cause_for_a_person(state).is_none() {
        state.alert = None;
    }
}

/// A compensation that failed beside the flow waits for a person from the alert on.
pub fn leave_undo_to_person(state: &mut State) {
    fn mark(activation: &mut Activation) {
        if let Some(failed) = &mut activation.failed {
            failed.uncaught = true;
        }
        let children: Vec<TaskId> = activation.children().iter().map(|c| c.task).collect();
        for child in children {
            if let Some(child) = activation.child_mut(child) {
                mark(child);
            }
        }
    }
    if state.unwinding.is_none()
        && let Some(undoing) = &mut state.undoing
    {
        mark(undoing);
    }
}

/// Whether anything still waits for a person.
fn still_stuck(state: &State) -> bool {
    let mut stuck = state.flow.failed.is_some();
    let undoing = state.undoing.as_deref().filter(|_| state.unwinding.is_some());
    let roots = state.flow.seq.child.as_deref().into_iter().chain(undoing);
    for root in roots {
        root.walk(&mut |activation| {
            let uncaught = activation.failed.as_ref().is_some_and(|failed| failed.uncaught);
            let person = activation.call().is_some_and(|c| matches!(c.stage, Stage::Person { .. }));
            stuck |= uncaught || person;
        });
    }
    stuck
}

fn is_parked(definition: &Definition, state: &State, (task, iteration): (TaskId, u32)) -> bool {
    let in_tree = state.find_any(definition, task).filter(|a| a.iteration == iteration);
    in_tree.is_some_and(|activation| {
        activation.failed.is_none() && activation.call().is_some_and(Call::is_parked)
    })
}

/// Stops or starts the clocks of the task and of those around it, as their call is parked or let
/// go. Clocks that count always (`deadline: wall`) go on.
fn move_clocks(
    definition: &Definition,
    state: &mut State,
    task: TaskId,
    parked: bool,
    at: Timestamp,
) {
    for id in strand_path(definition, task) {
        let Some(activation) = state.find_any_mut(definition, *id) else {
            continue;
        };
        let Some(deadline) = &mut activation.deadline else {
            continue;
        };
        if parked {
            deadline.parked += 1;
        } else {
            deadline.parked = deadline.parked.saturating_sub(1);
        }
        match (deadline.parked, deadline.standing_since) {
            (0, Some(since)) => {
                deadline.at = deadline.at.plus(at.since(since));
                deadline.standing_since = None;
            }
            (1.., None) if !deadline.wall => deadline.standing_since = Some(at),
            _ => {}
        }
    }
}
