//! What is counted of services.

use serde::{Deserialize, Serialize};

use super::{TableError, Views, keys};
use crate::domain::case::summary::Answered;
use crate::store::codec;

/// How calls to a service ended, since the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    pub answered: u64,
    pub failed: u64,
    pub unknown: u64,
}

impl Calls {
    /// Counts one.
    pub fn add(&mut self, how: Answered) {
        match how {
            Answered::Answered => self.answered += 1,
            Answered::Failed => self.failed += 1,
            Answered::Unknown => self.unknown += 1,
        }
    }
}

impl Views {
    /// How calls to this service ended.
    ///
    /// # Errors
    /// When sled fails; so below.
    pub fn calls(&self, service: &str) -> Result<Calls, TableError> {
        let row = self.table.get(&keys::calls(service))?;
        Ok(self.decoded(row)?.unwrap_or_default())
    }

    /// Sets the counts of a service.
    pub fn put_calls(&self, service: &str, calls: Calls) -> Result<(), TableError> {
        self.table.put(&keys::calls(service), &codec::encode(&calls))
    }
}
