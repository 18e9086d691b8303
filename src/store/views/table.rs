//! One ordered table: what the engine holds, and over it the batch of the one who writes. A batch
//! reaches the engine as a whole.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::engine::{Engine, KEY_MAX, Row, VALUE_MAX};

/// Rows read in one go; the first time fewer, since most look at the front alone.
const PAGE: usize = 500;
const FIRST_PAGE: usize = 32;

/// A failure of the views: whatever it was, they have to be made anew.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the views cannot be used: {0}")]
pub struct TableError(String);

impl TableError {
    /// A failure, and what it was.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Keys of the batch with their sealed values; none: it is removed.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Rows that are looked at before the table is believed; where there are more it is done beside.
const CHECKED_AT_ONCE: u64 = 200_000;

/// Bytes behind each value: CRC-32 of key and value.
const SEAL: usize = 4;

/// A value with its seal, as the engine keeps it.
fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() + SEAL);
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(&seal(key, value));
    bytes
}

fn seal(key: &[u8], value: &[u8]) -> [u8; SEAL] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(key);
    sum.update(value);
    sum.finalize().to_le_bytes()
}

fn is_whole(key: &[u8], bytes: &[u8]) -> bool {
    let Some((value, there)) = bytes.split_last_chunk::<SEAL>() else { return false };
    *there == seal(key, value)
}

/// The value, where its seal fits.
fn unsealed(key: &[u8], mut bytes: Vec<u8>) -> Result<Vec<u8>, TableError> {
    if !is_whole(key, &bytes) {
        return Err(TableError::new("a row is damaged"));
    }
    bytes.truncate(bytes.len() - SEAL);
    Ok(bytes)
}

/// A table. Cheap to clone; clones see what was written, not each other's batches.
#[derive(Clone)]
pub struct Table {
    engine: Arc<RwLock<Arc<Engine>>>,
    /// Something that cannot be was met.
    damage: Arc<AtomicBool>,
    /// Nothing is written any more. Held while something is.
    closed: Arc<RwLock<bool>>,
    batch: Option<Arc<Mutex<Changes>>>,
}

