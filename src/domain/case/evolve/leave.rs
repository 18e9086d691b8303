//! A task ends: what it leaves to those around it.

use super::stuck::settle_stuck;
use super::task::{open, unsettled_place};
use super::{CorruptHistory, corrupt};
use crate::domain::case::state::{Activation, Body, Branch, State, Undo};
use crate::domain::data::Data;
use crate::domain::workflow::model::{Definition, Kind, Task, TaskId, Then};

pub fn completed(
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
pub fn skip(
    definition: &Definition,
    state: &mut State,
    task: TaskId,
) -> Result<(), CorruptHistory> {
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

pub fn cancelled(
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
