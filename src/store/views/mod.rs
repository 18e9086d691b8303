//! Views: what lists, timers, services and listeners are looked up in. A cache of the journal, kept
//! by one writer; it may be deleted at any time, and is made anew when it is missing, damaged, of
//! another schema, or when the machine went down under it.

pub mod cases;
pub mod dead_letters;
pub mod events;
mod keys;
pub mod lists;
pub mod services;
mod table;
#[cfg(test)]
mod tests;
pub mod wakes;

use std::path::Path;

use table::Table;
pub use table::TableError;

use super::codec;
use crate::domain::ids::CaseId;

/// Raised whenever the rows change their meaning.
const SCHEMA: u32 = 1;

const META_KEY: [u8; 1] = [keys::META];
const POSITION_KEY: [u8; 2] = [keys::META, b'p'];

/// What the table was made by, and on which run of which machine it was last opened.
#[derive(serde::Serialize, serde::Deserialize, PartialEq)]
struct Meta {
    schema: u32,
    machine: String,
    closed: bool,
}

/// The views. Cheap to clone; all but the projector only read.
#[derive(Clone)]
pub struct Views {
    table: Table,
    machine: String,
}

impl Views {
    /// Opens the views in a folder. `machine` names this run of the machine: after a power cut or
    /// a reboot that found the views open, they are not believed; nor when they claim to know more
    /// than the journal, which ends at `last`.
    ///
    /// # Errors
    /// When not even new views can be made.
    pub fn open(folder: &Path, machine: &str, last: u64) -> Result<Self, TableError> {
        let (mut table, aside) = Table::open(folder)?;
        let known = table.get(&META_KEY)?.and_then(|bytes| codec::decode::<Meta>(&bytes));
        let good = known
            .as_ref()
            .is_some_and(|meta| meta.schema == SCHEMA && (meta.closed || meta.machine == machine));
        let empty = known.is_none() && table.get(&POSITION_KEY)?.is_none();
        if !good && !empty && !aside {
            tracing::warn!("the views are of another version or machine run, and are made anew");
            table = table.anew(folder)?;
        }
        let mut views = Self { table, machine: machine.to_owned() };
        if views.position()? > last {
            tracing::warn!("the views are of another journal, and are made anew");
            views.table = views.table.anew(folder)?;
        }
        views.mark(false)?;
        Ok(views)
    }

    fn mark(&self, closed: bool) -> Result<(), TableError> {
        let meta = Meta { schema: SCHEMA, machine: self.machine.clone(), closed };
        self.table.put(&META_KEY, &codec::encode(&meta))
    }

    /// Writes out everything and notes that the views were closed in good order.
    ///
    /// # Errors
    /// When sled fails.
    pub fn close(&self) -> Result<(), TableError> {
        self.mark(true)?;
        self.table.flush()
    }

    /// The journal's position up to which the views are complete.
    ///
    /// # Errors
    /// When sled fails.
    pub fn position(&self) -> Result<u64, TableError> {
        let bytes = self.table.get(&POSITION_KEY)?;
        Ok(bytes.and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?))).unwrap_or(0))
    }

    /// Notes that they are complete up to there; after everything else of the batch.
    ///
    /// # Errors
    /// When sled fails.
    pub fn set_position(&self, position: u64) -> Result<(), TableError> {
        self.table.put(&POSITION_KEY, &position.to_be_bytes())
    }

    /// A case's snapshot.
    ///
    /// # Errors
    /// When sled fails.
    pub fn snapshot(&self, case: CaseId) -> Result<Option<Vec<u8>>, TableError> {
        let bytes = self.table.get(&keys::of_case(keys::SNAPSHOT, case))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// Keeps a case's snapshot.
    ///
    /// # Errors
    /// When sled fails.
    pub fn put_snapshot(&self, case: CaseId, snapshot: &[u8]) -> Result<(), TableError> {
        self.table.put(&keys::of_case(keys::SNAPSHOT, case), snapshot)
    }

    /// Drops a case's snapshot.
    ///
    /// # Errors
    /// When sled fails.
    pub fn remove_snapshot(&self, case: CaseId) -> Result<(), TableError> {
        self.table.remove(&keys::of_case(keys::SNAPSHOT, case))
    }
}