impl Table {
    /// Opens the table in a folder.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, TableError> {
        let engine = Arc::new(RwLock::new(Arc::new(Engine::open(folder)?)));
        let (damage, closed) = (Arc::default(), Arc::default());
        Ok(Self { engine, damage, closed, batch: None })
    }

    /// Looks at every row, before anybody does where that is quick, else beside, and calls `looked`
    /// then. Whoever asks later sees by `is_damaged` whether anything was found.
    ///
    /// # Errors
    /// When something was found at once.
    pub fn check(&self, looked: impl FnOnce() + Send + 'static) -> Result<(), TableError> {
        let engine = self.engine();
        if engine.len()? <= CHECKED_AT_ONCE {
            engine.check(is_whole)?;
            looked();
            return Ok(());
        }
        let table = self.clone();
        let look = move || {
            let checked = engine.check(is_whole);
            // views that were made anew meanwhile are others
            if !Arc::ptr_eq(&engine, &table.engine()) {
                return;
            }
            match checked {
                Ok(()) => looked(),
                Err(error) => drop(table.damaged(error)),
            }
        };
        let thread = std::thread::Builder::new().name("views check".to_owned());
        thread.spawn(look).map(drop).map_err(|error| TableError::new(error.to_string()))
    }

    /// The same table for the one who writes in batches.
    pub fn batching(&self) -> Self {
        Self { batch: Some(Arc::default()), ..self.clone() }
    }

    /// An empty table in another folder takes the place of this one, for all clones.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin_anew(&self, folder: &Path) -> Result<(), TableError> {
        let new = Arc::new(Engine::open(folder)?);
        let old = {
            let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *engine, new)
        };
        self.damage.store(false, Ordering::Release);
        let _ = std::fs::remove_dir_all(old.folder());
        Ok(())
    }

    /// Notes that something that cannot be was met.
    pub fn damaged(&self, error: TableError) -> TableError {
        if !self.damage.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "the views are damaged, and are made anew");
        }
        error
    }

    /// Whether such a thing was met since they were begun.
    pub fn is_damaged(&self) -> bool {
        self.damage.load(Ordering::Acquire)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the engine fails; so for all below.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        if let Some(batch) = self.batch()
            && let Some(changed) = batch.get(key)
        {
            return changed.clone().map(|bytes| unsealed(key, bytes)).transpose();
        }
        let found = self.engine().get(key);
        let found = found.and_then(|found| found.map(|bytes| unsealed(key, bytes)).transpose());
        found.map_err(|error| self.damaged(error))
    }

    /// Sets a key's value.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        self.change(key, Some(value))
    }

    /// Removes a key.
    pub fn remove(&self, key: &[u8]) -> Result<(), TableError> {
        self.change(key, None)
    }

    /// Removes rows whose values are still these, all of them or none; not for the one who writes in batches.
    pub fn remove_same(&self, rows: impl Iterator<Item = Row>) -> Result<(), TableError> {
        let rows = rows.map(|(key, value)| {
            let value = sealed(&key, &value);
            (key, value)
        });
        let rows: Vec<Row> = rows.collect();
        let rows = rows.iter().map(|(key, value)| (&key[..], &value[..]));
        self.written(|engine| engine.remove_same(rows))
    }

    /// Changes in the batch.
    pub fn batched(&self) -> usize {
        self.batch().map_or(0, |batch| batch.len())
    }

    fn change(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), TableError> {
        if key.len() > KEY_MAX || value.is_some_and(|value| value.len() + SEAL > VALUE_MAX) {
            // making the views anew would lead here again
            let length = value.map_or(0, <[u8]>::len);
            tracing::error!(kind = ?key.first(), key = key.len(), length, "a row is too large");
            return Ok(());
        }
        let value = value.map(|value| sealed(key, value));
        match self.batch() {
            Some(mut batch) => {
                batch.insert(key.to_vec(), value);
                Ok(())
            }
            None => {
                let change = std::iter::once((key, value.as_deref()));
                self.written(|engine| engine.write(change))
            }
        }
    }

    /// Writes the batch, all of it or nothing.
    pub fn commit(&self) -> Result<(), TableError> {
        let Some(mut batch) = self.batch() else { return Ok(()) };
        let changes = std::mem::take(&mut *batch);
        drop(batch);
        if changes.is_empty() {
            return Ok(());
        }
        let changes = changes.iter().map(|(key, value)| (&key[..], value.as_deref()));
        self.written(|engine| engine.write(changes))
    }

    fn written(
        &self,
        write: impl FnOnce(&Engine) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return Err(TableError::new("the views are closed"));
        }
        write(&self.engine()).map_err(|error| self.damaged(error))
    }

    /// Keys and values that begin with a prefix, in order, from a bound on.
    pub fn scan(&self, prefix: &[u8], start: Bound<&[u8]>) -> Scan {
        let from = match start {
            Bound::Unbounded => Bound::Included(prefix.to_vec()),
            bound => bound.map(<[u8]>::to_vec),
        };
        Scan::new(self.clone(), prefix, Some(from), false)
    }

    /// All that begin with a prefix, the last first.
    pub fn backwards(&self, prefix: &[u8]) -> Scan {
        let end = match after(prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Unbounded,
        };
        Scan::new(self.clone(), prefix, Some(end), true)
    }

    /// Whoever writes waits for as long as this lives.
    #[cfg(test)]
    pub fn hold(&self) -> std::sync::RwLockWriteGuard<'_, bool> {
        self.closed.write().unwrap()
    }

    /// Has the disk take everything; nothing is written after that.
    pub fn close(&self) -> Result<(), TableError> {
        let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
        *closed = true;
        self.engine().sync()
    }

    fn engine(&self) -> Arc<Engine> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn batch(&self) -> Option<MutexGuard<'_, Changes>> {
        let batch = self.batch.as_ref()?;
        Some(batch.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The first key behind all that begin with a prefix; none: there is none.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let place = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut after = prefix[..=place].to_vec();
    after[place] += 1;
    Some(after)
}

/// Rows with a prefix, read page by page.
pub struct Scan {
    table: Table,
    prefix: Vec<u8>,
    /// Where the next page begins; none: there is none.
    next: Option<Bound<Vec<u8>>>,
    backwards: bool,
    page: usize,
    ready: VecDeque<Row>,
}

impl Scan {
    fn new(table: Table, prefix: &[u8], next: Option<Bound<Vec<u8>>>, backwards: bool) -> Self {
        let (prefix, ready) = (prefix.to_vec(), VecDeque::new());
        Self { table, prefix, next, backwards, page: FIRST_PAGE, ready }
    }

