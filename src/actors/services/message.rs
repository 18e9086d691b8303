//! What the actor of a service's breaker is told.

use tokio::sync::oneshot;

use crate::domain::service::permit::Reply;
use crate::domain::time::Timestamp;
use crate::store::record::By;

/// What it is told, by the handle, by its alarm and by operators.
pub enum BreakerMsg {
    /// There may be something to do.
    Look,
    /// The configured probe has ended.
    Health(Reply),
    /// An operator holds the service.
    Isolate { reason: String, until: Timestamp, by: By, reply: oneshot::Sender<Result<(), String>> },
    /// An operator ends the hold; `false`: there is none.
    Release { by: By, reply: oneshot::Sender<Result<bool, String>> },
    /// An operator wants it tried now; `false`: it is not open.
    Probe { reply: oneshot::Sender<bool> },
}
