//! Cases that have to be told something: a row lasts until they were, so that no crash in between
//! loses it.

use std::ops::Bound;

use super::keys::Short;
use super::{TableError, Views, keys};
use crate::domain::ids::{Bits, CaseId, EventCursor};
use crate::store::journal::RecordCursor;

/// What a case has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// An event stands there, for whoever listens so.
    Event { place: EventCursor, shape: Short, values: Short },
    /// A child has ended.
    Child(CaseId),
}

/// News for a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    pub case: CaseId,
    pub news: News,
    /// The record for which it was noted, last.
    pub noted: RecordCursor,
}

impl Wake {
    fn key(&self) -> Vec<u8> {
        match &self.news {
            News::Event { place, shape, values } => {
                let place = place.0.to_be_bytes();
                keys::key(keys::WAKE, &[&self.case.0.0, b"e", shape, values, &place])
            }
            News::Child(child) => keys::key(keys::WAKE, &[&self.case.0.0, b"c", &child.0.0]),
        }
    }

    fn row(&self) -> (Vec<u8>, Vec<u8>) {
        (self.key(), self.noted.0.to_be_bytes().to_vec())
    }

    fn of((key, value): &(Vec<u8>, Vec<u8>)) -> Option<Self> {
        let case = CaseId(Bits(key.get(1..17)?.try_into().ok()?));
        let news = match key.get(17)? {
            b'e' => News::Event {
                shape: key.get(18..26)?.try_into().ok()?,
                values: key.get(26..34)?.try_into().ok()?,
                place: EventCursor(keys::number_at(key, 34)?),
            },
            _ => News::Child(CaseId(Bits(key.get(18..)?.try_into().ok()?))),
        };
        Some(Self { case, news, noted: RecordCursor(keys::number_at(value, 0)?) })
    }
}

impl Views {
    /// Notes that a case has to be told.
    ///
    /// # Errors
    /// When sled fails; so below.
    pub fn put_wake(&self, wake: &Wake) -> Result<(), TableError> {
        let (key, value) = wake.row();
        self.table.put(&key, &value)
    }

    /// It was told of these. What was noted again meanwhile stays.
    pub fn remove_wakes<'a>(
        &self,
        wakes: impl Iterator<Item = &'a Wake>,
    ) -> Result<(), TableError> {
        self.table.remove_same(wakes.map(Wake::row))
    }

    /// Cases that have to be told something, at most so many, from one on.
    pub fn to_be_told(
        &self,
        after: Option<CaseId>,
        most: usize,
    ) -> Result<Vec<CaseId>, TableError> {
        let mut found: Vec<CaseId> = after.into_iter().collect();
        let before = found.len();
        while found.len() - before < most {
            // behind everything that the last one has to be told
            let behind = found.last().map(|case| keys::key(keys::WAKE, &[&case.0.0, &[u8::MAX]]));
            let start = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let Some(next) = self.table.scan(&[keys::WAKE], start).next() else { break };
            let Some(wake) = Wake::of(&next?) else { break };
            found.push(wake.case);
        }
        found.drain(..before);
        Ok(found)
    }

    /// Children of a case that have ended, at most so many.
    pub fn news_of_children(&self, case: CaseId, most: usize) -> Result<Vec<Wake>, TableError> {
        self.news(&keys::key(keys::WAKE, &[&case.0.0, b"c"]), most)
    }

    /// Events for those who listen so in a case, the oldest first, at most so many.
    pub fn news_of_events(
        &self,
        case: CaseId,
        (shape, values): (Short, Short),
        most: usize,
    ) -> Result<Vec<Wake>, TableError> {
        self.news(&keys::key(keys::WAKE, &[&case.0.0, b"e", &shape, &values]), most)
    }

    /// Events for a case, whoever listens in it, at most so many.
    pub fn news_of_all_events(&self, case: CaseId, most: usize) -> Result<Vec<Wake>, TableError> {
        self.news(&keys::key(keys::WAKE, &[&case.0.0, b"e"]), most)
    }

    fn news(&self, prefix: &[u8], most: usize) -> Result<Vec<Wake>, TableError> {
        let found = self.table.scan(prefix, Bound::Unbounded).take(most);
        found.filter_map(|row| row.map(|row| Wake::of(&row)).transpose()).collect()
    }
}
