//! What events say of effects: the ledger's entries begin, are known, are due, and leave.

use std::sync::Arc;

use super::counts::count_in;
use crate::domain::case::event::Doubt;
use crate::domain::case::ledger::{Brought, Covered, Entry, Fate, Kept, Knowledge, Pinned};
use crate::domain::case::repeat::{called_anew, safe_by_definition};
use crate::domain::case::state::{Activation, Body, Call, Stage, State};
use crate::domain::data::{Data, canonical};
use crate::domain::ids::Bits;
use crate::domain::time::Timestamp;
use crate::domain::work::lease::Lease;
use crate::domain::workflow::expr::json::size_of;
use crate::domain::workflow::model::{Definition, Kind, TaskId};

type Key = (TaskId, u32);

/// An attempt of the call itself has started.
pub struct Begun<'a> {
    pub attempt: u32,
    pub service: &'a Option<Arc<str>>,
    pub generation: u32,
    pub safe: bool,
    /// The lease under which a worker outside has it.
    pub lease: Option<&'a Lease>,
    pub at: Timestamp,
}

/// Notes an attempt; the first one makes the entry.
pub fn begin(definition: &Definition, state: &mut State, key: Key, begun: &Begun<'_>) {
    // the loops around what has left the flow may be at another item by now
    let beside = state.is_detached(definition, key);
    let known = state.ledger.get(key).filter(|_| beside).map(|known| known.items);
    let items = known.unwrap_or_else(|| items(definition, state, key.0));
    let version = state.version;
    // what was not done is asked for as it stands now
    let again = called_anew(definition.task(key.0));
    let anew = state
        .ledger
        .get(key)
        .is_some_and(|known| known.knowledge == Knowledge::NotDone || (known.is_done() && again));
    let pinned = if anew { made_of(definition, state, key) } else { None };
    let call = state.find(definition, key.0, key.1).and_then(|activation| activation.call());
    let queued_at = call.and_then(|call| call.job.as_deref()).map(|job| job.queued_at);
    if let Some(known) = state.ledger.get_mut(key)
        && known.generation == begun.generation
    {
        if pinned.is_some() {
            // what it came to before is worth nothing any more
            (known.pinned, known.items) = (pinned, items);
            known.knowledge = Knowledge::NotDone;
        }
        known.running = Some(begun.attempt);
        known.attempts = begun.attempt;
        known.attempted_at = begun.at;
        known.service.clone_from(begun.service);
        known.safe |= begun.safe;
        known.queued_at = known.queued_at.or(queued_at);
        return;
    }
    let Some(pinned) = made_of(definition, state, key) else { return };
    let entry = Entry {
        task: key.0,
        iteration: key.1,
        generation: begun.generation,
        pinned: Some(pinned),
        service: begun.service.clone(),
        running: Some(begun.attempt),
        attempts: begun.attempt,
        attempted_at: begun.at,
        safe: begun.safe,
        version,
        items,
        lost: 0,
        queued_at,
        cut: false,
        covers: Vec::new(),
        knowledge: Knowledge::NotDone,
        brought: None,
        fate: Fate::Wanted,
    };
    state.ledger.begin(entry);
}

/// The variables around a task that it names, for what is made of it later.
fn used_variables(definition: &Definition, state: &State, task: TaskId) -> Vec<(Arc<str>, Data)> {
    let mut variables = state.variables(definition, task);
    if !variables.is_empty() {
        // what it uses by name may name them as well
        let texts = [&*definition.task(task).pointer, "/use"];
        let texts = texts.iter().filter_map(|pointer| definition.source.pointer(pointer));
        let source: String = texts.map(ToString::to_string).collect();
        variables.retain(|(name, _)| source.contains(&format!("${name}")));
    }
    variables
}

/// What a repeat of a call is made of.
fn made_of(definition: &Definition, state: &State, key: Key) -> Option<Pinned> {
    let activation = state.find(definition, key.0, key.1)?;
    Some(Pinned {
        raw: activation.raw.clone(),
        input: activation.input.clone(),
        context: activation.context.clone(),
        started_at: activation.started_at,
        variables: used_variables(definition, state, key.0),
    })
}

