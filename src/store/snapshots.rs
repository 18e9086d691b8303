//! Snapshots: a case's state at a version, so that a long history need not be folded again. A cache on
//! sled, the only file that names it; nothing waits for it.
//!
//! sled may lose what it was given, may be found damaged, and may hang. So it is opened aside with a
//! time limit, written by a thread of its own from a queue that drops what is too much, and put away
//! at the first failure. A snapshot is believed only if its hash is what the case's next record says.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sled::{Config, Db, Mode};

use super::codec;
use super::record::Hash;
use crate::domain::case::state::State;
use crate::domain::ids::CaseId;

/// sled's cache in bytes; its own default is 1 GiB.
const CACHE: u64 = 8 << 20;

/// Bytes of one value: sled keeps larger ones badly.
const PIECE: usize = 4096;

/// Pieces of a snapshot at the most; a larger state is folded again.
const PIECES: usize = 1024;

/// How long sled may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// Snapshots that wait to be written; more are dropped.
const QUEUE: usize = 256;

/// Removals that are made up for later at the most.
const MISSED_MAX: usize = 100_000;

/// A state, and the hash of the record that led to it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub state: State,
    pub hash: Hash,
}

impl Snapshot {
    /// As bytes for the store of snapshots.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes)
    }
}

/// The snapshots of all cases. Cheap to clone.
#[derive(Clone)]
pub struct Snapshots {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    db: Db,
    /// sled has failed: nothing is asked of it any more.
    failed: Arc<AtomicBool>,
    queue: mpsc::SyncSender<(CaseId, Option<Vec<u8>>)>,
    /// Removals that found the queue full.
    missed: Mutex<Vec<CaseId>>,
}

impl Snapshots {
    /// Opens the snapshots in a folder. Where that fails or takes too long there are none.
    pub fn open(folder: &Path) -> Self {
        let Some(db) = open_in_time(folder) else { return Self { shared: None } };
        let failed = Arc::new(AtomicBool::new(false));
        let (queue, writes) = mpsc::sync_channel::<(CaseId, Option<Vec<u8>>)>(QUEUE);
        let (written, noted) = (db.clone(), failed.clone());
        let write = move || {
            for (case, bytes) in writes {
                if let Err(error) = write(&written, case, bytes.as_deref()) {
                    tracing::warn!(%error, "snapshots are not kept any more");
                    noted.store(true, Ordering::Release);
                    return;
                }
            }
        };
        match std::thread::Builder::new().name("snapshots".to_owned()).spawn(write) {
            Ok(_) => Self {
                shared: Some(Arc::new(Shared { db, failed, queue, missed: Mutex::default() })),
            },
            Err(_) => Self { shared: None },
        }
    }

    /// A case's snapshot, if a readable one is there.
    pub fn get(&self, case: CaseId) -> Option<Snapshot> {
        let shared = self.usable()?;
        match read(&shared.db, case) {
            Ok(bytes) => Snapshot::decode(&bytes?),
            Err(error) => {
                tracing::warn!(%error, "snapshots are not read any more");
                shared.failed.store(true, Ordering::Release);
                None
            }
        }
    }

    /// Keeps a case's snapshot, if there is room for it to be written.
    pub fn put(&self, case: CaseId, snapshot: Vec<u8>) {
        if snapshot.len() <= PIECE * PIECES {
            self.send(case, Some(snapshot));
        }
    }

    /// Drops a case's snapshot.
    pub fn remove(&self, case: CaseId) {
        self.send(case, None);
    }

    fn send(&self, case: CaseId, bytes: Option<Vec<u8>>) {
        if let Some(shared) = self.usable() {
            let is_removal = bytes.is_none();
            let sent = shared.queue.try_send((case, bytes)).is_ok();
            // a full queue: a snapshot is left out, a removal is made up for later
            if is_removal && !sent {
                let mut missed = shared.missed.lock().unwrap_or_else(PoisonError::into_inner);
                if missed.len() < MISSED_MAX {
                    missed.push(case);
                }
            } else if sent {
                let missed = shared.missed.try_lock().ok().and_then(|mut missed| missed.pop());
                if let Some(case) = missed {
                    self.send(case, None);
                }
            }
        }
    }

