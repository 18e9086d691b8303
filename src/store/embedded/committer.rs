//! The thread that commits: it takes what is queued, writes it with one sync, answers. It never waits
//! for company, so that a lone append is as quick as the disk.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};

use fjall::{OwnedWriteBatch, PersistMode};
use tokio::sync::oneshot;

use super::mark::Mark;
use super::{Fence, Files};
use crate::domain::ids::Entity;
use crate::store::journal::{Append, Appended, RecordCursor};
use crate::store::keys;
use crate::store::notes::{Absorb, Committed, Content, Notes};
use crate::store::record;

/// Appends of one commit at the most; more bytes than this would only delay the answers.
const BATCH_MAX: usize = 1024;

/// Bytes after which a commit takes no more appends.
const BATCH_BYTES: usize = 8 << 20;

/// Entities whose last record is kept in memory; for others one look into the index answers.
const KNOWN_MAX: usize = 16_384;

/// What is asked of the committer.
pub enum Request<N> {
    One(Append<Fence, N>, oneshot::Sender<Appended<Fence>>),
    /// All of them, or none.
    Several(Vec<Append<Fence, N>>, oneshot::Sender<Appended<Vec<Fence>>>),
}

impl<N> Request<N> {
    fn bytes(&self) -> usize {
        match self {
            Self::One(append, _) => append.record.len(),
            Self::Several(appends, _) => appends.iter().map(|append| append.record.len()).sum(),
        }
    }
}

/// Whom to tell once the batch is durable.
enum Waiting {
    One(oneshot::Sender<Appended<Fence>>, Appended<Fence>),
    Several(oneshot::Sender<Appended<Vec<Fence>>>, Appended<Vec<Fence>>),
}

/// The committer.
pub struct Committer<N> {
    files: Files,
    mark: Mark,
    /// Position of the next record.
    next: u64,
    /// Fences of entities that were written lately.
    known: HashMap<Entity, Fence>,
    notes: Arc<Notes<N>>,
}

/// What one commit brings.
struct Batch<N> {
    writes: OwnedWriteBatch,
    committed: Vec<Committed<N>>,
    hash: record::Hash,
}

impl<N: Absorb> Committer<N> {
    /// A committer whose next record stands at `next`.
    pub fn new(files: Files, mark: Mark, next: u64, notes: Arc<Notes<N>>) -> Self {
        Self { files, mark, next, known: HashMap::new(), notes }
    }

    /// Commits until nobody can ask any more. `on_failure` hears of a write that failed.
    pub fn run(mut self, queue: &mpsc::Receiver<Request<N>>, on_failure: &dyn Fn(String)) {
        while let Ok(first) = queue.recv() {
            let mut requests = vec![first];
            let mut bytes = requests[0].bytes();
            while requests.len() < BATCH_MAX
                && bytes < BATCH_BYTES
                && let Ok(next) = queue.try_recv()
            {
                bytes += next.bytes();
                requests.push(next);
            }
            if let Err(error) = self.commit(requests) {
                on_failure(error);
                return;
            }
        }
    }

    fn commit(&mut self, requests: Vec<Request<N>>) -> Result<(), String> {
        let writes = self.files.database.batch().durability(Some(PersistMode::SyncData));
        let committed = Vec::with_capacity(requests.len());
        let mut batch = Batch { writes, committed, hash: [0; 16] };
        let mut waiting = Vec::with_capacity(requests.len());
        for request in requests {
            waiting.push(match request {
                Request::One(append, answer) => {
                    let fits = self.fits(&append).map_err(|e| e.to_string())?;
                    let appended = match fits {
                        true => Appended::Committed(self.add(&mut batch, append)),
                        false => Appended::Conflict,
                    };
                    Waiting::One(answer, appended)
                }
                Request::Several(appends, answer) => {
                    let appended = self.add_all(&mut batch, appends).map_err(|e| e.to_string())?;
                    Waiting::Several(answer, appended)
                }
            });
        }
        let Batch { writes, committed, hash } = batch;
        if let Some(last) = committed.last().map(|one| one.at.0) {
            writes.commit().map_err(|e| format!("a commit failed: {e}"))?;
            self.mark.set(last, &hash).map_err(|e| format!("the mark cannot be written: {e}"))?;
            // noted before anyone is answered: who has an answer finds its record there
            self.notes.push(committed, hash);
        }
        for one in waiting {
            // who has gone away does not want to know
            match one {
                Waiting::One(answer, appended) => drop(answer.send(appended)),
                Waiting::Several(answer, appended) => drop(answer.send(appended)),
            }
        }
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        Ok(())
    }

    fn add_all(
        &mut self,
        batch: &mut Batch<N>,
        appends: Vec<Append<Fence, N>>,
    ) -> Result<Appended<Vec<Fence>>, fjall::Error> {
        for (place, append) in appends.iter().enumerate() {
            let twice = appends[..place].iter().any(|earlier| earlier.entity == append.entity);
            if twice || !self.fits(append)? {
                return Ok(Appended::Conflict);
            }
        }
        let fences = appends.into_iter().map(|append| self.add(batch, append));
        Ok(Appended::Committed(fences.collect()))
    }

    /// Whether an entity's last record is the one that the append names.
    fn fits(&self, append: &Append<Fence, N>) -> Result<bool, fjall::Error> {
        let Append { entity, fence, first, .. } = append;
        if let Some(known) = self.known.get(entity) {
            return Ok(*fence == Some(*known));
        }
        if fence.is_none() && *first != 1 {
            return Ok(false);
        }
        // whoever moved the entity on wrote where this one wants to write
        let taken = self.files.index.contains_key(keys::entity_version(*entity, *first))?;
        Ok(!taken)
    }

    fn add(&mut self, batch: &mut Batch<N>, append: Append<Fence, N>) -> Fence {
        let Append { entity, first, record, note, .. } = append;
        let position = self.next;
        self.next += 1;
        let fence = Fence(first);
        self.known.insert(entity, fence);
        let key = keys::position(position);
        batch.writes.insert(&self.files.records, key, &record[..]);
        batch.writes.insert(&self.files.index, keys::entity_version(entity, first), key);
        batch.hash = record::hash(&record);
        let content = note.map_or_else(|| Content::Record(record), Content::Note);
        batch.committed.push(Committed { at: RecordCursor(position), entity, content });
        fence
    }
}