    fn read(&mut self) -> Result<(), TableError> {
        let Some(bound) = self.next.take() else { return Ok(()) };
        let bound = bound.as_ref().map(Vec::as_slice);
        let end = after(&self.prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (from, to) = match self.backwards {
            true => (Bound::Included(&self.prefix[..]), bound),
            false => (bound, end),
        };
        if is_empty(from, to) {
            return Ok(());
        }
        let engine = self.table.engine();
        let mut rows = match self.backwards {
            true => engine.range_back(from, to, self.page)?,
            false => engine.range(from, to, self.page)?,
        };
        let full = rows.len() == self.page;
        let last = rows.last().map(|(key, _)| key.clone());
        if let Some(batch) = self.table.batch() {
            // of the batch, what lies within the page that was read
            let (from, to) = match (&last, full, self.backwards) {
                (Some(last), true, true) => (Bound::Included(&last[..]), to),
                (Some(last), true, false) => (from, Bound::Included(&last[..])),
                _ => (from, to),
            };
            let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = rows.into_iter().collect();
            for (key, value) in batch.range::<[u8], _>((from, to)) {
                match value {
                    Some(value) => merged.insert(key.clone(), value.clone()),
                    None => merged.remove(key),
                };
            }
            rows = merged.into_iter().collect();
            if self.backwards {
                rows.reverse();
            }
        }
        self.next = last.filter(|_| full).map(Bound::Excluded);
        self.page = PAGE;
        let rows = rows.into_iter().map(|(key, bytes)| {
            let value = unsealed(&key, bytes)?;
            Ok((key, value))
        });
        self.ready = rows.collect::<Result<_, TableError>>()?;
        Ok(())
    }
}

fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

impl Iterator for Scan {
    type Item = Result<Row, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && self.next.is_some() {
            if let Err(error) = self.read() {
                return Some(Err(self.table.damaged(error)));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(scan: Scan) -> Vec<String> {
        scan.map(|e| String::from_utf8(e.unwrap().0).unwrap()).collect()
    }

    #[test]
    fn keys_come_in_order() {
        let home = tempfile::tempdir().unwrap();
        let table = Table::open(home.path()).unwrap();
        for key in ["a1", "a3", "a2", "b1"] {
            table.put(key.as_bytes(), b"").unwrap();
        }
        assert_eq!(keys(table.scan(b"a", Bound::Unbounded)), ["a1", "a2", "a3"]);
        assert_eq!(keys(table.scan(b"a", Bound::Excluded(b"a1"))), ["a2", "a3"]);
        assert_eq!(keys(table.backwards(b"a")), ["a3", "a2", "a1"]);
        assert_eq!(keys(table.backwards(&[0xff])), Vec::<String>::new());
    }

    #[test]
    fn a_batch_is_there_as_a_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let table = Table::open(home.path()).unwrap();
        table.put(b"a1", b"old").unwrap();
        let writer = table.batching();
        writer.put(b"a2", b"new").unwrap();
        writer.remove(b"a1").unwrap();
        assert_eq!(keys(writer.scan(b"a", Bound::Unbounded)), ["a2"]);
        assert_eq!(keys(table.scan(b"a", Bound::Unbounded)), ["a1"]);
        writer.commit().unwrap();
        assert_eq!(keys(table.scan(b"a", Bound::Unbounded)), ["a2"]);
    }

    #[test]
    fn a_damaged_row_is_noticed_by_whoever_reads_it() {
        let home = tempfile::tempdir().unwrap();
        let table = Table::open(home.path()).unwrap();
        table.put(b"a1", b"value").unwrap();
        table.put(b"a2", b"").unwrap();
        table.check(|| {}).unwrap();
        for (key, value) in [(&b"a1"[..], &b"valve"[..]), (b"a3", b""), (b"a3", b"sh")] {
            let engine = table.engine();
            let mut bytes = value.to_vec();
            bytes.extend(seal(b"a1", b"value"));
            engine.write(std::iter::once((key, Some(&bytes[..])))).unwrap();
            assert!(table.check(|| {}).is_err());
            assert!(table.get(key).is_err() && table.is_damaged());
            assert!(table.scan(b"a", Bound::Unbounded).any(|row| row.is_err()));
            engine.write(std::iter::once((key, None))).unwrap();
            table.damage.store(false, Ordering::Release);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Pages and batches together give what one sorted map would.
        #[test]
        fn scans_are_what_a_map_would_give(
            stored in prop::collection::btree_set(0u16..1500, 0..1200),
            changed in prop::collection::btree_map(0u16..1500, any::<bool>(), 0..200),
        ) {
            let home = tempfile::tempdir().unwrap();
            let table = Table::open(home.path()).unwrap();
            let key = |n: &u16| [b"k", &n.to_be_bytes()[..]].concat();
            let first = table.batching();
            stored.iter().for_each(|n| first.put(&key(n), b"").unwrap());
            first.commit().unwrap();
            let writer = table.batching();
            let mut expected = stored.clone();
            for (n, there) in &changed {
                if *there {
                    writer.put(&key(n), b"").unwrap();
                    expected.insert(*n);
                } else {
                    writer.remove(&key(n)).unwrap();
                    expected.remove(n);
                }
            }
            let mut expected: Vec<Vec<u8>> = expected.iter().map(key).collect();
            let found = |scan: Scan| scan.map(|row| row.unwrap().0).collect::<Vec<_>>();
            prop_assert_eq!(found(writer.scan(b"k", Bound::Unbounded)), expected.clone());
            expected.reverse();
            prop_assert_eq!(found(writer.backwards(b"k")), expected);
        }
    }
}
