//! A journal in memory that can be told to fail, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Append, Appended, EventCursor, Journal, Last, Page, ReadError, Receipt, RecordCursor, Refused,
    Tail,
};
use crate::domain::ids::{Entity, EntityKind};
use crate::store::notes::{Committed, Content, Notes};
use crate::store::record::{self, RECORD_MAX};

/// What happens to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is stored, and the answer is lost.
    AnswerLost,
    /// It is not stored, and nobody says so.
    NotStored,
}

/// The journal.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Mutex<Shared>>,
    notes: Arc<Notes<Vec<u64>>>,
}

#[derive(Default)]
struct Shared {
    /// The record at place n stands at n + 1.
    records: Vec<(Entity, u64, Vec<u8>)>,
    troubles: VecDeque<Trouble>,
    closed: bool,
}

/// The place of an entity's last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence(u64);

impl Default for Memory {
    fn default() -> Self {
        Self { shared: Arc::default(), notes: Arc::new(Notes::behind(RecordCursor(0))) }
    }
}

impl Memory {
    /// The next appends meet with these troubles, one each.
    pub fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.lock().troubles.extend(troubles);
    }

    /// The same records, after a crash.
    pub fn reopened(&self) -> Self {
        let records = self.lock().records.clone();
        let end = RecordCursor(records.len() as u64);
        let shared = Shared { records, ..Shared::default() };
        Self { shared: Arc::new(Mutex::new(shared)), notes: Arc::new(Notes::behind(end)) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, appends: Vec<Append<Fence, Vec<u64>>>) -> Appended<Vec<Fence>> {
        let mut shared = self.lock();
        if appends.iter().any(|append| append.record.len() > RECORD_MAX) {
            return Appended::Refused(Refused::TooLarge);
        }
        if shared.closed {
            return Appended::Refused(Refused::Closed);
        }
        let trouble = shared.troubles.pop_front();
        if trouble == Some(Trouble::NotStored) {
            return Appended::Unknown;
        }
        let twice = |place: usize| {
            appends[..place].iter().any(|earlier| earlier.entity == appends[place].entity)
        };
        let stale = |append: &Append<_, _>| shared.last_of(append.entity) != append.fence;
        if appends.iter().any(stale) || (0..appends.len()).any(twice) {
            return Appended::Conflict;
        }
        let mut fences = Vec::new();
        for Append { entity, first, record, note, .. } in appends {
            shared.records.push((entity, first, record.to_vec()));
            let at = shared.records.len() as u64;
            fences.push(Fence(at));
            let hash = record::hash(&record);
            let content = note.map_or(Content::Record(record), Content::Note);
            self.notes.push(vec![Committed { at: RecordCursor(at), entity, content }], hash);
        }
        match trouble {
            Some(_) => Appended::Unknown,
            None => Appended::Committed(fences),
        }
    }
}

impl Shared {
    fn last_of(&self, entity: Entity) -> Option<Fence> {
        self.of(entity).last().map(|(fence, ..)| fence)
    }

    fn of(&self, entity: Entity) -> impl Iterator<Item = (Fence, u64, &Vec<u8>)> {
        let placed = (1..).zip(&self.records).filter(move |(_, (of, ..))| *of == entity);
        placed.map(|(place, (_, first, record))| (Fence(place), *first, record))
    }
}

impl Journal for Memory {
    type Fence = Fence;
    type Note = Vec<u64>;

    fn promise(&self) -> Receipt {
        Receipt::Journaled
    }

    async fn append(&self, append: Append<Fence, Vec<u64>>) -> Appended<Fence> {
        match self.store(vec![append]) {
            Appended::Committed(fences) => Appended::Committed(fences[0]),
            Appended::Conflict => Appended::Conflict,
            Appended::Unknown => Appended::Unknown,
            Appended::Refused(refused) => Appended::Refused(refused),
        }
    }

    async fn append_all_or_none(
        &self,
        appends: Vec<Append<Fence, Vec<u64>>>,
    ) -> Appended<Vec<Fence>> {
        self.store(appends)
    }

    async fn read(&self, entity: Entity, from: u64, most: usize) -> Result<Page<Fence>, ReadError> {
        let shared = self.lock();
        let behind = shared.of(entity).filter(|(_, first, _)| *first >= from);
        let mut behind: Vec<_> = behind.collect();
        let all = behind.len() <= most;
        behind.truncate(most);
        let fence = behind.last().map(|(fence, ..)| *fence);
        Ok(Page { records: behind.into_iter().map(|(.., r)| r.clone()).collect(), fence, all })
    }

    async fn holding(&self, entity: Entity, version: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let shared = self.lock();
        let before = shared.of(entity).filter(|(_, first, _)| *first <= version);
        Ok(before.last().map(|(.., record)| record.clone()))
    }

    async fn last(&self, entity: Entity) -> Result<Option<Last<Fence>>, ReadError> {
        let shared = self.lock();
        let last = shared.of(entity).last();
        Ok(last.map(|(fence, _, record)| Last { record: record.clone(), fence }))
    }

    async fn entities(&self, kind: EntityKind) -> Result<Vec<Entity>, ReadError> {
        let shared = self.lock();
        let mut found: Vec<Entity> = Vec::new();
        for (entity, ..) in &shared.records {
            if entity.kind == kind && !found.contains(entity) {
                found.push(*entity);
            }
        }
        Ok(found)
    }

    async fn tail(
        &self,
        after: RecordCursor,
        most: usize,
    ) -> Result<Tail<RecordCursor>, ReadError> {
        let shared = self.lock();
        let placed = (1..).zip(&shared.records).skip(after.0 as usize).take(most);
        let records: Vec<_> = placed.map(|(at, (.., r))| (RecordCursor(at), r.clone())).collect();
        let next = records.last().map_or(after, |(at, _)| *at);
        let all = next.0 >= shared.records.len() as u64;
        Ok(Tail { records, lost: Vec::new(), next, all })
    }

    async fn events(
        &self,
        after: EventCursor,
        most: usize,
    ) -> Result<Tail<EventCursor>, ReadError> {
        let shared = self.lock();
        let placed = (1..).zip(&shared.records).skip(after.0 as usize).take(most);
        let events = placed.filter(|(_, (of, ..))| of.kind == EntityKind::CloudEvent);
        let records = events.map(|(at, (.., r))| (EventCursor(at), r.clone())).collect();
        let end = shared.records.len() as u64;
        let next = EventCursor(end.min(after.0.saturating_add(most as u64)).max(after.0));
        Ok(Tail { records, lost: Vec::new(), next, all: next.0 >= end })
    }

    async fn end(&self) -> Result<RecordCursor, ReadError> {
        Ok(RecordCursor(self.lock().records.len() as u64))
    }

    fn notes(&self) -> Arc<Notes<Vec<u64>>> {
        self.notes.clone()
    }

    async fn close(&self) {
        self.lock().closed = true;
    }
}

mod tests {
    use super::super::suite::{World, run};
    use super::*;

    struct InMemory;

    impl World for InMemory {
        type Journal = Memory;

        fn open(&self) -> Memory {
            Memory::default()
        }

        async fn reopen(&self, old: Memory) -> Memory {
            old.reopened()
        }
    }

    #[tokio::test]
    async fn it_keeps_the_contract() {
        run(|| InMemory).await;
    }
}
