//! Views: what lists, timers, services and listeners are looked up in. A cache of the journal, kept
//! by one writer in batches; it may be deleted at any time, and is made anew when it is missing,
//! damaged wherever that is noticed, of another schema, or was open when the machine went down.

pub mod assignments;
pub mod cases;
mod counts;
pub mod dead_letters;
mod engine;
pub mod events;
pub mod jobs;
mod keys;
pub mod lists;
mod meta;
#[cfg(test)]
mod schema;
pub mod services;
mod table;
#[cfg(test)]
mod tests;
pub mod wakes;
pub mod work;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;

use counts::Counts;
use meta::Place;
use table::Table;
pub use table::TableError;

use super::codec;
use super::journal::RecordCursor;
use super::record::Hash;
use crate::domain::time::Timestamp;

const POSITION_KEY: [u8; 2] = [keys::META, b'p'];

/// The views. Cheap to clone; all but the projector only read.
#[derive(Clone)]
pub struct Views {
    table: Table,
    counts: Counts,
    shared: Arc<Shared>,
}

struct Shared {
    place: Mutex<Place>,
    /// They are being filled, and hold only a part of what there is.
    filling: AtomicBool,
    /// Up to where they have to be filled.
    goal: AtomicU64,
}

impl Shared {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Views {
    /// Opens the views in a folder, to be filled. `boot` names this run of the machine. Views that
    /// claim to know more than the journal, which ends at `last`, are not believed.
    ///
    /// # Errors
    /// When not even new views can be made.
    pub fn open(
        folder: &Path,
        boot: &str,
        now: Timestamp,
        last: RecordCursor,
    ) -> Result<Self, TableError> {
        let (place, why) = Place::open(folder, boot, now)?;
        if let Some(why) = why {
            tracing::warn!("the views are made anew: {why}");
        }
        let folder = place.folder();
        let shared = Arc::new(Shared {
            place: Mutex::new(place),
            filling: AtomicBool::new(true),
            goal: AtomicU64::new(last.0),
        });
        let opened = Table::open(&folder).and_then(|table| {
            let shared = shared.clone();
            table.check(move || {
                if let Err(error) = shared.place().looked() {
                    tracing::warn!(%error, "that the views were looked at cannot be noted");
                }
            })?;
            Ok(table)
        });
        let table = match opened {
            Ok(table) => table,
            Err(error) => {
                tracing::warn!(%error, "the views are made anew");
                let next = shared.place().next()?;
                let table = Table::open(&next)?;
                shared.place().remove_others();
                table
            }
        };
        let views = Self { table, counts: Counts::default(), shared };
        match views.position() {
            Ok(position) if position <= last => {}
            Ok(_) => {
                tracing::warn!("the views are of another journal, and are made anew");
                views.begin_anew()?;
            }
            Err(error) => {
                tracing::warn!(%error, "the views are made anew");
                views.begin_anew()?;
            }
        }
        views.counts.load(&views.table)?;
        Ok(views)
    }

    /// The views as their one writer sees them: its batch first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn writer(&self) -> Result<Self, TableError> {
        self.counts.load(&self.table)?;
        Ok(Self { table: self.table.batching(), ..self.clone() })
    }

    /// Changes that the batch of the one who writes holds.
    pub fn batched(&self) -> usize {
        self.table.batched()
    }

    /// Empty views take the place of these, for everybody.
    ///
    /// # Errors
    /// When none can be made.
    pub fn begin_anew(&self) -> Result<(), TableError> {
        self.shared.filling.store(true, Ordering::Release);
        let folder = { self.shared.place().next()? };
        self.table.begin_anew(&folder)?;
        self.counts.load(&self.table)
    }

    /// Which views these are: another number once they were made anew.
    pub fn generation(&self) -> u64 {
        self.shared.place().generation()
    }

    /// They have to be filled up to there before anybody concludes from them that there is none.
    pub fn fill_up_to(&self, goal: RecordCursor) {
        self.shared.goal.store(goal.0, Ordering::Release);
        self.shared.filling.store(true, Ordering::Release);
    }

    /// They are complete.
    pub fn filled(&self) {
        self.shared.filling.store(false, Ordering::Release);
    }

    /// How far they are filled, and how far they have to be, while they are.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let filling = self.shared.filling.load(Ordering::Acquire) || self.are_damaged();
        let goal = self.shared.goal.load(Ordering::Acquire);
        filling.then(|| (self.position().unwrap_or_default().0.min(goal), goal))
    }

    /// Whether something was met, wherever it was, that cannot be: they have to be made anew.
    pub fn are_damaged(&self) -> bool {
        self.table.is_damaged()
    }

    /// Writes out everything and notes that the views were closed in good order.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn close(&self) -> Result<(), TableError> {
        if self.are_damaged() {
            return Ok(());
        }
        // also where they are not filled yet: they are whole up to their place
        self.table.close()?;
        self.shared.place().close()
    }

    /// Whoever writes waits for as long as this lives.
    #[cfg(test)]
    pub fn hold(&self) -> std::sync::RwLockWriteGuard<'_, bool> {
        self.table.hold()
    }

    /// A row's value. One that cannot be read is damage, not absence.
    fn decoded<T: DeserializeOwned>(
        &self,
        bytes: Option<Vec<u8>>,
    ) -> Result<Option<T>, TableError> {
        let Some(bytes) = bytes else { return Ok(None) };
        match codec::decode(&bytes) {
            Some(value) => Ok(Some(value)),
            None => Err(self.table.damaged(TableError::new("a row cannot be read"))),
        }
    }

    /// The place in the journal up to which the views are complete.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn position(&self) -> Result<RecordCursor, TableError> {
        let bytes = self.table.get(&POSITION_KEY)?;
        let place = bytes.and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?)));
        Ok(RecordCursor(place.unwrap_or(0)))
    }

    /// The hash of the record at that place, where it is known.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn hash(&self) -> Result<Option<Hash>, TableError> {
        let bytes = self.table.get(&POSITION_KEY)?;
        Ok(bytes.and_then(|bytes| bytes.get(8..)?.try_into().ok()))
    }

    /// Ends a batch: rows, keys, counts and place are written together; `hash` is of the record there,
    /// where it can be read.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn commit(&self, place: RecordCursor, hash: Option<Hash>) -> Result<(), TableError> {
        self.counts.put(&self.table)?;
        let mut position = place.0.to_be_bytes().to_vec();
        position.extend(hash.iter().flatten());
        self.table.put(&POSITION_KEY, &position)?;
        self.table.commit()
    }
}
