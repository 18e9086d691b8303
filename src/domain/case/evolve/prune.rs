//! Forgetting: entries of the ledger that nothing can need any more, and what they were made of.

use std::collections::HashSet;

use super::counts::count_in;
use crate::domain::case::event::Doubt;
use crate::domain::case::ledger::{Entry, Fate, Knowledge, Ledger, Pinned};
use crate::domain::case::repeat::{called_anew, has_key, safe_by_definition};
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
    let outlook = Outlook::of(definition, state, &ledger);
    drop_spare_data(&outlook, &mut ledger);
    ledger.retain(|entry| outlook.is_needed(entry));
    if ledger.len() > BROKEN_OFF_KEPT {
        let mut spare = ledger.len() - BROKEN_OFF_KEPT;
        ledger.retain(|entry| {
            let drop = spare > 0
                && entry.is_done()
                && definition.task(entry.task).metadata.compensate.is_none()
                && !outlook.is_open(entry)
                && !outlook.of_task(entry).is_some_and(|task| task.goes_round(entry));
            spare -= usize::from(drop);
            !drop
        });
    }
    state.ledger = ledger;
}

/// Bytes of what unknown calls that nobody waits for were made of; beyond it the oldest are forgotten, and
/// such a call is a person's, unless its answer counts as not done.
const UNKNOWN_KEPT: usize = 256 * 1024;

/// Forgets what entries were made of, where hardly anybody can need it.
fn drop_spare_data(outlook: &Outlook<'_>, ledger: &mut Ledger) {
    let unknown = |entry: &Entry| {
        let task = outlook.definition.task(entry.task);
        let Knowledge::Unknown(doubt) = entry.knowledge else { return false };
        let persons = doubt == Doubt::Silent && !safe_by_definition(task) && !entry.safe;
        let again = outlook.of_task(entry).is_some_and(|task| task.may_be_entered(entry));
        task.metadata.reconcile.is_none() && !outlook.is_open(entry) && (persons || !again)
    };
    let size = |entry: &Entry| entry.pinned.as_ref().map_or(0, Pinned::size);
    let bytes: usize = ledger.iter().filter(|e| unknown(e)).map(size).sum();
    let mut spare = bytes.saturating_sub(UNKNOWN_KEPT);
    let is_spare = |entry: &Entry| {
        if entry.pinned.is_none() {
            return false;
        }
        let left_behind = entry.cut && entry.knowledge == Knowledge::NotDone;
        let too_much = spare > 0 && unknown(entry);
        if too_much {
            spare = spare.saturating_sub(size(entry));
        }
        too_much || (left_behind && !outlook.is_open(entry))
    };
    ledger.change(is_spare, |entry| entry.pinned = None);
}

/// Where the case stands, as far as it says which entries can be entered again: told once for each
/// task, since a ledger may have thousands of entries of one.
struct Outlook<'a> {
    definition: &'a Definition,
    detached: HashSet<Key>,
    /// By number of the task; none for those that the ledger does not have.
    tasks: Vec<Option<Again>>,
}

/// Which entries of a task are open, or can be entered again: of the latter those after a count.
#[derive(Clone, Copy)]
struct Again {
    open: Option<u32>,
    /// All of them, by the flow itself.
    by_flow: bool,
    /// By an open try with a retry, or an open fork, around the task.
    round: Option<u32>,
    /// By a person who retries what a timeout broke off.
    timed: Option<u32>,
}

impl Again {
    fn of(definition: &Definition, state: &State, task: TaskId) -> Self {
        let path = &definition.task(task).path;
        let flow = &state.flow.seq;
        let next = definition.root.get(flow.at as usize);
        let of_the_flow = definition.task(task).undoing.is_none() && state.unwinding.is_none();
        let timed = |around: &Activation| {
            let outermost = definition.task(around.task).path.len() == 1;
            around.clock.is_some() || (outermost && state.clock.is_some())
        };
        let ancestry = state.ancestry(definition, task);
        let least = |wanted: &dyn Fn(&Activation) -> bool| {
            let around = ancestry.iter().filter(|around| around.task != task && wanted(around));
            around.map(|around| count_in(&around.before, task)).min()
        };
        Self {
            open: state.find_any(definition, task).map(|open| open.iteration),
            by_flow: of_the_flow
                && flow.child.is_none()
                && next.is_some_and(|next| path.contains(next)),
            round: least(&|around| goes_round(definition, around)),
            timed: least(&timed),
        }
    }

    fn goes_round(&self, entry: &Entry) -> bool {
        self.round.is_some_and(|before| entry.iteration > before)
    }

    fn may_be_entered(&self, entry: &Entry) -> bool {
        let timed = || self.timed.is_some_and(|before| entry.iteration > before);
        self.by_flow || self.goes_round(entry) || timed()
    }
}

/// Whether an activation may enter what is below it again by itself.
fn goes_round(definition: &Definition, around: &Activation) -> bool {
    match (&around.body, &definition.task(around.task).kind) {
        (Body::Try(inner), Kind::Try { catch, .. }) => {
            catch.retry.is_some() && !matches!(inner.stage, TryStage::Catch { .. })
        }
        (Body::Fork(_), _) => true,
        // broken off and waiting for a person, its tasks may be entered again
        _ => around.failed.is_some(),
    }
}

impl<'a> Outlook<'a> {
    fn of(definition: &'a Definition, state: &State, ledger: &Ledger) -> Self {
        let mut tasks = vec![None; definition.tasks.len()];
        for entry in ledger.iter() {
            let task = &mut tasks[entry.task.0 as usize];
            task.get_or_insert_with(|| Again::of(definition, state, entry.task));
        }
        let detached = state.detached.iter().map(|a| (a.task, a.iteration)).collect();
        Self { definition, detached, tasks }
    }

    fn of_task(&self, entry: &Entry) -> Option<&Again> {
        self.tasks.get(entry.task.0 as usize)?.as_ref()
    }

    fn is_open(&self, entry: &Entry) -> bool {
        let open = self.of_task(entry).is_some_and(|task| task.open == Some(entry.iteration));
        open || (!self.detached.is_empty() && self.detached.contains(&entry.key()))
    }

    fn is_needed(&self, entry: &Entry) -> bool {
        let task = self.definition.task(entry.task);
        match entry.fate {
            Fate::Due if entry.is_done() && task.metadata.compensate.is_some() => return true,
            Fate::Undoing => return true,
            Fate::Due | Fate::Wanted | Fate::Detached | Fate::Undone => {}
        }
        if self.is_open(entry) {
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
        if !self.of_task(entry).is_some_and(|task| task.may_be_entered(entry)) {
            return false;
        }
        // what was not done, and what is asked anew, leaves nothing to recall; but a generation that
        // was undone or that ended badly must not be given again
        let generations =
            entry.generation > 0 || entry.fate == Fate::Undone || matches!(task.kind, Kind::Run(_));
        let recalled = entry.is_done() && !called_anew(task);
        // for another item, and once it was undone with the task around it, it must get another key
        let stood_for = || {
            let undoes =
                |around: &TaskId| self.definition.task(*around).metadata.compensate.is_some();
            task.path.iter().any(|around| *around != entry.task && undoes(around))
        };
        let keyed = entry.is_done() && has_key(task) && (entry.items != 0 || stood_for());
        let unknown = matches!(entry.knowledge, Knowledge::Unknown(_));
        // losses and time to live are counted over what is entered again
        let counted = entry.lost > 0 || entry.queued_at.is_some();
        recalled || generations || unknown || keyed || entry.cut || counted
    }
}
