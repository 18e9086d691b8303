//! One ordered table on sled; the only file that names it.
//!
//! sled may lose what it was given, and may be found damaged after a power cut or after a kill
//! while it opened. So nothing here is the truth: a table that cannot be opened is put aside, and
//! what was in it is made anew from the journal.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sled::{Config, Db, IVec, Mode};

/// sled's cache in bytes; its own default is 1 GiB. It counts pages as they are written: in memory
/// they take several times as much.
const CACHE: u64 = 4 << 20;

/// A failure of sled: whatever it was, the table has to be made anew.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the views cannot be used: {0}")]
pub struct TableError(String);

impl From<sled::Error> for TableError {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

/// Bytes of a key or value.
pub type Bytes = IVec;

/// A table. Cheap to clone.
#[derive(Clone)]
pub struct Table {
    db: Db,
}

impl Table {
    /// Opens the table in a folder. One that is damaged is put aside for a new one; `true` then.
    ///
    /// # Errors
    /// When no table can be had even in an empty folder.
    pub fn open(folder: &Path) -> Result<(Self, bool), TableError> {
        let failed = match open_guarded(folder) {
            Ok(db) => return Ok((Self { db }, false)),
            Err(failed) => failed,
        };
        tracing::warn!(folder = %folder.display(), error = %failed, "views are put aside");
        put_aside(folder).map_err(|e| TableError(e.to_string()))?;
        open_guarded(folder).map(|db| (Self { db }, true))
    }

    /// Closes it and removes its folder, for a new beginning.
    ///
    /// # Errors
    /// When the folder cannot be removed, or no new table be made.
    pub fn anew(self, folder: &Path) -> Result<Self, TableError> {
        drop(self);
        std::fs::remove_dir_all(folder).map_err(|e| TableError(e.to_string()))?;
        open_guarded(folder).map(|db| Self { db })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When sled fails; so for all below.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        Ok(self.db.get(key)?)
    }

    /// Sets a key's value.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        self.db.insert(key, value)?;
        Ok(())
    }

    /// Removes a key.
    pub fn remove(&self, key: &[u8]) -> Result<(), TableError> {
        self.db.remove(key)?;
        Ok(())
    }

    /// Keys and values that begin with a prefix, in order, from a bound on.
    pub fn scan<'a>(
        &'a self,
        prefix: &[u8],
        start: Bound<&[u8]>,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), TableError>> + 'a {
        let start = match start {
            Bound::Unbounded => Bound::Included(prefix.to_vec()),
            bound => bound.map(<[u8]>::to_vec),
        };
        let prefix = prefix.to_vec();
        let range = self.db.range::<Vec<u8>, _>((start, Bound::Unbounded));
        range
            .map(|entry| entry.map_err(TableError::from))
            .take_while(move |entry| entry.as_ref().map_or(true, |(k, _)| k.starts_with(&prefix)))
    }

    /// All that begin with a prefix, the last first.
    pub fn backwards<'a>(
        &'a self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), TableError>> + 'a {
        self.db.scan_prefix(prefix).rev().map(|entry| entry.map_err(TableError::from))
    }

    /// Writes out what is in memory.
    pub fn flush(&self) -> Result<(), TableError> {
        self.db.flush()?;
        Ok(())
    }
}

fn open_guarded(folder: &Path) -> Result<Db, TableError> {
    remove_half_made_snapshots(folder);
    let config = Config::new().path(folder).cache_capacity(CACHE).mode(Mode::HighThroughput);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(TableError("sled panicked while it opened its files".to_owned())),
    }
}

/// A kill while sled opens leaves a file that makes it refuse to open ever after.
fn remove_half_made_snapshots(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn put_aside(folder: &Path) -> std::io::Result<()> {
    let aside: PathBuf = folder.with_extension("damaged");
    if aside.exists() {
        std::fs::remove_dir_all(&aside)?;
    }
    if folder.exists() {
        std::fs::rename(folder, &aside)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_table_is_put_aside() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("views");
        let (table, fresh) = Table::open(&folder).unwrap();
        assert!(!fresh);
        table.put(b"a", b"1").unwrap();
        drop(table);
        // what a power cut leaves at times: a file of blocks that were never written
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            if entry.path().is_file() {
                std::fs::write(entry.path(), [0x5a; 4096]).unwrap();
            }
        }
        let (table, fresh) = Table::open(&folder).unwrap();
        assert!(fresh);
        assert_eq!(table.get(b"a").unwrap(), None);
        assert!(home.path().join("views.damaged").exists());
    }

    #[test]
    fn a_half_made_snapshot_does_no_harm() {
        let home = tempfile::tempdir().unwrap();
        let (table, _) = Table::open(home.path()).unwrap();
        table.put(b"a", b"1").unwrap();
        table.flush().unwrap();
        drop(table);
        std::fs::write(home.path().join("snap.00000000000000ff.generating"), b"half").unwrap();
        let (table, fresh) = Table::open(home.path()).unwrap();
        assert!(!fresh);
        assert_eq!(table.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn keys_come_in_order() {
        let home = tempfile::tempdir().unwrap();
        let (table, _) = Table::open(home.path()).unwrap();
        for key in ["a1", "a3", "a2", "b1"] {
            table.put(key.as_bytes(), b"").unwrap();
        }
        let keys = |iter: &mut dyn Iterator<Item = Result<(Bytes, Bytes), TableError>>| {
            iter.map(|e| String::from_utf8(e.unwrap().0.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&mut table.scan(b"a", Bound::Unbounded)), ["a1", "a2", "a3"]);
        assert_eq!(keys(&mut table.scan(b"a", Bound::Excluded(b"a1"))), ["a2", "a3"]);
        assert_eq!(keys(&mut table.backwards(b"a")), ["a3", "a2", "a1"]);
    }
}