/// A task with a compensation has completed that asked nothing of the outside itself.
pub fn begin_without_call(definition: &Definition, state: &mut State, key: Key, at: Timestamp) {
    let Some(activation) = state.find(definition, key.0, key.1) else { return };
    let version = activation.version;
    let covers = covered(definition, state, activation);
    if let Some(known) = state.ledger.get_mut(key).filter(|known| known.fate != Fate::Undone) {
        // it went round, and more was done below it
        covers.into_iter().for_each(|more| known.cover(more));
        return;
    }
    let generation = state.ledger.get(key).map_or(0, |known| known.generation + 1);
    let items = items(definition, state, key.0);
    state.ledger.begin(Entry {
        task: key.0,
        iteration: key.1,
        generation,
        pinned: None,
        service: None,
        running: None,
        attempts: 0,
        attempted_at: at,
        safe: true,
        version,
        items,
        lost: 0,
        queued_at: None,
        cut: false,
        covers,
        knowledge: Knowledge::NotDone,
        brought: None,
        fate: Fate::Wanted,
    });
}

/// The entries of the tasks below one, as far as they were entered since it was.
fn covered(definition: &Definition, state: &State, around: &Activation) -> Vec<Covered> {
    let below = |id: &TaskId| {
        let task = definition.task(*id);
        *id != around.task && task.undoing.is_none() && task.path.contains(&around.task)
    };
    let entered = state.entries.iter().filter(|(id, _)| below(id));
    let covered = entered.map(|(task, through)| {
        let after = count_in(&around.before, *task);
        Covered { task: *task, after, through: *through }
    });
    covered.filter(|covered| covered.through > covered.after).collect()
}

/// A compensation has ended: what it undid, and what was done below that without a compensation of its
/// own, was undone.
pub fn undone(definition: &Definition, state: &mut State, key: Key) {
    let Some(entry) = state.ledger.get_mut(key) else { return };
    entry.was_undone();
    let covers = std::mem::take(&mut entry.covers);
    let wanted = |entry: &Entry| {
        let undoes = definition.task(entry.task).metadata.compensate.is_some();
        let covered = covers.iter().any(|covered| covered.has(entry));
        covered && !undoes && entry.is_done() && entry.fate == Fate::Wanted
    };
    state.ledger.change(wanted, Entry::was_undone);
}

/// A hash of the turns and items that the loops around a task are at; 0 where there are none.
pub fn items(definition: &Definition, state: &State, task: TaskId) -> u64 {
    items_at(definition, state, task, None)
}

