//! The embedded journal, the only room that names fjall.
//!
//! Records lie in the order in which they were committed; an index leads from an entity and a
//! version to them. All cursors are positions in that order.

mod committer;
mod error;
mod files;
mod mark;
#[cfg(test)]
mod tests;
mod torn;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use self::committer::{Committer, Request};
pub use self::error::OpenError;
use self::files::Files;
use super::journal::{
    Append, Appended, Journal, Last, Page, ReadError, Receipt, RecordCursor, Refused, Tail,
};
use super::notes::{Absorb, Notes};
use super::record::RECORD_MAX;
use crate::domain::ids::{Entity, EntityKind, EventCursor};

/// The journal. Cheap to clone; the last clone's end stops the committer.
pub struct EmbeddedJournal<N> {
    shared: Arc<Shared<N>>,
}

/// An entity's last record, by the version of its first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence(u64);

struct Shared<N> {
    requests: Mutex<Option<mpsc::Sender<Request<N>>>>,
    committer: Mutex<Option<std::thread::JoinHandle<()>>>,
    files: Files,
    notes: Arc<Notes<N>>,
}

impl<N> Clone for EmbeddedJournal<N> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<N: Absorb + Send + 'static> EmbeddedJournal<N> {
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
        let (files, mark, end) = Files::open(folder)?;
        let notes = Arc::new(Notes::behind(RecordCursor(end)));
        let (requests, queue) = mpsc::channel();
        let committer = Committer::new(files.clone(), mark, end + 1, notes.clone());
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || {
                // fjall's own assertions are failures like any other
                let run = AssertUnwindSafe(|| committer.run(&queue, &on_failure));
                if catch_unwind(run).is_err() {
                    on_failure("the committer panicked".to_owned());
                }
            })
            .map_err(|error| OpenError::Io { folder: folder.to_owned(), error })?;
        let shared = Shared {
            requests: Mutex::new(Some(requests)),
            committer: Mutex::new(Some(thread)),
            files,
            notes,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Hands a request to the committer. Every caller waits for its own answer, so the queue holds no
    /// more than there are callers; whoever lets callers in bounds them.
    fn ask(&self, request: Request<N>) -> Result<(), Refused> {
        let requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = requests.as_ref().ok_or(Refused::Closed)?;
        sender.send(request).map_err(|_| Refused::Closed)
    }

    /// Reads on a thread that may wait for the disk.
    async fn apart<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Files) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let files = self.shared.files.clone();
        let reading = tokio::task::spawn_blocking(move || read(&files));
        reading.await.unwrap_or_else(|_| {
            Err(ReadError { error: "the read broke off".to_owned(), damaged: false })
        })
    }
}

fn too_large<N>(append: &Append<Fence, N>) -> bool {
    append.record.len() > RECORD_MAX
}

impl<N: Absorb + Send + 'static> Journal for EmbeddedJournal<N> {
    type Fence = Fence;
    type Note = N;

    fn promise(&self) -> Receipt {
        Receipt::Journaled
    }

    async fn append(&self, append: Append<Fence, N>) -> Appended<Fence> {
        if too_large(&append) {
            return Appended::Refused(Refused::TooLarge);
        }
        let (answer, answered) = oneshot::channel();
        if let Err(refused) = self.ask(Request::One(append, answer)) {
            return Appended::Refused(refused);
        }
        // it ends without an answer only where a failed write ends the process
        answered.await.unwrap_or(Appended::Unknown)
    }

    async fn append_all_or_none(&self, appends: Vec<Append<Fence, N>>) -> Appended<Vec<Fence>> {
        if appends.iter().any(too_large) {
            return Appended::Refused(Refused::TooLarge);
        }
        let (answer, answered) = oneshot::channel();
        if let Err(refused) = self.ask(Request::Several(appends, answer)) {
            return Appended::Refused(refused);
        }
        answered.await.unwrap_or(Appended::Unknown)
    }

    async fn read(&self, entity: Entity, from: u64, most: usize) -> Result<Page<Fence>, ReadError> {
        self.apart(move |files| files.read(entity, from, most)).await
    }

    async fn holding(&self, entity: Entity, version: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.apart(move |files| files.holding(entity, version)).await
    }

    async fn last(&self, entity: Entity) -> Result<Option<Last<Fence>>, ReadError> {
        self.apart(move |files| files.last(entity)).await
    }

    async fn entities(&self, kind: EntityKind) -> Result<Vec<Entity>, ReadError> {
        self.apart(move |files| files.entities(kind)).await
    }

    async fn tail(
        &self,
        after: RecordCursor,
        most: usize,
    ) -> Result<Tail<RecordCursor>, ReadError> {
        self.apart(move |files| files.tail(after, most)).await
    }

    async fn events(
        &self,
        after: EventCursor,
        most: usize,
    ) -> Result<Tail<EventCursor>, ReadError> {
        self.apart(move |files| files.events(after, most)).await
    }

    async fn end(&self) -> Result<RecordCursor, ReadError> {
        self.apart(|files| files.end().map(RecordCursor)).await
    }

    fn notes(&self) -> Arc<Notes<N>> {
        self.shared.notes.clone()
    }

    async fn close(&self) {
        let sender = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(sender);
        let thread = self.shared.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // a committer that panicked has said so
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
