//! The embedded journal, the only room that names fjall.
//!
//! Records lie in the order in which they were committed; an index leads from an entity and a
//! version to them. One thread commits: it takes what is queued, writes it with one sync, answers.
//! It never waits for company, so that a lone append is as quick as the disk.

mod error;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use tokio::sync::oneshot;

pub use self::error::{AppendError, OpenError, ReadError};
use super::keys;
use super::mark::Mark;
use super::record::{self, RECORD_MAX};
use super::tail::{Absorb, Committed, Content, Tail};
use crate::domain::ids::{Entity, EntityKind};

/// Appends of one commit at the most; more bytes than this would only delay the answers.
const BATCH_MAX: usize = 1024;

/// Entities whose last version is kept in memory; for others one look into the index answers.
const VERSIONS_MAX: usize = 16_384;

/// fjall's block cache, in bytes.
const CACHE: u64 = 8 << 20;

/// A record to append.
pub struct Append<N> {
    pub entity: Entity,
    /// Version of the entity's last event; 0 for none.
    pub expected: u64,
    /// Events in the record.
    pub count: u64,
    pub record: Vec<u8>,
    pub note: Option<N>,
}

/// What became of each append of a request, in their order.
type Answers = Vec<Result<u64, AppendError>>;

struct Request<N> {
    appends: Vec<Append<N>>,
    answer: oneshot::Sender<Answers>,
}

/// The journal. Cheap to clone; the last clone's end stops the committer.
pub struct Journal<N> {
    shared: Arc<Shared<N>>,
}

struct Shared<N> {
    requests: Mutex<Option<mpsc::Sender<Request<N>>>>,
    committer: Mutex<Option<std::thread::JoinHandle<()>>>,
    store: Store,
    tail: Arc<Tail<N>>,
}

#[derive(Clone)]
struct Store {
    database: Database,
    records: Keyspace,
    index: Keyspace,
}

