//! What a commit leaves to be done.

use std::time::Instant;

use crate::actors::cases::load::Loaded;
use crate::actors::cases::message::CaseReply;
use crate::actors::services::handle::CallPermit;
use crate::domain::case::effect::Effect;

/// A decision that was committed, and what has to follow.
pub struct Committed {
    pub case: Loaded,
    pub effects: Vec<Effect>,
    pub permits: Vec<CallPermit>,
    pub more: bool,
    /// A snapshot went along.
    pub snapshot: bool,
    pub at: Instant,
}

impl Committed {
    /// The case as it stands now.
    pub fn told(&self) -> CaseReply {
        let state = &self.case.state;
        let (id, version, phase) = (state.id, state.version, state.phase);
        CaseReply {
            id,
            version,
            phase,
            status: state.status.clone(),
            replayed: false,
            heard: 0,
            given: None,
            job: None,
        }
    }
}
