//! The ledger of effects: one entry for each key that the case asked something of the outside under.
//! Retry, cancel, unwinding and reconciling read it and nothing else.
//!
//! What is known of an effect only grows: done stays done, and an unknown outcome stays unknown until
//! the effect was done, a question about it was answered, or a person said so.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::Doubt;
use crate::domain::data::Data;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::json::size_of;
use crate::domain::workflow::model::TaskId;

/// The entries, in the order in which they were begun; what is done moves to the end.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    entries: Vec<Entry>,
}

/// One effect: a task's entry, and which generation of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub task: TaskId,
    pub iteration: u32,
    /// Rises when the effect is asked for anew: after it was undone, after a child that ended badly,
    /// for another item of a loop.
    pub generation: u32,
    /// What it was asked with; none where nobody but a person can settle it.
    pub pinned: Option<Pinned>,
    /// The service that the call itself went to last.
    pub service: Option<Arc<str>>,
    /// The attempt under way, if one is.
    pub running: Option<u32>,
    /// Attempts started, questions among them.
    pub attempts: u32,
    /// When the last attempt of the call itself started.
    pub attempted_at: Timestamp,
    /// The call is known to be safe to repeat by its method (of an OpenAPI operation).
    pub safe: bool,
    /// Version of the event that began it.
    pub version: u64,
    /// The items of the loops around it, as a hash: for another item it is another effect.
    pub items: u64,
    /// An attempt was left behind that may still bring an answer: its number must not be given again.
    pub cut: bool,
    /// Of a task with others below it: which entries of those it stands for. Its compensation undoes
    /// what they did.
    pub covers: Vec<Covered>,
    pub knowledge: Knowledge,
    pub fate: Fate,
}

/// The entries of a task from one on (that one left out) to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Covered {
    pub task: TaskId,
    pub after: u32,
    pub through: u32,
}

impl Covered {
    /// Whether an entry is among them.
    pub fn has(&self, entry: &Entry) -> bool {
        self.task == entry.task && (self.after + 1..=self.through).contains(&entry.iteration)
    }
}

/// What a repeat of a call has to be made of: the same as before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pinned {
    pub raw: Data,
    pub input: Data,
    pub context: Option<Data>,
    pub started_at: Timestamp,
    /// The variables of the loops and catches around it, the innermost last.
    pub variables: Vec<(Arc<str>, Data)>,
}

/// Whether the effect was done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Knowledge {
    NotDone,
    Unknown(Doubt),
    Done(Kept),
}

/// What is kept of an effect that was done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Kept {
    /// The task's output.
    Output(Data),
    /// The raw answer; no output was made of it.
    Answer(Data),
    /// It was done, but what was answered cannot be used.
    Gone,
}

/// What is to become of the effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// A task of the flow waits for it, or took its output.
    Wanted,
    /// It has left the flow; what becomes of it is recorded.
    Detached,
    /// What it did, or turns out to have done, is to be undone.
    Due,
    /// Its compensation runs.
    Undoing,
    Undone,
}

impl Pinned {
    /// Bytes that it takes, near enough.
    pub fn size(&self) -> usize {
        let variables = self.variables.iter().map(|(name, value)| name.len() + size_of(value));
        let context = self.context.as_ref().map_or(0, |context| size_of(context));
        size_of(&self.raw) + size_of(&self.input) + context + variables.sum::<usize>()
    }
}

impl Entry {
    /// Its compensation undoes what these entries did, too.
    pub fn cover(&mut self, more: Covered) {
        let joins = |known: &&mut Covered| {
            known.task == more.task && more.after <= known.through && known.after <= more.through
        };
        match self.covers.iter_mut().find(joins) {
            Some(known) => {
                known.after = known.after.min(more.after);
                known.through = known.through.max(more.through);
            }
            None => self.covers.push(more),
        }
    }

    /// The task and which entry of it.
    pub fn key(&self) -> (TaskId, u32) {
        (self.task, self.iteration)
    }

    /// Whether the effect was done.
    pub fn is_done(&self) -> bool {
        matches!(self.knowledge, Knowledge::Done(_))
    }

    /// An attempt came to nothing that anybody knows. Only doubt is added, silence being the greater one;
    /// none is taken away.
    pub fn doubt(&mut self, doubt: Doubt) {
        let grows = match (&self.knowledge, doubt) {
            (Knowledge::NotDone, _) => true,
            (Knowledge::Unknown(Doubt::Answered), Doubt::Silent) => true,
            (Knowledge::Unknown(_) | Knowledge::Done(_), _) => false,
        };
        if grows {
            self.knowledge = Knowledge::Unknown(doubt);
        }
    }

    /// It is known now that it was not done: where no answer of it is left, a person says so.
    pub fn was_not_done(&mut self) {
        if !self.is_done() || self.knowledge == Knowledge::Done(Kept::Gone) {
            self.knowledge = Knowledge::NotDone;
        }
    }

    /// The input of its compensation.
    pub fn undo_input(&self) -> Data {
        match &self.knowledge {
            Knowledge::Done(Kept::Output(data) | Kept::Answer(data)) => data.clone(),
            Knowledge::Done(Kept::Gone) | Knowledge::Unknown(_) | Knowledge::NotDone => {
                Data::null()
            }
        }
    }
}

impl Ledger {
    /// All entries.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// All entries, to change them.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a key.
    pub fn get(&self, (task, iteration): (TaskId, u32)) -> Option<&Entry> {
        self.entries.iter().rev().find(|e| e.task == task && e.iteration == iteration)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, (task, iteration): (TaskId, u32)) -> Option<&mut Entry> {
        self.entries.iter_mut().rev().find(|e| e.task == task && e.iteration == iteration)
    }

    /// Adds an entry; an older generation of it has ended and leaves.
    pub fn begin(&mut self, entry: Entry) {
        self.entries.retain(|known| known.key() != entry.key());
        self.entries.push(entry);
    }

    /// The effect was done; the latest stands last.
    pub fn done(&mut self, key: (TaskId, u32), kept: Kept) {
        if let Some(place) = self.entries.iter().rposition(|e| e.key() == key) {
            let mut entry = self.entries.remove(place);
            entry.knowledge = Knowledge::Done(kept);
            entry.running = None;
            self.entries.push(entry);
        }
    }

    /// Forgets the entries that are not needed any more.
    pub fn retain(&mut self, needed: impl FnMut(&Entry) -> bool) {
        self.entries.retain(needed);
    }
}