impl<N> Clone for Journal<N> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<N: Absorb + Send + 'static> Journal<N> {
    /// Opens the journal in a folder, making it if it is not there, and starts the committer.
    ///
    /// `on_failure` is called from the committer when a write or sync fails. It has to end the
    /// process: what the disk holds is not known any more, and fjall stays poisoned.
    ///
    /// # Errors
    /// When it is held by another process, damaged, or shorter than what was acknowledged.
    pub fn open(
        folder: &Path,
        on_failure: impl Fn(String) + Send + 'static,
    ) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { folder: folder.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(io)?;
        let mark_path = folder.join("mark");
        let (mark, expected) = Mark::open(&mark_path).map_err(io)?;
        let store = Store::open(&folder.join("fjall"))?;
        let found = store
            .last_position()
            .map_err(|e| OpenError::Damaged { folder: folder.to_owned(), error: e.to_string() })?;
        if found < expected {
            let (folder, mark) = (folder.to_owned(), mark_path);
            return Err(OpenError::Short { folder, mark, found, expected });
        }
        if expected == 0 && found > 0 {
            tracing::warn!(
                mark = %mark_path.display(), found,
                "the mark is missing or damaged: whether the journal ends too early is not known"
            );
        }
        let tail = Arc::new(Tail::behind(found));
        let (requests, queue) = mpsc::channel();
        let committer = Committer {
            store: store.clone(),
            mark,
            next: found + 1,
            versions: HashMap::new(),
            tail: tail.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer.run(&queue, &on_failure))
            .map_err(io)?;
        let shared = Shared {
            requests: Mutex::new(Some(requests)),
            committer: Mutex::new(Some(thread)),
            store,
            tail,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Appends a record, and answers with its position once it is durable.
    ///
    /// Every caller waits for its own answer, so the queue holds no more appends than there are
    /// callers; whoever lets callers in bounds them.
    ///
    /// # Errors
    /// When the entity has moved on, the record is too large, or the journal is closed.
    pub async fn append(&self, append: Append<N>) -> Result<u64, AppendError> {
        let mut answers = self.append_all(vec![append]).await?;
        answers.pop().unwrap_or(Err(AppendError::Closed))
    }

    /// Appends several records in one commit: after a crash either all of them are there or none.
    /// One that conflicts is left out; the others are not held up by it.
    ///
    /// # Errors
    /// When one of them is too large, or the journal is closed; then none is appended.
    pub async fn append_all(&self, appends: Vec<Append<N>>) -> Result<Answers, AppendError> {
        if appends.iter().any(|append| append.record.len() > RECORD_MAX) {
            return Err(AppendError::TooLarge);
        }
        let (answer, answered) = oneshot::channel();
        {
            let requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let sender = requests.as_ref().ok_or(AppendError::Closed)?;
            sender.send(Request { appends, answer }).map_err(|_| AppendError::Closed)?;
        }
        answered.await.map_err(|_| AppendError::Closed)
    }

    /// The records of an entity from a version on, oldest first, at most `most`. `from` has to be
    /// the first version of a record.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn read(&self, entity: Entity, from: u64, most: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        let store = &self.shared.store;
        let start = keys::entity_version(entity, from);
        let end = keys::entity_version(entity, u64::MAX);
        let mut found = Vec::new();
        for entry in store.index.range(start..=end).take(most) {
            let position = entry.value()?;
            let record = store.records.get(&*position)?;
            let record = record.ok_or_else(|| ReadError::damage("a record is missing"))?;
            found.push(record.to_vec());
        }
        Ok(found)
    }

    /// The last record of an entity, if it has any.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn last_of(&self, entity: Entity) -> Result<Option<Vec<u8>>, ReadError> {
        match self.shared.store.index.prefix(keys::entity(entity)).next_back() {
            Some(entry) => {
                let position = entry.value()?;
                Ok(self.shared.store.records.get(&*position)?.map(|record| record.to_vec()))
            }
            None => Ok(None),
        }
    }

    /// All entities of a kind; for kinds of which there are few.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn entities(&self, kind: EntityKind) -> Result<Vec<Entity>, ReadError> {
        let mut found = Vec::new();
        for entry in self.shared.store.index.prefix([kind as u8]) {
            let entity = keys::entity_of(&entry.key()?);
            if entity.is_some() && entity.as_ref() != found.last() {
                found.extend(entity);
            }
        }
        Ok(found)
    }

    /// Records after a position, in the order in which they were committed.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn tail_from(&self, after: u64, most: usize) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let range = keys::position(after + 1)..=keys::position(u64::MAX);
        let mut found = Vec::new();
        for entry in self.shared.store.records.range(range).take(most) {
            match entry.into_inner() {
                Ok((key, value)) => {
                    found.push((keys::position_of(&key).unwrap_or(0), value.to_vec()));
                }
                Err(error) => {
                    let error = ReadError::from(error);
                    return if error.damaged {
                        self.around_damage(after, most)
                    } else {
                        Err(error)
                    };
                }
            }
        }
        Ok(found)
    }

    /// The same one by one, where a block is damaged: what lies in it is named and left out. A page
    /// ends with its last position, readable or not, so that the reader gets past it.
    fn around_damage(&self, after: u64, most: usize) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let last = self.last_position()?.min(after.saturating_add(most as u64));
        let mut found = Vec::new();
        let mut lost = 0;
        for position in after + 1..=last {
            match self.at(position) {
                Ok(Some(record)) => found.push((position, record)),
                Ok(None) => {}
                Err(error) if error.damaged => lost += 1,
                Err(error) => return Err(error),
            }
        }
        if lost > 0 {
            tracing::error!(after, last, lost, "records of the journal cannot be read");
        }
        if found.last().is_none_or(|(position, _)| *position < last) {
            found.push((last, Vec::new()));
        }
        Ok(found)
    }

    /// The record at a position, if there is one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn at(&self, position: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let record = self.shared.store.records.get(keys::position(position))?;
        Ok(record.map(|record| record.to_vec()))
    }

    /// The position of the last record, 0 for none.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn last_position(&self) -> Result<u64, ReadError> {
        self.shared.store.last_position()
    }

    /// What was committed since the start, for the one who keeps the views.
    pub fn tail(&self) -> Arc<Tail<N>> {
        self.shared.tail.clone()
    }

    /// Commits what is queued, then refuses further appends and closes the files.
    pub fn close(&self) {
        let sender = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(sender);
        let thread = self.shared.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Store {
    fn open(folder: &Path) -> Result<Self, OpenError> {
        let refused = |error: fjall::Error| match error {
            fjall::Error::Locked => OpenError::Locked(folder.to_owned()),
            error => OpenError::Damaged { folder: folder.to_owned(), error: error.to_string() },
        };
        // fjall's own assertions guard against damage that it did not think of
        let opened = std::panic::catch_unwind(|| {
            Database::builder(folder)
                .cache_size(CACHE)
                .worker_threads(1)
                .max_journaling_size(128 << 20)
                .manual_journal_persist(true)
                .open()
        });
        let database = match opened {
            Ok(database) => database.map_err(refused)?,
            Err(_) => {
                let error = "fjall panicked while it opened its files".to_owned();
                return Err(OpenError::Damaged { folder: folder.to_owned(), error });
            }
        };
        let options = |memtable: u64| {
            move || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(memtable)
                    .manual_journal_persist(true)
            }
        };
        let records = database.keyspace("records", options(6 << 20)).map_err(refused)?;
        let index = database.keyspace("index", options(2 << 20)).map_err(refused)?;
        Ok(Self { database, records, index })
    }

    fn last_position(&self) -> Result<u64, ReadError> {
        match self.records.last_key_value() {
            Some(entry) => Ok(keys::position_of(&entry.key()?).unwrap_or(0)),
            None => Ok(0),
        }
    }
}

