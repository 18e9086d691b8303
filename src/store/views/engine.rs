//! The engine of the views: LMDB, an ordered map in one file; the only place that names it.
//!
//! It is never synced, so a power cut may leave it damaged: views that were open when the machine went
//! down are not opened again (see [`super::meta`]). A kill leaves it whole: a batch is there or not.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};

use super::TableError;

/// Addresses set aside for the file, in bytes; the file is only as large as its content.
const MAPS: [usize; 3] = [256 << 30, 16 << 30, 1 << 30];

/// Bytes of a value at the most; anything longer is damage. The largest are rows of cases that listen
/// for nearly as many types as a definition has room to name.
pub const VALUE_MAX: usize = 4 << 20;

/// Bytes of a key at the most: the engine takes no longer ones.
pub const KEY_MAX: usize = 511;

/// Readers at the same time: one for each thread that may read.
const READERS: u32 = 1024;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The engine over one folder.
pub struct Engine {
    env: Env<WithoutTls>,
    rows: Database<Bytes, Bytes>,
    folder: PathBuf,
}

impl From<heed::Error> for TableError {
    fn from(error: heed::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl Engine {
    /// Opens the engine in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open(folder: &Path) -> Result<Self, TableError> {
        std::fs::create_dir_all(folder).map_err(|error| TableError::new(error.to_string()))?;
        let mut failed = None;
        for size in MAPS {
            match open_sized(folder, size) {
                Ok(env) => {
                    let mut txn = env.write_txn()?;
                    let rows = env.create_database(&mut txn, None)?;
                    txn.commit()?;
                    return Ok(Self { env, rows, folder: folder.to_owned() });
                }
                // less room for addresses than that
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.map_or_else(|| TableError::new("no room"), TableError::from))
    }

    /// Where its file lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the engine fails; so for all below.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        let txn = self.env.read_txn()?;
        self.rows.get(&txn, key)?.map(owned_value).transpose()
    }

    /// Rows from one bound to the other in order, at most so many. No read holds on to old pages for
    /// longer than that.
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, TableError> {
        let txn = self.env.read_txn()?;
        let rows = self.rows.range(&txn, &(from, to))?.take(most);
        rows.map(|row| owned(row?)).collect()
    }

    /// The same from the end.
    pub fn range_back(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, TableError> {
        let txn = self.env.read_txn()?;
        let rows = self.rows.rev_range(&txn, &(from, to))?.take(most);
        rows.map(|row| owned(row?)).collect()
    }

    /// How many rows there are, as the engine counts them.
    pub fn len(&self) -> Result<u64, TableError> {
        let txn = self.env.read_txn()?;
        Ok(self.rows.len(&txn)?)
    }

    /// Looks at every row: in order, as many as the engine counts, each as `whole` wants it. The engine
    /// has no checksums of its own, and a damaged page may hide what lies below it.
    ///
    /// # Errors
    /// What cannot be.
    pub fn check(&self, whole: impl Fn(&[u8], &[u8]) -> bool) -> Result<(), TableError> {
        let txn = self.env.read_txn()?;
        let (mut found, mut before) = (0u64, Vec::new());
        for row in self.rows.iter(&txn)? {
            let (key, value) = row?;
            if value.len() > VALUE_MAX || !whole(key, value) {
                return Err(TableError::new("a row is damaged"));
            }
            if found > 0 && key <= &before[..] {
                return Err(TableError::new("rows are not in order"));
            }
            before.clear();
            before.extend_from_slice(key);
            found += 1;
        }
        match self.rows.len(&txn)? {
            expected if expected == found => Ok(()),
            expected => Err(TableError::new(format!("{found} rows of {expected} are there"))),
        }
    }

    /// Writes rows, or removes those without a value: all or none.
    pub fn write<'a>(
        &self,
        changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), TableError> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in changes {
            match value {
                Some(value) => self.rows.put(&mut txn, key, value)?,
                None => {
                    self.rows.delete(&mut txn, key)?;
                }
            }
        }
        Ok(txn.commit()?)
    }

    /// Removes rows whose values are still these: all of them or none.
    pub fn remove_same<'a>(
        &self,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), TableError> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in rows {
            if self.rows.get(&txn, key)? == Some(value) {
                self.rows.delete(&mut txn, key)?;
            }
        }
        Ok(txn.commit()?)
    }

    /// Has the disk take everything.
    pub fn sync(&self) -> Result<(), TableError> {
        Ok(self.env.force_sync()?)
    }
}

fn owned((key, value): (&[u8], &[u8])) -> Result<Row, TableError> {
    Ok((key.to_vec(), owned_value(value)?))
}

/// Its length is looked at first: that of a damaged row may lead out of the file.
fn owned_value(value: &[u8]) -> Result<Vec<u8>, TableError> {
    match value.len() {
        length if length <= VALUE_MAX => Ok(value.to_vec()),
        length => Err(TableError::new(format!("a row of {length} bytes"))),
    }
}

#[expect(unsafe_code, reason = "LMDB maps its file: see the two promises inside")]
fn open_sized(folder: &Path, size: usize) -> Result<Env<WithoutTls>, heed::Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(size).max_readers(READERS);
    // SAFETY: without syncs a machine that goes down may damage the file, and such a file is never
    // opened again. The file is ours alone: the data folder is locked, each folder is opened once in
    // a process, and nothing else writes into it; not mapped for writing, a stray write cannot reach it.
    unsafe {
        options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_READ_AHEAD);
        options.open(folder)
    }
}
