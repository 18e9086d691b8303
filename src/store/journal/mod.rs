//! The journal as a contract, whichever engine keeps it: what an append may come to, what may be
//! read, and what holds in between. `suite` is what every implementation has to pass.
//!
//! Records of one entity are in order and without gaps. Who writes says which record it follows: of
//! two who say the same, one wins. Nothing that a read gives can be taken back later.

pub mod cursor;
#[cfg(test)]
pub mod memory;
#[cfg(test)]
pub mod suite;
mod undecided;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

pub use cursor::RecordCursor;
pub use undecided::{LEFT_OPEN, Settled, append_until_known};

use super::notes::{Absorb, Notes};
use super::record::RECORD_MAX;
use crate::domain::ids::{Entity, EntityKind, EventCursor};

/// What a commit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It is synced on this machine's disk.
    Journaled,
}

impl Receipt {
    /// The word for it in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Journaled => "journaled",
        }
    }
}

/// A record to append.
#[derive(Debug, Clone)]
pub struct Append<F, N> {
    pub entity: Entity,
    /// What the entity's last record gave; none: the entity has no record.
    pub fence: Option<F>,
    /// Version of the first event in it.
    pub first: u64,
    pub record: Bytes,
    /// For whoever keeps the views in this process, so that nothing is folded twice.
    pub note: Option<N>,
}

/// What an append came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended<F> {
    /// It is there, as far as `promise` promises.
    Committed(F),
    /// The entity has moved on.
    Conflict,
    /// It may be there or come to be there: only the same append again can tell.
    Unknown,
    /// It is not there and will not be.
    Refused(Refused),
}

/// Why nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the record is larger than {} KiB", RECORD_MAX / 1024)]
    TooLarge,
    #[error("the journal is closed")]
    Closed,
}

/// Records of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<F> {
    /// Oldest first.
    pub records: Vec<Vec<u8>>,
    /// What an append behind the last of them has to bring; none: there are none.
    pub fence: Option<F>,
    /// Nothing lies behind them.
    pub all: bool,
}

/// An entity's last record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last<F> {
    pub record: Vec<u8>,
    pub fence: F,
}

/// Records of all entities, or of all events from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail<C> {
    /// In order.
    pub records: Vec<(C, Vec<u8>)>,
    /// Places whose record is damaged.
    pub lost: Vec<Lost<C>>,
    /// Where to go on from.
    pub next: C,
    /// Nothing lies behind `next` for now.
    pub all: bool,
}

/// A record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost<C> {
    pub at: C,
    /// Whose it is, where that is still known.
    pub entity: Option<Entity>,
}

/// A read that failed: the disk's fault, or a block that is damaged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the journal cannot be read: {error}")]
pub struct ReadError {
    pub error: String,
    /// A block is damaged: what lies in it is lost, all else can be read.
    pub damaged: bool,
}

/// The journal. Reads never hold up the thread that asks. A future that is dropped leaves an append
/// done or not done, never half and never twice.
pub trait Journal: Clone + Send + Sync + 'static {
    /// What the next append of an entity has to bring. Only the journal knows what it says; it
    /// outlives the process.
    type Fence: Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static;
    /// What goes along with an append.
    type Note: Absorb + Send + 'static;

    /// What `Committed` means here.
    fn promise(&self) -> Receipt;

    /// Appends a record.
    fn append(
        &self,
        append: Append<Self::Fence, Self::Note>,
    ) -> impl Future<Output = Appended<Self::Fence>> + Send;

    /// Appends records of different entities: all of them, or none.
    fn append_all_or_none(
        &self,
        appends: Vec<Append<Self::Fence, Self::Note>>,
    ) -> impl Future<Output = Appended<Vec<Self::Fence>>> + Send;

    /// An entity's records from a version on, at most so many; `from` has to be the first version of
    /// a record.
    fn read(
        &self,
        entity: Entity,
        from: u64,
        most: usize,
    ) -> impl Future<Output = Result<Page<Self::Fence>, ReadError>> + Send;

    /// The record of an entity that holds this version, if any does: the last one that begins with it or
    /// before it.
    fn holding(
        &self,
        entity: Entity,
        version: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, ReadError>> + Send;

    /// An entity's last record, as fresh as it can be.
    fn last(
        &self,
        entity: Entity,
    ) -> impl Future<Output = Result<Option<Last<Self::Fence>>, ReadError>> + Send;

    /// All entities of a kind; for kinds of which there are few.
    fn entities(
        &self,
        kind: EntityKind,
    ) -> impl Future<Output = Result<Vec<Entity>, ReadError>> + Send;

    /// Records of all entities behind a place.
    fn tail(
        &self,
        after: RecordCursor,
        most: usize,
    ) -> impl Future<Output = Result<Tail<RecordCursor>, ReadError>> + Send;

    /// Records of events from outside behind a place; of `most` records of any kind that are looked
    /// at, so a page may be empty without being the last.
    fn events(
        &self,
        after: EventCursor,
        most: usize,
    ) -> impl Future<Output = Result<Tail<EventCursor>, ReadError>> + Send;

    /// The place of the last record.
    fn end(&self) -> impl Future<Output = Result<RecordCursor, ReadError>> + Send;

    /// What is committed from now on, for whoever keeps the views in this process.
    fn notes(&self) -> Arc<Notes<Self::Note>>;

    /// Commits what is queued, refuses all else, and closes the files.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
