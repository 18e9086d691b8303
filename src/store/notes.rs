//! What was committed, handed on to the one who keeps the views.
//!
//! The committer never waits for the reader. Of an entity that was noted several times before the
//! reader came, only the latest note is kept, so that the queue is as long as there are entities
//! in motion; beyond a bound it is dropped, and the reader goes back to the journal, which has it
//! all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use super::journal::cursor::RecordCursor;
use super::record::Hash;
use crate::domain::ids::Entity;

/// Entities that wait at the most.
const QUEUE_MAX: usize = 50_000;

/// Bytes of records and notes that wait at the most.
const BYTES_MAX: usize = 64 << 20;

/// A note that can take an older one of the same entity into itself.
pub trait Absorb {
    /// Takes in what an older note says that this one does not.
    fn absorb(&mut self, older: Self);

    /// Bytes that it holds, near enough.
    fn bytes(&self) -> usize;
}

/// A committed record.
#[derive(Debug)]
pub struct Committed<N> {
    pub at: RecordCursor,
    pub entity: Entity,
    pub content: Content<N>,
}

/// What is known of a committed record.
#[derive(Debug)]
pub enum Content<N> {
    /// What whoever appended it has to say, so that nothing is folded twice.
    Note(N),
    /// The record itself.
    Record(Bytes),
}

/// What the reader takes: all that was committed after one position up to another.
#[derive(Debug)]
pub struct Taken<N> {
    pub after: RecordCursor,
    pub through: RecordCursor,
    /// Of the record there.
    pub hash: Hash,
    /// Since when the oldest of it waited.
    pub since: Instant,
    /// By place.
    pub items: Vec<Committed<N>>,
}

/// The queue between committer and reader.
pub struct Notes<N> {
    queue: Mutex<Queue<N>>,
    arrived: Notify,
}

struct Queue<N> {
    items: Vec<Committed<N>>,
    noted: HashMap<Entity, usize>,
    after: RecordCursor,
    through: RecordCursor,
    hash: Hash,
    /// Bytes of what was pushed since the last take.
    bytes: usize,
    since: Option<Instant>,
}

impl<N: Absorb> Notes<N> {
    /// An empty queue behind a place.
    pub fn behind(place: RecordCursor) -> Self {
        let queue = Queue {
            items: Vec::new(),
            noted: HashMap::new(),
            after: place,
            through: place,
            hash: [0; 16],
            bytes: 0,
            since: None,
        };
        Self { queue: Mutex::new(queue), arrived: Notify::new() }
    }

    /// Adds what one commit brought; `hash` is of its last record.
    pub fn push(&self, committed: Vec<Committed<N>>, hash: Hash) {
        let mut queue = self.lock();
        queue.bytes += committed.iter().map(Committed::bytes).sum::<usize>();
        if queue.items.len() + committed.len() > QUEUE_MAX || queue.bytes > BYTES_MAX {
            queue.items.clear();
            queue.bytes = 0;
            queue.noted.clear();
            queue.after = queue.through;
        }
        queue.since.get_or_insert_with(Instant::now);
        for one in committed {
            queue.add(one);
        }
        queue.hash = hash;
        drop(queue);
        self.arrived.notify_one();
    }

    /// Everything that has arrived; waits until there is something.
    pub async fn take(&self) -> Taken<N> {
        loop {
            if let Some(taken) = self.try_take() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// Everything that has arrived, if anything has.
    pub fn try_take(&self) -> Option<Taken<N>> {
        let mut queue = self.lock();
        let since = queue.since.take()?;
        queue.noted.clear();
        queue.bytes = 0;
        let mut items = std::mem::take(&mut queue.items);
        let (after, through, hash) = (queue.after, queue.through, queue.hash);
        queue.after = through;
        drop(queue);
        items.sort_unstable_by_key(|one| one.at);
        Some(Taken { after, through, hash, since, items })
    }

    /// Since when the oldest record waits, if one does.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.lock().since
    }

    fn lock(&self) -> MutexGuard<'_, Queue<N>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<N: Absorb> Committed<N> {
    fn bytes(&self) -> usize {
        match &self.content {
            Content::Record(record) => record.len(),
            Content::Note(note) => note.bytes(),
        }
    }
}

impl<N: Absorb> Queue<N> {
    fn add(&mut self, mut one: Committed<N>) {
        self.through = one.at;
        if matches!(one.content, Content::Record(_)) {
            self.items.push(one);
            return;
        }
        let Some(&place) = self.noted.get(&one.entity) else {
            self.noted.insert(one.entity, self.items.len());
            self.items.push(one);
            return;
        };
        let known = &mut self.items[place];
        std::mem::swap(known, &mut one);
        if let (Content::Note(newer), Content::Note(older)) = (&mut known.content, one.content) {
            newer.absorb(older);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Bits, EntityKind};

    impl Absorb for Vec<u64> {
        fn absorb(&mut self, older: Self) {
            self.splice(0..0, older);
        }

        fn bytes(&self) -> usize {
            8 * self.len()
        }
    }

    fn noted(position: u64, entity: u8) -> Committed<Vec<u64>> {
        let entity = Entity { kind: EntityKind::Case, bits: Bits([entity; 16]) };
        Committed { at: RecordCursor(position), entity, content: Content::Note(vec![position]) }
    }

    #[test]
    fn the_latest_note_of_an_entity_takes_in_the_older_ones() {
        let notes = Notes::behind(RecordCursor(10));
        notes.push(vec![noted(11, 1), noted(12, 2)], [2; 16]);
        notes.push(vec![noted(13, 1)], [3; 16]);
        let taken = notes.try_take().unwrap();
        assert_eq!((taken.after, taken.through), (RecordCursor(10), RecordCursor(13)));
        assert_eq!(taken.hash, [3; 16]);
        let told: Vec<_> = taken
            .items
            .into_iter()
            .map(|one| match one.content {
                Content::Note(note) => (one.at.0, note),
                Content::Record(_) => unreachable!(),
            })
            .collect();
        assert_eq!(told, [(12, vec![12]), (13, vec![11, 13])]);
        assert!(notes.try_take().is_none());
    }

    #[test]
    fn too_much_is_dropped_and_the_reader_can_tell() {
        let notes = Notes::behind(RecordCursor(0));
        for position in 1..=QUEUE_MAX as u64 + 1 {
            let mut one = noted(position, 0);
            one.entity.bits.0[..8].copy_from_slice(&position.to_be_bytes());
            notes.push(vec![one], [0; 16]);
        }
        let taken = notes.try_take().unwrap();
        let (after, through) = (taken.after.0, taken.through.0);
        assert_eq!((after, through), (QUEUE_MAX as u64, QUEUE_MAX as u64 + 1));
        assert_eq!(taken.items.len(), 1);
    }

    #[test]
    fn so_are_too_many_bytes() {
        let notes: Notes<Vec<u64>> = Notes::behind(RecordCursor(0));
        let record = Bytes::from(vec![0; BYTES_MAX / 4]);
        for position in 1..=6 {
            let mut one = noted(position, position as u8);
            one.content = Content::Record(record.clone());
            notes.push(vec![one], [0; 16]);
        }
        let taken = notes.try_take().unwrap();
        assert_eq!((taken.after, taken.items.len()), (RecordCursor(4), 2));
    }
}