struct Committer<N> {
    store: Store,
    mark: Mark,
    /// Position of the next record.
    next: u64,
    /// Last versions of entities that were written lately.
    versions: HashMap<Entity, u64>,
    tail: Arc<Tail<N>>,
}

impl<N: Absorb> Committer<N> {
    fn run(mut self, queue: &mpsc::Receiver<Request<N>>, on_failure: &dyn Fn(String)) {
        while let Ok(first) = queue.recv() {
            let mut requests = vec![first];
            while requests.len() < BATCH_MAX
                && let Ok(next) = queue.try_recv()
            {
                requests.push(next);
            }
            if let Err(error) = self.commit(requests) {
                on_failure(error);
                return;
            }
        }
    }

    fn commit(&mut self, requests: Vec<Request<N>>) -> Result<(), String> {
        let mut batch = self.store.database.batch().durability(Some(PersistMode::SyncData));
        let mut committed = Vec::with_capacity(requests.len());
        let mut answers = Vec::with_capacity(requests.len());
        for Request { appends, answer } in requests {
            let mut answered = Vec::with_capacity(appends.len());
            for append in appends {
                answered.push(self.add(&mut batch, append, &mut committed)?);
            }
            answers.push((answer, answered));
        }
        if let Some(last) = committed.last().map(|c| c.position) {
            batch.commit().map_err(|e| format!("a commit failed: {e}"))?;
            self.mark.set(last).map_err(|e| format!("the mark cannot be written: {e}"))?;
            // in the tail before anyone is answered: who has an answer finds its record there
            self.tail.push(committed);
        }
        for (answer, answered) in answers {
            let _ = answer.send(answered);
        }
        if self.versions.len() > VERSIONS_MAX {
            self.versions.clear();
        }
        Ok(())
    }

    /// Adds a record to the batch, unless its entity has moved on.
    fn add(
        &mut self,
        batch: &mut OwnedWriteBatch,
        append: Append<N>,
        committed: &mut Vec<Committed<N>>,
    ) -> Result<Result<u64, AppendError>, String> {
        let Append { entity, expected, count, record, note } = append;
        if self.last_version(entity, expected).map_err(|e| e.to_string())? != expected {
            return Ok(Err(AppendError::Conflict));
        }
        let position = self.next;
        self.next += 1;
        self.versions.insert(entity, expected + count);
        let key = keys::position(position);
        batch.insert(&self.store.records, key, &record[..]);
        batch.insert(&self.store.index, keys::entity_version(entity, expected + 1), key);
        let content = note.map_or_else(|| Content::Record(record), Content::Note);
        committed.push(Committed { position, entity, content });
        Ok(Ok(position))
    }

    /// The entity's last version, as far as it matters: anything but `expected` is a conflict.
    fn last_version(&self, entity: Entity, expected: u64) -> Result<u64, fjall::Error> {
        if let Some(&version) = self.versions.get(&entity) {
            return Ok(version);
        }
        let next = keys::entity_version(entity, expected + 1);
        let moved_on = self.store.index.contains_key(next)?;
        Ok(if moved_on { u64::MAX } else { expected })
    }
}

/// Reads an entity's records and checks that each follows the one before it.
///
/// `previous` is the hash of the record before the first.
///
/// # Errors
/// The first record that is damaged or does not fit, with its place in the list.
pub fn check_chain(
    records: &[Vec<u8>],
    mut previous: record::Hash,
    mut version: u64,
) -> Result<record::Hash, (usize, record::BadRecord)> {
    for (place, bytes) in records.iter().enumerate() {
        let (header, _) = record::decode(bytes).map_err(|bad| (place, bad))?;
        if header.previous != previous || header.version != version + 1 {
            return Err((place, record::BadRecord::Chain));
        }
        version = header.last_version();
        previous = record::hash(bytes);
    }
    Ok(previous)
}