    fn usable(&self) -> Option<&Shared> {
        self.shared.as_deref().filter(|shared| !shared.failed.load(Ordering::Acquire))
    }
}

fn key(case: CaseId, piece: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&case.0.0);
    key[16..].copy_from_slice(&piece.to_be_bytes());
    key
}

fn write(db: &Db, case: CaseId, bytes: Option<&[u8]>) -> Result<(), sled::Error> {
    let mut batch = sled::Batch::default();
    let pieces = bytes.map_or(0, |bytes| bytes.len().div_ceil(PIECE));
    for (piece, part) in bytes.unwrap_or_default().chunks(PIECE).enumerate() {
        batch.insert(&key(case, piece as u16), part);
    }
    for old in db.range(key(case, pieces as u16)..=key(case, u16::MAX)).keys() {
        batch.remove(old?);
    }
    db.apply_batch(batch)
}

fn read(db: &Db, case: CaseId) -> Result<Option<Vec<u8>>, sled::Error> {
    let mut bytes = Vec::new();
    for part in db.scan_prefix(case.0.0).values() {
        bytes.extend_from_slice(&part?);
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// Opens sled on a thread that may hang or panic as it likes.
fn open_in_time(folder: &Path) -> Option<Db> {
    remove_half_made(folder);
    let (opened, waits) = mpsc::sync_channel(1);
    let at = folder.to_owned();
    let open = move || {
        let config = Config::new().path(at).cache_capacity(CACHE).mode(Mode::HighThroughput);
        let _ = opened.send(config.open());
    };
    let started = std::thread::Builder::new().name("snapshots open".to_owned()).spawn(open);
    let db = started.ok().and_then(|_| waits.recv_timeout(OPEN_WITHIN).ok());
    match db {
        Some(Ok(db)) => Some(db),
        failed => {
            let error = failed.and_then(Result::err).map(|error| error.to_string());
            tracing::warn!(error, "snapshots are put aside; histories are folded again");
            // opened again at the next start, without what hurt it
            let aside = folder.with_extension("damaged");
            let _ = std::fs::remove_dir_all(&aside);
            let _ = std::fs::rename(folder, &aside);
            None
        }
    }
}

/// A kill while sled opens leaves a file that makes it refuse to open ever after.
fn remove_half_made(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Bits;

    #[test]
    fn values_are_kept_in_pieces() {
        let home = tempfile::tempdir().unwrap();
        let db = open_in_time(home.path()).unwrap();
        let (one, other) = (CaseId(Bits([1; 16])), CaseId(Bits([2; 16])));
        let long: Vec<u8> = (0..3 * PIECE + 7).map(|n| n as u8).collect();
        write(&db, one, Some(&long)).unwrap();
        write(&db, other, Some(b"other")).unwrap();
        assert_eq!(read(&db, one).unwrap(), Some(long));
        write(&db, one, Some(b"short")).unwrap();
        assert_eq!(read(&db, one).unwrap().as_deref(), Some(&b"short"[..]));
        write(&db, one, None).unwrap();
        assert_eq!(read(&db, one).unwrap(), None);
        assert_eq!(read(&db, other).unwrap().as_deref(), Some(&b"other"[..]));
    }

    #[test]
    fn damaged_files_are_put_aside() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("snapshots");
        let db = open_in_time(&folder).unwrap();
        write(&db, CaseId::default(), Some(b"x")).unwrap();
        db.flush().unwrap();
        drop(db);
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            if entry.path().is_file() {
                std::fs::write(entry.path(), [0x5a; 4096]).unwrap();
            }
        }
        std::fs::write(folder.join("snap.00000000000000ff.generating"), b"half").unwrap();
        if open_in_time(&folder).is_none() {
            assert!(home.path().join("snapshots.damaged").exists());
        }
    }
}
