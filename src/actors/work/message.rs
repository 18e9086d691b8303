//! What the actor of a queue is told.

use tokio::sync::oneshot;

use crate::store::record::By;

/// What it is told, by the handle, by its alarm and by operators.
pub enum QueueMsg {
    /// There may be something to do.
    Look,
    /// Nothing is leased from now on.
    Pause {
        reason: String,
        by: By,
        reply: oneshot::Sender<Result<(), String>>,
    },
    Resume {
        by: By,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// What is queued now is never leased. How many these are, near enough.
    Purge {
        reason: String,
        by: By,
        reply: oneshot::Sender<Result<u64, String>>,
    },
    /// A page of the line was gone through for what is purged.
    Swept,
}
