//! Cases that have to be told something: a row lasts until they were, so that no crash in between
//! loses it.

use std::ops::Bound;

use super::{TableError, Views, keys};
use crate::domain::ids::{Bits, CaseId, EventCursor};

/// What a case has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// An event stands there.
    Event(EventCursor),
    /// A child has ended.
    Child(CaseId),
}

/// News for a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    pub case: CaseId,
    pub news: News,
}

impl Wake {
    fn key(&self) -> Vec<u8> {
        match self.news {
            News::Event(place) => {
                keys::key(keys::WAKE, &[&self.case.0.0, b"e", &place.0.to_be_bytes()])
            }
            News::Child(child) => keys::key(keys::WAKE, &[&self.case.0.0, b"c", &child.0.0]),
        }
    }

    fn of(key: &[u8]) -> Option<Self> {
        let case = CaseId(Bits(key.get(1..17)?.try_into().ok()?));
        let rest = key.get(18..)?;
        let news = match key.get(17)? {
            b'e' => News::Event(EventCursor(u64::from_be_bytes(rest.try_into().ok()?))),
            _ => News::Child(CaseId(Bits(rest.try_into().ok()?))),
        };
        Some(Self { case, news })
    }
}

impl Views {
    /// Notes that a case has to be told.
    ///
    /// # Errors
    /// When sled fails; so below.
    pub fn put_wake(&self, wake: &Wake) -> Result<(), TableError> {
        self.table.put(&wake.key(), &[])
    }

    /// It was told.
    pub fn remove_wake(&self, wake: &Wake) -> Result<(), TableError> {
        self.table.remove(&wake.key())
    }

    /// Who has to be told what, at most so many, from one on.
    pub fn wakes(&self, after: Option<Wake>, most: usize) -> Result<Vec<Wake>, TableError> {
        let after = after.map(|wake| wake.key());
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.table.scan(&[keys::WAKE], start).take(most);
        found.filter_map(|e| e.map(|(key, _)| Wake::of(&key)).transpose()).collect()
    }
}
