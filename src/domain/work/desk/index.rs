//! What a desk learns from the index: who else stands in the line, and of leases that no case has told.

use super::{Desk, Taken};
use crate::domain::ids::CaseId;
use crate::domain::line::{Entry, IndexRead};
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobId;
use crate::domain::work::row::{JobAt, JobRow};
use crate::domain::work::waiting::{Repeating, Waiting};
use crate::domain::work::worker::Workers;

impl Desk {
    /// A job's row, as the index has it from now on. What cases have told is newer, and is shown after this;
    /// a case that crashed may have told nothing.
    pub fn shown(&mut self, case: CaseId, row: &JobRow, workers: &mut Workers, now: Timestamp) {
        let id = row.id(case);
        match &row.at {
            JobAt::Queued { .. } => {
                // of what the index alone has told, it says itself that it is over
                if self.leases.get(&id).is_some_and(|held| held.is_shown) {
                    self.ended(id, workers);
                }
                if let Some(Taken::Asked { shown, .. }) = self.taken.get_mut(&id) {
                    *shown = None;
                } else if !self.is_known(id, now) {
                    self.join(id, row);
                }
            }
            JobAt::Leased(lease) => {
                let held = self.leases.get(&id);
                let again = held.is_none_or(|it| it.over && it.lease.digest != lease.digest);
                match self.taken.get_mut(&id) {
                    Some(Taken::Asked { shown, .. }) => *shown = Some(Box::new(row.clone())),
                    // whose lease it was that its case refused another
                    Some(Taken::Refused(_)) => {
                        self.forget_taken(id, workers);
                        self.leased_as_shown(id, row, workers, now);
                    }
                    None if again => self.leased_as_shown(id, row, workers, now),
                    Some(Taken::Gone(_)) | None => {}
                }
            }
        }
    }

    /// The index alone tells of a lease.
    pub(super) fn leased_as_shown(
        &mut self,
        id: JobId,
        row: &JobRow,
        workers: &mut Workers,
        now: Timestamp,
    ) {
        let JobAt::Leased(lease) = &row.at else { return };
        self.leave(id);
        self.leased(id, (lease, row), workers, now);
        if let Some(held) = self.leases.get_mut(&id) {
            held.is_shown = true;
        }
    }

    /// The index is to be read again: it was made anew.
    pub fn expect_more(&mut self) {
        self.line.expect_more();
        self.repeats.expect_more();
    }

    /// Whether the index has to be read to know who comes next.
    pub fn wants_line(&self) -> bool {
        self.line.wants_more()
    }

    /// Whether the index has to be read to know who is repeated next.
    pub fn wants_repeats(&self) -> bool {
        self.repeats.wants_more()
    }

    /// What is read of the index from now on knows of everybody who was left to it.
    pub fn reads(&self) -> (IndexRead, IndexRead) {
        (self.line.reads(), self.repeats.reads())
    }

    /// What the index holds of the line; `complete`: there was no more.
    pub fn line_up(&mut self, read: IndexRead, rows: Vec<Waiting>, complete: bool, now: Timestamp) {
        let (purged, rows): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .filter(|row| !self.is_known(row.id, now))
            .partition(|row| self.said.purged.is_some_and(|before| row.queued_at < before));
        self.purged.extend(purged.into_iter().map(|row| row.id));
        self.line.refill(read, rows, complete);
    }

    /// What the index holds of those that are repeated.
    pub fn repeat(
        &mut self,
        read: IndexRead,
        rows: Vec<Repeating>,
        complete: bool,
        now: Timestamp,
    ) {
        let (purged, rows): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .filter(|row| !self.is_known(row.id(), now))
            .partition(|row| self.said.purged.is_some_and(|before| row.waiting.queued_at < before));
        self.purged.extend(purged.into_iter().map(|row| row.id()));
        self.repeats.refill(read, rows, complete);
    }
}
