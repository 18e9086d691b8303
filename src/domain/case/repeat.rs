//! What a definition alone says of doing a task's call once more.

use crate::domain::call::http;
use crate::domain::workflow::model::{Call, Kind, Task};

/// Whether a task's call is safe to repeat by what its definition alone says.
pub fn safe_by_definition(task: &Task) -> bool {
    if task.metadata.idempotent {
        return true;
    }
    match &task.kind {
        Kind::Call(call) => match &**call {
            Call::Http(http) => http::repeatable(&http.method),
            Call::OpenApi(_) | Call::Process(_) => false,
            Call::Email(_) | Call::Echo(_) | Call::Work(_) | Call::Pdf(_) => true,
        },
        Kind::Emit(_) | Kind::Run(_) => true,
        Kind::Do(_)
        | Kind::For { .. }
        | Kind::Fork { .. }
        | Kind::Try { .. }
        | Kind::Set(_)
        | Kind::Switch(_)
        | Kind::Raise(_)
        | Kind::Wait(_)
        | Kind::Listen(_)
        | Kind::Book(_)
        | Kind::Perform(_)
        | Kind::Function { .. } => true,
    }
}

/// Whether a task that is entered again under its key is called anew although it was done before:
/// what only asks, and what its author says may be done again. What can be undone or asked for is done
/// once.
pub fn called_anew(task: &Task) -> bool {
    if task.metadata.compensate.is_some() || task.metadata.reconcile.is_some() {
        return false;
    }
    task.metadata.idempotent
        || match &task.kind {
            Kind::Call(call) => match &**call {
                Call::Http(http) => matches!(&*http.method, "GET" | "HEAD" | "OPTIONS"),
                Call::Echo(_) => true,
                Call::OpenApi(_)
                | Call::Email(_)
                | Call::Work(_)
                | Call::Pdf(_)
                | Call::Process(_) => false,
            },
            _ => false,
        }
}

/// Whether the receiver of a call that is made anew may go by its key.
pub fn has_key(task: &Task) -> bool {
    match &task.kind {
        Kind::Call(call) => match &**call {
            Call::Http(http) => !matches!(&*http.method, "GET" | "HEAD" | "OPTIONS"),
            Call::OpenApi(_) | Call::Email(_) | Call::Work(_) | Call::Pdf(_) | Call::Process(_) => {
                true
            }
            Call::Echo(_) => false,
        },
        _ => true,
    }
}
