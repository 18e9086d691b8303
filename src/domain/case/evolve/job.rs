//! What events say of jobs: queued, lost.

use super::call::open_call;
use super::{CorruptHistory, corrupt};
use crate::domain::case::decide::remember;
use crate::domain::case::job::{self, Job};
use crate::domain::case::state::{Stage, State};
use crate::domain::ids::LeaseDigest;
use crate::domain::workflow::model::{Definition, TaskId};

/// A task stands in a queue from here on.
pub fn queued(
    definition: &Definition,
    state: &mut State,
    key: (TaskId, u32),
    job: &Job,
) -> Result<(), CorruptHistory> {
    let from = state.updated_at;
    let call = open_call(definition, state, key)?;
    if matches!(call.stage, Stage::Leased { .. } | Stage::InFlight { .. }) {
        return corrupt("a job is queued that somebody has");
    }
    call.stage = Stage::Queued { from };
    call.waiting_since.get_or_insert(from);
    call.job = Some(Box::new(job.clone()));
    Ok(())
}

/// A lease has ended without a result. Whoever comes late with it is told so.
pub fn lost(state: &mut State, key: (TaskId, u32), lease: Option<LeaseDigest>) {
    let Some(digest) = lease else { return };
    if let Some(entry) = state.ledger.get_mut(key) {
        entry.lost += 1;
    }
    remember(state, job::lost_id(digest));
}
