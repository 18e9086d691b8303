//! What the actor of a case keeps in memory.

use std::collections::HashSet;
use std::sync::Arc;

use super::load::Loaded;
use crate::actors::context::Context;
use crate::domain::ids::{BookingId, CaseId, PlanId};
use crate::domain::staff::plan::Debt;

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
    /// What CSRs were asked and have not answered, as far as this actor knows.
    pub asked: HashSet<(BookingId, u32, Option<Debt>)>,
    /// Plans that somebody looks for.
    pub planning: HashSet<PlanId>,
    /// Something has come free while somebody was looking: it is looked for once more.
    pub look_again: bool,
    /// Messages handled that came through the live cases.
    pub handled: u64,
}

impl CaseState {
    /// Nothing is loaded yet.
    pub fn new(context: Arc<Context>, id: CaseId) -> Self {
        Self {
            context,
            id,
            case: None,
            snapshot: 0,
            projected: 0,
            again: false,
            asked: HashSet::new(),
            planning: HashSet::new(),
            look_again: false,
            handled: 0,
        }
    }
}
