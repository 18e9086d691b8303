//! How many keys lie under a prefix, for those that are asked for: lines, cases that wait to be
//! started, open dead letters. Absolute numbers of the one writer, written in the batch that changes
//! them, so that they are right after any crash.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::keys;
use super::table::{Table, TableError};

/// The numbers. Cheap to clone: all clones are the same.
#[derive(Clone, Default)]
pub struct Counts {
    shared: Arc<Mutex<Numbers>>,
}

#[derive(Default)]
struct Numbers {
    counts: BTreeMap<Vec<u8>, u64>,
    /// What has changed since the last batch was written.
    changed: BTreeSet<Vec<u8>>,
}

impl Counts {
    /// Reads the numbers that the last batch left.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn load(&self, table: &Table) -> Result<(), TableError> {
        let mut counts = BTreeMap::new();
        for row in table.scan(&[keys::COUNT], Bound::Unbounded) {
            let (key, value) = row?;
            let number = value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            counts.insert(key[1..].to_vec(), number);
        }
        *self.lock() = Numbers { counts, changed: BTreeSet::new() };
        Ok(())
    }

    /// How many there are.
    pub fn get(&self, prefix: &[u8]) -> u64 {
        self.lock().counts.get(prefix).copied().unwrap_or(0)
    }

    /// All that begin with a prefix, and how many there are of each.
    pub fn under(&self, prefix: &[u8]) -> Vec<(Vec<u8>, u64)> {
        let numbers = self.lock();
        let found = numbers.counts.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.starts_with(prefix));
        found.filter(|(_, n)| **n > 0).map(|(key, n)| (key.clone(), *n)).collect()
    }

    /// One more, or one less.
    pub fn add(&self, prefix: &[u8], more: bool) {
        let mut numbers = self.lock();
        let count = numbers.counts.entry(prefix.to_vec()).or_default();
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
        numbers.changed.insert(prefix.to_vec());
    }

    /// Puts the numbers that have changed into the batch.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn put(&self, table: &Table) -> Result<(), TableError> {
        let mut numbers = self.lock();
        for prefix in std::mem::take(&mut numbers.changed) {
            let key = keys::key(keys::COUNT, &[&prefix]);
            match numbers.counts.get(&prefix).copied().unwrap_or(0) {
                0 => {
                    numbers.counts.remove(&prefix);
                    table.remove(&key)?;
                }
                count => table.put(&key, &count.to_be_bytes())?,
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
