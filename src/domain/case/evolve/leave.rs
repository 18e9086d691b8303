//! A task ends: what it leaves to those around it.

use super::call::goes_on;
use super::counts;
use super::effects;
use super::open::open;
use super::staff;
use super::stuck::settle_stuck;
use super::{CorruptHistory, corrupt};
use crate::domain::case::ledger::{Fate, Kept};
use crate::domain::case::state::{Activation, Body, Branch, Cut, State};
use crate::domain::case::tree::strand_path;
use crate::domain::data::Data;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::{Definition, Kind, Task, TaskId, Then};

/// How a task completed.
pub struct Left<'a> {
    pub output: Option<&'a Data>,
    pub then: Option<Then>,
}

pub fn completed(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    left: &Left<'_>,
    at: Timestamp,
) -> Result<(), CorruptHistory> {
    let task = definition.task(key.0);
    if state.is_detached(definition, key)
        && let Some(place) = state.detached_place(key)
    {
        let activation = state.detached.remove(place);
        let answer = left.output.cloned().unwrap_or(activation.input);
        effects::done(definition, state, key, Kept::Answer(answer), left.output.is_some());
        return Ok(());
    }
    let activation = open(definition, state, key)?;
    let (is_call, reached) = (activation.call().is_some(), counts::of_all_rounds(activation));
    let output = left.output.cloned().unwrap_or_else(|| what_it_left(activation));
    counts::reach(state, &reached);
    // also a call that a person says was done before it was made
    if is_call || task.metadata.compensate.is_some() {
        effects::begin_without_call(definition, state, key, at);
    }
    if is_call || task.metadata.compensate.is_some() {
        let said = left.output.is_some();
        effects::done(definition, state, key, Kept::Output(output.clone()), said);
    }
    if task.is_undo() {
        if let Some(undone) = task.parent() {
            effects::undone(definition, state, (undone, key.1));
        }
        state.undoing = None;
        // what a branch did that lost a race is undone beside the flow, which may still be taken up
        state.compensated |= state.unwinding.is_some();
        settle_stuck(state);
        return Ok(());
    }
    leave(definition, state, task, output, left.then.unwrap_or(task.then))
}

/// What a task without a result of its own leaves: the data of its list, else its input.
pub fn what_it_left(activation: &Activation) -> Data {
    match activation.seq() {
        Some(seq) => seq.data.clone(),
        None => activation.input.clone(),
    }
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
        if task.undoing.is_some() {
            end_compensation(definition, state, task);
        } else {
            state.flow.ending = Some(output.clone());
        }
    }
    let Some(parent_id) = task.parent() else {
        let length = definition.root.len() as u32;
        let seq = &mut state.flow.seq;
        if matches!(then, Then::To(place) if place <= seq.at) {
            state.stretch.jumps += 1;
        }
        (seq.child, seq.cut, seq.data) = (None, None, output);
        seq.at = next_place(seq.at, then, length);
        return Ok(());
    };
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt("the parent is gone");
    };
    if let Body::Fork(branches) = &mut parent.body {
        return end_branch(branches, task.id, Branch::Done(output));
    }
    if let (Body::For { items, turn, .. }, Then::Exit) = (&mut parent.body, then) {
        // it leaves the loop, not just the turn
        *turn = Some(items.as_array().map_or(0, Vec::len) as u32);
    }
    let Some(seq) = parent.seq_mut() else {
        return corrupt("the parent pauses");
    };
    let back = matches!(then, Then::To(place) if place <= seq.at);
    (seq.child, seq.cut, seq.data) = (None, None, output);
    seq.at = next_place(seq.at, then, u32::MAX);
    state.stretch.jumps += u32::from(back);
    Ok(())
}

/// `then: end` inside of a compensation ends the compensation, and nothing else.
fn end_compensation(definition: &Definition, state: &mut State, task: &Task) {
    for id in strand_path(definition, task.id) {
        let Some(around) = state.find_any_mut(definition, *id) else { continue };
        if let Body::For { items, turn, .. } = &mut around.body {
            *turn = Some(items.as_array().map_or(0, Vec::len) as u32);
        }
        if let Some(seq) = around.seq_mut() {
            seq.at = u32::MAX;
        }
    }
}

