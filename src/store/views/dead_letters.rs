//! Dead letters: what cannot go on without a person.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{TableError, Views, keys};
use crate::domain::case::problem::Problem;
use crate::domain::case::state::FailedAttempt;
use crate::domain::data::Data;
use crate::domain::ids::{CaseId, DeadId};
use crate::domain::time::Timestamp;
use crate::store::codec;

/// Rows looked at for one page at the most.
const LOOKED_AT: usize = 5000;

/// A dead letter of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadRow {
    pub id: DeadId,
    pub case: CaseId,
    pub task: Option<Arc<str>>,
    pub workflow: String,
    pub cause: Arc<str>,
    /// Letters of the same cause at the same task of the same workflow.
    pub group: String,
    pub error: Option<Problem>,
    pub input: Data,
    pub attempts: Vec<FailedAttempt>,
    pub since: Timestamp,
    pub state: DeadState,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadState {
    Open,
    /// Its case was taken up again.
    Redriven,
    /// Its case has ended without.
    Archived,
}

impl DeadState {
    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriven => "redriven",
            Self::Archived => "archived",
        }
    }

    /// The state of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Open, Self::Redriven, Self::Archived].into_iter().find(|s| s.name() == name)
    }
}

/// What letters of one group have in common, as a short text.
pub fn group(workflow: &str, task: Option<&str>, cause: &str) -> String {
    let parts = [workflow.as_bytes(), task.unwrap_or_default().as_bytes(), cause.as_bytes()];
    keys::short(&parts)[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Views {
    /// A dead letter.
    ///
    /// # Errors
    /// When sled fails; so below.
    pub fn dead_letter(&self, id: DeadId) -> Result<Option<DeadRow>, TableError> {
        self.decoded(self.table.get(&keys::dead(id))?)
    }

    /// Writes a dead letter.
    pub fn put_dead_letter(&self, row: &DeadRow) -> Result<(), TableError> {
        let before = self.dead_letter(row.id)?.map(|before| before.state);
        let (was_open, is_open) = (before == Some(DeadState::Open), row.state == DeadState::Open);
        if was_open != is_open {
            self.counts.add(&[keys::DEAD_OPEN], is_open);
        }
        let listed = keys::key(keys::DEAD_ALL, &[&keys::newest_first(row.since), &row.id.0.0]);
        self.table.put(&listed, &[])?;
        self.table.put(&keys::dead(row.id), &codec::encode(row))
    }

    /// What has become of a dead letter, if there is such a one.
    pub fn settle_dead_letter(&self, id: DeadId, state: DeadState) -> Result<(), TableError> {
        let Some(row) = self.dead_letter(id)? else { return Ok(()) };
        self.put_dead_letter(&DeadRow { state, ..row })
    }

    /// Open dead letters.
    pub fn count_open_dead_letters(&self) -> u64 {
        self.counts.get(&[keys::DEAD_OPEN])
    }

    /// Dead letters that a test accepts, newest first, and where to go on.
    pub fn dead_letters(
        &self,
        after: Option<&[u8]>,
        most: usize,
        wanted: &dyn Fn(&DeadRow) -> bool,
    ) -> Result<(Vec<DeadRow>, Option<Vec<u8>>), TableError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for (looked_at, entry) in self.table.scan(&[keys::DEAD_ALL], start).enumerate() {
            let (key, _) = entry?;
            let bits = key.last_chunk::<16>().copied().unwrap_or_default();
            let row = self.dead_letter(DeadId(crate::domain::ids::Bits(bits)))?;
            found.extend(row.filter(|row| wanted(row)));
            if found.len() == most || looked_at + 1 == LOOKED_AT {
                return Ok((found, Some(key.to_vec())));
            }
        }
        Ok((found, None))
    }
}