/// The same for a task that is about to be entered, as the first of this turn of its loop if so.
pub fn items_at(
    definition: &Definition,
    state: &State,
    task: TaskId,
    first_of: Option<u32>,
) -> u64 {
    let parent = definition.task(task).parent();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for around in state.ancestry(definition, task) {
        let Body::For { items, turn, .. } = &around.body else { continue };
        let begun = first_of.filter(|_| parent == Some(around.task));
        if let Some(turn) = begun.or(*turn)
            && let Some(item) = items.get(turn as usize)
        {
            parts.push(turn.to_le_bytes().to_vec());
            parts.push(canonical(item).into_bytes());
        }
    }
    if parts.is_empty() {
        return 0;
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    u64::from_le_bytes(Bits::derived(&parts).0[..8].try_into().unwrap_or_default())
}

/// Whether a call that nobody waits for any more has something to settle: it is under way or may
/// have been acted on, and that can do harm or be undone. What was never let out has nothing.
pub fn is_to_be_settled(definition: &Definition, state: &State, key: Key, under_way: bool) -> bool {
    let task = definition.task(key.0);
    let Some(entry) = state.ledger.get(key) else { return false };
    let known = match entry.knowledge {
        Knowledge::Done(_) => true,
        Knowledge::NotDone => !under_way,
        Knowledge::Unknown(_) => false,
    };
    let harmless = safe_by_definition(task) || entry.safe;
    let undoes = task.metadata.compensate.is_some();
    !known && (!harmless || undoes || matches!(task.kind, Kind::Run(_)))
}

/// The call goes on without its task: under way it is recorded, and where it can be asked for it is
/// asked for.
pub fn detach(definition: &Definition, state: &mut State, key: Key, fate: Fate) {
    if state.detached_place(key).is_some() {
        return;
    }
    let in_tree = state.find_any(definition, key.0).filter(|a| a.iteration == key.1);
    let Some(activation) = in_tree else { return };
    let mut kept = activation.clone();
    (kept.clock, kept.failed) = (None, None);
    if let Body::Call(call) = &mut kept.body
        && let Some(job) = &mut call.job
    {
        // nobody waits for it in time
        job.expires_at = None;
    }
    state.detached.push(kept);
    if let Some(entry) = state.ledger.get_mut(key)
        && !matches!(entry.fate, Fate::Undoing | Fate::Undone)
    {
        entry.fate = fate;
    }
}

/// Nobody waits for an effect of unknown outcome, but its receiver can be asked: the question goes
/// on by itself.
pub fn ask_beside(definition: &Definition, state: &mut State, key: Key) {
    let asks = definition.task(key.0).metadata.reconcile.is_some();
    let unknown =
        state.ledger.get(key).is_some_and(|e| matches!(e.knowledge, Knowledge::Unknown(_)));
    if asks && unknown && state.detached_place(key).is_none() {
        push_detached(definition, state, key, Fate::Detached);
    }
}

/// A detached call made from what the ledger keeps of it.
fn push_detached(definition: &Definition, state: &mut State, key: Key, fate: Fate) {
    let asking = definition.task(key.0).metadata.reconcile.is_some();
    let now = state.updated_at;
    let Some(entry) = state.ledger.get_mut(key) else { return };
    entry.fate = fate;
    let mut call = Call::new(asking, entry.attempts);
    call.service.clone_from(&entry.service);
    let pinned = entry.pinned.clone();
    let safe = entry.safe || safe_by_definition(definition.task(key.0));
    let counts_as_not_done = entry.knowledge == Knowledge::Unknown(Doubt::Answered) && !safe;
    let answer_is_gone = entry.is_done() && !asking;
    if answer_is_gone || (pinned.is_none() && !counts_as_not_done) {
        call.stage = Stage::Person { since: now };
    }
    let pinned = pinned.unwrap_or_else(|| Pinned {
        raw: Data::null(),
        input: Data::null(),
        context: None,
        started_at: entry.attempted_at,
        variables: Vec::new(),
    });
    let version = entry.version;
    state.detached.push(Activation {
        task: key.0,
        iteration: key.1,
        raw: pinned.raw,
        input: pinned.input,
        context: pinned.context,
        started_at: pinned.started_at,
        version,
        before: Vec::new(),
        reached: Vec::new(),
        clock: None,
        failed: None,
        body: Body::Call(Box::new(call)),
    });
}

/// The case begins to undo what it did: what is under way or unknown is settled first, what was done
/// and can be undone is due.
pub fn unwind(definition: &Definition, state: &mut State) {
    let keys: Vec<Key> = state.ledger.iter().map(Entry::key).collect();
    for key in keys {
        if definition.task(key.0).undoing.is_some() {
            // an undo that is under way goes on where it stands
            continue;
        }
        let metadata = &definition.task(key.0).metadata;
        let detached = state.detached_place(key).is_some();
        let Some(entry) = state.ledger.get_mut(key) else { continue };
        match (&entry.knowledge, entry.fate) {
            (_, Fate::Undoing | Fate::Undone) => {}
            (Knowledge::Done(_), _) if metadata.compensate.is_some() => {
                entry.fate = Fate::Due;
                ask_for_answer(definition, state, key);
            }
            (Knowledge::Done(_), _) => {}
            (_, _) if detached => entry.fate = Fate::Due,
            (Knowledge::Unknown(_), _) => settle_unknown(definition, state, key),
            (Knowledge::NotDone, _) => {}
        }
    }
}

/// Nobody waits for an effect of unknown outcome, and what it did is to be undone: it is asked for,
/// repeated, or left to a person, beside the flow.
fn settle_unknown(definition: &Definition, state: &mut State, key: Key) {
    let metadata = &definition.task(key.0).metadata;
    let silent = state
        .ledger
        .get(key)
        .is_some_and(|entry| entry.knowledge == Knowledge::Unknown(Doubt::Silent));
    if metadata.reconcile.is_some() || metadata.compensate.is_some() || silent {
        push_detached(definition, state, key, Fate::Due);
    }
}

/// What is to be undone was done, but its answer, which its compensation is made of, cannot be used: its
/// receiver is asked for it, else a person.
fn ask_for_answer(definition: &Definition, state: &mut State, key: Key) {
    let undoes = definition.task(key.0).metadata.compensate.is_some();
    let gone = state.ledger.get(key).is_some_and(|entry| {
        entry.knowledge == Knowledge::Done(Kept::Gone) && entry.fate == Fate::Due
    });
    if undoes && gone && state.detached_place(key).is_none() {
        push_detached(definition, state, key, Fate::Due);
    }
}

/// A branch that lost a race: what it did and can undo is due; what it may have done is settled.
/// `before` says how often its tasks had been entered when it was.
pub fn lost(definition: &Definition, state: &mut State, branch: TaskId, before: &[(TaskId, u32)]) {
    let (mut due, mut unknown) = (Vec::new(), Vec::new());
    let is_due = |entry: &Entry| {
        let task = definition.task(entry.task);
        let of_branch = task.path.contains(&branch) && task.undoing.is_none();
        let since = entry.iteration > count_in(before, entry.task);
        if !of_branch || !since || !matches!(entry.fate, Fate::Wanted | Fate::Detached) {
            return false;
        }
        if matches!(entry.knowledge, Knowledge::Unknown(_)) && entry.running.is_none() {
            unknown.push(entry.key());
            return false;
        }
        task.metadata.compensate.is_some()
    };
    state.ledger.change(is_due, |entry| {
        entry.fate = Fate::Due;
        due.push(entry.key());
    });
    for key in due {
        ask_for_answer(definition, state, key);
    }
    for key in unknown {
        match state.detached_place(key) {
            // it is asked for already
            Some(_) => {
                if let Some(entry) = state.ledger.get_mut(key) {
                    entry.fate = Fate::Due;
                }
            }
            None => settle_unknown(definition, state, key),
        }
    }
}

/// Whether a case that ends badly has anything to undo.
pub fn has_to_undo(definition: &Definition, state: &State) -> bool {
    state.undoing.is_some()
        || state.ledger.iter().any(|entry| {
            let undone = matches!(entry.fate, Fate::Undone);
            let known_not_done = entry.knowledge == Knowledge::NotDone && entry.running.is_none();
            let undoes = definition.task(entry.task).metadata.compensate.is_some();
            undoes && !undone && !known_not_done
        })
}

/// The call was done. `kept` is what is left of its answer; `said`: the event of now says it outright.
pub fn done(definition: &Definition, state: &mut State, key: Key, kept: Kept, said: bool) {
    let bytes = match &kept {
        Kept::Output(data) | Kept::Answer(data) if said => Some(size_of(data)),
        _ => None,
    };
    let brought = bytes.map(|bytes| Brought {
        version: state.version,
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
    });
    state.ledger.done(key, kept, brought);
    let undoes = definition.task(key.0).metadata.compensate.is_some();
    let unwinding = state.unwinding.is_some();
    if let Some(entry) = state.ledger.get_mut(key)
        && entry.fate == Fate::Due
        && !undoes
    {
        // it was only to be known
        entry.fate = Fate::Detached;
    }
    if let Some(entry) = state.ledger.get_mut(key)
        && unwinding
        && undoes
        && matches!(entry.fate, Fate::Wanted | Fate::Detached)
    {
        entry.fate = Fate::Due;
    }
    ask_for_answer(definition, state, key);
}