fn next_place(at: u32, then: Then, length: u32) -> u32 {
    match then {
        Then::Continue => at.saturating_add(1),
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
    let Kind::Fork { branches, compete } = &definition.task(parent_id).kind else {
        return corrupt("only branches are skipped");
    };
    let place = branches.iter().position(|&id| id == task);
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt("the fork is gone");
    };
    let input = parent.input.clone();
    match (&mut parent.body, place) {
        (Body::Fork(branches), Some(place)) => {
            // a branch that is skipped wins no race
            branches[place] = if *compete { Branch::Dropped } else { Branch::Done(input) };
            Ok(())
        }
        _ => corrupt("a branch of no fork"),
    }
}

/// Of a race, an error drops its branch alone, as long as others run. Calls of it that go on are
/// beside the flow by then.
pub fn race(
    definition: &Definition,
    state: &mut State,
    failed: TaskId,
) -> Result<(), CorruptHistory> {
    let Some(fork) = definition.task(failed).parent() else { return Ok(()) };
    let Kind::Fork { compete: true, .. } = &definition.task(fork).kind else { return Ok(()) };
    let Some(Activation { body: Body::Fork(branches), reached, .. }) =
        state.find_any_mut(definition, fork)
    else {
        return Ok(());
    };
    let races_on = branches.iter().any(|branch| match branch {
        Branch::Ready | Branch::Done(_) => true,
        Branch::Running(child) => child.task != failed && child.failed.is_none(),
        Branch::Dropped => false,
    });
    if !races_on {
        return Ok(());
    }
    let before = branches.iter().find_map(|branch| match branch {
        Branch::Running(branch) if branch.task == failed => {
            Some((counts::before(branch), counts::of_all_rounds(branch)))
        }
        _ => None,
    });
    let (before, more) = before.unwrap_or_default();
    end_branch(branches, failed, Branch::Dropped)?;
    counts::add(reached, more);
    // it has lost: what it did and can undo is undone at once
    effects::lost(definition, state, failed, &before);
    staff::lost(definition, state, failed, &before);
    Ok(())
}

pub fn cancelled(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    (unsettled, keep): (bool, bool),
) -> Result<(), CorruptHistory> {
    if state.is_detached(definition, key)
        && let Some(place) = state.detached_place(key)
    {
        state.detached.remove(place);
        if let Some(entry) = state.ledger.get_mut(key) {
            entry.running = None;
            entry.was_not_done();
        }
        return Ok(());
    }
    let task = definition.task(key.0);
    let activation = open(definition, state, key)?;
    let (before, reached) = (counts::before(activation), counts::of_all_rounds(activation));
    let is_call = activation.call().is_some();
    let under_way = goes_on(activation);
    let plan = activation.plan();
    staff::left(state, plan);
    let settled = || effects::is_to_be_settled(definition, state, key, under_way);
    let goes_on = is_call && (keep || unsettled && settled());
    if goes_on {
        let fate = if unsettled { Fate::Due } else { Fate::Detached };
        effects::detach(definition, state, key, fate);
    }
    counts::reach(state, &reached);
    if unsettled {
        effects::lost(definition, state, key.0, &before);
        staff::lost(definition, state, key.0, &before);
    }
    if is_call
        && !goes_on
        && let Some(entry) = state.ledger.get_mut(key)
    {
        entry.cut |= entry.running.take().is_some();
    }
    if task.is_undo() {
        state.undoing = None;
        let undone = task.parent().and_then(|id| state.ledger.get_mut((id, key.1)));
        if let Some(undone) = undone {
            undone.fate = Fate::Due;
        }
        return Ok(());
    }
    let cut = Some(Cut { task: key.0, before });
    let Some(parent_id) = task.parent() else {
        (state.flow.seq.child, state.flow.seq.cut) = (None, cut);
        return Ok(());
    };
    let Some(parent) = state.find_any_mut(definition, parent_id) else {
        return corrupt("the parent is gone");
    };
    match &mut parent.body {
        Body::Fork(branches) => end_branch(branches, key.0, Branch::Dropped),
        _ => {
            if let Some(seq) = parent.seq_mut() {
                (seq.child, seq.cut) = (None, cut);
            }
            Ok(())
        }
    }
}
