//! Forgetting: entries of the ledger that nothing can need any more, and what they were made of.

use super::counts::count_in;
use super::effects::{called_anew, has_key, safe_by_definition};
use crate::domain::case::event::Doubt;
use crate::domain::case::ledger::{Entry, Fate, Knowledge, Ledger, Pinned};
use crate::domain::case::state::{Activation, Body, State, TryStage};
use crate::domain::workflow::model::{Definition, Kind, TaskId};

type Key = (TaskId, u32);

/// Entries of a ledger up to which also those are kept that only the retry of something timed out
/// would need.
const BROKEN_OFF_KEPT: usize = 1000;

/// Forgets the entries that nothing can need any more.
pub fn prune(definition: &Definition, state: &mut State) {
    if state.ledger.is_empty() {
        return;
    }
    let mut ledger = std::mem::take(&mut state.ledger);
    drop_spare_data(definition, state, &mut ledger);
    ledger.retain(|entry| is_needed(definition, state, entry));
    if ledger.len() > BROKEN_OFF_KEPT {
        let mut spare = ledger.len() - BROKEN_OFF_KEPT;
        ledger.retain(|entry| {
            let drop = spare > 0
                && entry.is_done()
                && definition.task(entry.task).metadata.compensate.is_none()
                && !is_open(definition, state, entry.key())
                && !goes_round(definition, state, entry);
            spare -= usize::from(drop);
            !drop
        });
    }
    state.ledger = ledger;
}

/// Bytes of what silent calls that nobody waits for were made of; beyond it the oldest are forgotten, and
/// such a call is a person's.
const SILENT_KEPT: usize = 256 * 1024;

/// Forgets what entries were made of, where hardly anybody can need it.
fn drop_spare_data(definition: &Definition, state: &State, ledger: &mut Ledger) {
    let silent = |entry: &Entry| {
        let task = definition.task(entry.task);
        entry.knowledge == Knowledge::Unknown(Doubt::Silent)
            && task.metadata.reconcile.is_none()
            && !safe_by_definition(task)
            && !entry.safe
            && !is_open(definition, state, entry.key())
    };
    let mut kept = 0;
    for entry in ledger.iter_mut().rev() {
        let left_behind = entry.cut && entry.knowledge == Knowledge::NotDone;
        if left_behind && !is_open(definition, state, entry.key()) {
            entry.pinned = None;
        }
        if entry.pinned.is_some() && silent(entry) {
            kept += entry.pinned.as_ref().map_or(0, Pinned::size);
            if kept > SILENT_KEPT {
                entry.pinned = None;
            }
        }
    }
}

fn is_open(definition: &Definition, state: &State, key: Key) -> bool {
    state.find(definition, key.0, key.1).is_some()
}

fn is_needed(definition: &Definition, state: &State, entry: &Entry) -> bool {
    let task = definition.task(entry.task);
    match entry.fate {
        Fate::Due if entry.is_done() && task.metadata.compensate.is_some() => return true,
        Fate::Undoing => return true,
        Fate::Due | Fate::Wanted | Fate::Detached | Fate::Undone => {}
    }
    if is_open(definition, state, entry.key()) {
        return true;
    }
    let undoes = task.metadata.compensate.is_some() && entry.fate != Fate::Undone;
    let kept = match &entry.knowledge {
        Knowledge::Done(_) => undoes,
        Knowledge::Unknown(doubt) => {
            let safe = safe_by_definition(task) || entry.safe;
            task.metadata.reconcile.is_some() || undoes || (*doubt == Doubt::Silent && !safe)
        }
        Knowledge::NotDone => false,
    };
    if kept {
        return true;
    }
    // what was not done, and what is asked anew, leaves nothing to recall; but a generation that was
    // undone or that ended badly must not be given again
    let generations =
        entry.generation > 0 || entry.fate == Fate::Undone || matches!(task.kind, Kind::Run(_));
    let recalled = entry.is_done() && !called_anew(task);
    // for another item, and once it was undone with the task around it, it must get another key
    let stood_for = || {
        let undoes = |around: &TaskId| definition.task(*around).metadata.compensate.is_some();
        task.path.iter().any(|around| *around != entry.task && undoes(around))
    };
    let keyed = entry.is_done() && has_key(task) && (entry.items != 0 || stood_for());
    let unknown = matches!(entry.knowledge, Knowledge::Unknown(_));
    (recalled || generations || unknown || keyed || entry.cut)
        && may_be_entered_again(definition, state, entry)
}

/// Whether this very entry can be entered again: by the flow, or by a person who retries what a
/// timeout broke off.
fn may_be_entered_again(definition: &Definition, state: &State, entry: &Entry) -> bool {
    let path = &definition.task(entry.task).path;
    let flow = &state.flow.seq;
    let next = definition.root.get(flow.at as usize);
    let of_the_flow = definition.task(entry.task).undoing.is_none() && state.unwinding.is_none();
    if of_the_flow && flow.child.is_none() && next.is_some_and(|next| path.contains(next)) {
        return true;
    }
    let timed = |around: &&Activation| {
        let outermost = definition.task(around.task).path.len() == 1;
        around.clock.is_some() || (outermost && state.clock.is_some())
    };
    goes_round(definition, state, entry)
        || state
            .ancestry(definition, entry.task)
            .iter()
            .filter(|around| timed(around))
            .any(|around| around.task != entry.task && entry.iteration > before(around, entry))
}

/// How often the entry's task had been entered when the task around it was.
fn before(around: &Activation, entry: &Entry) -> u32 {
    count_in(&around.before, entry.task)
}

/// Whether an open try with a retry, or an open fork, around the task can enter this very entry
/// again.
fn goes_round(definition: &Definition, state: &State, entry: &Entry) -> bool {
    state.ancestry(definition, entry.task).iter().any(|around| {
        let again = match (&around.body, &definition.task(around.task).kind) {
            (Body::Try(inner), Kind::Try { catch, .. }) => {
                catch.retry.is_some() && !matches!(inner.stage, TryStage::Catch { .. })
            }
            (Body::Fork(_), _) => true,
            // broken off and waiting for a person, its tasks may be entered again
            _ => around.failed.is_some(),
        };
        again && around.task != entry.task && entry.iteration > before(around, entry)
    })
}
