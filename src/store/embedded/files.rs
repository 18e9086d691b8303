//! fjall's files: opened so that nothing that was promised is missing, and read.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::mark::{Mark, Promised};
use super::{Fence, OpenError, torn};
use crate::domain::ids::{Entity, EntityKind, EventCursor};
use crate::store::journal::{Last, Lost, Page, ReadError, RecordCursor, Tail};
use crate::store::{keys, record};

/// Bytes of one entity's records read in one go, and one record more.
const READ_BYTES: usize = 1 << 20;

/// Bytes of records read in one go of the tail, and one record more.
const TAIL_BYTES: usize = 8 << 20;

/// fjall's block cache, in bytes.
const CACHE: u64 = 8 << 20;

/// fjall's own threads: one that compacts holds up no flush.
const WORKERS: usize = 2;

/// The files. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    pub database: Database,
    pub records: Keyspace,
    pub index: Keyspace,
}

impl Files {
    /// Opens the files in a folder, making them if they are not there; and the position of the last
    /// record.
    ///
    /// # Errors
    /// When they are held by another process, damaged, or do not hold what was promised.
    pub fn open(folder: &Path) -> Result<(Self, Mark, u64), OpenError> {
        let io = |error| OpenError::Io { folder: folder.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(io)?;
        let mark_path = folder.join("mark");
        let (mark, promised) = Mark::open(&mark_path).map_err(io)?;
        let fjall = folder.join("fjall");
        let (files, cut) = match Self::start(&fjall) {
            Ok(files) => (files, None),
            Err(OpenError::Damaged { torn: true, folder, error }) => {
                let damaged = OpenError::Damaged { torn: true, folder, error };
                let cut = cut_off(&fjall, promised.as_ref(), &mark_path, damaged)?;
                match Self::start(&fjall) {
                    Ok(files) => (files, Some(cut)),
                    Err(error) => {
                        cut.undo().map_err(io)?;
                        return Err(error);
                    }
                }
            }
            Err(error) => return Err(error),
        };
        let end = match (files.keeps(promised.as_ref(), folder, &mark_path), cut) {
            (Ok(end), None) => end,
            (Ok(end), Some(cut)) => {
                tracing::warn!(
                    aside = %cut.aside.display(),
                    "the journal's last batch was torn; it was promised to nobody, is copied aside \
                     and dropped"
                );
                end
            }
            (Err(error), None) => return Err(error),
            (Err(error), Some(cut)) => {
                drop(files);
                cut.undo().map_err(io)?;
                return Err(error);
            }
        };
        if promised.is_none() && end > 0 {
            tracing::warn!(
                mark = %mark_path.display(), end,
                "the mark is missing or damaged: whether the journal ends too early is not known"
            );
        }
        Ok((files, mark, end))
    }

    /// The position of the last record, where all that was promised is there.
    fn keeps(
        &self,
        promised: Option<&Promised>,
        folder: &Path,
        mark: &Path,
    ) -> Result<u64, OpenError> {
        let damaged = |error: ReadError| OpenError::Damaged {
            folder: folder.to_owned(),
            error: error.to_string(),
            torn: false,
        };
        let found = self.end().map_err(damaged)?;
        let Some(Promised { position: expected, hash }) = promised else { return Ok(found) };
        let (folder, mark) = (folder.to_owned(), mark.to_owned());
        if found < *expected {
            return Err(OpenError::Short { folder, mark, found, expected: *expected });
        }
        match (self.at(*expected), hash) {
            (Ok(Some(there)), Some(hash)) if record::hash(&there) != *hash => {
                Err(OpenError::Other { folder, mark, position: *expected })
            }
            (Ok(None), _) => {
                let error = format!("the record at position {expected} is missing");
                Err(OpenError::Damaged { folder, error, torn: false })
            }
            // one that cannot be read is met when its entity is
            (Ok(Some(_)) | Err(_), _) => Ok(found),
        }
    }

    fn start(folder: &Path) -> Result<Self, OpenError> {
        let refused = |error: fjall::Error| match error {
            fjall::Error::Locked => OpenError::Locked(folder.to_owned()),
            error => OpenError::Damaged {
                folder: folder.to_owned(),
                torn: matches!(error, fjall::Error::JournalRecovery(_)),
                error: error.to_string(),
            },
        };
        // fjall's own assertions guard against damage that it did not think of
        let opened = std::panic::catch_unwind(|| {
            Database::builder(folder)
                .cache_size(CACHE)
                .worker_threads(WORKERS)
                .max_journaling_size(128 << 20)
                .manual_journal_persist(true)
                .open()
        });
        let database = match opened {
            Ok(database) => database.map_err(refused)?,
            Err(_) => {
                let error = "fjall panicked while it opened its files".to_owned();
                return Err(OpenError::Damaged { folder: folder.to_owned(), error, torn: false });
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

    /// The position of the last record, 0 for none.
    pub fn end(&self) -> Result<u64, ReadError> {
        match self.records.last_key_value() {
            Some(entry) => Ok(keys::position_of(&entry.key()?).unwrap_or(0)),
            None => Ok(0),
        }
    }

    /// An entity's records from a version on.
    pub fn read(&self, entity: Entity, from: u64, most: usize) -> Result<Page<Fence>, ReadError> {
        let start = keys::entity_version(entity, from);
        let end = keys::entity_version(entity, u64::MAX);
        let mut page = Page { records: Vec::new(), fence: None, all: true };
        let mut bytes = 0;
        for entry in self.index.range(start..=end) {
            if page.records.len() == most || bytes >= READ_BYTES {
                page.all = false;
                break;
            }
            let (key, position) = entry.into_inner()?;
            let record = self.records.get(&*position)?;
            let record = record.ok_or_else(|| ReadError::damage("a record is missing"))?;
            bytes += record.len();
            page.records.push(record.to_vec());
            page.fence = Some(fence_of(&key)?);
        }
        Ok(page)
    }

    /// The last record of an entity that begins with a version or before it.
    pub fn holding(&self, entity: Entity, version: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let start = keys::entity_version(entity, 0);
        let end = keys::entity_version(entity, version);
        let Some(entry) = self.index.range(start..=end).next_back() else { return Ok(None) };
        let record = self.records.get(&*entry.value()?)?;
        let record = record.ok_or_else(|| ReadError::damage("a record is missing"))?;
        Ok(Some(record.to_vec()))
    }

    /// An entity's last record.
    pub fn last(&self, entity: Entity) -> Result<Option<Last<Fence>>, ReadError> {
        let Some(entry) = self.index.prefix(keys::entity(entity)).next_back() else {
            return Ok(None);
        };
        let (key, position) = entry.into_inner()?;
        let record = self.records.get(&*position)?;
        let record = record.ok_or_else(|| ReadError::damage("a record is missing"))?;
        Ok(Some(Last { record: record.to_vec(), fence: fence_of(&key)? }))
    }

    /// All entities of a kind.
    pub fn entities(&self, kind: EntityKind) -> Result<Vec<Entity>, ReadError> {
        let mut found = Vec::new();
        for entry in self.index.prefix([kind as u8]) {
            let entity = keys::entity_of(&entry.key()?);
            if entity.is_some() && entity.as_ref() != found.last() {
                found.extend(entity);
            }
        }
        Ok(found)
    }

    /// Records behind a position.
    pub fn tail(&self, after: RecordCursor, most: usize) -> Result<Tail<RecordCursor>, ReadError> {
        let range = keys::position(after.0 + 1)..=keys::position(u64::MAX);
        let mut tail = Tail { records: Vec::new(), lost: Vec::new(), next: after, all: true };
        let mut bytes = 0;
        for entry in self.records.range(range) {
            if tail.records.len() == most || bytes >= TAIL_BYTES {
                tail.all = false;
                break;
            }
            match entry.into_inner() {
                Ok((key, value)) => {
                    tail.next = RecordCursor(keys::position_of(&key).unwrap_or(0));
                    bytes += value.len();
                    tail.records.push((tail.next, value.to_vec()));
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
        Ok(tail)
    }

    /// The same one by one, where a block is damaged: what lies in it is named and left out.
    fn around_damage(
        &self,
        after: RecordCursor,
        most: usize,
    ) -> Result<Tail<RecordCursor>, ReadError> {
        let end = self.end()?;
        let last = end.min(after.0.saturating_add(most as u64));
        let next = RecordCursor(last);
        let mut tail = Tail { records: Vec::new(), lost: Vec::new(), next, all: last == end };
        for position in after.0 + 1..=last {
            match self.at(position) {
                Ok(Some(record)) => tail.records.push((RecordCursor(position), record)),
                Err(error) if !error.damaged => return Err(error),
                Ok(None) | Err(_) => {
                    tail.lost.push(Lost { at: RecordCursor(position), entity: None });
                }
            }
        }
        self.name(&mut tail.lost);
        Ok(tail)
    }

    /// Finds out whose records these were: the index has it, unless it is damaged as well.
    fn name(&self, lost: &mut [Lost<RecordCursor>]) {
        if lost.is_empty() {
            return;
        }
        // they are in order
        for entry in self.index.iter() {
            let Ok((key, position)) = entry.into_inner() else { continue };
            let Some(position) = keys::position_of(&position).map(RecordCursor) else { continue };
            if let Ok(place) = lost.binary_search_by_key(&position, |one| one.at) {
                lost[place].entity = keys::entity_of(&key);
            }
        }
    }

    /// Events among the records behind a position.
    pub fn events(&self, after: EventCursor, most: usize) -> Result<Tail<EventCursor>, ReadError> {
        let tail = self.tail(RecordCursor(after.0), most)?;
        let is_event = |bytes: &[u8]| {
            let header = record::decode(bytes).map(|(header, _)| header.entity.kind);
            header == Ok(EntityKind::CloudEvent)
        };
        let records = tail.records.into_iter().filter(|(_, bytes)| is_event(bytes));
        let lost = tail.lost.into_iter();
        let lost = lost.map(|one| Lost { at: EventCursor(one.at.0), entity: one.entity });
        Ok(Tail {
            records: records.map(|(at, bytes)| (EventCursor(at.0), bytes)).collect(),
            lost: lost.collect(),
            next: EventCursor(tail.next.0),
            all: tail.all,
        })
    }

    fn at(&self, position: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let record = self.records.get(keys::position(position))?;
        Ok(record.map(|record| record.to_vec()))
    }
}

/// Cuts a torn end off, where what is left has all that was promised. Where it was copied to.
fn cut_off(
    fjall: &Path,
    promised: Option<&Promised>,
    mark: &Path,
    damaged: OpenError,
) -> Result<torn::Cut, OpenError> {
    let io = |error| OpenError::Io { folder: fjall.to_owned(), error };
    let (Some(torn), Some(promised)) = (torn::find(fjall).map_err(io)?, promised) else {
        // without a mark nobody knows what was promised
        return Err(damaged);
    };
    let (folder, mark, expected) = (fjall.to_owned(), mark.to_owned(), promised.position);
    match torn.reaches {
        Some(reaches) if reaches >= expected && !torn.more => torn.cut().map_err(io),
        Some(found) if found < expected => Err(OpenError::Short { folder, mark, found, expected }),
        // it was the first of its file: whether the older ones keep the promise is seen once they are open
        None if torn.whole == 0 && !torn.more => torn.cut().map_err(io),
        Some(_) | None => Err(damaged),
    }
}

fn fence_of(key: &[u8]) -> Result<Fence, ReadError> {
    let version = keys::version_of(key).map(Fence);
    version.ok_or_else(|| ReadError::damage("a key of the index is none"))
}

impl From<fjall::Error> for ReadError {
    fn from(error: fjall::Error) -> Self {
        let error = error.to_string();
        let words = ["Checksum", "Decode", "Decompress", "InvalidTag", "InvalidHeader"];
        let damaged = words.iter().any(|word| error.contains(word));
        Self { error, damaged }
    }
}

impl ReadError {
    fn damage(error: &str) -> Self {
        Self { error: error.to_owned(), damaged: true }
    }
}
