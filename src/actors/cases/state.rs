//! What the actor of a case keeps in memory.

use std::sync::Arc;

use super::load::Loaded;
use crate::actors::context::Context;
use crate::domain::ids::CaseId;

/// All of it can be made anew from the journal.
pub struct CaseState {
    pub context: Arc<Context>,
    pub id: CaseId,
    /// The case as the journal has it; none before it is loaded, or where there is none.
    pub case: Option<Loaded>,
    /// Version of the last snapshot.
    pub snapshot: u64,
    /// The views show the case at this version.
    pub projected: u64,
    /// Something of its own could not be written, and is taken up again in a moment.
    pub again: bool,
    /// Messages handled that came through the live cases.
    pub handled: u64,
}

impl CaseState {
    /// Nothing is loaded yet.
    pub fn new(context: Arc<Context>, id: CaseId) -> Self {
        Self { context, id, case: None, snapshot: 0, projected: 0, again: false, handled: 0 }
    }
}
