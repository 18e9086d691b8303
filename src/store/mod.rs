//! What lasts: the journal, which is the truth, and beside it what can be rebuilt from it at any
//! time: snapshots, views, timers. Names the domain and nothing else; each engine in one file.

pub mod codec;
pub mod embedded;
pub mod events;
mod keys;
pub mod lock;
mod mark;
pub mod note;
pub mod record;
pub mod snapshots;
pub mod tail;
pub mod transitions;
pub mod upcast;
pub mod views;
