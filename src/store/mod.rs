//! What lasts: the journal, which is the truth, and beside it what can be rebuilt from it at any
//! time: snapshots, views, timers. Names the domain and nothing else; each engine in one file.

pub mod codec;
pub mod commit_note;
pub mod documents;
pub mod embedded;
pub mod events;
pub mod journal;
mod keys;
pub mod lock;
pub mod logs;
pub mod notes;
pub mod queue_events;
pub mod record;
pub mod schedule_events;
pub mod snapshots;
pub mod staff_events;
pub mod templates;
pub mod transitions;
pub mod upcast;
pub mod views;

/// The journal that the engine keeps its cases in.
pub type EngineJournal = embedded::EmbeddedJournal<commit_note::CommitNote>;

/// Its fences.
pub type EngineFence = <EngineJournal as journal::Journal>::Fence;
