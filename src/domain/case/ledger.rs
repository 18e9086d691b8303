//! The ledger of effects: one entry for each key that the case asked something of the outside under.
//! Retry, cancel, unwinding and reconciling read it and nothing else.
//!
//! What is known of an effect only grows: done stays done, and an unknown outcome stays unknown until
//! the effect was done, a question about it was answered, or a person said so.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::event::Doubt;
use crate::domain::data::Data;
use crate::domain::time::Timestamp;
use crate::domain::workflow::expr::json::size_of;
use crate::domain::workflow::model::TaskId;

/// Bytes of outputs and answers that a ledger keeps; beyond it the history has those of the oldest. The
/// tests reach it with a few short answers.
const DATA_KEPT: usize = if cfg!(test) { 100 } else { 256 * 1024 };

/// The entries, in the order in which they were begun; what is done moves to the end. A decision that
/// changes none of them shares them with the state before it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    entries: Vec<Arc<Entry>>,
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
    /// Leases of it that were lost, since a person took it up last.
    pub lost: u32,
    /// When its iteration was queued first, where a worker outside does it.
    pub queued_at: Option<Timestamp>,
    /// An attempt was left behind that may still bring an answer: its number must not be given again.
    pub cut: bool,
    /// Of a task with others below it: which entries of those it stands for. Its compensation undoes
    /// what they did.
    pub covers: Vec<Covered>,
    pub knowledge: Knowledge,
    /// The event that brought what is kept, where it says it outright.
    pub brought: Option<Brought>,
    pub fate: Fate,
}

/// An event that holds what an effect has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Brought {
    pub version: u64,
    /// Of the data, near enough.
    pub bytes: u32,
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
    /// The output, or the raw answer, stands in the event of this version: there was too much to keep.
    Recorded { version: u64, raw: bool },
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

impl Kept {
    /// The data, where it is here.
    pub fn into_data(self) -> Data {
        match self {
            Self::Output(data) | Self::Answer(data) => data,
            Self::Gone | Self::Recorded { .. } => Data::null(),
        }
    }
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

    /// The input of its compensation. None: only the history has it.
    pub fn undo_input(&self) -> Option<Data> {
        match &self.knowledge {
            Knowledge::Done(Kept::Output(data) | Kept::Answer(data)) => Some(data.clone()),
            Knowledge::Done(Kept::Recorded { .. }) => None,
            Knowledge::Done(Kept::Gone) | Knowledge::Unknown(_) | Knowledge::NotDone => {
                Some(Data::null())
            }
        }
    }

    /// Bytes of what is kept that the history has as well.
    fn spare_bytes(&self) -> usize {
        match (&self.knowledge, self.brought) {
            (Knowledge::Done(Kept::Output(_) | Kept::Answer(_)), Some(brought)) => {
                brought.bytes as usize
            }
            _ => 0,
        }
    }

    /// It was undone: nobody asks any more for what it has left.
    pub fn was_undone(&mut self) {
        self.fate = Fate::Undone;
        self.brought = None;
        if let Knowledge::Done(kept) = &mut self.knowledge
            && *kept != Kept::Gone
        {
            *kept = Kept::Output(Data::null());
        }
    }

    /// What the effect has left is here again, and stays.
    pub fn read_back(&mut self, data: Data) {
        if let Knowledge::Done(kept @ Kept::Recorded { .. }) = &mut self.knowledge {
            *kept = match kept {
                Kept::Recorded { raw: true, .. } => Kept::Answer(data),
                _ => Kept::Output(data),
            };
            self.brought = None;
        }
    }

    /// Keeps of what the effect has left only where it stands.
    fn put_away(&mut self) {
        let Some(Brought { version, .. }) = self.brought else { return };
        if let Knowledge::Done(kept @ (Kept::Output(_) | Kept::Answer(_))) = &mut self.knowledge {
            *kept = Kept::Recorded { version, raw: matches!(kept, Kept::Answer(_)) };
        }
    }
}

impl Ledger {
    /// All entries.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().map(|entry| &**entry)
    }

    /// Changes the entries that are wanted, the oldest first.
    pub fn change(
        &mut self,
        mut wanted: impl FnMut(&Entry) -> bool,
        mut change: impl FnMut(&mut Entry),
    ) {
        self.entries
            .iter_mut()
            .filter_map(|entry| wanted(entry).then(|| Arc::make_mut(entry)))
            .for_each(&mut change);
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
        self.iter().rev().find(|e| e.task == task && e.iteration == iteration)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, (task, iteration): (TaskId, u32)) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut().rev();
        entries.find(|e| e.task == task && e.iteration == iteration).map(Arc::make_mut)
    }

    /// Adds an entry; an older generation of it has ended and leaves.
    pub fn begin(&mut self, entry: Entry) {
        self.entries.retain(|known| known.key() != entry.key());
        self.entries.push(Arc::new(entry));
    }

    /// The effect was done; the latest stands last.
    pub fn done(&mut self, key: (TaskId, u32), kept: Kept, brought: Option<Brought>) {
        if let Some(place) = self.entries.iter().rposition(|e| e.key() == key) {
            let mut shared = self.entries.remove(place);
            let entry = Arc::make_mut(&mut shared);
            if kept != Kept::Gone {
                // it is not called again under this generation
                entry.pinned = None;
            }
            entry.knowledge = Knowledge::Done(kept);
            entry.brought = brought;
            entry.running = None;
            self.entries.push(shared);
        }
    }

    /// Forgets the entries that are not needed any more.
    pub fn retain(&mut self, mut needed: impl FnMut(&Entry) -> bool) {
        self.entries.retain(|entry| needed(entry));
    }

    /// Whether what the entries keep of what their effects have left stays within its bound, but for the one
    /// that is undone next.
    pub fn is_bound(&self) -> bool {
        let kept = |entry: &Entry| match &entry.knowledge {
            Knowledge::Done(Kept::Output(data) | Kept::Answer(data)) if **data != Json::Null => {
                size_of(data)
            }
            Knowledge::Done(_) | Knowledge::NotDone | Knowledge::Unknown(_) => 0,
        };
        let undone = |entry: &&Entry| {
            matches!(entry.fate, Fate::Due | Fate::Undoing) && entry.brought.is_none()
        };
        self.iter().filter(|entry| !undone(entry)).map(kept).sum::<usize>() <= DATA_KEPT
    }

    fn spare_bytes(&self) -> usize {
        self.iter().map(Entry::spare_bytes).sum()
    }

    /// Through which version the history alone has to have what the effects have left, so that what is
    /// kept stays within its bound; none: it does.
    pub fn too_much(&self) -> Option<u64> {
        let mut spare = self.spare_bytes().checked_sub(DATA_KEPT + 1)? + 1;
        let mut kept: Vec<Brought> = self
            .iter()
            .filter(|entry| entry.spare_bytes() > 0)
            .filter_map(|entry| entry.brought)
            .collect();
        kept.sort_unstable_by_key(|brought| brought.version);
        let enough = |brought: &Brought| {
            spare = spare.saturating_sub(brought.bytes as usize);
            spare == 0
        };
        kept.into_iter().find(enough).map(|brought| brought.version)
    }

    /// What events up to this version have brought stands in the history alone.
    pub fn trim(&mut self, through: u64) {
        let is_old = |entry: &Entry| {
            entry.spare_bytes() > 0 && entry.brought.is_some_and(|b| b.version <= through)
        };
        self.change(is_old, Entry::put_away);
    }
}
